"""A hub of the models in the folder ``models``."""

from __future__ import annotations

from pathlib import Path

import zoo
from zoo.errors import RunError


def fetch(request: zoo.FetchRequest) -> zoo.FetchedModel:
    """Returns the model of a name."""
    models = {path.name: path for path in Path("models").glob("*")}
    if request.reference not in models:
        raise RunError(f"There is no model 'tinynet:{request.reference}'.")
    return zoo.FetchedModel(path=models[request.reference], origin=f"tinynet:{request.reference}")
