"""Wherever a tensor may lie in an ONNX file, one that is kept in another file is found there."""

import random

import onnx
import pytest
from onnx_elsewhere import ELSEWHERE
from onnx_files import card, model

from zoo_export.wire import _MESSAGES, has_data_elsewhere


@pytest.mark.parametrize("made", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_tensor_kept_in_another_file_is_found_wherever_it_lies(made):
    assert has_data_elsewhere(made.SerializeToString())


@pytest.mark.parametrize("kind", ["pixels", "tensor"])
def test_a_file_that_is_whole_in_itself_is_whole(kind):
    assert not has_data_elsewhere(model(card(input=kind)).SerializeToString())


def field(tag: bytes, body: bytes) -> bytes:
    return tag + bytes([len(body)]) + body


def test_a_number_of_a_field_that_other_readers_cut_to_32_bits_hides_nothing():
    """Protobuf in C++, which ONNX Runtime reads with, drops the bits above; what is left is the number of another."""
    entry = field(b"\x0a", b"location") + field(b"\x12", b"../secret")
    plain, overlong = b"\x6a", b"\xea\x80\x80\x80\x10"  # external_data
    for tag in (plain, overlong[:-1] + b"\0"):
        assert has_data_elsewhere(field(b"\x3a", field(b"\x2a", field(tag, entry))))
    with pytest.raises(ValueError, match="a number too large"):
        has_data_elsewhere(field(b"\x3a", field(b"\x2a", field(overlong, entry))))


def test_every_message_of_the_format_that_may_hold_a_tensor_is_looked_into():
    """Against the format's own description: a field that a later version of onnx adds is noticed here."""
    found = set()
    waiting = [onnx.ModelProto.DESCRIPTOR]
    seen = set()
    while waiting:
        message = waiting.pop()
        if message.full_name in seen or message.name == "TensorProto":
            continue
        seen.add(message.full_name)
        for field in message.fields:
            if field.message_type is not None:
                found.add((message.name, field.number, field.message_type.name))
                waiting.append(field.message_type)
    holders = {"TensorProto"}
    while more := {owner for owner, _, kind in found if kind in holders} - holders:
        holders |= more
    names = {"SparseTensorProto": "sparse", "TrainingInfoProto": "training"}
    short = {name: names.get(name, name.removesuffix("Proto").lower()) for name in holders}

    ours = {(kind, number, inner) for kind, fields in _MESSAGES.items() for number, inner in fields.items()}
    assert ours == {(short[owner], number, short[kind]) for owner, number, kind in found if kind in holders}


def test_bytes_that_are_no_message_are_a_value_error_and_nothing_else():
    whole = ELSEWHERE["branch"].SerializeToString()
    dice = random.Random(0)
    told = {True: 0, False: 0, "refused": 0}
    for _ in range(1000):
        content = bytearray(whole)
        content[dice.randrange(len(content))] = dice.randrange(256)
        try:
            told[has_data_elsewhere(bytes(content))] += 1
        except ValueError:
            told["refused"] += 1
    assert all(told.values())
