"""`tune`: searches for the best values of options by training trials, alone or together with other processes."""

from __future__ import annotations

import importlib.util
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.display.progress import choose_observer
from zoo.errors import ConfigError, MissingPackageError, ZooError
from zoo.events import Note, StudyStarted
from zoo.plugins.distributions import require_torch
from zoo.plugins.registry import REGISTRY, Registry, load_registry
from zoo.runs.run import RUNS
from zoo.training.tuning.plan import make_plan
from zoo.utils.arguments import DICT, FUNCTION, NUMBER, PATH, TEXT, WHOLE_NUMBER, accepts
from zoo.utils.installer import install_command
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from zoo.events import Observer
    from zoo.plugins.specs import ImageSet
    from zoo.training.tuning.plan import Plan
    from zoo.training.tuning.result import Tuning

STUDIES = "studies"  # folder of the studies, in that of the runs
TRIALS = 30
_PACKAGES = {"optuna": "optuna", "sklearn": "scikit-learn"}  # of the extra, by module


@accepts(
    backbone=TEXT | None,
    search=DICT,
    trials=WHOLE_NUMBER | None,
    minutes=NUMBER | None,
    study=TEXT,
    storage=PATH,
    recipe=PATH,
    runs=PATH,
    observer=FUNCTION | None,
    registry=REGISTRY | None,
)
def tune(
    backbone: str | None = None,
    *,
    data: str | os.PathLike[str] | ImageSet,
    search: Mapping[str, str | Sequence[Any]],
    trials: int | None = None,
    minutes: float | None = None,
    study: str = "",
    storage: str | os.PathLike[str] = "",
    recipe: str | os.PathLike[str] = "default",
    runs: str | os.PathLike[str] = RUNS,
    observer: Observer | None = None,
    registry: Registry | None = None,
    **values: Any,
) -> Tuning:
    """Searches for the best values of options by fine-tuning with different ones, and returns what it found.

    Trials are compared by the validation photos; none looks at the test photos. Those that are worse than the median of
    earlier ones after the same epoch are stopped. The same call continues a study; several processes that make it at
    the same time share one.

    Args:
        backbone: A name from the registry; by default as in `zoo.finetune`.
        data: The photos, as in `zoo.finetune`.
        search: What to search, by option: text as on the command line, ``{"lr": "1e-5..1e-2:log"}``, or a list of
            values, ``{"head_lr_multiplier": [1, 10]}``; options of plugins are called ``"optimizer_options.beta2"``.
        trials: The number of trials of the study in all, whichever process does them; by default 30, or as many as
            `minutes` allow.
        minutes: When this process ends; it starts no trial that would take longer.
        study: The name of the study; by default one made of the names of backbone and data, with a number if the search
            or other options differ from those of an earlier study.
        storage: The path of a journal file, the URL of a database (``"sqlite:///studies.db"``), or a gRPC proxy
            (``"grpc://host:port"``); by default a journal in the folder of the study.
        recipe: As in `zoo.finetune`.
        runs: The folder of the runs; the study has a folder in its folder ``studies``.
        observer: Called with events (`zoo.events`), as in `zoo.finetune`.
        registry: The plugins; by default those of the environment.
        **values: Fields of `FinetuneConfig` that are the same for all trials. ``monitor`` decides what is optimised; by
            default the metric ``log-loss``. ``seed`` is that of the proposed values, too.

    Raises:
        MissingPackageError: Optuna, scikit-learn or torch is not installed.
        ConfigError: An option is unknown, cannot be searched, or has a wrong value; or the study has other settings.
        RunError: The storage cannot be used.
        ZooError: As `zoo.finetune`; of single trials, only if three in a row fail.
        KeyboardInterrupt: After the result so far has been written.
    """
    require_torch("Fine-tuning")
    _require_packages()
    started = time.monotonic()
    if trials is None and minutes is None:
        trials = TRIALS
    for name, number in (("trials", trials), ("minutes", minutes)):
        if number is not None and not 0 < number < float("inf"):
            raise ConfigError(f"tune: '{name}' is {number}.", hint="Pass a number above 0.")
    named = {"backbone": backbone, "recipe": None if recipe == "default" else recipe}
    plan = make_plan(
        {"data": data, **{name: value for name, value in named.items() if value is not None}, **values},
        search,
        registry or load_registry(),
        parse_path(runs),
    )
    deadline = None if minutes is None else started + 60 * minutes
    return _run(plan, study, str(storage), trials=trials, deadline=deadline, observer=choose_observer(observer))


def _require_packages() -> None:
    """Checks that the packages of the extra are installed.

    Raises:
        MissingPackageError: One is missing.
    """
    for module, package in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise MissingPackageError(
                f"Searching for the best values needs the package {package}, which is not installed.",
                hint=f"Install the extra: {install_command('finetune-zoo[tune]')}",
            )


def _run(
    plan: Plan, name: str, storage: str, *, trials: int | None, deadline: float | None, observer: Observer
) -> Tuning:
    # Imported only now, so that a wrong option is reported without waiting for Optuna.
    from zoo.training.tuning.loop import TrialLoop
    from zoo.training.tuning.report import write_result
    from zoo.training.tuning.storage import hide_password, storage_errors
    from zoo.training.tuning.study import JOURNAL, SharedStudy, open_study
    from zoo.training.tuning.workers import Worker

    if name and not re.fullmatch(r"\w[\w.+ -]*", name):
        raise ConfigError(f"{name!r} is not a valid name for a study.", hint="It is the name of a folder as well.")
    with _quiet_optuna(), storage_errors(storage or JOURNAL):
        study, folder = open_study(
            storage,
            name,
            stem=plan.stem,
            studies=plan.runs / STUDIES,
            settings=plan.settings(),
            higher_is_better=plan.objective.higher_is_better,
            seed=plan.base.seed,
        )
        with Worker(folder) as worker:
            shared = SharedStudy(
                study=study,
                parameters=plan.parameters,
                worker=worker,
                folder=folder,
                storage=hide_password(storage) or str(folder / JOURNAL),
            )
            observer(
                StudyStarted(
                    study=shared.name,
                    storage=shared.storage,
                    objective=plan.objective.name,
                    higher_is_better=shared.higher_is_better,
                    search={each.name: each.describe() for each in plan.parameters},
                    trials=trials,
                    done=shared.counted(),
                )
            )
            try:
                TrialLoop(plan, shared, trials=trials, deadline=deadline, observer=observer).run()
            except (KeyboardInterrupt, ZooError):
                if shared.counted():
                    write_result(plan, shared, trials=trials, observer=observer)
                else:
                    text = "Stopped before a trial was finished. The same command continues the study."
                    observer(Note(text=text, warning=True))
                raise
            return write_result(plan, shared, trials=trials, observer=observer)


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Silences what Optuna logs about every trial; warnings stay."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
