"""Writes the result of a study: the recipe with the best values, the report, and its picture."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections import Counter
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from zoo.config import FinetuneConfig
from zoo.display.study import format_number
from zoo.events import StudyResult
from zoo.plugins.specs import UNSTORED
from zoo.runs.run import list_runs
from zoo.runs.settings import config_to_recipe
from zoo.training.tuning.result import StudyTrial, Tuning
from zoo.training.tuning.study import REASON
from zoo.training.tuning.trial import FAILED, FINISHED, PRUNED, RUNNING, WAITING, trial_folder
from zoo.utils.files import atomic_write, replace_nonfinite

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import FrozenTrial

    from zoo.events import Observer
    from zoo.training.tuning.plan import Plan
    from zoo.training.tuning.study import SharedStudy

RECIPE, REPORT, PICTURE = "best.toml", "report.json", "report.png"
_STATES = {TrialState.COMPLETE: FINISHED, TrialState.PRUNED: PRUNED, TrialState.FAIL: FAILED}
_OF_MACHINE = ("device", "devices", "workers", "cache", "cache_size", "save_every")


def write_result(plan: Plan, shared: SharedStudy, *, trials: int | None, observer: Observer) -> Tuning:
    """Writes the recipe, the report and its picture, and returns the result of a study so far.

    Args:
        plan: What the study does.
        shared: The study.
        trials: The number of trials that it is to have in all, or None.
        observer: Receives the result.

    Raises:
        RunError: A file cannot be written.
    """
    found = tuple(_read_trial(trial, plan) for trial in shared.trials())
    best_trial = shared.best()
    best = None if best_trial is None else found[best_trial.number]
    folder = shared.folder
    config = None if best is None else plan.config(best.values)
    result = Tuning(
        study=shared.name,
        storage=shared.storage,
        objective=plan.objective.name,
        higher_is_better=shared.higher_is_better,
        trials=found,
        best=best,
        importances=shared.importances(),
        recipe=None if config is None else _write_recipe(folder / RECIPE, config, best, shared, plan),
        report=folder / REPORT,
        picture=None if best is None else folder / PICTURE,
        run=None if best_trial is None else _find_run(trial_folder(folder, best_trial.number)),
    )
    _write_report(result, plan, trials=trials)
    if result.picture is not None:
        _write_picture(result.picture, result, plan)
    observer(_summarise(result, plan, config, trials=trials))
    return result


def _read_trial(trial: FrozenTrial, plan: Plan) -> StudyTrial:
    attributes = trial.user_attrs
    return StudyTrial(
        number=trial.number + 1,
        state=_STATES.get(trial.state, RUNNING if trial.state == TrialState.RUNNING else WAITING),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        values=plan.in_order(trial.params),
        epochs=dict(sorted(trial.intermediate_values.items())),
        seconds=attributes.get("seconds"),
        reason=attributes.get(REASON, "its process was killed" if trial.state == TrialState.FAIL else ""),
    )


def _find_run(folder: Path) -> Path | None:
    return next((run.path for run in list_runs(folder) if run.finished), None)


def _write_recipe(path: Path, config: FinetuneConfig, best: StudyTrial | None, shared: SharedStudy, plan: Plan) -> Path:
    assert best is not None
    shown = f"{plan.objective.name} {format_number(best.value)}"
    comments = [
        f"The best of {shared.counted()} trials of the study {shared.name}: trial {best.number}, {shown} on the "
        "validation photos.",
        *(f"Searched: {each.name}={each.describe()}" for each in plan.parameters),
        f"This trains with it, and evaluates the test photos: {_train_command(config, path)}",
    ]
    summary = f"The best values of {shared.name}: {shown}"
    text = config_to_recipe(_without_machine(config), summary=summary, comments=comments)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _without_machine(config: FinetuneConfig) -> FinetuneConfig:
    """Returns a configuration without what holds for this machine only."""
    defaults: dict[str, Any] = {
        field.name: field.default for field in dataclasses.fields(FinetuneConfig) if field.name in _OF_MACHINE
    }
    return dataclasses.replace(config, **defaults)


def _train_command(config: FinetuneConfig, recipe: Path) -> str:
    data = str(config.to_dict()["data"]).removeprefix(UNSTORED)
    pairs = [part for name, value in config.data_options.items() for part in ("--data-option", f"{name}={value}")]
    return shlex.join(("zoo", "finetune", "--data", data, *pairs, "--recipe", str(recipe)))


def _write_report(result: Tuning, plan: Plan, *, trials: int | None) -> None:
    content = {
        "study": result.study,
        "storage": result.storage,
        "objective": {"name": result.objective, "higher_is_better": result.higher_is_better},
        "search": {each.name: each.describe() for each in plan.parameters},
        "settings": plan.settings()[""],
        "trials_in_all": trials,
        "best": None if result.best is None else dataclasses.asdict(result.best),
        "importances": dict(result.importances),
        "trials": [dataclasses.asdict(each) for each in result.trials],
    }
    with atomic_write(result.report) as temporary:
        temporary.write_text(json.dumps(replace_nonfinite(content), indent=2) + "\n", encoding="utf-8")


def _write_picture(path: Path, result: Tuning, plan: Plan) -> None:
    # Imported only now: matplotlib takes a second.
    from zoo.report.tuning import LINEAR, LOG, write_tuning

    write_tuning(
        path,
        [dataclasses.asdict(each) for each in result.trials],
        parameters={each.name: each.choices or (LOG if each.log else LINEAR) for each in plan.parameters},
        importances=result.importances,
        objective=result.objective,
        higher_is_better=result.higher_is_better,
        title=result.study,
    )


def _summarise(result: Tuning, plan: Plan, config: FinetuneConfig | None, *, trials: int | None) -> StudyResult:
    best, states = result.best, Counter(each.state for each in result.trials)
    first = next((each for each in result.trials if each.state == FINISHED), None)
    baseline = first is not None and first.number == 1 and len(plan.first_values()) == len(plan.parameters)
    return StudyResult(
        study=result.study,
        objective=result.objective,
        counts={state: states[state] for state in (FINISHED, PRUNED, FAILED, RUNNING) if states[state]},
        best=None if best is None else best.number,
        value=None if best is None else best.value,
        first_value=first.value if baseline and first is not None else None,
        values={} if best is None else dict(best.values),
        importances=dict(result.importances),
        recipe=str(result.recipe or ""),
        report=str(result.report),
        picture=str(result.picture or ""),
        run=str(result.run or ""),
        train="" if config is None or result.recipe is None else _train_command(config, result.recipe),
        missing=0 if trials is None else max(0, trials - states[FINISHED] - states[PRUNED] - states[RUNNING]),
    )
