"""The decisions of a multi-label file as ONNX operators: which probabilities reach the thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from zoo_export.graph.builder import GraphBuilder
from zoo_export.model_card import DECISIONS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto


def append_decisions(graph: GraphProto, thresholds: Sequence[float]) -> None:
    """Adds the output ``decisions``, uint8 ``(N, classes)``: 1 where a photo is decided to have a label.

    It compares float32 with float32, in files of every precision.

    Args:
        graph: A graph with the output ``probabilities``, float32 ``(N, classes)``.
        thresholds: The threshold of each class.
    """
    op = GraphBuilder(DECISIONS)
    reached = op("GreaterOrEqual", OUTPUTS[0], op.constant(np.array(thresholds, dtype=np.float32)))
    op("Cast", reached, output=DECISIONS, to=TensorProto.UINT8)
    graph.node.extend(op.nodes)
    graph.initializer.extend(op.initializers)
    graph.output.append(helper.make_tensor_value_info(DECISIONS, TensorProto.UINT8, ["batch", len(thresholds)]))
