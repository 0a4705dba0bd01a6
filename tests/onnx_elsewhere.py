"""ONNX files that keep a tensor in another file: one for each place in the format where a tensor may lie."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


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
