"""The tracker ``wandb``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.events import EpochResult, Finished, Started
from zoo.utils.paths import parse_path
from zoo_trackers.values import MODEL, RECORD, epoch_metrics, final_metrics, find_pictures, load_state, save_state

if TYPE_CHECKING:
    from zoo.events import Event
    from zoo.plugins.specs import TrackerRequest


class WandbTracker:
    """Reports to Weights & Biases."""

    def __init__(self, request: TrackerRequest) -> None:
        import wandb

        self._wandb, self._options = wandb, request.options
        known = load_state(request.folder).get("id") if request.resumed else None
        self._run: Any = wandb.init(
            project=request.options.project,
            entity=request.options.entity or None,
            name=request.run.name,
            id=known if isinstance(known, str) else None,
            resume="allow",
            group=request.group or None,
            mode=request.options.mode or None,
            dir=str(request.folder),
            config={**request.config, "run_folder": str(request.run.resolve())},
            notes=f"Run folder: {request.run.resolve()}",
            reinit="create_new",  # leaves a run of the caller alone
            settings=wandb.Settings(console="off", silent=True, disable_git=True, save_code=False),
        )
        save_state(request.folder, {"id": self._run.id})
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")

    def track(self, event: Event) -> None:
        """Reports metrics by epoch, and at the end the results, the pictures, the record and the weights."""
        match event:
            case Started():
                network = {"backbone": event.backbone, "head": event.head, "device": event.device}
                self._run.config.update(network, allow_val_change=True)
            case EpochResult():
                self._run.log({**epoch_metrics(event), "epoch": event.epoch})
            case Finished():
                self._finish(event)

    def close(self, status: str) -> None:
        """Ends the run, which uploads what is left."""
        self._run.finish(exit_code=0 if status == "finished" else 1)

    def _finish(self, event: Finished) -> None:
        folder = parse_path(event.path)
        pictures = {f"pictures/{path.stem}": self._wandb.Image(str(path)) for path in find_pictures(folder)}
        if pictures:
            self._run.log(pictures)
        self._run.summary.update(final_metrics(event.results))
        if self._options.model:
            artifact = self._wandb.Artifact(folder.name, type="model")
            for name in (MODEL, RECORD):
                artifact.add_file(str(folder / name))
            self._run.log_artifact(artifact)
