"""Checks the whole set-up by really using it, and says what to do about each finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from zoo.plugins.registry import load_registry
from zoo.plugins.specs import CheckSpec, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.plugins.registry import Registry


class Examined(NamedTuple):
    """A finding, and which check made it.

    Attributes:
        check: ``"machine"`` for the core's own, ``"export/onnxruntime"`` for a plugin's.
        finding: What it found.
    """

    check: str
    finding: Finding


def examine(registry: Registry | None = None) -> Iterator[Examined]:
    """Runs every check, the core's first, and yields each finding as soon as it is made.

    A check that fails is itself a finding, and disturbs no other.

    Args:
        registry: Of plugins; found in the environment by default.
    """
    from zoo.cli.checks import CHECKS, check_plugins

    registry = registry or load_registry()
    own = [*CHECKS, CheckSpec(name="plugins", run=lambda: check_plugins(registry))]
    for name, spec in [(spec.name, spec) for spec in own] + [(offer.name, offer.spec) for offer in registry.checks()]:
        for finding in _run(spec):
            yield Examined(name, finding)


def _run(spec: CheckSpec) -> list[Finding]:
    try:
        return spec.run()
    except KeyboardInterrupt:
        raise
    # As at loading: not even sys.exit() in a plugin may end the program.
    except BaseException as error:
        return [
            Finding(
                about=spec.name,
                status="problem",
                text=f"The check failed: {type(error).__name__}: {error}",
                advice="What it checks is probably broken, or the check is: tell its author.",
            )
        ]
