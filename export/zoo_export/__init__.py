"""The built-in plugin that exports trained runs to ONNX, proves them equal, and serves them without torch.

Every ``zoo --help`` imports it: even light modules are imported inside the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import hookimpl

if TYPE_CHECKING:
    from zoo.plugins.specs import CheckSpec, Finding, FormatRequest, FormatSpec
    from zoo_export.predictor import OnnxPredictor, load

__all__ = ["OnnxPredictor", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from zoo_export import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'zoo_export' has no attribute '{name}'")


@hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds ``zoo export`` and ``zoo inspect``, and what proves and protects files."""
    cli.add_lazy("export", "zoo_export.commands.export:command", "Export a run to ONNX.", section="Deploy")
    cli.add_lazy("inspect", "zoo_export.commands.inspect:command", "Tell what an exported file is.", section="Deploy")
    cli.add_lazy(
        "verify", "zoo_export.commands.verify:command", "Tell what has changed in a run or a file.", section="Deploy"
    )
    cli.add_lazy("sign", "zoo_export.commands.sign:command", "Sign a run or a file.", section="Deploy")
    cli.add_lazy("encrypt", "zoo_export.commands.encrypt:command", "Encrypt an exported file.", section="Deploy")
    cli.add_lazy("decrypt", "zoo_export.commands.decrypt:command", "Decrypt a file.", section="Deploy")


@hookimpl
def zoo_formats() -> list[FormatSpec]:
    """Lets ``zoo predict`` and ``zoo evaluate`` open what ``zoo export`` wrote."""
    from zoo.plugins.specs import FormatSpec

    return [FormatSpec(name="onnx", suffixes=(".onnx", ".onnx.age"), load=_load, summary="What 'zoo export' writes.")]


def _load(request: FormatRequest) -> OnnxPredictor:
    from zoo_export.predictor import load

    return load(request.path, device=request.device, ask=request.ask)


@hookimpl
def zoo_checks() -> list[CheckSpec]:
    """Lets ``zoo doctor`` try ONNX Runtime."""
    from zoo.plugins.specs import CheckSpec

    return [CheckSpec(name="onnxruntime", run=_check)]


def _check() -> list[Finding]:
    from zoo_export.checks import check

    return check()
