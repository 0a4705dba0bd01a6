"""The decisions of a file as ONNX operators: which probabilities reach the thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from zoo_export.graph.builder import GraphBuilder
from zoo_export.model_card import DECISIONS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto

    from zoo.metrics.costs import CostDecision


def append_decisions(graph: GraphProto, thresholds: Sequence[float]) -> None:
    """Adds the output ``decisions``, uint8 ``(N, classes)``: 1 where a photo is decided to have a label.

    It compares float32 with float32, in files of every precision.

    Args:
        graph: A graph with the output ``probabilities``, float32 ``(N, classes)``.
        thresholds: The threshold of each class.
    """
    op = GraphBuilder(DECISIONS)
    reached = op("GreaterOrEqual", OUTPUTS[0], op.constant(np.array(thresholds, dtype=np.float32)))
    _append(graph, op, reached, classes=len(thresholds))


def append_cost_decision(graph: GraphProto, decision: CostDecision, classes: Sequence[str]) -> None:
    """Adds the output ``decisions``, uint8 ``(N, 2)``: 1 for the class that a photo is decided to have.

    Args:
        graph: As for `append_decisions`.
        decision: The decision by costs.
        classes: The names of the two classes.
    """
    op, positive = GraphBuilder(DECISIONS), classes.index(decision.positive)
    own = op("Gather", OUTPUTS[0], op.constant(np.array([positive], dtype=np.int64)), axis=1)
    reached = op("GreaterOrEqual", own, op.constant(np.array([decision.threshold], dtype=np.float32)))
    is_positive = op.constant(np.array([number == positive for number in range(len(classes))]))
    _append(graph, op, op("Equal", reached, is_positive), classes=len(classes))


def _append(graph: GraphProto, op: GraphBuilder, decided: str, *, classes: int) -> None:
    op("Cast", decided, output=DECISIONS, to=TensorProto.UINT8)
    graph.node.extend(op.nodes)
    graph.initializer.extend(op.initializers)
    graph.output.append(helper.make_tensor_value_info(DECISIONS, TensorProto.UINT8, ["batch", classes]))
