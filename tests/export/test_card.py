"""The card goes into a file and comes back; a hostile one is refused with its reason."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ExportError
from zoo.preprocess import Preprocess
from zoo_export.card import ModelCard

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


def changed(**values):
    return json.dumps({**CARD.to_dict(), **values})


def test_it_comes_back_as_it_was():
    card = ModelCard.from_json(CARD.to_json(), where="model.onnx")
    assert card == CARD
    assert card.verified
    assert card.input_name == "image"


def test_it_is_verified_only_where_it_says_so():
    for parity in ({}, {"verified": False}, {"verified": "yes"}):
        assert not ModelCard.from_json(changed(parity=parity), where="x").verified


def test_what_a_later_version_adds_is_left_out():
    assert ModelCard.from_json(changed(mood="good"), where="x") == CARD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value"),
        ("[]", "no JSON object"),
        ("{}", "no 'format'"),
        (changed(format=2), "format is 2"),
        (changed(format=True), "format is True"),
        (changed(classes=[]), "'classes' is no list"),
        (changed(classes=["a", "a"]), "two classes have one name"),
        (changed(classes=["a", 1]), "a class is no text"),
        (changed(classes=["a" * 1001]), "a class is no text"),
        (changed(classes=["\ud800"]), "surrogates not allowed"),
        (changed(preprocess=[]), "'preprocess' is no object"),
        (changed(preprocess={**CARD.to_dict()["preprocess"], "size": [10**6, 2]}), "more than 4096 pixels"),
        (changed(preprocess={**CARD.to_dict()["preprocess"], "size": [10**400, 2]}), "4096 pixels"),
        (changed(preprocess={**CARD.to_dict()["preprocess"], "std": [0, 1, 1]}), "standard deviation"),
        (changed(input=["pixels"]), "'input' is"),
        (changed(precision="int4"), "none of fp32, fp16, int8"),
        (changed(opset=True), "'opset'"),
        (changed(versions={"torch": 2}), "'versions' is no text"),
        (changed(parity=None), "'parity' is no object"),
        (changed(run={"loss": float("nan")}), "NaN is no JSON"),
        (changed(run=json.loads('{"a":' * 40 + "1" + "}" * 40)), "nested too deeply"),
        ('{"a":' * 100_000, ""),
        ("9" * 10_000, "digits"),
        (" " * (17 * 2**20), "longer than 16 MiB"),
    ],
    ids=range(24),
)
def test_anything_else_is_an_error_that_says_why(text, told):
    with pytest.raises(ExportError, match=r"^odd.onnx: the description inside is not readable") as caught:
        ModelCard.from_json(text, where="odd.onnx")
    assert told in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(CARD.to_dict())), JSON)
def test_no_value_crashes_it(key, value):
    try:
        card = ModelCard.from_json(changed(**{key: value}), where="odd.onnx")
    except ExportError:
        return
    assert ModelCard.from_json(card.to_json(), where="again") == card


def test_reading_one_needs_neither_torch_nor_onnx_nor_numpy():
    program = "import sys, zoo_export.card; print(*{'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
