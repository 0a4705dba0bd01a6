"""Biases make up for the rounding of weights."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from zoo_export.graph.bias_correction import round_weights

LARGEST = 4  # coarse, so that rounding shows


def make_graph(nodes, constants, shape):
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("tensor", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(proto, tensor):
    session = InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["y"], {"tensor": tensor})[0]


@pytest.fixture
def photos():
    rng = np.random.default_rng(0)
    return [rng.uniform(1, 3, (1, 4, 6, 6)).astype(np.float32) for _ in range(8)]


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("biased", [True, False])
def test_convolutions_keep_the_mean_of_every_channel(photos, groups, biased):
    rng = np.random.default_rng(1)
    constants = {"w": rng.normal(size=(8, 4 // groups, 3, 3))} | ({"b": rng.normal(size=8)} if biased else {})
    conv = helper.make_node("Conv", ["tensor", *constants], ["y"], name="conv", group=groups)
    proto = make_graph([conv], constants, [1, 4, 6, 6])
    rounded = round_weights(proto, photos, largest=LARGEST, exclude=())
    before, after = (np.mean([run(each, photo) for photo in photos], axis=(0, 1, 3, 4)) for each in (proto, rounded))
    weights = numpy_helper.to_array(next(each for each in rounded.graph.initializer if each.name == "w"))
    integers = weights / np.abs(weights).max(axis=(1, 2, 3), keepdims=True) * LARGEST
    np.testing.assert_allclose(integers, np.rint(integers), atol=1e-5)
    errors = weights - constants["w"]
    uncorrected = np.abs(errors.reshape(8, -1).sum(axis=1)).mean() * 2  # the photos have a mean of 2
    assert np.abs(after - before).mean() < 0.1 * uncorrected
    assert {each.name for each in rounded.graph.initializer} == {"w", "conv_corrected_bias"}


@pytest.mark.parametrize("order", [0, 1])
def test_products_of_tokens_are_corrected_in_the_sum_behind(order):
    rng = np.random.default_rng(2)
    tokens = [rng.uniform(1, 3, (1, 5, 4)).astype(np.float32) for _ in range(8)]
    constants = {"w": rng.normal(size=(4, 6)), "b": rng.normal(size=6)}
    addends = [["xw", "b"], ["b", "xw"]][order]
    nodes = [
        helper.make_node("MatMul", ["tensor", "w"], ["xw"], name="product"),
        helper.make_node("Add", addends, ["y"], name="sum"),
    ]
    proto = make_graph(nodes, constants, [1, 5, 4])
    rounded = round_weights(proto, tokens, largest=LARGEST, exclude=())
    before, after = (np.mean([run(each, token) for token in tokens], axis=(0, 1, 2)) for each in (proto, rounded))
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert not np.allclose(run(proto, tokens[0]), run(rounded, tokens[0]), atol=0.05)


def test_layers_that_share_a_bias_get_one_each(photos):
    rng = np.random.default_rng(3)
    constants = {"w": rng.normal(size=(4, 4, 1, 1)), "b": np.zeros(4)}
    nodes = [
        helper.make_node("Conv", ["tensor", "w", "b"], ["x"], name="first"),
        helper.make_node("Conv", ["x", "w", "b"], ["y"], name="second"),
    ]
    rounded = round_weights(make_graph(nodes, constants, [1, 4, 6, 6]), photos, largest=LARGEST, exclude=())
    biases = {each.name: numpy_helper.to_array(each) for each in rounded.graph.initializer}
    assert not np.allclose(biases["first_corrected_bias"], biases["second_corrected_bias"])


def test_what_is_left_out_keeps_its_weights_and_a_channel_of_zeros_stays_finite(photos):
    weights = np.random.default_rng(4).normal(size=(4, 4, 1, 1))
    weights[0] = 0
    nodes = [
        helper.make_node("Conv", ["tensor", "w"], ["x"], name="rounded"),
        helper.make_node("Conv", ["x", "v"], ["y"], name="kept"),
    ]
    proto = make_graph(nodes, {"w": weights, "v": weights}, [1, 4, 6, 6])
    constants = round_weights(proto, photos, largest=LARGEST, exclude={"kept"}).graph.initializer
    values = {each.name: numpy_helper.to_array(each) for each in constants}
    np.testing.assert_array_equal(values["v"], weights.astype(np.float32))
    assert np.isfinite(values["w"]).all()
    assert not values["w"][0].any()
