"""External data is found wherever an ONNX file may have a tensor."""

import random
import time

import numpy as np
import onnx
import pytest
from external_data_models import MODELS_WITH_EXTERNAL_DATA
from onnx_files import make_card, make_model

from zoo.errors import ExportError
from zoo_export.inspection import inspect_file
from zoo_export.runtime.external_data import _MESSAGES, OversizedError, has_external_data
from zoo_export.runtime.predictor import load


@pytest.mark.parametrize("model", MODELS_WITH_EXTERNAL_DATA.values(), ids=MODELS_WITH_EXTERNAL_DATA)
def test_external_data_is_found_at_any_depth(model):
    assert has_external_data(model.SerializeToString())


@pytest.mark.parametrize("kind", ["pixels", "tensor"])
def test_self_contained_file_has_none(kind):
    assert not has_external_data(make_model(make_card(input=kind)).SerializeToString())


def encode_field(tag: bytes, body: bytes) -> bytes:
    return tag + bytes([len(body)]) + body


def test_field_number_beyond_32_bits_hides_nothing():
    """Protobuf in C++, the parser of ONNX Runtime, drops the upper bits, and then sees a different field."""
    entry = encode_field(b"\x0a", b"location") + encode_field(b"\x12", b"../secret")
    plain, overlong = b"\x6a", b"\xea\x80\x80\x80\x10"  # external_data

    def encode_model(tag):
        return encode_field(b"\x3a", encode_field(b"\x2a", encode_field(tag, entry)))

    for tag in (plain, overlong[:-1] + b"\0"):
        assert has_external_data(encode_model(tag))
    with pytest.raises(ValueError, match="a field number that is too large"):
        has_external_data(encode_model(overlong))


def test_every_message_that_may_contain_a_tensor_is_searched():
    """Compares with the format's own description, so that a field added by a later version of onnx is noticed."""
    found = set()
    pending = [onnx.ModelProto.DESCRIPTOR]
    seen = set()
    while pending:
        message = pending.pop()
        if message.full_name in seen or message.name == "TensorProto":
            continue
        seen.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None:
                found.add((message.name, field.number, field.message_type.name))
                pending.append(field.message_type)
    holders = {"TensorProto"}
    while more := {owner for owner, _, kind in found if kind in holders} - holders:
        holders |= more
    names = {"SparseTensorProto": "sparse", "TrainingInfoProto": "training"}
    short = {name: names.get(name, name.removesuffix("Proto").lower()) for name in holders}

    ours = {(kind, number, inner) for kind, fields in _MESSAGES.items() for number, inner in fields.items()}
    assert ours == {(short[owner], number, short[kind]) for owner, number, kind in found if kind in holders}


def test_invalid_bytes_raise_nothing_but_value_error():
    valid = MODELS_WITH_EXTERNAL_DATA["branch"].SerializeToString()
    rng = random.Random(0)
    outcomes = {True: 0, False: 0, "refused": 0}
    for _ in range(1000):
        content = bytearray(valid)
        content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            outcomes[has_external_data(bytes(content))] += 1
        except ValueError:
            outcomes["refused"] += 1
    assert all(outcomes.values())


SMALL = make_model(make_card()).SerializeToString()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SMALL + b"\x28\0" * 10_001, "more than 10,000 fields"),
        (SMALL + b"\x72\x06\x0a\x01a\x12\x01b" * 10_001, "more than 10,000 fields"),
        (SMALL + b"\x32\x81\x80\x80\x10" + bytes((32 << 20) + 1), "more than 32 MiB of text and metadata"),
        (SMALL + b"\x72\x81\x80\x80\x10" + bytes((32 << 20) + 1), "more than 32 MiB of text and metadata"),
    ],
    ids=["numbers", "properties", "documentation", "property"],
)
def test_what_is_too_much_to_read_is_refused_at_once(content, message, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo_export.runtime.external_data.MAX_FIELDS", 10_000)
    with pytest.raises(OversizedError, match=message):
        has_external_data(content)
    started = time.process_time()
    with pytest.raises(ExportError, match=f"cannot be opened: it has {message}"):
        load(content, device="cpu")
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=f"cannot be read: it has {message}"):
        inspect_file(tmp_path / "m.onnx")
    assert time.process_time() - started < 2


def test_the_numbers_of_tensors_are_no_text():
    model = make_model(make_card())
    tensor = model.graph.initializer.add()
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(9 << 20, np.float32), "large"))
    assert not has_external_data(model.SerializeToString())
