"""The built-in plugin for the Hugging Face Hub: ``hf:user/name`` names a model there, and ``zoo push`` publishes a run.

Every ``zoo --help`` imports it, so functions import even light modules themselves. Nothing that comes from the Hub is
executed or unpickled: it reads JSON, safetensors, ONNX and pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import hookimpl

if TYPE_CHECKING:
    from zoo.plugins.specs import HubSpec


@hookimpl
def zoo_hubs() -> list[HubSpec]:
    """Returns the Hugging Face Hub, or the server that the variable HF_ENDPOINT names."""
    from zoo.plugins.specs import HubSpec

    return [HubSpec(name="hf", fetch="zoo_hub.fetch:fetch", summary="Models on the Hugging Face Hub: hf:user/name.")]


@hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds ``zoo push``."""
    cli.add_lazy("push", "zoo_hub.push_command:command", "Publish a run on the Hugging Face Hub.", section="Deploy")
