"""`GraphBuilder`: writes ONNX operators as function calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray


class GraphBuilder:
    """Collects nodes and constants. Every call returns the name of a new value.

    Args:
        prefix: The start of every name, so that none clashes with those of the graph that the nodes are added to.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def __call__(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Adds an operator with one output, and returns the name of the output."""
        name = f"{self.prefix}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output or name], name=name, **attributes))
        return output or name

    def constant(self, values: NDArray[Any]) -> str:
        """Adds a constant, and returns its name."""
        name = f"{self.prefix}/constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(values, name))
        return name

    def int_vector(self, *values: int) -> str:
        """Adds an int64 constant ``(len(values),)``, and returns its name."""
        return self.constant(np.array(values, dtype=np.int64))

    def double_scalar(self, value: float) -> str:
        """Adds a float64 scalar, and returns its name."""
        return self.constant(np.array(value, dtype=np.float64))

    def float_scalar(self, value: float) -> str:
        """Adds a float32 scalar, and returns its name."""
        return self.constant(np.array(value, dtype=np.float32))
