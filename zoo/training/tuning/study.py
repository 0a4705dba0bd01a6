"""The study that processes share: it proposes values, remembers trials, and tries again those that were killed."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.importance import FanovaImportanceEvaluator
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

from zoo.errors import ConfigError
from zoo.training.tuning.storage import open_storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

    from zoo.training.tuning.parameters import Parameter
    from zoo.training.tuning.workers import Worker

JOURNAL = "study.journal"
SETTINGS = "settings"  # attribute of the study
KILLS, REASON = "kills", "reason"  # attributes of trials; a failed one without a reason was killed
MAX_KILLS = 3  # of processes that try the same values, which may be what kills them
_TRIALS_BEFORE_PRUNING = 5
_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


class SeededSampler(BaseSampler):
    """Proposes values by tree-structured Parzen estimators (Bergstra et al. 2011), a pure function of seed and trials.

    Optuna's sampler draws from one stream of random numbers. A process that continues a study, or a second one with the
    same seed, would draw the same numbers again. Here every trial has a stream of its own.

    Args:
        seed: The seed of the study.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._sampler: BaseSampler = TPESampler(seed=seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Starts the random numbers of a trial."""
        (seed,) = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
        self._sampler = TPESampler(seed=int(seed))
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Returns the parameters that are sampled together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns values of parameters that are sampled together."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Returns the value of one parameter."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Learns that a trial has ended."""
        self._sampler.after_trial(study, trial, state, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStudy:
    """A study of Optuna with what this project adds to it.

    Attributes:
        study: The study.
        parameters: What is searched.
        worker: This process.
        folder: The folder of the study on this machine.
        storage: Where the study is stored, as other processes name it.
    """

    study: optuna.Study
    parameters: tuple[Parameter, ...]
    worker: Worker
    folder: Path
    storage: str

    @property
    def name(self) -> str:
        """The name, by which other processes find it in the same storage."""
        return str(self.study.study_name)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Returns the trials in some states, in their order; all if there are none."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def counted(self) -> int:
        """Returns how many trials count for the number that was asked for: finished and pruned ones."""
        return len(self.trials(*_COUNTED))

    def best(self) -> FrozenTrial | None:
        """Returns the best finished trial, or None."""
        finished = self.trials(TrialState.COMPLETE)
        sign = -1 if self.higher_is_better else 1
        return min(finished, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""
        return bool(self.study.direction == optuna.study.StudyDirection.MAXIMIZE)

    def start_trial(self, most: int | None) -> Trial | None:
        """Returns a new trial with its values; None once all of `most` trials are finished or running.

        Of two processes that take the last trial at the same time, the one with the lower number keeps it.
        """
        if most is not None and self.counted() + len(self.trials(TrialState.RUNNING)) >= most:
            return None
        trial = self.study.ask({each.name: _to_distribution(each) for each in self.parameters})
        if most is not None:
            taken = [each.number for each in self.trials(*_COUNTED, TrialState.RUNNING) if each.number < trial.number]
            if len(taken) >= most:
                trial.set_user_attr(REASON, "another process has started the last one")
                self.fail(trial.number)
                return None
        return trial

    def fail(self, number: int, *, again: bool = False, kills: int = 0) -> bool:
        """Marks a trial as failed, and returns whether it was unfinished until then.

        Args:
            number: Its number.
            again: Whether to try its values once more, in this process or another one.
            kills: How many processes were killed while they tried these values.
        """
        trial = next(each for each in self.trials() if each.number == number)
        try:
            self.study.tell(number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):  # another process was faster
            return False
        if again:
            kills = kills or int(trial.user_attrs.get(KILLS, 0))
            self.study.enqueue_trial(dict(trial.params), user_attrs={KILLS: kills})
        return True

    def fail_dead_trials(self) -> Iterator[tuple[int, bool]]:
        """Marks trials whose process was killed as failed, so that their values are tried again unless they kill often.

        Yields:
            The number of each of them, and whether it is tried again.
        """
        for trial in self.trials(TrialState.RUNNING):
            started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
            if not self.worker.is_dead(trial.user_attrs, started):
                continue
            kills = int(trial.user_attrs.get(KILLS, 0)) + 1
            if self.fail(trial.number, again=kills < MAX_KILLS, kills=kills):
                yield trial.number, kills < MAX_KILLS

    def importances(self) -> dict[str, float]:
        """Returns how much each parameter decides about the value, most important first; the sum is 1.

        Functional ANOVA over a random forest (Hutter et al. 2014, https://proceedings.mlr.press/v32/hutter14.html),
        which allows for that good values were tried more often than others. Empty for fewer than four finished trials,
        or if all have the same value.
        """
        finished = self.trials(TrialState.COMPLETE)
        if len(finished) < 4 or len({trial.value for trial in finished}) < 2:
            return {}
        found = optuna.importance.get_param_importances(self.study, evaluator=FanovaImportanceEvaluator(seed=0))
        return {name: float(share) for name, share in found.items()}


def open_study(
    storage: str,
    name: str,
    *,
    stem: str,
    studies: Path,
    settings: Mapping[str, Any],
    higher_is_better: bool,
    seed: int,
) -> tuple[optuna.Study, Path]:
    """Returns a study, which is created unless there is one with these settings, and its folder.

    Args:
        storage: As in `open_storage`; by default a journal in the folder of the study.
        name: The name; empty for `stem`, or `stem` with the first number that belongs to no other settings.
        stem: The name that the user did not choose.
        studies: The folder with the folders of studies.
        settings: What determines the trials.
        higher_is_better: Whether a higher value is better.
        seed: The seed of the sampler.

    Raises:
        ConfigError: The storage is wrong, or the study of that name has other settings.
        RunError: The storage cannot be used.
    """
    plain = json.loads(json.dumps(settings))
    for number in itertools.count(1):
        chosen = name or (stem if number == 1 else f"{stem}-{number}")
        folder = studies / chosen
        folder.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=open_storage(storage, default=folder / JOURNAL),
            study_name=chosen,
            direction="maximize" if higher_is_better else "minimize",
            load_if_exists=True,
            sampler=SeededSampler(seed),
            # Epoch 0 is the probe, which most options do not change.
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=1),
        )
        theirs = study.user_attrs.get(SETTINGS)
        if theirs is None and not study.get_trials(deepcopy=False):
            study.set_user_attr(SETTINGS, plain)
            return study, folder
        difference = _find_difference(theirs, plain)
        if not difference:
            return study, folder
        if name:
            raise ConfigError(
                f"The study '{name}' exists, with other settings: {difference}.",
                hint="Pass the same options to continue it, or another name with --study.",
            )
    raise AssertionError("unreachable")


def _find_difference(theirs: Any, ours: Mapping[str, Any]) -> str:
    """Returns the first setting in which two studies differ, ``"lr is 0.1 there, and 0.2 here"``, or nothing."""
    if not isinstance(theirs, dict):
        return "it was made by another program"
    flat = [
        {f"{group} {key}".strip(): value for group, values in each.items() for key, value in values.items()}
        for each in (theirs, ours)
    ]
    # A version with more options has the defaults for what an earlier one did not know, but searches nothing else.
    known = flat[0].keys() & flat[1].keys() | {key for each in flat for key in each if key.startswith("search ")}
    for key in sorted(known):
        there, here = (each.get(key, "not set") for each in flat)
        if there != here:
            return f"{key} is {there} there, and {here} here"
    return ""


def _to_distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    if isinstance(parameter.low, int) and isinstance(parameter.high, int):
        step = 1 if parameter.step is None else int(parameter.step)
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
