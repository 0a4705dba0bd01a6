"""From what the user wrote as a run, a run's name or folder or an exported file, to what predicts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import RunError
from zoo.plugins.calls import call_plugin, plugin_failure
from zoo.plugins.kinds import FORMAT
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import FormatRequest
from zoo.runs.open import open_run
from zoo.runs.run import RUNS, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.inference.predictor import PhotoPredictor
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import FormatSpec

    Ask = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file with a trained classifier, not read yet.

    Attributes:
        path: Of the file.
        offer: The format that opens it.
        ask: As in `FormatRequest`.
    """

    path: Path
    offer: Offer[FormatSpec]
    ask: Ask | None = None


def find_model(
    reference: str | Path, *, runs: Path = RUNS, ask: Ask | None = None, registry: Registry | None = None
) -> Run | ModelFile:
    """Returns the run or the file that a reference means; neither torch is imported nor the file read.

    Args:
        reference: A run folder, a run's name below `runs`, or a file of a format that a plugin opens.
        runs: Where runs are looked for by name.
        ask: Asked for the passphrase of an encrypted file, where there is somebody to be asked.
        registry: Of plugins; found in the environment by default.

    Raises:
        RunError: There is no such run or file, or no plugin opens it.
        AmbiguousNameError: Two plugins open such files.
    """
    path = Path(reference)
    if os.path.isdir(path):  # noqa: PTH112  pathlib raises where a name is too long
        return open_run(reference, runs=runs)
    registry = registry or load_registry()
    if os.path.isfile(path):  # noqa: PTH113
        offer = registry.format_of(path)
        if offer is None:
            known = ", ".join(suffix for offer in registry.offers(FORMAT) for suffix in offer.spec.suffixes)
            hint = f"Give a run folder, or a file that ends with: {known or 'nothing, no plugin opens files'}."
            raise RunError(
                f"{path} is a file that cannot be opened.", hint=f"{hint} {registry.describe_missing()}".rstrip()
            )
        return ModelFile(path, offer, ask)
    try:
        return open_run(reference, runs=runs)
    except RunError as error:
        if registry.format_of(path) is None:
            raise
        raise RunError(f"There is no file {path}.", hint=error.hint) from None


def load_model(model: Run | ModelFile, *, device: str = "auto", registry: Registry | None = None) -> PhotoPredictor:
    """Makes what was found ready to predict.

    Args:
        model: From `find_model`.
        device: As in `FinetuneConfig`; never another one in silence.
        registry: Of plugins, for a run; found in the environment by default.

    Raises:
        ZooError: The run or the file is broken, or the device cannot be had.
        PluginError: The plugin that opens such files failed over this one.
    """
    if isinstance(model, Run):
        try:
            from zoo.inference.run_predictor import load
        except ModuleNotFoundError as error:
            raise RunError(
                f"To use the run {model.name} takes {error.name}, which is not installed.",
                hint="Install it, or use the file that 'zoo export' writes where it is installed.",
            ) from error
        return load(model, device=device, registry=registry)
    from zoo.inference.predictor import PhotoPredictor  # numpy: files are found without it

    request = FormatRequest(path=model.path, device=device, ask=model.ask)
    predictor = call_plugin(model.offer.plugin, f"opening {model.path}", model.offer.spec.load, request)
    if not isinstance(predictor, PhotoPredictor):
        reason = f"it returned {type(predictor).__name__}, not a zoo.PhotoPredictor"
        raise plugin_failure(model.offer.plugin, f"opening {model.path}", reason)
    return predictor
