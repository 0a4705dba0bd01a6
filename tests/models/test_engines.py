import logging
import warnings
from itertools import count
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from fakes import SmallBackbone
from torch import Tensor, nn

from zoo.models import engines
from zoo.models.engines import TOLERANCE, choose_engine, export_session
from zoo.models.measurements import read_cached
from zoo.models.nested import flatten_tensors
from zoo.models.precision import Precision

SIZE = (16, 20)
FP32 = Precision(name="fp32", device=torch.device("cpu"), reason="a test")


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


@pytest.fixture
def measure(monkeypatch):
    """Replaces the measured seconds of a batch of 8 images; returns the names of the engines that were measured."""

    def replace(*, torch=(1.0, 1.0), onnxruntime=(0.25, 0.25)):
        seconds, measured = {"torch": [*torch], "onnxruntime": [*onnxruntime]}, []

        def time(calls):
            measured.append([*calls])
            for call in calls.values():
                call()
            return {name: seconds[name] for name in calls}

        monkeypatch.setattr(engines, "_time", time)
        return measured

    return replace


class Pair(NamedTuple):
    vectors: Tensor
    maps: tuple[Tensor, ...]


class Nested(nn.Module):
    """A network that returns tuples in tuples, as a backbone does with the poolings of heads."""

    def __init__(self):
        super().__init__()
        self.backbone = SmallBackbone()

    def forward(self, images):
        features = self.backbone(images)
        return features.pooled, Pair(features.pooled * 2, (features.map, features.map.amax(dim=(2, 3))))


class CountsInPython(nn.Module):
    """A network whose graph has a fixed number of images."""

    def forward(self, images):
        return images.flatten(1)[:, :4] * float(len(images))


class Unexportable(nn.Module):
    def forward(self, images):
        return torch.linalg.eigvalsh(images[:, :, :3, :3])


class NotANumber(nn.Module):
    def forward(self, images):
        return (images - 9).mean(dim=(2, 3)).sqrt()


def small_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def choose(network=None, *, images=1000, precision=FP32, key="small", name="auto"):
    network = small_network() if network is None else network.eval()
    return choose_engine(network, images=images, image_size=SIZE, precision=precision, key=key, name=name)


def test_too_few_images_are_left_to_torch_and_not_exported(measure, monkeypatch):
    measured = measure(torch=(0.02, 0.01))
    monkeypatch.setattr(engines, "export_session", lambda *arguments: pytest.fail("exported"))
    network = small_network()
    engine = choose(network, images=3000)
    assert (engine.name, engine.run) == ("torch", network)
    assert engine.reason == "3000 images take torch 3.8 s, too little to try another engine"
    assert measured == [["torch"]]


@pytest.mark.parametrize(
    ("seconds", "name", "ratio"), [(0.25, "onnxruntime", "4.0"), (0.95, "torch", "1.1"), (2.0, "torch", "0.5")]
)
def test_the_faster_engine_is_chosen(measure, seconds, name, ratio):
    measured = measure(onnxruntime=(seconds, seconds))
    engine = choose()
    assert engine.name == name
    assert engine.reason == f"ONNX Runtime is {ratio} x as fast as torch, measured; 1000 images"
    assert engine.describe() == {"name": name, "reason": engine.reason}
    assert measured == [["torch"], ["torch", "onnxruntime"]]


def test_a_stored_measurement_is_used_and_weighed_by_the_number_of_images(measure, monkeypatch):
    measure(torch=(0.08, 0.08), onnxruntime=(0.02, 0.02))
    with monkeypatch.context() as patch:
        patch.setattr(engines, "time", SimpleNamespace(perf_counter=count().__next__))  # an export takes a second
        assert choose().name == "onnxruntime"
    measured = measure(torch=(0.0, 0.0))
    assert choose().name == "onnxruntime"
    assert measured == []
    monkeypatch.setattr(engines, "export_session", lambda *arguments: pytest.fail("exported"))
    engine = choose(images=1)  # does not repay the export
    assert (engine.name, engine.reason) == ("torch", "ONNX Runtime is 4.0 x as fast as torch, measured; 1 images")
    assert choose(key="other").reason == "1000 images take torch 0.0 s, too little to try another engine"
    assert measured == [["torch"]]


def test_a_noisy_measurement_decides_once_and_is_not_stored(measure):
    measure(torch=(1.0, 1.6))
    assert choose().name == "onnxruntime"
    assert measure(torch=(1.0, 1.4)) == []
    assert choose().name == "onnxruntime"
    measured = measure()
    choose()
    assert measured == []


