"""Networks in float16 and in 8 bits."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from fakes import make_images
from onnx import TensorProto, helper, numpy_helper

from zoo.events import ignore
from zoo.inference.run_predictor import rebuild_model
from zoo_export.graph.classifier import ExportableClassifier, to_onnx
from zoo_export.graph.quantization import to_fp16, to_int8
from zoo_export.validation.samples import decode_samples, preprocess_batch


@pytest.fixture(scope="module")
def network(small_run, small_registry):
    classifier = rebuild_model(small_run, small_registry).classifier
    return to_onnx(ExportableClassifier(classifier, (16, 16)), size=(16, 16), opset=18)


@pytest.fixture(scope="module")
def tensors(small_run):
    photos = decode_samples(make_images().train, ignore)
    return [preprocess_batch([pixels], small_run.preprocess).numpy() for _, pixels in photos]


def test_int8_has_a_scale_per_channel_and_unsigned_activations(network, tensors):
    quantised = to_int8(network, tensors)
    onnx.checker.check_model(quantised, full_check=True)
    values = {each.name: numpy_helper.to_array(each) for each in quantised.graph.initializer}
    conv = next(node for node in quantised.graph.node if node.op_type == "Conv")
    producer = {node.output[0]: node for node in quantised.graph.node}
    activation, weight = (producer[name] for name in conv.input[:2])
    assert values[activation.input[2]].dtype == np.uint8
    assert values[weight.input[0]].dtype == np.int8
    assert values[weight.input[1]].shape == (8,)


def test_int8_weights_have_7_bits(network, tensors):
    """So that the sum of two products fits into 16 bits, as processors without VNNI need it."""
    weights = [numpy_helper.to_array(each) for each in to_int8(network, tensors).graph.initializer]
    largest = max(int(abs(each.astype(int)).max()) for each in weights if each.dtype == "int8" and each.size > 1)
    assert largest > 32
    assert 2 * np.iinfo(np.uint8).max * largest <= np.iinfo(np.int16).max


# Sums of 256 products of the largest activation and a weight: of 8 bits, and of 7.
PRODUCTS = """
import json, sys
import numpy as np
import onnxruntime
activations = np.full((4, 256), 255, np.uint8)
sums = []
for file in sys.argv[1:]:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    sums.append(int(session.run(None, {"x": activations})[0][0, 0]))
print(json.dumps(sums))
"""


def write_products(weight, path):
    weights = numpy_helper.from_array(np.full((256, 64), weight, np.int8), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4, 256])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [4, 64])],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="qemu-user is not installed")
def test_a_processor_without_vnni_needs_7_bits(tmp_path):
    """An emulated Haswell, which has AVX2: the reason for the 7 bits."""
    files = [write_products(weight, tmp_path / f"{weight}.onnx") for weight in (127, 64)]
    command = ["qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", PRODUCTS, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    eight_bits, seven_bits = json.loads(done.stdout.splitlines()[-1])
    assert eight_bits < 256 * 255 * 127
    assert seven_bits == 256 * 255 * 64


def test_fp16_keeps_float32_inputs_and_outputs(network):
    half = to_fp16(network)
    assert half.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert {value.type.tensor_type.elem_type for value in half.graph.output} == {onnx.TensorProto.FLOAT}
    weights = [each for each in half.graph.initializer if each.name.endswith("linear.weight")]
    assert {each.data_type for each in weights} == {onnx.TensorProto.FLOAT16}


def test_int8_leaves_the_head_and_the_heat_map_in_float32(network, tensors):
    """The head may join averages and maxima of several stages, of which one scale would leave little."""
    quantised = to_int8(network, tensors)
    producer = {name: node for node in quantised.graph.node for name in node.output}
    products = [node for node in quantised.graph.node if node.op_type in ("Gemm", "MatMul")]
    assert len(products) == 2  # the head, and the head applied to each place of the map
    for node in products:
        kinds = {producer[name].op_type for name in node.input if name in producer}
        assert "DequantizeLinear" not in kinds
    convolutions = [node for node in quantised.graph.node if node.op_type == "Conv"]
    assert all(producer[node.input[0]].op_type == "DequantizeLinear" for node in convolutions)
