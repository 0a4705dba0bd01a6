"""The report of a run: evaluates it, and writes all that is known of it as one HTML page."""

from __future__ import annotations

import importlib.metadata
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.display.progress import choose_observer
from zoo.errors import ConfigError, DataError, UnknownNameError
from zoo.events import Note
from zoo.inference.evaluate import check_split, evaluate_rows, open_with_samples, predict_readable
from zoo.inference.slices import evaluate_slices
from zoo.plugins.entry_points import RUNTIME
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.runs.open import find_weights_info, open_run
from zoo.runs.run import RUNS, RunFolder
from zoo.utils.arguments import FUNCTION, LIST, PATH, TEXT, Accepted, accepts
from zoo.utils.files import parse_json, read_regular_file
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from zoo.data.check.suspect import Suspect
    from zoo.events import Observer
    from zoo.plugins.specs import ImageSet
    from zoo.report.run_input import ReportInput

_STRESS = "stress.json"  # in the folders of stress tests, beside those of runs


@accepts(
    run=PATH | Accepted("a zoo.Run", (RunFolder,)),
    output=PATH | None,
    split=TEXT,
    suspects=LIST | None,
    device=TEXT,
    runs=PATH,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def write_report(
    run: RunFolder | str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | ImageSet | None = None,
    split: str = "test",
    suspects: Sequence[Suspect] | None = None,
    device: str = "auto",
    runs: str | os.PathLike[str] = RUNS,
    observer: Observer | None = None,
    registry: Registry | None = None,
) -> Path:
    """Writes the report of a run: a single HTML file, with its pictures inside, that runs no script and asks no server.

    The run is evaluated on its photos. Where these are not at hand, the report has what the run recorded, and says what
    is missing.

    Args:
        run: A run, its folder, or its name below `runs`.
        output: The file; by default ``RUN-report.html`` in the current folder.
        data: As in `zoo.evaluate`.
        split: As in `zoo.evaluate`.
        suspects: Photos whose labels may be wrong: ``zoo.find_suspects(data).suspects``.
        device: As in `zoo.evaluate`.
        runs: The folder in which a run is looked up by name.
        observer: As in `zoo.finetune`.
        registry: The plugins; by default those of the environment.

    Returns:
        The file.

    Raises:
        RunError: There is no such run, or the file cannot be written.
        DataError: `output` exists and is no such report; or `data` was passed and cannot be used.
    """
    from zoo.report.run_input import ReportInput
    from zoo.report.run_page import check_run_page_target, write_run_page

    split, observer, plugins = check_split(split), choose_observer(observer), registry or load_registry()
    found = run if isinstance(run, RunFolder) else open_run(run, runs=runs)
    target = parse_path(output) if output is not None else Path(f"{found.name}-report.html")
    check_run_page_target(target)
    stress, folder = _find_stress(found)
    content = ReportInput(
        run=found,
        split=split,
        suspects=suspects,
        stress=stress,
        stress_folder=folder,
        weights=find_weights_info(found.record, plugins),
        version=importlib.metadata.version(RUNTIME),
        written=datetime.now(UTC).date().isoformat(),
    )
    return write_run_page(target, _evaluate(content, data=data, device=device, registry=plugins, observer=observer))


def _evaluate(
    content: ReportInput,
    *,
    data: str | os.PathLike[str] | ImageSet | None,
    device: str,
    registry: Registry,
    observer: Observer,
) -> ReportInput:
    """Returns the content with the evaluation of the run, or with the reason why there is none."""
    run = content.run
    if run.multi_label:
        reason = "mistakes and parts of photos with several labels each are not compared."
        return replace(content, not_evaluated=reason)
    if not run.finished:
        return replace(content, not_evaluated="training is not finished.")
    try:
        predictor, samples = open_with_samples(
            run,
            split=content.split,
            data=data,
            registry=registry,
            observer=observer,
            data_options=None,
            device=device,
            engine="auto",
        )
    except (ConfigError, DataError, UnknownNameError) as error:
        if data is not None:
            raise
        observer(Note(text=f"The photos of {run.name} are not at hand: {error.message}", warning=True))
        return replace(content, not_evaluated=f"the photos were not at hand ({error.message})")
    from zoo.data.targets import make_targets
    from zoo.metrics.costs import decide_classes
    from zoo.report.mistakes import find_mistakes

    rows, read = predict_readable(predictor, samples, split=content.split, observer=observer)
    labels = make_targets(read, classes=len(run.classes), multi_label=False)
    evaluation = evaluate_rows(rows, labels, run.classes, (), run.decision, run.calibration)
    predicted = decide_classes(rows, run.classes, run.decision)
    slices = evaluate_slices(predicted, read, observer=observer)
    mistakes = find_mistakes(rows, read, predicted.tolist())
    return replace(content, evaluation=replace(evaluation, slices=slices), mistakes=mistakes)


def _find_stress(run: RunFolder) -> tuple[dict[str, Any] | None, Path | None]:
    """Returns the newest result of a stress test of a run alone, and its folder; None if there is none."""
    found = []
    for file in run.path.resolve().parent.glob(f"stress-*/{_STRESS}"):
        try:
            values, changed = parse_json(read_regular_file(file)), file.stat().st_mtime
        except (OSError, ValueError, RecursionError):  # still being written, or of another program
            continue
        models = values.get("models") if isinstance(values, dict) else None
        if isinstance(models, list) and [each.get("name") for each in models if isinstance(each, dict)] == [run.name]:
            found.append((changed, file.parent, values))
    if not found:
        return None, None
    _, folder, values = max(found, key=lambda each: each[:2])
    return values, folder
