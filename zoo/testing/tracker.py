"""The contract of a tracker."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import importlib.util
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zoo.config import FinetuneConfig
from zoo.errors import ZooError
from zoo.events import EpochResult, Estimate, Finished, Note, Started, StepResult, Work
from zoo.models.random_state import random_states, restore_random_states
from zoo.plugins.calls import call_within, describe_exception, resolve_callable
from zoo.plugins.process_state import read_settings, restore_settings
from zoo.plugins.specs import TrackerRequest
from zoo.plugins.supervision import describe_task, find_running
from zoo.testing.contract import Contract, check_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zoo.events import Event
    from zoo.plugins.specs import TrackerSpec

SECONDS = 30.0  # for a single call, on a busy machine
_RUN = "tinynet-linear-photos-1"
_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)


@restore_random_states()
def check_tracker(spec: TrackerSpec, *, options: Mapping[str, Any] | None = None) -> None:
    """Tracks a run that finishes, and a run that is interrupted and resumed, each in a thread as `zoo.finetune` does.

    Args:
        spec: The tracker, as returned by the hook ``zoo_trackers``.
        options: Values of its options, such as the address of a server for tests.

    Raises:
        AssertionError: The tracker violates its contract; the message says what the contract requires.
    """
    contract = Contract(f"tracker {spec.name}")
    contract.require(
        isinstance(spec.needs, tuple) and all(isinstance(name, str) for name in spec.needs),
        "needs must be a tuple of the names of modules",
    )
    values = check_options(contract, spec.options, options or {})
    if any(importlib.util.find_spec(name) is None for name in spec.needs):  # an extra that is not installed
        return
    for name in spec.needs:  # first, because what a library draws when it is imported is not the tracker's doing
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        for name, status in (("finished", "finished"), ("interrupted", "interrupted"), ("interrupted", "failed")):
            run = Path(folder) / name / _RUN
            resumed = run.exists()
            write_sample_run(run)
            request = TrackerRequest(
                run=run,
                folder=run / "trackers" / spec.name,
                config=FinetuneConfig(backbone="tinynet", data="./photos").to_dict(),
                options=values,
                resumed=resumed,
                group="" if resumed else "a comparison",
            )
            request.folder.mkdir(parents=True, exist_ok=True)
            with _supervised(contract):
                _track_run(contract, spec, request, status)


def _track_run(contract: Contract, spec: TrackerSpec, request: TrackerRequest, status: str) -> None:
    config = copy.deepcopy(request.config)
    tracker: Any = _call(contract, "start()", lambda: resolve_callable(spec.start)(request), refusal=True)
    for method in ("track", "close"):
        contract.require(callable(getattr(tracker, method, None)), f"start() must return an object with {method}()")
    for event in sample_events(request.run, finished=status == "finished"):
        name, before = type(event).__name__, copy.deepcopy(event)
        _call(contract, f"track() with the event {name}", functools.partial(tracker.track, event))
        contract.require(repr(event) == repr(before), f"track() must not change the event {name}")
    _call(contract, f"close({status!r})", lambda: tracker.close(status))
    contract.require(request.config == config, "it must not change the configuration")


def _call(contract: Contract, what: str, function: Callable[[], Any], *, refusal: bool = False) -> Any:
    """Calls a function of the tracker in a thread; whatever it does wrong is named."""
    try:
        return call_within(SECONDS, function)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        more = "; a ZooError says that a run cannot be tracked" if refusal and not isinstance(error, ZooError) else ""
        raise AssertionError(f"{contract.name}: {what} raised {describe_exception(error)}{more}") from error


@contextlib.contextmanager
def _supervised(contract: Contract) -> Any:
    """Checks what the block leaves behind: settings of the process, threads, output, draws of random numbers."""
    settings, running, printed = read_settings(), find_running(), io.StringIO()
    states = random_states(torch.device("cpu"))
    try:
        with contextlib.redirect_stdout(printed):
            yield
    finally:
        changed = restore_settings(settings)
    contract.require(not printed.getvalue(), f"it must print nothing; it printed {printed.getvalue()!r:.80}")
    contract.require(not changed, f"it must not change settings of the process; it changed {', '.join(changed)}")
    left = [task for task in find_running() if task not in running]
    contract.require(
        not left,
        f"close() must end what it started, or keep it from keeping the process alive (daemon=False does): "
        f"{', '.join(map(describe_task, left))}",
    )
    contract.require(
        _same_states(states, random_states(torch.device("cpu"))),
        "it must not draw from the global random generators, which belong to the training: use random.Random() or "
        "numpy.random.default_rng()",
    )


def _same_states(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return (
        torch.equal(before["torch"]["cpu"], after["torch"]["cpu"])
        and before["python"] == after["python"]
        and torch.equal(before["numpy"][0], after["numpy"][0])
        and before["numpy"][1:] == after["numpy"][1:]
    )


def sample_events(run: Path, *, finished: bool) -> list[Event]:
    """Returns events of every type, as a run sends them; with values that are not numbers."""
    nan = float("nan")
    started = Started(
        run=run.name,
        backbone="acme/tinynet",
        head="heads/linear",
        weights="none",
        data="photos",
        images={"train": 16, "val": 4, "test": 8},
        classes=("cat", "dog"),
        parameters=1000,
        trainable=100,
        device="cpu",
        precision="fp32",
        epochs=2,
        steps=2,
    )
    events: list[Event] = [
        Work(what="decode train", done=1, total=None),
        Note(text="2 photos were left out: naïve.", warning=True),
        started,
        Estimate(seconds=3.0, work="2 epochs"),
    ]
    for epoch in (0, 1, 2):
        events.append(
            StepResult(epoch=epoch, step=1, steps=2, loss=0.7, accuracy=nan, images_per_second=8.0, seconds_left=1.0)
        )
        events.append(
            EpochResult(
                epoch=epoch,
                train_loss=0.6,
                train_accuracy=nan,
                val_loss=0.5,
                val_accuracy=0.5,
                learning_rate=0.001 if epoch else 0.0,
                seconds=1.0,
                images_per_second=16.0,
                best=epoch == 1,
            )
        )
    scores = {"accuracy": 0.75, "interval": [0.5, 0.9], "count": 8, "loss": 0.7}
    results = {"test": scores, "val": {**scores, "macro_f1": nan}, "best_epoch": 1, "stopped": "", "seconds": 3.0}
    return [*events, Finished(path=str(run), results=results)] if finished else events


def write_sample_run(run: Path) -> None:
    """Writes the files of a finished run, too small to be of any use."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.json").write_text('{"format": 2, "status": "finished"}\n', encoding="utf-8")
    (run / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        (run / name).write_bytes(_PNG)
