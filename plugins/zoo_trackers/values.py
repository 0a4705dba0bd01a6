"""What the trackers have in common: plain values of a run, and what they remember for a run that is resumed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.utils.files import atomic_write, parse_json, read_regular_file

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.events import EpochResult

PICTURES = ("curves.png", "confusion.png", "precision_recall.png", "reliability.png", "mistakes.png")
MODEL = "model.safetensors"
RECORD = "run.json"
_STATE = "state.json"


def epoch_metrics(event: EpochResult) -> dict[str, float]:
    """Returns the numbers of an epoch by name, without those that are not defined."""
    return _numbers({name: value for name, value in event.to_dict().items() if name not in ("epoch", "best")})


def final_metrics(results: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers among the results of a run: ``"test.accuracy"``; ``"run.seconds"``, which is no epoch's."""
    splits = {name: value for name, value in results.items() if isinstance(value, Mapping)}
    return _numbers(flatten({**splits, "run": {name: results[name] for name in results if name not in splits}}))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested values by joined names: ``{"head_options.hidden": 64}``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def find_pictures(run: Path) -> list[Path]:
    """Returns the pictures of a finished run."""
    return [path for name in PICTURES if (path := run / name).is_file()]


def load_state(folder: Path) -> dict[str, Any]:
    """Returns what `save_state` saved in the folder of a tracker; empty if nothing was, or if it cannot be read."""
    try:
        state = parse_json(read_regular_file(folder / _STATE))
    except (OSError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, dict) else {}


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Saves plain values in the folder of a tracker."""
    with atomic_write(folder / _STATE) as path:
        path.write_text(json.dumps(dict(state)) + "\n", encoding="utf-8")


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
