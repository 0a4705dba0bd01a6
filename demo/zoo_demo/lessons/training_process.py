"""Trains in a separate process: runs ``zoo finetune --json``, then ``zoo export``. The server itself imports no torch.

The run folder is the same as that of the command line. A training continues when its page is closed. When the server
ends, the training stops and saves its state.
"""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.display.formatting import format_estimate
from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Status = Literal["starting", "training", "exporting", "finished", "stopped", "failed"]
_ERROR_LINES = 20  # of stderr to show
_SECONDS_TO_SAVE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """The state of a training at one moment.

    Attributes:
        status: The phase it is in.
        message: One line for the page.
        epochs: Rows of finished epochs, as in ``metrics.jsonl``.
        fraction: How much of the training is done, 0 to 1.
        run: The run folder, once training is finished.
        file: The exported file, once there is one.
        usable: Whether the trained model can be tried.
        error: What went wrong.
    """

    status: Status = "starting"
    message: str = "Starting ..."
    epochs: tuple[dict[str, Any], ...] = ()
    fraction: float = 0.0
    run: Path | None = None
    file: Path | None = None
    usable: bool = False
    error: str = ""

    @property
    def running(self) -> bool:
        """Whether the status will still change."""
        return self.status in ("starting", "training", "exporting")


class TrainingProcess:
    """A training followed by its export, in processes of their own that a thread watches.

    Args:
        arguments: Arguments of ``zoo finetune``.
        on_trained: Called with the run folder before the export, in the watching thread. Returns whether the run can be
            used already; if it cannot, or a `ZooError` is raised, the model waits for the file.
        on_exported: Called with the exported file, in the watching thread. A `ZooError` that it raises is reported
            as the failure of the training.

    Attributes:
        progress: The current state. Replaced as a whole, so any thread may read it at any time.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        on_trained: Callable[[Path], bool] = lambda run: False,
        on_exported: Callable[[Path], None] = lambda file: None,
    ) -> None:
        self.progress = TrainingProgress()
        self._arguments = list(arguments)
        self._on_trained = on_trained
        self._on_exported = on_exported
        self._epochs = 1
        self._estimate = ""
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    def start(self) -> None:
        """Starts the training; the end of this process will stop it."""
        self._thread.start()
        atexit.register(self.stop_and_wait)

    def stop(self) -> None:
        """Asks the training to stop; it saves its state, as after Ctrl-C."""
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()  # not SIGINT: a server started in the background passes on that it is ignored

    def stop_and_wait(self) -> None:
        """Stops the training and waits until it has saved its state."""
        self.stop()
        self._thread.join(_SECONDS_TO_SAVE)

    def _run(self) -> None:
        try:
            self._run_command(["finetune", *self._arguments, "--json"], self._handle_event)
            run = self.progress.run
            if run is not None and not self._stopped:
                self._run_command(["export", str(run)], lambda line: None)
                if (run / "model.onnx").is_file():
                    self._finish(run / "model.onnx")
        finally:  # a lesson whose training seems to run could never train again
            if self.progress.running:
                self._update(status="stopped", message="Stopped.")

    def _open_run(self, run: Path) -> None:
        try:
            usable = self._on_trained(run)
        except ZooError:
            usable = False
        exporting = "Exporting to ONNX and comparing the file with the run ..."
        message = f"You can try the model below. {exporting}" if usable else exporting
        self._update(status="exporting", message=message, run=run, usable=usable, fraction=1.0)

    def _finish(self, file: Path) -> None:
        self._update(file=file)
        try:
            self._on_exported(file)
        except ZooError as error:
            self._update(status="failed", message="The model cannot be opened.", error=str(error))
        else:
            self._update(status="finished", usable=True, message="Done. Try the model below, or download it.")

    def _run_command(self, command: list[str], on_line: Callable[[str], None]) -> None:
        """Runs a command of ours, hands on each line of its output, and reports its errors."""
        errors: deque[str] = deque(maxlen=_ERROR_LINES)
        with subprocess.Popen(
            [sys.executable, "-m", "zoo", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C in the terminal reaches only the server, which then stops this process
        ) as process:
            self._process = process
            if self._stopped:  # `stop` was called while the process was starting
                self.stop()
            assert process.stdout is not None
            assert process.stderr is not None
            reader = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
            reader.start()
            for line in process.stdout:
                on_line(line)
            reader.join()
        if process.returncode and not self._stopped:
            text = "".join(errors).strip() or f"It exited with code {process.returncode}."
            prefix = "You can try the model below, but " if self.progress.usable else ""
            self._update(
                status="failed",
                message=f"{prefix}'zoo {command[0]}' failed:",
                error=re.sub(r"^error: ", "", text, flags=re.IGNORECASE),
            )

    def _handle_event(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:  # output of a plugin
            return
        match event:
            case {"event": "Work"}:
                total = f" of {event['total']}" if event["total"] else ""
                self._update(message=f"{event['what'].capitalize()}: {event['done']}{total}{self._estimate}")
            case {"event": "Estimate"}:
                self._estimate = f", {format_estimate(event['seconds'])} in all"
            case {"event": "Started"}:
                self._epochs = event["epochs"]
                self._update(status="training", message=f"Training {event['backbone']} on {event['device']} ...")
            case {"event": "StepResult"}:
                fraction = (event["epoch"] - 1 + event["step"] / event["steps"]) / self._epochs
                self._update(
                    message=f"Epoch {event['epoch']} of {self._epochs}, step {event['step']} of {event['steps']}, "
                    f"{event['seconds_left']:.0f} s left",
                    fraction=fraction,
                )
            case {"event": "EpochResult"}:
                self._update(epochs=(*self.progress.epochs, event))
            case {"event": "Finished"}:
                self._open_run(Path(event["path"]))

    def _update(self, **values: Any) -> None:
        self.progress = replace(self.progress, **values)
