"""The kinds of change that a model can be measured under: all of them, or those that the user named."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from zoo.errors import ConfigError, UnknownNameError, close_matches
from zoo.inference.open import ModelFile, load_model
from zoo.inference.stress.changes import CHANGES
from zoo.inference.stress.measure import CLEAN, AttackKind, ChangeKind, Kind
from zoo.runs.run import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.inference.predictor import PhotoPredictor
    from zoo.inference.stress.adversarial import Method
    from zoo.plugins.registry import Registry

_ATTACKS: dict[Method, tuple[int, ...]] = {"fgsm": (1, 2, 4), "pgd": (1, 2, 4)}  # largest change of a level, of 255
KINDS = (*(change.name for change in CHANGES), *_ATTACKS)


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Returns some kinds, or all if none is named, in the order in which they are measured.

    Raises:
        UnknownNameError: There is no such kind.
    """
    for kind in kinds:
        if kind not in KINDS:
            near = close_matches(kind, KINDS)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"The kinds are {', '.join(KINDS)}."
            raise UnknownNameError(f"There is no kind of change '{kind}'.", hint=hint)
    return tuple(name for name in KINDS if not kinds or name in kinds)


def count_strengths(names: Sequence[str]) -> dict[str, int]:
    """Returns the number of strengths of each of some kinds."""
    found = {change.name: len(change.levels) for change in CHANGES}
    found |= {str(name): len(levels) for name, levels in _ATTACKS.items()}
    return {name: found[name] for name in names}


def make_kinds(
    model: RunFolder | ModelFile,
    predictor: PhotoPredictor,
    names: Sequence[str],
    *,
    asked: bool,
    seed: int,
    device: str,
    registry: Registry,
) -> tuple[Kind, ...]:
    """Returns the kinds that a model can be measured under, first the photos as they are.

    Args:
        model: The model.
        predictor: The same, ready to predict.
        names: The kinds.
        asked: Whether the user named them.
        seed: The seed.
        device: Of the attacks.
        registry: The plugins.

    Raises:
        ConfigError: The user asked for an attack on what is not a run.
    """
    made: list[Kind] = [
        ChangeKind(change=change, predictor=predictor, seed=seed)
        for change in (CLEAN, *CHANGES)
        if change is CLEAN or change.name in names
    ]
    attacks = [name for name in _ATTACKS if name in names]
    if not attacks:
        return tuple(made)
    if not isinstance(model, RunFolder):
        if asked:
            raise ConfigError(
                f"{model.path} cannot be attacked: an exported file has no gradients.",
                hint=f"Pass the run that it was exported from, or leave out {', '.join(attacks)}.",
            )
        return tuple(made)
    if importlib.util.find_spec("torch") is None and not asked:
        return tuple(made)
    network = predictor
    if not predictor.runtime.startswith("torch"):
        network = load_model(model, device=device, registry=registry)  # raises an error without torch
    from zoo.inference.run_predictor import Predictor
    from zoo.inference.stress.adversarial import METHODS, Attacker

    assert isinstance(network, Predictor)
    attacker = Attacker(network)
    made += [
        AttackKind(
            name=name, summary=METHODS[name], levels=_ATTACKS[name], attacker=attacker, predictor=network, seed=seed
        )
        for name in attacks
    ]
    return tuple(made)
