"""Nothing private is published: neither names of photos nor folders, and no settings of trackers."""

import json
from pathlib import Path

import pytest

from zoo.plugins.registry import load_registry
from zoo.runs.record import DataRecord, RunRecord
from zoo.runs.run import RunFolder
from zoo_hub.public_record import find_dataset, make_public


def make_run(tmp_path, **config):
    photos = tmp_path / "anna" / "holiday"
    photos.mkdir(parents=True, exist_ok=True)
    weights = tmp_path / "anna" / "start.pth"
    weights.touch()
    values = {
        "backbone": "resnet18",
        "data": str(photos),
        "weights": str(weights),
        "recipe": "default",
        "exclude": str(tmp_path / "anna" / "private.txt"),
        "tracker": ["mlflow"],
        "tracker_options": {"server": "https://anna:secret@mlflow.example"},
        "lr": 0.001,
    }
    leak = {"kind": "leak", "text": "2 of 9 test photos are also in train.", "photos": ["secret-1.jpg"], "pairs": []}
    data = DataRecord(
        name="holiday",
        counts={"train": 8},
        skipped=("secret-2.txt: not an image",),
        check={"near": True, "findings": [leak, {"kind": "broken", "text": "secret-3.jpg is broken."}]},
        cache={"train": {"reason": f"{tmp_path} is full"}},
        unreadable={"train": ["secret-4.jpg: truncated"]},
        changed={"val": ["secret-5.jpg"]},
    )
    record = RunRecord(
        status="finished",
        backbone="torchvision/resnet18",
        head="heads/linear",
        classes=("cat", "dog"),
        config=values | config,
        weights=f"120 entries loaded from {weights}; skipped: fc.weight",
        data=data,
        hardware={"device": "cpu", "reason": f"measured in {Path.home() / 'cache'}"},
    )
    return RunFolder(tmp_path / "run", record)


def test_names_and_folders_are_removed(tmp_path):
    public = make_public(make_run(tmp_path), load_registry())
    text = json.dumps(public.to_json())
    for private in ("secret", str(tmp_path), str(Path.home()), "mlflow", "private.txt"):
        assert private not in text
    assert public.config["data"] == str(Path(".", "holiday")) or public.config["data"] == "./holiday"
    assert public.config["lr"] == 0.001
    assert public.weights == "120 entries loaded from start.pth; skipped: fc.weight"
    assert public.data.leaks == ("2 of 9 test photos are also in train.",)
    assert public.data.counts == {"train": 8}
    assert public.classes == ("cat", "dog")


@pytest.mark.parametrize("data", ["hotdog-cartoon", "ImageSet:holiday"])
def test_other_data_keeps_its_name(tmp_path, data):
    run, registry = make_run(tmp_path, data=data, data_options={}), load_registry()
    assert make_public(run, registry).config["data"] == data
    assert (find_dataset(run, registry) is not None) == (data == "hotdog-cartoon")
