"""Writes down what a network does as a graph of torch.fx, by running it on an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, fx, nn

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = "example"


class UntraceableError(ZooError):
    """What a network does cannot be written down as a graph."""


class Tracer(fx.Tracer):
    """Traces a network with an example at hand; ``node.meta["example"]`` is each value as the example gave it.

    fx's own tracer knows no values. Most networks ask for a shape somewhere between their modules, and branch on it;
    here that Python is simply followed. What it does with the number of images is for the caller to check, by running
    the graph on a batch of another size.

    Args:
        example: Images ``(N, 3, H, W)``.
        is_leaf: Which modules are written down as one step. No code of theirs is looked into.
    """

    def __init__(self, example: Tensor, *, is_leaf: Callable[[nn.Module], bool]) -> None:
        super().__init__()
        self._example = example
        self._is_leaf = is_leaf
        self._running = False  # a step of the example; what happens meanwhile is not written down

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Returns whether a module is one step; part of `torch.fx.Tracer`, as are the methods below."""
        return self._is_leaf(m)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Called for each call of a module, also for those within a step."""
        return forward(*args, **kwargs) if self._running else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Called for each attribute of a module, also for those within a step."""
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        """Called for each argument of a step."""
        return a.node if type(a) is _Known else super().create_arg(a)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *safe_point: Any, **named: Any) -> _Known:
        """Writes a step down, and takes it."""
        node = super().create_proxy(kind, target, args, kwargs, *safe_point, **named).node
        known: Any = fx.node.map_aggregate((args, kwargs), _value)
        node.meta[EXAMPLE] = self._run(kind, target, *known)
        return _Known(node, self)

    def _run(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "placeholder":
            return self._example
        self._running = True
        try:
            if kind == "get_attr":
                return attribute(self.root, target)
            if kind == "call_module":
                return self.root.get_submodule(target)(*args, **kwargs)
            return getattr(args[0], target)(*args[1:], **kwargs) if kind == "call_method" else target(*args, **kwargs)
        finally:
            self._running = False


class _Known(fx.Proxy):
    """Stands for a value while a network is traced, and answers what Python asks of it."""

    def __init__(self, node: fx.Node, tracer: Tracer) -> None:
        super().__init__(node, tracer)
        self.value = node.meta[EXAMPLE]

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that what stands for a tensor is an instance of Tensor
        return Tensor if isinstance(self.value, Tensor) else _Known

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(self.value, name)):
            return super().__getattr__(name)  # a method, about to be called
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def _number(self) -> Any:
        if isinstance(self.value, Tensor):
            raise UntraceableError("what it does depends on the content of the images")
        return self.value

    def __bool__(self) -> bool:
        return bool(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __index__(self) -> int:
        return int(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def __round__(self, digits: int | None = None) -> Any:
        return round(self._number(), digits)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        items: Any = self  # fx gives its proxies their operators at run time
        return (items[position] for position in range(len(self.value)))


def _value(argument: Any) -> Any:
    return argument.value if type(argument) is _Known else argument


def attribute(root: nn.Module, path: str) -> Any:
    """Returns an attribute of a network by its dotted path, as the nodes of a graph name it."""
    value: Any = root
    for name in path.split("."):
        value = getattr(value, name)
    return value
