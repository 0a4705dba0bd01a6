"""Hubs: places that trained models are fetched from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zoo.plugins.specs.base import Spec

Wanted = Literal["model", "run", "file", "weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """The argument of `HubSpec.fetch`.

    Attributes:
        reference: What the user wrote behind the name of the hub and a colon: ``"anna/hotdog@v2"``.
        wanted: What it is for. ``"model"``: to predict, a run folder or a file of a format that a plugin opens;
            ``"run"``: a run folder; ``"file"``: an exported file, or a run folder that contains one; ``"weights"``: a
            run folder, or a file of weights.
    """

    reference: str
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedModel:
    """The local copy of a model.

    Attributes:
        path: A run folder or a file. Nothing is written to it.
        origin: Where the copy is from, as a reference that always means the same files:
            ``"hf:anna/hotdog@3f2c..."``.
    """

    path: Path
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSpec(Spec):
    """A place that trained models are fetched from; its name and a colon begin a reference: ``hf:anna/hotdog``.

    Attributes:
        fetch: Returns a `FetchedModel`, from a cache if the hub cannot be reached. Raises a `ZooError` if there is no
            such model or it was changed. Nothing that it fetches may be executed or unpickled.
    """

    fetch: Callable[[FetchRequest], FetchedModel] | str
