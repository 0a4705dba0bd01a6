"""Built-in plugin that serves runs and exported files: a page for people, an HTTP API for programs.

Every ``zoo --help`` imports this module, so even light modules are imported inside the functions.
"""

from __future__ import annotations

from typing import Any

from zoo import hookimpl


@hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds ``zoo demo``."""
    cli.add_lazy("demo", "zoo_demo.commands:command", "Serve models in the browser and over HTTP.", section="Deploy")
