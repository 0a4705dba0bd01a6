"""What `zoo.finetune` is called with: values, names, and what it advises if they are wrong."""

import dataclasses
import subprocess
import sys

import pytest
from fakes import FakePlugin, SmallBackbone, make_backbone_spec, make_registry
from training_runs import FAST, EventRecorder

import zoo
from zoo.config import make_config
from zoo.errors import ConfigError, WeightsError, ZooError
from zoo.events import Started
from zoo.training.finetune import finetune


@pytest.mark.parametrize(
    "values",
    [
        {"recipe": None},
        {"runs": 3},
        {"pictures": "yes"},
        {"observer": "lines"},
        {"registry": "plugins"},
        {"data": 3},
        {"data": b"photos"},
        {"epochs": "many"},
        {"weights": ["a"]},
        {"head_options": "none"},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_an_error_with_advice(train, values):
    with pytest.raises(ZooError) as caught:
        train(**values)
    assert next(iter(values)) in caught.value.message
    assert caught.value.hint


def test_a_configuration_excludes_other_values(tmp_path, registry):
    config = make_config("small", **{**FAST, "epochs": 1})
    run = finetune(config, registry=registry, runs=tmp_path, pictures=False)
    assert run.record.config == config.to_dict()
    with pytest.raises(ConfigError, match="either a configuration or single values"):
        finetune(config, registry=registry, runs=tmp_path, epochs=2)


def test_a_single_process_cannot_use_several_devices(train):
    with pytest.raises(ConfigError, match="'devices' is 2, but this is a single process") as caught:
        train(devices=2)
    assert "torchrun --nproc-per-node 2" in caught.value.hint


@pytest.mark.parametrize(
    "call",
    [
        "finetune('no-such-backbone', data='hotdog')",
        "finetune('resnet18', data='hotdog', head='no-such-head')",
        "finetune('resnet18', data='hotdog', epochs=0)",
        "finetune('resnet18', data='hotdog', recipe='no-such-recipe')",
        "finetune('resnet18', data='hotdog', weights='nowhere.safetensors')",
        "finetune('resnet18', data='hotdog', head_options={'no': 1})",
        "finetune('resnet18', data='hotdog', data_options={'no': 1})",
        "finetune('resnet18', data='no-such-data')",
        "finetune('resnet18', data='./no-such-folder')",
    ],
)
def test_a_wrong_name_is_an_error_before_torch_is_imported(call):
    code = (
        "import sys\nfrom zoo.errors import ZooError\nfrom zoo.training.finetune import finetune\n"
        f"try:\n    {call}\nexcept ZooError as error:\n    print(type(error).__name__, 'torch' in sys.modules)"
    )
    environment = {"ZOO_BLOCK_PLUGINS": "timm", "PATH": ""}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert process.stdout.split()[-1] == "False", process.stdout + process.stderr


def test_without_a_name_the_best_local_backbone_is_fine_tuned(runs):
    local = dataclasses.replace(make_backbone_spec("here"), is_local=lambda: True)
    observer = EventRecorder()
    registry = make_registry(FakePlugin(backbones=[make_backbone_spec("elsewhere"), local]))
    run = finetune(registry=registry, runs=runs, pictures=False, observer=observer, **{**FAST, "epochs": 1})
    (started,) = [event for event in observer.events if isinstance(event, Started)]
    assert (started.backbone, started.backbone_reason) == (
        "fake/here",
        "none given; its pretrained weights are on this machine",
    )
    assert (run.backbone, run.config["backbone"]) == ("fake/here", "fake/here")
    named = EventRecorder()
    finetune("here", registry=registry, runs=runs, pictures=False, observer=named, **{**FAST, "epochs": 1})
    assert [event.backbone_reason for event in named.events if isinstance(event, Started)] == [""]


def test_weights_that_cannot_be_downloaded_end_in_a_command_that_works(train, runs):
    def build(request):
        if request.pretrained:
            raise WeightsError("They cannot be downloaded.", hint="Try again.", offline=True)
        return SmallBackbone()

    local = dataclasses.replace(make_backbone_spec("here"), is_local=lambda: True)
    plugin = FakePlugin(backbones=[make_backbone_spec("far", build=build), local])
    dataset = zoo.DatasetSpec(name="colours", load=lambda request: plugin.dataset, is_local=lambda cache: True)
    plugin.zoo_datasets = zoo.hookimpl(lambda: [dataset])
    with pytest.raises(WeightsError, match="cannot be downloaded") as caught:
        train("far", registry=make_registry(plugin))
    assert caught.value.hint == "Try again.\nWithout a network, this works: zoo finetune fake/here --data colours"
