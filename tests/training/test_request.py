import pytest
from run_files import write_json_record

from zoo.config import make_config
from zoo.errors import ConfigError, DataError, RunError, WeightsError
from zoo.plugins.registry import load_registry
from zoo.runs.run import RunFolder
from zoo.training.request import find_weights, resolve_names, suggested_offline_command


def small_config(**values):
    return make_config("small", data="colours", head="flat", **values)


def test_weights_are_a_file_or_a_run_or_none(tmp_path):
    assert find_weights(small_config(weights="pretrained"), runs=tmp_path) is None
    assert find_weights(small_config(weights="none"), runs=tmp_path) is None
    file = tmp_path / "w.safetensors"
    file.touch()
    assert find_weights(small_config(weights=str(file)), runs=tmp_path) == file
    (tmp_path / "run-1").mkdir()
    write_json_record(tmp_path / "run-1", {"classes": []})
    found = find_weights(small_config(weights="run-1"), runs=tmp_path)
    assert isinstance(found, RunFolder)
    assert found.path == tmp_path / "run-1"


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"There is no weights file .*gone\.pth") as caught:
        find_weights(small_config(weights="gone.pth"), runs=tmp_path)
    assert "--weights" in caught.value.hint
    with pytest.raises(RunError, match="There is no run 'run-7'"):
        find_weights(small_config(weights="run-7"), runs=tmp_path)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working directory with ./my photos, and empty caches."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "my photos").mkdir()
    return "./my photos"


def test_without_a_name_the_best_local_backbone_is_taken(photos):
    names = resolve_names(make_config(data=photos), registry=load_registry())
    assert names.config.backbone == "efficientnet_lite0"
    assert names.offers.backbone.name == "efficientnet_lite/efficientnet_lite0"
    assert names.backbone_reason == "none given; its pretrained weights are on this machine"
    named = resolve_names(make_config("efficientnet_lite0", data=photos), registry=load_registry())
    assert (named.config.backbone, named.backbone_reason) == ("efficientnet_lite0", "")


@pytest.mark.parametrize("weights", ["none", "w.safetensors", "run-1"])
def test_weights_without_a_backbone_are_refused(photos, weights):
    with pytest.raises(ConfigError, match=f"no backbone is named, but option 'weights' is '{weights}'"):
        resolve_names(make_config(data=photos, weights=weights), registry=load_registry())


def offline_hint(config, error, registry=None):
    with (
        pytest.raises(type(error)) as caught,
        suggested_offline_command(config, registry or load_registry()),
    ):
        raise error
    return caught.value.hint


@pytest.mark.parametrize(
    ("config", "command"),
    [
        ({"backbone": "resnet18", "data": "./my photos"}, "efficientnet_lite0 --data './my photos'"),
        ({"backbone": "resnet18", "data": "hotdog"}, "efficientnet_lite0 --data hotdog-cartoon"),
        ({"backbone": "efficientnet_lite0", "data": "hotdog"}, "efficientnet_lite0 --data hotdog-cartoon"),
        ({"data": "hotdog"}, "efficientnet_lite0 --data hotdog-cartoon"),
        (
            {"backbone": "resnet18", "data": "hotdog", "weights": "none"},
            "resnet18 --data hotdog-cartoon --weights none",
        ),
    ],
)
def test_what_cannot_be_downloaded_ends_in_a_command_that_needs_no_download(photos, config, command):
    error = WeightsError("It cannot be downloaded.", hint="Try again.", offline=True)
    hint = offline_hint(make_config(**config), error)
    assert hint == f"Try again.\nWithout a network, this works: zoo finetune {command}"


def test_without_any_local_weights_the_command_trains_from_scratch(photos, monkeypatch):
    monkeypatch.setenv("ZOO_BLOCK_PLUGINS", "efficientnet_lite")
    registry = load_registry()
    error = WeightsError("There are none.", offline=True)
    for backbone, named in (("auto", "resnet18"), ("vgg11", "vgg11")):
        hint = offline_hint(make_config(backbone, data=photos), error, registry)
        assert hint.endswith(f"this works: zoo finetune {named} --data './my photos' --weights none")
        error.hint = ""


def test_a_dataset_that_was_downloaded_is_used(photos, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "home" / "datasets" / "hotdog" / "hotdog" / split).mkdir(parents=True)
    hint = offline_hint(make_config("resnet18", data="hotdog"), WeightsError("No server answers.", offline=True))
    assert hint.endswith("zoo finetune efficientnet_lite0 --data hotdog")


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"backbone": "resnet18"}, WeightsError("It is damaged.", hint="Delete it.")),
        ({"backbone": "efficientnet_lite0"}, DataError("A link is dead.", hint="Delete it.", offline=True)),
    ],
)
def test_other_errors_and_what_needs_no_download_keep_their_hint(photos, config, error):
    assert offline_hint(make_config(**config, data=photos), error) == "Delete it."
