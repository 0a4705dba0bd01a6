"""The built-in plugin that exports trained runs to ONNX, verifies exported files, and serves them without torch.

Every ``zoo --help`` imports it, so functions import even light modules themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import hookimpl

if TYPE_CHECKING:
    from zoo.plugins.specs import CheckSpec, ExportTargetSpec, FormatSpec
    from zoo_export.runtime.predictor import OnnxPredictor, load
    from zoo_export.validation.reference import Reference, load_reference

_EXPORTS = {
    "OnnxPredictor": "zoo_export.runtime.predictor",
    "load": "zoo_export.runtime.predictor",
    "Reference": "zoo_export.validation.reference",
    "load_reference": "zoo_export.validation.reference",
}
__all__ = ["OnnxPredictor", "Reference", "load", "load_reference"]

_COMMANDS = {
    "export": ("zoo_export.commands.export:command", "Export a run to ONNX or another format."),
    "inspect": ("zoo_export.commands.inspect:command", "Describe an exported file."),
    "verify": ("zoo_export.commands.signing:verify_command", "Verify that a run or a file is unchanged."),
    "sign": ("zoo_export.commands.signing:sign_command", "Sign a run or a file."),
    "encrypt": ("zoo_export.commands.encryption:encrypt_command", "Encrypt an exported file."),
    "decrypt": ("zoo_export.commands.encryption:decrypt_command", "Decrypt a file."),
}


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        import importlib

        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'zoo_export' has no attribute '{name}'")


@hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds the commands that export, describe, verify and protect files."""
    for name, (target, summary) in _COMMANDS.items():
        cli.add_lazy(name, target, summary, section="Deploy")


@hookimpl
def zoo_formats() -> list[FormatSpec]:
    """Lets ``zoo predict`` and ``zoo evaluate`` open exported files."""
    from zoo.plugins.specs import FormatSpec

    return [
        FormatSpec(
            name="onnx",
            suffixes=(".onnx", ".onnx.age"),
            load="zoo_export.runtime.predictor:load_request",
            summary="The files of 'zoo export'.",
        )
    ]


@hookimpl
def zoo_export_targets() -> list[ExportTargetSpec]:
    """Returns the files that a run can become."""
    from zoo.plugins.specs import ExportTargetSpec
    from zoo_export.targets.options import OnnxOptions, TritonOptions

    return [
        ExportTargetSpec(
            name="onnx",
            export="zoo_export.export_targets:export_to_onnx",
            options=OnnxOptions,
            summary="One file for any ONNX runtime, with the preprocessing.",
            usage=("zoo inspect {path}", "zoo predict {path} photo.jpg"),
        ),
        ExportTargetSpec(
            name="pt2",
            export="zoo_export.export_targets:export_to_pt2",
            summary="An archive for torch, without the preprocessing.",
            usage=("zoo inspect {path}", 'python: torch.export.load("{path}").module()'),
        ),
        ExportTargetSpec(
            name="triton",
            export="zoo_export.export_targets:export_to_triton",
            options=TritonOptions,
            summary="An ONNX file in a model repository of NVIDIA's Triton, as the next version of a model.",
            usage=("tritonserver --model-repository {path.parent.parent}", "python {path.parent}/client.py photo.jpg"),
        ),
    ]


@hookimpl
def zoo_checks() -> list[CheckSpec]:
    """Lets ``zoo doctor`` check ONNX Runtime and the packages of an export."""
    from zoo.plugins.specs import CheckSpec

    return [CheckSpec(name="onnxruntime", run="zoo_export.checks:check_export")]
