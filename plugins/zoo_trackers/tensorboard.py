"""The tracker ``tensorboard``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.events import EpochResult, Finished, Note, Started, StepResult
from zoo.utils.paths import parse_path
from zoo_trackers.values import epoch_metrics, final_metrics, find_pictures, flatten

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.events import Event
    from zoo.plugins.specs import TrackerRequest

# Names with a slash are grouped on the page.
_TAGS = {
    "train_loss": "loss/train",
    "val_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/validation",
    "learning_rate": "training/learning_rate",
    "images_per_second": "training/images_per_second",
    "seconds": "training/seconds",
}


class TensorboardTracker:
    """Writes event files for TensorBoard: scalars by epoch, the configuration, pictures and hyperparameters."""

    def __init__(self, request: TrackerRequest) -> None:
        from torch.utils.tensorboard import SummaryWriter

        options = request.options
        folder = parse_path(options.folder) / request.run.name if options.folder else request.folder
        self._config = flatten(request.config)
        self._writer: Any = SummaryWriter(str(folder))
        self._writer.add_text("run/folder", str(request.run.resolve()))
        self._writer.add_text("run/configuration", _table(self._config))
        if request.group:
            self._writer.add_text("run/comparison", request.group)

    def track(self, event: Event) -> None:
        """Writes what TensorBoard has a place for."""
        match event:
            case Started():
                self._writer.add_text("run/network", f"{event.backbone} + {event.head}, {event.weights}")
            case EpochResult():
                for name, value in epoch_metrics(event).items():
                    self._writer.add_scalar(_TAGS[name], value, event.epoch)
                self._writer.flush()
            case StepResult():
                step = (event.epoch - 1) * event.steps + event.step
                self._writer.add_scalar("step/loss", event.loss, step)
            case Note() if event.warning:
                self._writer.add_text("run/warnings", event.text)
            case Finished():
                self._finish(event)

    def close(self, status: str) -> None:
        """Writes the status and closes the file."""
        self._writer.add_text("run/status", status)
        self._writer.close()

    def _finish(self, event: Finished) -> None:
        from torch.utils.tensorboard.summary import hparams

        for path in find_pictures(parse_path(event.path)):
            self._writer.add_image(f"pictures/{path.stem}", _read(path), dataformats="HWC")
        metrics = {f"results/{name}": value for name, value in final_metrics(event.results).items()}
        for name, value in metrics.items():
            self._writer.add_scalar(name, value)
        settings = {
            name: value if isinstance(value, int | float) else str(value) for name, value in self._config.items()
        }
        for summary in hparams(settings, metrics):
            self._writer.file_writer.add_summary(summary)


def _table(values: dict[str, Any]) -> str:
    return "| option | value |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in values.items())


def _read(path: Path) -> Any:
    """Returns the pixels of a picture: uint8 ``(H, W, 3)``."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
