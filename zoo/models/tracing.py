"""Traces a network as a torch.fx graph by running it on an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, fx, nn

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = "example"


class UntraceableError(ZooError):
    """A network cannot be traced as a graph; the message says why."""


class Tracer(fx.Tracer):
    """Traces a network on an example, and stores each value of the example in ``node.meta["example"]``.

    The tracer of fx knows no values, but most networks read shapes between their modules and branch on them. This
    tracer follows the branches that the example takes. It is up to the caller to check that the graph holds for other
    numbers of images.

    Args:
        example: Images ``(N, 3, H, W)``.
        is_leaf: Returns whether a module becomes a single node, whose code is not traced.
        method: The method that is traced.
    """

    def __init__(self, example: Tensor, *, is_leaf: Callable[[nn.Module], bool], method: str = "forward") -> None:
        super().__init__()
        self.traced_func_name = method
        self._example = example
        self._is_leaf = is_leaf
        self._running = False  # whether a node is being computed for the example, which is not traced

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Returns whether a module becomes a single node. Overrides `torch.fx.Tracer`, as do the methods below."""
        return self._is_leaf(m)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Traces a call of a module, unless it happens inside a node."""
        if self._running:
            return forward(*args, **kwargs)
        result = super().call_module(m, forward, args, kwargs)
        if self.is_leaf_module(m, ""):  # its hooks saw the example; what they record must be traced too
            for hook in m._forward_hooks.values():
                hook(m, args, result)
        return result

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Traces the access to an attribute of a module, unless it happens inside a node."""
        return attr_val if self._running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_arg(self, a: Any) -> Any:
        """Returns an argument of a node."""
        return a.node if type(a) is _ExampleProxy else super().create_arg(a)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any) -> _ExampleProxy:
        """Adds a node, and computes its value for the example."""
        node = super().create_proxy(kind, target, args, kwargs, *rest, **named).node
        values: Any = fx.node.map_aggregate((args, kwargs), _value)
        node.meta[EXAMPLE] = self._run(kind, target, *values)
        return _ExampleProxy(node, self)

    def _run(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "placeholder":
            return self._example
        self._running = True
        try:
            if kind == "get_attr":
                return get_attribute(self.root, target)
            if kind == "call_module":
                return self.root.get_submodule(target)(*args, **kwargs)
            return getattr(args[0], target)(*args[1:], **kwargs) if kind == "call_method" else target(*args, **kwargs)
        finally:
            self._running = False


class _ExampleProxy(fx.Proxy):
    """Represents a value during tracing, and has the value of the example wherever Python needs one."""

    def __init__(self, node: fx.Node, tracer: Tracer) -> None:
        super().__init__(node, tracer)
        self.value = node.meta[EXAMPLE]

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # so that the proxy of a tensor is an instance of Tensor
        return Tensor if isinstance(self.value, Tensor) else _ExampleProxy

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(self.value, name)):
            return super().__getattr__(name)  # a method, about to be called
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def _scalar(self) -> Any:
        if isinstance(self.value, Tensor):
            raise UntraceableError("its control flow depends on pixel values")
        return self.value

    def __bool__(self) -> bool:
        return bool(self._scalar())

    def __int__(self) -> int:
        return int(self._scalar())

    def __index__(self) -> int:
        return int(self._scalar())

    def __float__(self) -> float:
        return float(self._scalar())

    def __round__(self, digits: int | None = None) -> Any:
        return round(self._scalar(), digits)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Any]:
        items: Any = self  # fx adds the operators of proxies at run time
        return (items[position] for position in range(len(self.value)))


def _value(argument: Any) -> Any:
    return argument.value if type(argument) is _ExampleProxy else argument


def get_attribute(root: nn.Module, path: str) -> Any:
    """Returns an attribute of a network by its dotted path, as in the target of a graph node."""
    value: Any = root
    for name in path.split("."):
        value = getattr(value, name)
    return value
