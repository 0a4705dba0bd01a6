"""Trains in a process of its own: ``zoo finetune --json``, then ``zoo export``. The server itself imports no torch.

The run is what the command line would have made, in the same folder. A training outlives the page that began it; when
the server ends it is stopped, and what was reached is saved.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.errors import ZooError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Status = Literal["starting", "training", "exporting", "finished", "stopped", "failed"]
_LINES_KEPT = 20  # of what went wrong
_SECONDS_TO_SAVE = 60


@dataclass(slots=True)
class Progress:
    """How far a training is. Replaced as a whole, never half changed: whoever holds one may read it.

    Attributes:
        status: Where it stands.
        text: One line for the page.
        epochs: Rows of finished epochs, as in ``metrics.jsonl``.
        share: How much is done, 0 to 1, of the training.
        run: The run folder, once finished.
        file: The exported file, once there is one.
        error: What went wrong.
    """

    status: Status = "starting"
    text: str = "Starting ..."
    epochs: tuple[dict[str, Any], ...] = ()
    share: float = 0.0
    run: Path | None = None
    file: Path | None = None
    error: str = ""

    @property
    def running(self) -> bool:
        """Whether there is more to come."""
        return self.status in ("starting", "training", "exporting")


@dataclass(slots=True)
class Training:
    """A training that goes on; `begin` makes one.

    Attributes:
        progress: How far it is.
    """

    progress: Progress = field(default_factory=Progress)
    _epochs: int = 1
    _process: subprocess.Popen[str] | None = None
    _stopped: bool = False
    _thread: threading.Thread | None = None

    def stop(self) -> None:
        """Asks it to end; what was reached is saved, as with Ctrl-C."""
        self._stopped = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()  # not SIGINT: who starts the server in the background has it ignored

    def end(self) -> None:
        """Stops it, and waits until what was reached is saved."""
        self.stop()
        if self._thread is not None:
            self._thread.join(_SECONDS_TO_SAVE)

    def _follow(self, arguments: Sequence[str], done: Callable[[Training], None]) -> None:
        try:
            self._run(["finetune", *arguments, "--json"], self._take)
            run = self.progress.run
            if run is not None and not self._stopped:
                self._change(status="exporting", text="Writing the ONNX file and comparing it with the run ...")
                self._run(["export", str(run)], lambda line: None)
                if (run / "model.onnx").is_file():
                    self._hand_over(run / "model.onnx", done)
        finally:  # whatever happens, another training can be begun
            if self.progress.running:
                self._change(status="stopped", text="Stopped.")

    def _hand_over(self, file: Path, done: Callable[[Training], None]) -> None:
        self._change(file=file)
        try:
            done(self)
        except ZooError as error:
            self._change(status="failed", text="The model cannot be opened.", error=str(error))
        else:
            self._change(status="finished", text="Ready: try it below, or download it.")

    def _run(self, command: list[str], take: Callable[[str], None]) -> None:
        """Runs a command of ours to its end, hands on each line it prints, and keeps what it says of errors."""
        errors: deque[str] = deque(maxlen=_LINES_KEPT)
        with subprocess.Popen(
            [sys.executable, "-m", "zoo", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C in the terminal is for the server, which stops it once
        ) as process:
            self._process = process
            if self._stopped:  # while it was being started
                self.stop()
            assert process.stdout is not None
            assert process.stderr is not None
            reader = threading.Thread(target=errors.extend, args=(process.stderr,), daemon=True)
            reader.start()
            for line in process.stdout:
                take(line)
            reader.join()
        if process.returncode and not self._stopped:
            text = "".join(errors).strip() or f"It ended with code {process.returncode}."
            self._change(
                status="failed",
                text="Training failed. This is what 'zoo finetune' says:",
                error=text.removeprefix("error: "),
            )

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:  # a plugin printed something
            return
        match event.get("event"):
            case "Work":
                total = f" of {event['total']}" if event["total"] else ""
                self._change(text=f"{event['what'].capitalize()}: {event['done']}{total}")
            case "Started":
                self._epochs = event["epochs"]
                self._change(status="training", text=f"Training {event['backbone']} on {event['device']} ...")
            case "StepResult":
                share = (event["epoch"] - 1 + event["step"] / event["steps"]) / self._epochs
                self._change(
                    text=f"Epoch {event['epoch']} of {self._epochs}, step {event['step']} of {event['steps']}, "
                    f"{event['seconds_left']:.0f} s left",
                    share=share,
                )
            case "EpochResult":
                self._change(epochs=(*self.progress.epochs, event))
            case "Finished":
                self._change(run=Path(event["path"]), share=1.0)

    def _change(self, **values: Any) -> None:
        fields = {name: getattr(self.progress, name) for name in Progress.__dataclass_fields__}
        self.progress = Progress(**{**fields, **values})


def begin(arguments: Sequence[str], *, done: Callable[[Training], None] = lambda training: None) -> Training:
    """Begins a training.

    Args:
        arguments: What stands behind ``zoo finetune``.
        done: Called from another thread when the exported file is there.
    """
    training = Training()
    follow = threading.Thread(target=training._follow, args=(list(arguments), done), name="training", daemon=True)
    training._thread = follow
    follow.start()
    atexit.register(training.end)
    return training
