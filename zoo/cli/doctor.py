"""Checks the whole set-up by really using it, and says what to do about each finding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from zoo.cli.checks import CHECKS, check_plugins
from zoo.errors import ZooError
from zoo.plugins.calls import resolve_callable
from zoo.plugins.kinds import CHECK
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import CheckSpec, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    registry = registry or load_registry()
    for spec in (*CHECKS, CheckSpec(name="plugins", run=lambda: check_plugins(registry))):
        yield from _examine(spec.name, lambda spec=spec: resolve_callable(spec.run)())  # type: ignore[misc]
    for offer in registry.offers(CHECK):
        yield from _examine(offer.name, lambda offer=offer: offer.call("checking the set-up for", offer.spec.run))  # type: ignore[misc]


def _examine(name: str, run: Callable[[], object]) -> Iterator[Examined]:
    """Yields what a check finds; a check that fails, or finds nothing that is a finding, is a finding itself."""
    try:
        found = run()
        if not isinstance(found, list) or not all(isinstance(each, Finding) for each in found):
            raise TypeError(f"it returned {type(found).__name__}, not a list of zoo.Finding")
    except KeyboardInterrupt:
        raise
    # As at loading: not even sys.exit() in a plugin may end the program.
    except BaseException as error:
        reason = error.message if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        found = [
            Finding(
                about=name.rpartition("/")[2],
                status="problem",
                text=f"The check failed: {reason}",
                advice="What it checks is probably broken, or the check itself is: report it to its author.",
            )
        ]
    for finding in found:
        yield Examined(name, finding)
