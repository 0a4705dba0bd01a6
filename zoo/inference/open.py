"""Finds and opens whatever can predict: a run, by folder, name, tag or hub, or an exported file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import RunError
from zoo.plugins.calls import call_plugin, plugin_failure
from zoo.plugins.distributions import complete_command
from zoo.plugins.hubs import fetch_model
from zoo.plugins.kinds import FORMAT
from zoo.plugins.registry import load_registry
from zoo.plugins.specs import FormatRequest
from zoo.runs.open import open_run, read_fetched
from zoo.runs.run import RUNS, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoo.inference.predictor import EngineName, PhotoPredictor
    from zoo.plugins.registry import Offer, Registry
    from zoo.plugins.specs import FormatSpec

    AskPassphrase = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file with a trained classifier, not opened yet.

    Attributes:
        path: The file.
        offer: The format that opens it.
        ask: As in `FormatRequest`.
    """

    path: Path
    offer: Offer[FormatSpec]
    ask: AskPassphrase | None = None


def find_model(
    reference: str | os.PathLike[str],
    *,
    runs: Path = RUNS,
    ask: AskPassphrase | None = None,
    registry: Registry | None = None,
) -> RunFolder | ModelFile:
    """Returns the run or the file that a user means. Neither reads the file nor imports torch.

    Args:
        reference: A run folder, the name of a run in `runs`, a tag, a file of a format that a plugin opens, or a model
            on a hub: ``hf:anna/hotdog``.
        runs: The folder of the runs.
        ask: Prompts for the passphrase of an encrypted file; None without a terminal.
        registry: The plugins; by default all that are installed.

    Raises:
        RunError: There is no such run or file, or no plugin opens it.
        AmbiguousNameError: Two plugins open such files.
    """
    if not isinstance(reference, str | os.PathLike):
        return open_run(reference, runs=runs)  # raises an error that says what can be passed
    path = Path(os.path.expanduser(reference))  # noqa: PTH111  pathlib raises if there is no such user
    if os.path.isdir(path):  # noqa: PTH112  pathlib raises if the name is too long
        return open_run(reference, runs=runs)
    registry = registry or load_registry()
    if os.path.isfile(path):  # noqa: PTH113
        return ModelFile(path, _find_format(path, registry), ask)
    if (fetched := fetch_model(reference, "model", registry=registry)) is not None:
        if fetched.path.is_dir():
            return read_fetched(fetched)
        return ModelFile(fetched.path, _find_format(fetched.path, registry), ask)
    try:
        return open_run(reference, runs=runs)
    except RunError as error:
        if registry.find_format(path) is None:
            raise
        raise RunError(f"There is no file {path}.", hint=error.hint) from None


def _find_format(path: Path, registry: Registry) -> Offer[FormatSpec]:
    offer = registry.find_format(path)
    if offer is None:
        suffixes = ", ".join(suffix for offer in registry.offers(FORMAT) for suffix in offer.spec.suffixes)
        hint = f"Pass a run folder or a file that ends in {suffixes}." if suffixes else "No plugin opens files."
        raise RunError(
            f"{path} is not a file that a plugin can open.", hint=f"{hint} {registry.describe_unavailable()}".rstrip()
        )
    return offer


def load_model(
    model: RunFolder | ModelFile,
    *,
    device: str = "auto",
    registry: Registry | None = None,
    engine: EngineName = "torch",
    images: int | None = None,
) -> PhotoPredictor:
    """Opens a run or a file, ready to predict.

    Args:
        model: The result of `find_model`.
        device: As in `FinetuneConfig`; never silently replaced by another one.
        registry: The plugins, for a run; by default all that are installed.
        engine: What runs a run; see `zoo.load`. An exported file always runs in ONNX Runtime.
        images: How many photos will be classified; None if that is unknown, as in a server.

    Raises:
        ZooError: The run or the file is broken, or the device is not available.
        PluginError: The plugin that opens such files failed.
    """
    if isinstance(model, RunFolder):
        return _load_run(model, device=device, registry=registry or load_registry(), engine=engine, images=images)
    from zoo.inference.predictor import PhotoPredictor  # imports numpy, which finding a file does not need

    request = FormatRequest(path=model.path, device=device, ask=model.ask)
    predictor = call_plugin(model.offer.plugin, f"opening {model.path}", model.offer.spec.load, request)
    if not isinstance(predictor, PhotoPredictor):
        reason = f"it returned {type(predictor).__name__}, not a zoo.PhotoPredictor"
        raise plugin_failure(model.offer.plugin, f"opening {model.path}", reason)
    if model.offer.plugin.built_in:
        return predictor
    from zoo.inference.plugin_predictor import PluginPredictor

    return PluginPredictor(model.offer, predictor)


def _load_run(
    run: RunFolder, *, device: str, registry: Registry, engine: EngineName, images: int | None
) -> PhotoPredictor:
    if engine != "torch":
        from zoo.inference.session_predictor import open_cached

        if (cached := open_cached(run, device=device, registry=registry)) is not None:
            return cached
    try:
        from zoo.inference.run_predictor import load
    except ModuleNotFoundError as error:
        raise RunError(
            f"The run {run.name} cannot be used, because {error.name} is not installed.",
            hint=f"Install it ({complete_command()}), or use the file of 'zoo export', which needs no torch.",
        ) from error
    return load(run, device=device, registry=registry, engine=engine, images=images)
