"""A card survives the round trip through JSON; an invalid one is refused with a reason."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ExportError
from zoo.metrics.calibration import Calibration, PredictionSets
from zoo.preprocess import Preprocess
from zoo_export.model_card import ModelCard

CARD = ModelCard(
    classes=("hotdog", "not hotdog", "crème brûlée"),
    preprocess=Preprocess(size=(64, 48), resize=70, resize_mode="longer", interpolation="bicubic"),
    input="pixels",
    activation="softmax",
    precision="fp32",
    backbone="torchvision/resnet18",
    head="heads/linear",
    run={"name": "resnet18-linear-photos-1", "created": "2026-01-01T00:00:00+00:00", "results": {}},
    data={"name": "photos", "fingerprint": "abc"},
    weights="none: trained from scratch",
    weights_sha256="0" * 64,
    versions={"torch": "2.15.0"},
    opset=20,
    exported="2026-01-02T00:00:00+00:00",
    parity={"verified": True, "photos": 12},
)


def modified(**values):
    return json.dumps({**CARD.to_dict(), **values})


def test_round_trip_preserves_the_card():
    card = ModelCard.from_json(CARD.to_json(), where="model.onnx")
    assert card == CARD
    assert card.verified
    assert card.input_name == "image"


def test_a_calibration_survives_and_files_without_one_have_none():
    sets = PredictionSets(score="aps", photos=2, scores=(0.0, 0.5))
    calibrated = replace(CARD, calibration=Calibration(method="temperature", temperature=(1.5,), sets=sets))
    assert ModelCard.from_json(calibrated.to_json(), where="x") == calibrated
    earlier = {key: value for key, value in CARD.to_dict().items() if key != "calibration"}
    assert ModelCard.from_json(json.dumps(earlier), where="x").calibration is None


def test_verified_must_be_true_itself():
    for parity in ({}, {"verified": False}, {"verified": "yes"}):
        assert not ModelCard.from_json(modified(parity=parity), where="x").verified


def test_fields_of_later_versions_are_ignored():
    assert ModelCard.from_json(modified(unknown="good"), where="x") == CARD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", "not a JSON object"),
        ("{}", "'format' is missing"),
        (modified(format=2), "format is 2"),
        (modified(format=True), "format is True"),
        (modified(classes=[]), "'classes' is not a list"),
        (modified(classes=["a", "a"]), "two classes have the same name"),
        (modified(classes=["a", 1]), "the name of a class is not a string"),
        (modified(classes=["a" * 1001]), "the name of a class is not a string"),
        (modified(classes=["\ud800"]), "surrogates not allowed"),
        (modified(preprocess=[]), "'preprocess' is not an object"),
        (modified(preprocess={**CARD.to_dict()["preprocess"], "size": [10**6, 2]}), "more than 2048 pixels"),
        (modified(preprocess={**CARD.to_dict()["preprocess"], "size": [10**400, 2]}), "2048 pixels"),
        (modified(preprocess={**CARD.to_dict()["preprocess"], "std": [0, 1, 1]}), "standard deviation"),
        (modified(input=["pixels"]), "'input' is"),
        (modified(precision="int4"), "not one of fp32, fp16, int8"),
        (modified(opset=True), "'opset'"),
        (modified(calibration={"method": "temperature"}), "'activation' is not one of"),
        (modified(calibration=[1]), "'calibration' is not an object"),
        (modified(versions={"torch": 2}), "'versions' is not a string"),
        (modified(parity=None), "'parity' is not an object"),
        (modified(run={"loss": float("nan")}), "NaN is not valid JSON"),
        (modified(run=json.loads('{"a":' * 40 + "1" + "}" * 40)), "nested too deeply"),
        ('{"a":' * 100_000, ""),
        ("9" * 10_000, "digits"),
        (" " * (17 * 2**20), "longer than 16 MiB"),
    ],
    ids=range(26),
)
def test_invalid_card_is_refused_with_a_reason(text, message):
    with pytest.raises(ExportError, match=r"^odd.onnx: the model card inside is not readable") as caught:
        ModelCard.from_json(text, where="odd.onnx")
    assert message in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(CARD.to_dict())), JSON)
def test_any_value_is_accepted_or_refused(key, value):
    try:
        card = ModelCard.from_json(modified(**{key: value}), where="odd.onnx")
    except ExportError:
        return
    assert ModelCard.from_json(card.to_json(), where="again") == card


def test_import_needs_neither_torch_nor_onnx_nor_numpy():
    program = "import sys, zoo_export.model_card; print(*{'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
