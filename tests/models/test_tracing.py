import pytest
import torch
from torch import Tensor, nn

from zoo.models.tracing import EXAMPLE, Tracer, UntraceableError


class Net(nn.Module):
    """Two layers, and between them whatever a test says."""

    def __init__(self, between):
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("shift", torch.ones(4))
        self.between = between

    def forward(self, x):
        return self.second(self.between(self, self.first(x)))


def traced(between, *, is_leaf=lambda module: True, rows=3):
    net = Net(between)
    x = torch.randn(rows, 4)
    with torch.no_grad():
        graph = Tracer(x, is_leaf=is_leaf).trace(net)
    run = type(torch.fx.GraphModule(net, graph)).forward
    for again in (x, torch.randn(rows + 2, 4)):
        torch.testing.assert_close(run(net, again), net(again))
    return graph


def asks_for_shapes(net, x):
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
    "between", [asks_for_shapes, unpacks, lambda net, x: x * net.scale + net.shift, lambda net, x: net.second(x.T.T)]
)
def test_python_between_modules_is_followed_and_holds_for_any_number_of_images(between):
    traced(between)


def test_a_leaf_is_one_step_and_other_modules_are_looked_into():
    between = lambda net, x: x.relu()  # noqa: E731
    modules = [node for node in traced(between).nodes if node.op == "call_module"]
    assert [node.target for node in modules] == ["first", "second"]
    inside = [node for node in traced(between, is_leaf=lambda module: False).nodes if node.op == "get_attr"]
    assert [node.target for node in inside] == ["first.weight", "first.bias", "second.weight", "second.bias"]


def test_every_step_knows_what_it_made_of_the_example():
    graph = traced(lambda net, x: x.relu())
    shapes = [tuple(node.meta[EXAMPLE].shape) for node in graph.nodes if node.op != "output"]
    assert shapes == [(3, 4)] * 4


def test_a_condition_on_what_is_in_the_images_cannot_be_written_down():
    with pytest.raises(UntraceableError, match="depends on the content of the images"):
        traced(lambda net, x: x.relu() if x.sum() > 0 else x)
