"""Settings of the process and of its libraries, which code of a plugin may change for everything that runs after it.

A library is looked at only if it is imported: reading its settings imports nothing.
"""

from __future__ import annotations

import contextlib
import operator
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.utils.interrupts import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

_UNKNOWN: Any = object()


class _Setting(NamedTuple):
    """A setting of a module.

    Attributes:
        name: In messages: ``"the working directory"``.
        module: The module that it belongs to.
        read: Returns its value, given the module.
        write: Sets it back to a value, given the module and the value.
        default: Returns its value right after the import of the module, given the module; None if that is unknown.
        unchanged: Returns whether two values, the earlier one first, are the same setting.
    """

    name: str
    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    default: Callable[[Any], Any] | None = None
    unchanged: Callable[[Any, Any], bool] = operator.eq


def read_settings() -> dict[str, Any]:
    """Returns the settings as they are now, by name."""
    found = {setting.name: _read(setting) for setting in _SETTINGS}
    return {name: value for name, value in found.items() if value is not _UNKNOWN}


def restore_settings(before: Mapping[str, Any]) -> list[str]:
    """Sets the settings back to what they were, and returns the names of those that had changed.

    Args:
        before: What `read_settings` returned.
    """
    changed = []
    for setting in _SETTINGS:
        now = _read(setting)
        was = before[setting.name] if setting.name in before else _default(setting)
        if was is _UNKNOWN or now is _UNKNOWN or setting.unchanged(was, now):
            continue
        with contextlib.suppress(OSError):  # the working directory may be gone
            setting.write(sys.modules[setting.module], was)
            changed.append(setting.name)
    return changed


def _read(setting: _Setting) -> Any:
    module = sys.modules.get(setting.module)
    if module is None:
        return _UNKNOWN
    try:
        return setting.read(module)
    except (AttributeError, OSError):  # another thread is importing it; the working directory is gone
        return _UNKNOWN


def _default(setting: _Setting) -> Any:
    """Returns the value of a setting whose module was not imported before."""
    module = sys.modules.get(setting.module)
    return _UNKNOWN if module is None or setting.default is None else setting.default(module)


def _attributes(*names: str) -> tuple[Callable[[Any], Any], Callable[[Any, Any], None]]:
    """Returns the functions that read and write attributes of a module."""

    def write(module: ModuleType, values: tuple[Any, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(module, name, value)

    return lambda module: tuple(getattr(module, name) for name in names), write


def _streams(sys: Any) -> tuple[Any, ...]:
    # A progress display of rich's wraps streams while it is shown, which may begin while a plugin reports its progress.
    return tuple(getattr(stream, "rich_proxied_file", stream) for stream in (sys.stdin, sys.stdout, sys.stderr))


def _handlers(signal: Any) -> dict[int, Any]:
    known = {number: signal.getsignal(number) for number in SIGNALS}
    return {number: handler for number, handler in known.items() if handler is not None}  # None: not set from Python


def _set_handlers(signal: Any, handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _logging(logging: Any) -> tuple[Any, ...]:
    return logging.root.level, tuple(logging.root.handlers), logging.root.manager.disable


def _set_logging(logging: Any, values: tuple[Any, ...]) -> None:
    level, handlers, disabled = values
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers
    logging.disable(disabled)


def _blanket_filters(warnings: Any) -> tuple[Any, ...]:
    """Returns the filters for all warnings; libraries add those for their own, which harm nobody."""
    return tuple(each for each in warnings.filters if each[1] is None and each[2] is Warning and each[3] is None)


def _remove_filters(warnings: Any, kept: tuple[Any, ...]) -> None:
    warnings.filters[:] = [each for each in warnings.filters if each in kept or each not in _blanket_filters(warnings)]


def _set_device(torch: Any, device: Any) -> None:
    # None, because a default device costs time in every call of torch, even if it is the CPU.
    torch.set_default_device(None if device.type == "cpu" else device)


_SETTINGS = (
    _Setting("the working directory", "os", lambda os: os.getcwd(), lambda os, value: os.chdir(value)),
    _Setting(
        "environment variables",
        "os",
        lambda os: dict(os.environ),
        lambda os, value: os.environ.update(value),
        # New ones are usual: many libraries set some when they are imported.
        unchanged=lambda was, now: was.items() <= now.items(),
    ),
    _Setting("the standard streams", "sys", _streams, _attributes("stdin", "stdout", "stderr")[1]),
    _Setting(
        "the recursion limit", "sys", lambda s: s.getrecursionlimit(), lambda s, value: s.setrecursionlimit(value)
    ),
    _Setting("the signal handlers", "signal", _handlers, _set_handlers),
    _Setting("the root logger", "logging", _logging, _set_logging, default=lambda logging: (logging.WARNING, (), 0)),
    _Setting(
        "the warning filters",
        "warnings",
        _blanket_filters,
        _remove_filters,
        unchanged=lambda was, now: set(now) <= set(was),
    ),
    _Setting(
        "the timeout of sockets",
        "socket",
        lambda socket: (socket.getdefaulttimeout(),),
        lambda socket, value: socket.setdefaulttimeout(*value),
        default=lambda socket: (None,),
    ),
    _Setting(
        "the garbage collection",
        "gc",
        lambda gc: gc.isenabled(),
        lambda gc, enabled: gc.enable() if enabled else gc.disable(),
        default=lambda _: True,
    ),
    _Setting(
        "numpy's handling of errors",
        "numpy",
        lambda np: np.geterr(),
        lambda np, value: np.seterr(**value),
        default=lambda _: {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
    ),
    _Setting(
        "Pillow's handling of truncated files",
        "PIL.ImageFile",
        *_attributes("LOAD_TRUNCATED_IMAGES"),
        default=lambda _: (False,),
    ),
    _Setting("Pillow's limit of pixels", "PIL.Image", *_attributes("MAX_IMAGE_PIXELS"), default=lambda _: (89478485,)),
    _Setting(
        "torch's default type",
        "torch",
        lambda torch: torch.get_default_dtype(),
        lambda torch, value: torch.set_default_dtype(value),
        default=lambda torch: torch.float32,
    ),
    _Setting(
        "torch's default device",
        "torch",
        lambda torch: torch.get_default_device(),
        _set_device,
        default=lambda torch: torch.device("cpu"),
    ),
    _Setting(
        "torch's recording of gradients",
        "torch",
        lambda torch: torch.is_grad_enabled(),
        lambda torch, value: torch.set_grad_enabled(value),
        default=lambda _: True,
    ),
    _Setting(
        "torch's number of threads",
        "torch",
        lambda torch: torch.get_num_threads(),
        lambda torch, value: torch.set_num_threads(value),
    ),
    _Setting(
        "torch's precision of float32 products",
        "torch",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, value: torch.set_float32_matmul_precision(value),
        default=lambda _: "highest",
    ),
    _Setting(
        "torch's choice of deterministic algorithms",
        "torch",
        lambda torch: torch.get_deterministic_debug_mode(),
        lambda torch, value: torch.set_deterministic_debug_mode(value),
        default=lambda _: 0,
    ),
    _Setting(
        "torch's detection of anomalies",
        "torch",
        lambda torch: torch.is_anomaly_enabled(),
        lambda torch, value: torch.autograd.set_detect_anomaly(value),
        default=lambda _: False,
    ),
)