def test_a_damaged_measurement_is_made_again(measure, monkeypatch):
    measure()
    choose()
    for broken in ({"torch": "1"}, {"torch": "x", "onnxruntime": "1", "export": "1"}, dict.fromkeys("ab", "-1")):
        monkeypatch.setattr(engines, "read_cached", lambda key, broken=broken: broken)
        measured = measure()
        assert choose().name == "onnxruntime"
        assert len(measured) == 2


def test_the_key_of_a_measurement_names_the_network_and_the_precision(measure, monkeypatch):
    keys = []
    monkeypatch.setattr(engines, "write_cached", lambda key, values: keys.append(key))
    measure()
    choose(key="resnet18, 224 x 224")
    assert len(keys) == 1
    assert keys[0].endswith("| engine for resnet18, 224 x 224, fp32")
    assert read_cached(keys[0]) is None


def test_a_recorded_engine_is_taken_without_measuring(measure):
    measured, network = measure(), small_network()
    assert (choose(network, name="torch").run, choose(network, name="torch").reason) == (network, "recorded")
    engine = choose(network, name="onnxruntime")
    assert (engine.name, engine.reason) == ("onnxruntime", "recorded")
    assert isinstance(engine.run, engines.Session)
    assert measured == []


def test_on_a_gpu_only_torch_is_used(measure):
    measured, network = measure(), small_network()
    gpu = Precision(name="fp32", device=torch.device("cuda", 0), reason="a test")
    engine = choose(network, precision=gpu)
    assert (engine.name, engine.run, engine.reason) == ("torch", network, "only torch is used on a GPU")
    assert measured == []


@pytest.mark.parametrize("name", ["auto", "onnxruntime"])
@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (CountsInPython(), "its output differs from torch's by "),
        (Unexportable(), "Exporting the operator 'aten::linalg_eigvalsh' to ONNX opset version 18 is not supported"),
        (NotANumber(), "its output differs from torch's by nan"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_network_that_onnx_runtime_does_not_run_is_left_to_torch_with_the_reason(measure, name, network, reason):
    measure()
    engine = choose(network, name=name)
    assert (engine.name, engine.run) == ("torch", network)
    assert engine.reason.startswith(f"ONNX Runtime does not run this network: {reason}")
    assert "\n" not in engine.reason


def test_a_network_that_fails_while_it_is_measured_is_left_to_torch():
    class Greedy(nn.Module):
        def forward(self, images):
            raise torch.OutOfMemoryError("out of memory\nTried to allocate 2 TiB")

    network = Greedy()
    engine = choose(network)
    assert (engine.name, engine.run, engine.reason) == ("torch", network, "measuring failed: out of memory")


def test_a_checked_graph_is_handed_over_even_if_torch_is_faster(measure):
    measure(onnxruntime=(2.0, 2.0))
    graphs = []
    engine = choose_engine(
        small_network(), images=1000, image_size=SIZE, precision=FP32, key="small", save=graphs.append
    )
    assert engine.name == "torch"
    assert len(graphs) == 1
    session = engines.Session(graphs[0], torch.zeros(1))
    assert session(torch.zeros(2, 3, *SIZE)).shape == (2, 4)


def test_without_onnx_runtime_torch_is_used(measure, monkeypatch):
    measure()
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    engine = choose()
    assert (engine.name, engine.reason) == (
        "torch",
        "ONNX Runtime does not run this network: onnxruntime is not installed",
    )


@pytest.mark.parametrize("images", [1, 2, 7])
@pytest.mark.parametrize("network", [small_network, Nested], ids=["tensor", "nested"])
def test_the_output_is_that_of_torch_for_any_number_of_images(network, images):
    network = network().eval()
    session = export_session(network, SIZE)
    batch = torch.randn(images, 3, *SIZE).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = network(batch)
    actual = session(batch)
    assert type(actual) is type(expected)
    pairs = [*zip(flatten_tensors(actual), flatten_tensors(expected), strict=True)]
    assert len(pairs) == (4 if isinstance(expected, tuple) else 1)
    for ours, theirs in pairs:
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()
    if isinstance(actual, tuple):
        assert isinstance(actual[1], Pair)
        assert actual[1].maps[0].shape == expected[1].maps[0].shape


def test_exporting_changes_no_modes_and_no_logging_and_hides_only_its_own_warnings():
    network, level = nn.Sequential(small_network(), nn.Dropout()).eval(), logging.root.manager.disable
    export_session(network, SIZE)
    assert not any(module.training for module in network.modules())
    assert logging.root.manager.disable == level
    with pytest.warns(UserWarning, match="still shown"):
        warnings.warn("still shown", stacklevel=1)


def test_functions_are_timed_in_turns_after_a_warm_up_round():
    calls = []
    seconds = engines._time({"one": lambda: calls.append("one"), "two": lambda: calls.append("two")})
    assert calls == ["one", "two"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"one": 2, "two": 2}
    assert all(value >= 0 for values in seconds.values() for value in values)
