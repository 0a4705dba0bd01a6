"""The familiarity of photos as ONNX operators: the mean cosine similarity to the nearest prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from zoo.models.prototypes import SMALLEST_NORM
from zoo_export.graph.builder import GraphBuilder
from zoo_export.model_card import FAMILIARITY, FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto


def append_familiarity(graph: GraphProto, prototypes: NDArray[np.float16], *, neighbours: int) -> None:
    """Replaces the output ``features``, float32 ``(N, D)``, by ``familiarity``, float32 ``(N,)``.

    It computes in float32, in files of every precision; only the prototypes are stored in float16.

    Args:
        graph: A graph with the output ``features``.
        prototypes: Unit vectors, ``(K, D)``.
        neighbours: Number of nearest prototypes that the score is the mean of.
    """
    op = GraphBuilder(FAMILIARITY)
    squares = op("ReduceSum", op("Mul", FEATURES, FEATURES), op.int_vector(1), keepdims=1)
    norms = op("Max", op("Sqrt", squares), op.float_scalar(SMALLEST_NORM))
    stored = op.constant(np.ascontiguousarray(prototypes.T))
    similarities = op("MatMul", op("Div", FEATURES, norms), op("Cast", stored, to=TensorProto.FLOAT))
    nearest = f"{FAMILIARITY}/nearest"
    op.nodes.append(
        helper.make_node(
            "TopK",
            [similarities, op.int_vector(neighbours)],
            [nearest, f"{nearest}_indices"],
            name=f"{FAMILIARITY}/TopK",
            axis=1,
        )
    )
    op("ReduceMean", nearest, op.int_vector(1), keepdims=0, output=FAMILIARITY)
    graph.node.extend(op.nodes)
    graph.initializer.extend(op.initializers)
    (features,) = (output for output in graph.output if output.name == FEATURES)
    graph.output.remove(features)
    graph.output.append(helper.make_tensor_value_info(FAMILIARITY, TensorProto.FLOAT, ["batch"]))
