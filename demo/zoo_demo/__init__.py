"""The built-in plugin that serves trained runs and exported files: a page for people, an interface for programs.

Every ``zoo --help`` imports it: even light modules are imported inside the functions.
"""

from __future__ import annotations

from typing import Any

from zoo import hookimpl


@hookimpl
def zoo_commands(cli: Any) -> None:
    """Adds ``zoo demo``."""
    cli.add_lazy("demo", "zoo_demo.commands:command", "Open a page with live predictions.", section="Deploy")
