"""The models of a server, with what goes with them: the folder of runs, the device, plugins and example photos."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.inference.open import find_model, load_model
from zoo.plugins.registry import load_registry
from zoo.runs.run import RunFolder, list_runs
from zoo_demo.models.examples import Example, find_examples
from zoo_demo.models.served_model import ServedModel

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from zoo.inference.open import ModelFile
    from zoo.inference.predictor import EngineName
    from zoo.plugins.registry import Registry

_MAX_MEASURED_BYTES = 200 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPool:
    """What the page and the API work with.

    Attributes:
        models: Models by name, the default first. Models of lessons are added while the server runs.
        runs: Folder of runs; lessons are below it.
        device: As the user wrote it.
        registry: The plugins.
        examples: Example photos by the name of the model; a model is missing until the search for its photos is done.
    """

    models: dict[str, ServedModel]
    runs: Path
    device: str
    registry: Registry
    examples: dict[str, list[Example]] = field(default_factory=dict)


def load_model_pool(
    references: Sequence[str], *, runs: Path, device: str, registry: Registry | None = None
) -> ModelPool:
    """Loads models, and searches for their example photos in the background. Only runs import torch.

    Args:
        references: Run folders, names of runs, or exported files. Without any, the newest run that has an exported
            file, else the newest finished run, else no model: lessons can still train one.
        runs: Folder of runs.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        registry: The plugins; discovered by default.

    Raises:
        ZooError: A run or file does not exist or is broken, or the device is not available.
    """
    registry = registry or load_registry()
    found = [find_model(each, runs=runs, registry=registry) for each in references or _newest_model(runs)]
    pool = ModelPool(models={}, runs=runs, device=device, registry=registry)
    sources: dict[str, RunFolder | ModelFile] = {}
    for model in found:
        predictor = load_model(model, device=device, registry=registry, engine=_choose_engine(model))
        name = _unique_name(_display_name(model), pool.models)
        pool.models[name], sources[name] = ServedModel(name, predictor), model
    threading.Thread(target=_load_examples, args=(pool, sources), name="examples", daemon=True).start()
    return pool


def _load_examples(pool: ModelPool, sources: dict[str, RunFolder | ModelFile]) -> None:
    for name, model in sources.items():
        pool.examples[name] = find_examples(model, pool.models[name].predictor, pool.registry)


def _newest_model(runs: Path) -> list[str]:
    finished = [run for run in list_runs(runs) if run.finished]
    exported = [run.path / "model.onnx" for run in finished if (run.path / "model.onnx").is_file()]
    newest = exported[-1:] or [run.path for run in finished[-1:]]
    return [str(each) for each in newest]


def _display_name(model: RunFolder | ModelFile) -> str:
    """Returns a name for visitors of the page; it does not reveal where on the server a file is."""
    return model.name if isinstance(model, RunFolder) else f"{model.path.absolute().parent.name}/{model.path.name}"


def _choose_engine(model: RunFolder | ModelFile) -> EngineName:
    """Returns the engine of a model: measuring a large network would delay the start by up to a minute."""
    if not isinstance(model, RunFolder) or not model.weights_path.is_file():
        return "torch"
    return "auto" if model.weights_path.stat().st_size < _MAX_MEASURED_BYTES else "torch"


def _unique_name(name: str, existing: Collection[str]) -> str:
    number, unique = 1, name
    while unique in existing:
        number += 1
        unique = f"{name} ({number})"
    return unique
