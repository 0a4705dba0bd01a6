"""What a server has on offer: models, the folder of runs, and example photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo.opening import find_model, load_model
from zoo.plugins import load_registry
from zoo_demo.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from zoo.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What page and interface work on.

    Attributes:
        served: Models by name; a model that is taught joins them.
        runs: Where runs are, and where taught ones go.
        device: As the user wrote it.
        registry: Of plugins.
    """

    served: dict[str, Served]
    runs: Path
    device: str
    registry: Registry


def make_offer(references: Iterable[str], *, runs: Path, device: str, registry: Registry | None = None) -> Offer:
    """Loads the models that are to be served; torch is imported for runs alone.

    Args:
        references: Runs, their names or exported files.
        runs: Where runs are looked for by name.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        registry: Of plugins; found in the environment by default.

    Raises:
        ZooError: There is no such run or file, it is broken, or the device cannot be had.
    """
    registry = registry or load_registry()
    found = [find_model(reference, runs=runs, registry=registry) for reference in references]
    served: dict[str, Served] = {}
    for model in found:
        predictor = load_model(model, device=device, registry=registry)
        name = _unique(predictor.name, served)
        served[name] = Served(name, predictor)
    return Offer(served=served, runs=runs, device=device, registry=registry)


def _unique(name: str, taken: Iterable[str]) -> str:
    names, number, unique = set(taken), 1, name
    while unique in names:
        number += 1
        unique = f"{name} ({number})"
    return unique
