import pytest
import torch
from torch import Tensor, nn

from zoo.models.tracing import EXAMPLE, Tracer, UntraceableError


class Net(nn.Module):
    """Two layers, with a function of a test between them."""

    def __init__(self, between):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("shift", torch.ones(4))
        self.between = between

    def forward(self, x):
        return self.second(self.between(self, self.first(x)))


def trace(between, *, is_leaf=lambda module: True, rows=3):
    net = Net(between)
    x = torch.randn(rows, 4)
    with torch.no_grad():
        graph = Tracer(x, is_leaf=is_leaf).trace(net)
    run = type(torch.fx.GraphModule(net, graph)).forward
    for batch in (x, torch.randn(rows + 2, 4)):
        torch.testing.assert_close(run(net, batch), net(batch))
    return graph


def branches_on_shapes(net, x):
    rows, columns = x.shape
    assert isinstance(x, Tensor)
    assert x.ndim == len(x.shape) == 2
    if columns % 2:
        x = x[:, 1:]
    for _ in range(x.shape[1] // 2):
        x = x + round(columns**0.5)
    return x.view(rows, 2, columns // 2).flatten(1)


def unpacks(net, x):
    low, high = x.chunk(2, dim=1)
    return torch.cat([*(part.relu() for part in (high, low))], dim=1) * float(x.shape[1])


@pytest.mark.parametrize(
    "between",
    [branches_on_shapes, unpacks, lambda net, x: x * net.scale + net.shift, lambda net, x: net.second(x.T.T)],
)
def test_code_between_modules_is_traced_for_any_number_of_images(between):
    nodes = list(trace(between).nodes)
    assert [node.target for node in nodes if node.op == "call_module"][:2] == ["first", "second"]
    assert any(node.op in ("call_function", "call_method") for node in nodes)


def test_a_leaf_is_one_node_and_other_modules_are_traced_into():
    between = lambda net, x: x.relu()  # noqa: E731
    modules = [node for node in trace(between).nodes if node.op == "call_module"]
    assert [node.target for node in modules] == ["first", "second"]
    inside = [node for node in trace(between, is_leaf=lambda module: False).nodes if node.op == "get_attr"]
    assert [node.target for node in inside] == ["first.weight", "first.bias", "second.weight", "second.bias"]


def test_every_node_has_its_value_for_the_example():
    graph = trace(lambda net, x: x.relu())
    shapes = [tuple(node.meta[EXAMPLE].shape) for node in graph.nodes if node.op != "output"]
    assert shapes == [(3, 4)] * 4


def test_control_flow_that_depends_on_pixel_values_is_refused():
    with pytest.raises(UntraceableError, match="control flow depends on pixel values"):
        trace(lambda net, x: x.relu() if x.sum() > 0 else x)
