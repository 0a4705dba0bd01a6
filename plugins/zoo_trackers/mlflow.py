"""The tracker ``mlflow``."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.events import EpochResult, Finished, Note, Started
from zoo.utils.paths import parse_path
from zoo_trackers.values import (
    MODEL,
    RECORD,
    epoch_metrics,
    final_metrics,
    find_pictures,
    flatten,
    load_state,
    save_state,
)

if TYPE_CHECKING:
    from zoo.events import Event
    from zoo.plugins.specs import TrackerRequest

_GROUP = "finetune_zoo.group"
_PARENT = "finetune_zoo.parent"
_FOLDER = "finetune_zoo.folder"
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_QUIET = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"
_BATCH = 100  # parameters per request, MLflow's limit
_MAX_VALUE = 500  # characters of a parameter, in every store


class MlflowTracker:
    """Reports to MLflow through its client, so that it has no effect on an MLflow run of the caller."""

    def __init__(self, request: TrackerRequest) -> None:
        from mlflow import MlflowClient

        self._options, self._folder = request.options, request.run.resolve()
        self._client = MlflowClient(tracking_uri=request.options.uri or None)
        known = load_state(request.folder).get("run_id") if request.resumed else None
        if isinstance(known, str):
            self._id = known
            self._client.update_run(known, status="RUNNING")
            return
        experiment = self._find_experiment(request.options.experiment)
        tags = {_FOLDER: str(self._folder), "mlflow.note.content": f"Run folder: {self._folder}"}
        if request.group:
            tags |= {_GROUP: request.group, "mlflow.parentRunId": self._find_parent(experiment, request.group)}
        self._id = self._client.create_run(experiment, run_name=request.run.name, tags=tags).info.run_id
        save_state(request.folder, {"run_id": self._id})
        self._log_config(request.config)

    def track(self, event: Event) -> None:
        """Reports metrics by epoch, and at the end the results, the pictures, the record and the weights."""
        match event:
            case Started():
                self._tag("backbone", event.backbone)
                self._tag("head", event.head)
                self._tag("data", event.data)
                self._tag("device", event.device)
            case EpochResult():
                self._log(epoch_metrics(event), step=event.epoch)
            case Note() if event.warning:
                self._tag("warning", event.text)
            case Finished():
                self._finish(event)

    def close(self, status: str) -> None:
        """Ends the run."""
        before = os.environ.get(_QUIET)
        os.environ[_QUIET] = "true"  # the only way to keep the client from printing
        try:
            self._client.set_terminated(self._id, status=_STATUS[status])
        finally:
            if before is None:
                del os.environ[_QUIET]
            else:
                os.environ[_QUIET] = before

    def _finish(self, event: Finished) -> None:
        folder = parse_path(event.path)
        self._log(final_metrics(event.results), step=0)
        for path in find_pictures(folder):
            self._client.log_artifact(self._id, str(path), "pictures")
        names = (RECORD, MODEL) if self._options.model else (RECORD,)
        for name in names:
            self._client.log_artifact(self._id, str(folder / name), "run")

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage != "active":
            raise ZooError(f"The MLflow experiment '{name}' was deleted.", hint="Restore it, or name another one.")
        return str(found.experiment_id if found is not None else self._client.create_experiment(name))

    def _find_parent(self, experiment: str, group: str) -> str:
        """Returns the id of the run that contains all runs of a comparison; the first of them creates it."""
        for run in self._client.search_runs([experiment], f"tags.`{_PARENT}` = 'yes'"):
            if run.data.tags.get(_GROUP) == group:
                return str(run.info.run_id)
        tags = {_GROUP: group, _PARENT: "yes"}
        parent = str(self._client.create_run(experiment, run_name=group, tags=tags).info.run_id)
        self._client.update_run(parent, status="FINISHED")  # it has nothing to do itself
        return parent

    def _log_config(self, config: dict[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)[:_MAX_VALUE]) for name, value in flatten(config).items()]
        for start in range(0, len(params), _BATCH):
            self._client.log_batch(self._id, params=params[start : start + _BATCH])

    def _log(self, metrics: dict[str, float], *, step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[Metric(name, value, now, step) for name, value in metrics.items()])

    def _tag(self, name: str, value: str) -> None:
        self._client.set_tag(self._id, name, value)
