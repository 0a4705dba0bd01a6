"""Wherever a tensor may lie in an ONNX file, one that is kept in another file is found there."""

import random

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_files import card, model

from zoo_export.wire import _MESSAGES, has_data_elsewhere


def away(name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    return tensor


def named_only() -> TensorProto:
    """Says where its data is, and not that it is elsewhere."""
    tensor = away()
    tensor.ClearField("data_location")
    return tensor


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], value=tensor)


def graph_of(*nodes: onnx.NodeProto, **fields) -> onnx.GraphProto:
    return onnx.GraphProto(name="inner", node=nodes, **fields)


def branch(graph: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph_of())


def sparse(**fields) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(dims=[4], **fields)


def with_graph(graph: onnx.GraphProto, **fields) -> onnx.ModelProto:
    return onnx.ModelProto(ir_version=8, graph=graph, **fields)


def with_function(**fields) -> onnx.ModelProto:
    return with_graph(graph_of(), functions=[onnx.FunctionProto(name="f", domain="d", **fields)])


ELSEWHERE = {
    "initializer": with_graph(graph_of(initializer=[away()])),
    "location alone": with_graph(graph_of(initializer=[named_only()])),
    "constant": with_graph(graph_of(constant(away()))),
    "tensors of a node": with_graph(
        graph_of(onnx.NodeProto(attribute=[onnx.AttributeProto(name="a", tensors=[away()])]))
    ),
    "branch": with_graph(graph_of(branch(graph_of(constant(away()))))),
    "branch of a branch": with_graph(graph_of(branch(graph_of(branch(graph_of(initializer=[away()])))))),
    "graphs of a node": with_graph(
        graph_of(onnx.NodeProto(attribute=[onnx.AttributeProto(name="a", graphs=[graph_of(constant(away()))])]))
    ),
    "values of a sparse initializer": with_graph(graph_of(sparse_initializer=[sparse(values=away())])),
    "indices of a sparse initializer": with_graph(graph_of(sparse_initializer=[sparse(indices=away())])),
    "sparse constant": with_graph(
        graph_of(onnx.NodeProto(attribute=[onnx.AttributeProto(name="a", sparse_tensor=sparse(values=away()))]))
    ),
    "sparse tensors of a node": with_graph(
        graph_of(onnx.NodeProto(attribute=[onnx.AttributeProto(name="a", sparse_tensors=[sparse(values=away())])]))
    ),
    "function": with_function(node=[constant(away())]),
    "default of a function": with_function(attribute_proto=[onnx.AttributeProto(name="a", t=away())]),
    "training": with_graph(
        graph_of(), training_info=[onnx.TrainingInfoProto(initialization=graph_of(initializer=[away()]))]
    ),
    "step of training": with_graph(
        graph_of(), training_info=[onnx.TrainingInfoProto(algorithm=graph_of(constant(away())))]
    ),
}


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
