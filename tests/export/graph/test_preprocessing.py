"""The preprocessing inside a graph, against the preprocessing of training and evaluation."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from zoo.data.images.resize import preprocess
from zoo.data.loading.augment import normalise
from zoo.preprocess import Preprocess
from zoo_export.graph.preprocessing import prepend_preprocessing

SIZES = [(1, 1), (1, 4000), (4000, 1), (37, 53), (224, 224), (375, 500), (448, 512), (31, 33), (65, 48), (1200, 900)]
TALL = [(201, 2), (200, 2), (301, 3)]
SPECS = {
    "cropped": Preprocess(size=(48, 48), resize=56),
    "whole": Preprocess(size=(48, 48), resize=48, interpolation="bicubic"),
    "oblong": Preprocess(size=(65, 48), resize=70, interpolation="bicubic"),
    "padded-black": Preprocess(size=(65, 48), resize=31),
    "padded-mean": Preprocess(size=(65, 48), resize=64, resize_mode="longer", interpolation="bicubic"),
    "cropped-and-padded": Preprocess(size=(40, 40), resize=55, resize_mode="longer"),
    "squashed": Preprocess(size=(65, 48), resize=0, resize_mode="squash"),
}


def open_preprocessing(spec):
    """Returns a session that runs nothing but the preprocessing."""
    shape = ["batch", 3, *spec.size]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["tensor"], ["out"])],
        "identity",
        [helper.make_tensor_value_info("tensor", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
    )
    prepend_preprocessing(graph, spec)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


SESSIONS = {name: open_preprocessing(spec) for name, spec in SPECS.items()}


def preprocess_in_graph(name, pixels):
    """Returns the output of the graph for a photo, scaled to 0 to 255, (h, w, 3)."""
    (out,) = SESSIONS[name].run(None, {"image": pixels[None]})
    spec = SPECS[name]
    return 255 * (out[0].transpose(1, 2, 0) * np.array(spec.std) + np.array(spec.mean))


def make_noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def resizes_tall_photos_vertically_first():
    """Returns whether this Pillow resizes photos over 100 times taller than wide vertically first: 11.0 did not."""
    image, two = Image.fromarray(make_noise(201, 2)), Image.Resampling.BILINEAR
    return np.array_equal(image.resize((1, 55), two), image.resize((2, 55), two).resize((1, 55), two))


@pytest.mark.parametrize("size", SIZES + (TALL if resizes_tall_photos_vertically_first() else []), ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_photos_of_any_size_get_equal_pixels(name, size):
    expected = preprocess(make_noise(*size), SPECS[name])
    np.testing.assert_allclose(preprocess_in_graph(name, make_noise(*size)), expected, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SPECS)), st.integers(1, 300), st.integers(1, 300), st.integers(0, 9))
def test_random_sizes_get_equal_pixels(name, height, width, seed):
    assume(height <= 100 * width or resizes_tall_photos_vertically_first())
    pixels = make_noise(height, width, seed)
    np.testing.assert_allclose(preprocess_in_graph(name, pixels), preprocess(pixels, SPECS[name]), atol=1e-3)


def test_strip_too_long_for_a_full_resize_shows_the_cropped_part():
    """Beyond 32 million pixels `zoo.data.images.decode` cuts strips before the resize; the scale differs a little."""
    grey = (127 + 120 * np.sin(np.arange(20_000) / 40)).astype(np.uint8)
    pixels = np.repeat(np.repeat(grey[None, :, None], 2, axis=0), 3, axis=2)
    assert np.abs(preprocess_in_graph("cropped", pixels) - preprocess(pixels, SPECS["cropped"])).max() < 4


@pytest.mark.parametrize("name", SPECS)
def test_normalisation_equals_that_of_training(name):
    pixels = make_noise(*SPECS[name].size) if SPECS[name].resize_mode == "squash" else make_noise(100, 100)
    (out,) = SESSIONS[name].run(None, {"image": pixels[None]})
    image = torch.from_numpy(preprocess(pixels, SPECS[name])).permute(2, 0, 1)[None]
    expected = normalise(image, SPECS[name]).numpy()
    np.testing.assert_allclose(out, expected, atol=2e-6)


def test_photos_of_a_batch_do_not_influence_each_other():
    batch = np.stack([make_noise(40, 60, seed) for seed in range(7)])
    (batched,) = SESSIONS["cropped"].run(None, {"image": batch})
    for row, pixels in zip(batched, batch, strict=True):
        (single,) = SESSIONS["cropped"].run(None, {"image": pixels[None]})
        np.testing.assert_allclose(row, single[0], atol=1e-6)
    assert batched.shape == (7, 3, 48, 48)


@pytest.mark.parametrize("name", SPECS)
def test_every_operator_and_constant_is_used(name):
    """Readers warn about unused values."""
    graph = helper.make_graph([], "g", [helper.make_tensor_value_info("tensor", TensorProto.FLOAT, None)], [])
    prepend_preprocessing(graph, SPECS[name])
    used, defined = {"tensor"}, set()
    graphs = [graph]
    for each in graphs:
        graphs += [attribute.g for node in each.node for attribute in node.attribute if attribute.HasField("g")]
        defined |= {constant.name for constant in each.initializer} | {
            name for node in each.node for name in node.output
        }
        used |= {name for node in each.node for name in node.input} | {value.name for value in each.output}
    assert defined - used == set()
    assert not [node.op_type for node in graph.node if node.op_type in ("If", "Loop", "Scan")]
