"""ONNX models with a tensor in another file, one for each place where the format allows a tensor."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper


def make_external_tensor(name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    return tensor


def make_tensor_with_location_only() -> TensorProto:
    """Returns a tensor that names an external file without declaring itself external."""
    tensor = make_external_tensor()
    tensor.ClearField("data_location")
    return tensor


def make_constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], value=tensor)


def make_graph(*nodes: onnx.NodeProto, **fields) -> onnx.GraphProto:
    return onnx.GraphProto(name="inner", node=nodes, **fields)


def make_branch(graph: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=make_graph())


def make_sparse_tensor(**fields) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(dims=[4], **fields)


def make_model(graph: onnx.GraphProto, **fields) -> onnx.ModelProto:
    return onnx.ModelProto(ir_version=8, graph=graph, **fields)


def make_model_with_function(**fields) -> onnx.ModelProto:
    return make_model(make_graph(), functions=[onnx.FunctionProto(name="f", domain="d", **fields)])


MODELS_WITH_EXTERNAL_DATA = {
    "initializer": make_model(make_graph(initializer=[make_external_tensor()])),
    "location alone": make_model(make_graph(initializer=[make_tensor_with_location_only()])),
    "constant": make_model(make_graph(make_constant(make_external_tensor()))),
    "tensors of a node": make_model(
        make_graph(onnx.NodeProto(attribute=[onnx.AttributeProto(name="a", tensors=[make_external_tensor()])]))
    ),
    "branch": make_model(make_graph(make_branch(make_graph(make_constant(make_external_tensor()))))),
    "branch of a branch": make_model(
        make_graph(make_branch(make_graph(make_branch(make_graph(initializer=[make_external_tensor()])))))
    ),
    "graphs of a node": make_model(
        make_graph(
            onnx.NodeProto(
                attribute=[onnx.AttributeProto(name="a", graphs=[make_graph(make_constant(make_external_tensor()))])]
            )
        )
    ),
    "values of a sparse initializer": make_model(
        make_graph(sparse_initializer=[make_sparse_tensor(values=make_external_tensor())])
    ),
    "indices of a sparse initializer": make_model(
        make_graph(sparse_initializer=[make_sparse_tensor(indices=make_external_tensor())])
    ),
    "sparse constant": make_model(
        make_graph(
            onnx.NodeProto(
                attribute=[
                    onnx.AttributeProto(name="a", sparse_tensor=make_sparse_tensor(values=make_external_tensor()))
                ]
            )
        )
    ),
    "sparse tensors of a node": make_model(
        make_graph(
            onnx.NodeProto(
                attribute=[
                    onnx.AttributeProto(name="a", sparse_tensors=[make_sparse_tensor(values=make_external_tensor())])
                ]
            )
        )
    ),
    "function": make_model_with_function(node=[make_constant(make_external_tensor())]),
    "default of a function": make_model_with_function(
        attribute_proto=[onnx.AttributeProto(name="a", t=make_external_tensor())]
    ),
    "training": make_model(
        make_graph(),
        training_info=[onnx.TrainingInfoProto(initialization=make_graph(initializer=[make_external_tensor()]))],
    ),
    "step of training": make_model(
        make_graph(),
        training_info=[onnx.TrainingInfoProto(algorithm=make_graph(make_constant(make_external_tensor())))],
    ),
}
