"""The entry for images that are preprocessed already."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from zoo.data.images.resize import preprocess
from zoo.preprocess import Preprocess
from zoo_export.graph.preprocessing import prepend_preprocessing
from zoo_export.runtime.predictor import load
from zoo_export.runtime.second_entry import without_resize

SPECS = {
    "cropped": Preprocess(size=(48, 48), resize=56),
    "oblong": Preprocess(size=(65, 48), resize=70, interpolation="bicubic"),
    "padded": Preprocess(size=(65, 48), resize=64, resize_mode="longer"),
    "squashed": Preprocess(size=(65, 48), resize=0, resize_mode="squash"),
}


def make_model(spec):
    shape = ["batch", 3, *spec.size]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["tensor", "weight"], ["out"])],
        "g",
        [helper.make_tensor_value_info("tensor", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [helper.make_tensor("weight", TensorProto.FLOAT, [1], [0.5])],
    )
    prepend_preprocessing(graph, spec)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(content, batch):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": batch})[0]


@pytest.mark.parametrize("name", SPECS)
def test_a_preprocessed_image_gives_the_bits_of_the_photo(name):
    photo = np.random.default_rng(0).integers(0, 256, (90, 130, 3)).astype(np.uint8)
    content = make_model(SPECS[name]).SerializeToString()
    entry = without_resize(content)
    onnx.checker.check_model(onnx.load_model_from_string(entry), full_check=True)
    np.testing.assert_array_equal(run(entry, preprocess(photo, SPECS[name])[None]), run(content, photo[None]))


def test_only_the_resize_is_left_out():
    model = make_model(SPECS["cropped"])
    helper.set_model_props(model, {"key": "value"})
    entry = onnx.load_model_from_string(without_resize(model.SerializeToString()))
    assert [node.op_type for node in entry.graph.node] == ["Transpose", "Cast", "Sub", "Mul", "Mul"]
    assert [each.name for each in entry.graph.initializer if each.name.startswith("preprocess/resize/")] == []
    assert (entry.metadata_props, entry.opset_import) == (model.metadata_props, model.opset_import)


def test_a_graph_without_a_resize_has_no_second_entry():
    content = make_model(SPECS["cropped"]).SerializeToString()
    assert without_resize(without_resize(content)) is None
    with pytest.raises(ValueError, match="truncated"):
        without_resize(content[:-3])


def test_the_predictor_uses_it(exported):
    """An exported file predicts the same for a photo as its graph that takes raw pixels."""
    photo = np.random.default_rng(0).integers(0, 256, (50, 40, 3)).astype(np.uint8)
    predictor = load(exported.path, device="cpu")
    image = preprocess(photo, predictor.preprocess)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["probabilities"], {"image": photo[None]})
    np.testing.assert_allclose(predictor.probabilities([image]), expected, atol=1e-6)
    assert predictor.batch([image]).shape == (1, *predictor.preprocess.size, 3)
