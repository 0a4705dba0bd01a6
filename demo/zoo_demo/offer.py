"""What a server has on offer: models, the folder of runs, and example photos."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.inference.open import find_model, load_model
from zoo.plugins.registry import load_registry
from zoo.runs.run import Run, list_runs
from zoo_demo.examples import Example, find_examples
from zoo_demo.served import Served

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from zoo.inference.open import ModelFile
    from zoo.plugins.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What page and interface work on.

    Attributes:
        served: Models by name; a model that is taught joins them.
        runs: Where runs are, and where taught ones go.
        device: As the user wrote it.
        registry: Of plugins.
        examples: Photos by the name of the model, once they are found.
    """

    served: dict[str, Served]
    runs: Path
    device: str
    registry: Registry
    examples: dict[str, list[Example]] = field(default_factory=dict)


def make_offer(references: Sequence[str], *, runs: Path, device: str, registry: Registry | None = None) -> Offer:
    """Loads the models that are to be served; torch is imported for runs alone. Examples are found meanwhile.

    Args:
        references: Runs, their names or exported files; where none is said, the newest run with an exported file, else
            the newest finished one, else nothing: one can still teach.
        runs: Where runs are looked for by name.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        registry: Of plugins; found in the environment by default.

    Raises:
        ZooError: There is no such run or file, it is broken, or the device cannot be had.
    """
    registry = registry or load_registry()
    found = [find_model(each, runs=runs, registry=registry) for each in references or _newest(runs)]
    offer = Offer(served={}, runs=runs, device=device, registry=registry)
    models: dict[str, Run | ModelFile] = {}
    for model in found:
        predictor = load_model(model, device=device, registry=registry)
        name = _unique(_called(model), offer.served)
        offer.served[name], models[name] = Served(name, predictor), model
    # In a thread of its own: the page need not wait for them.
    threading.Thread(target=_find_examples, args=(offer, models), name="examples", daemon=True).start()
    return offer


def _find_examples(offer: Offer, models: dict[str, Run | ModelFile]) -> None:
    for name, model in models.items():
        offer.examples[name] = find_examples(model, offer.served[name].predictor, offer.registry)


def _newest(runs: Path) -> list[str]:
    finished = [run for run in list_runs(runs) if run.finished]
    exported = [run.path / "model.onnx" for run in finished if (run.path / "model.onnx").is_file()]
    newest = exported[-1:] or [run.path for run in finished[-1:]]
    return [str(each) for each in newest]


def _called(model: Run | ModelFile) -> str:
    """Returns a name for people; where on the server a file lies is nobody's business."""
    return model.name if isinstance(model, Run) else f"{model.path.absolute().parent.name}/{model.path.name}"


def _unique(name: str, taken: Iterable[str]) -> str:
    names, number, unique = set(taken), 1, name
    while unique in names:
        number += 1
        unique = f"{name} ({number})"
    return unique
