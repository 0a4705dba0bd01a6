import dataclasses

import pytest
import yaml

from zoo.plugins.specs import WeightsInfo
from zoo.preprocess import Preprocess
from zoo.runs.record import DataRecord, RunRecord
from zoo_hub.card import CardInput, write_card

SCORES = {"accuracy": 0.9, "interval": [0.8, 0.95], "count": 40, "macro_f1": 0.85, "loss": 0.31}
RECORD = RunRecord(
    backbone="timm/resnet18",
    head="heads/linear",
    classes=("hot_dog", "<b>|salad|</b>"),
    preprocess=Preprocess(size=(64, 64), resize=72),
    weights="a1_in1k, from https://huggingface.co/timm/resnet18.a1_in1k",
    data=DataRecord(name="photos", counts={"train": 80, "val": 20, "test": 40}),
    results={"test": {**SCORES, "metrics": {"fbeta": {"value": 0.7, "interval": [0.6, 0.8]}}}, "val": SCORES},
)
CARD = CardInput(
    repository="anna/hotdog",
    record=RECORD,
    licence="apache-2.0",
    data_licence="CC BY 4.0",
    weights=WeightsInfo(name="a1_in1k", source="https://huggingface.co/timm/resnet18.a1_in1k", licence="apache-2.0"),
    timm=True,
    onnx=True,
    pictures=("curves.png",),
    version="1.2.3",
)


def split(card):
    _, metadata, text = write_card(card).split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_the_metadata_is_what_the_hub_reads():
    metadata, _ = split(CARD)
    assert metadata["license"] == "apache-2.0"
    assert metadata["library_name"] == "timm"
    assert metadata["pipeline_tag"] == "image-classification"
    assert metadata["base_model"] == "timm/resnet18.a1_in1k"
    assert metadata["metrics"] == ["accuracy", "f1"]
    assert {"finetune-zoo", "timm", "onnx"} <= {*metadata["tags"]}
    (index,) = metadata["model-index"]
    assert index["name"] == "hotdog"
    assert index["results"][0]["dataset"] == {"name": "photos", "type": "photos", "split": "test"}
    assert index["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.9, "name": "Accuracy"}


def test_the_text_has_results_data_weights_and_their_licences():
    _, text = split(CARD)
    assert "Accuracy 90.0 % (80.0 % to 95.0 %, 40 photos)" in text
    assert "| Accuracy | test | 90.0 % | 80.0 % to 95.0 % | 40 |" in text
    assert "| fbeta | test | 0.7000 | 0.6000 to 0.8000 | 40 |" in text
    assert "photos, 80 training, 20 validation, 40 test photos" in text
    assert "- licence of the data: CC BY 4.0" in text
    assert "- licence of these weights: apache-2.0" in text
    assert "shorter side to 72, centre crop" in text
    assert "![curves](zoo/curves.png)" in text
    assert 'hf_hub:anna/hotdog"' in text
    assert "@" not in text.replace("@repository@", "")


def test_names_of_classes_are_shown_as_they_are():
    _, text = split(CARD)
    assert r"In the order of the outputs: hot\_dog, \<b\>\|salad\|\</b\>." in text


@pytest.mark.parametrize("count", [200, 203])
def test_many_classes_are_cut(count):
    record = dataclasses.replace(RECORD, classes=tuple(f"class {number}" for number in range(count)))
    _, text = split(dataclasses.replace(CARD, record=record))
    assert (", and 3 more." in text) == (count == 203)


def test_what_is_unknown_is_not_stated():
    leak = {"findings": [{"kind": "leak", "text": "2 of 40 test photos are also in train."}]}
    record = dataclasses.replace(
        RECORD, activation="sigmoid", results={"test": {"accuracy": 0.5}}, data=DataRecord(name="photos", check=leak)
    )
    card = dataclasses.replace(
        CARD, record=record, licence="", data_licence="", weights=None, timm=False, onnx=False, pictures=()
    )
    metadata, text = split(card)
    assert "license" not in metadata
    assert metadata["library_name"] == "finetune-zoo"
    assert "timm.create_model" not in text
    assert "onnxruntime" not in text
    assert "licence of the data: not stated" in text
    assert "**2 of 40 test photos are also in train.**" in text
    assert "Not stated. Those of the data" in text


def test_the_activation_is_that_of_the_loss():
    assert ".softmax(dim=1)[0]" in write_card(CARD)
    sigmoid = dataclasses.replace(RECORD, activation="sigmoid")
    assert ".sigmoid()[0]" in write_card(dataclasses.replace(CARD, record=sigmoid))
