"""The tracker ``jsonl``."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.utils.files import replace_nonfinite
from zoo.utils.paths import parse_path

if TYPE_CHECKING:
    from zoo.events import Event
    from zoo.plugins.specs import TrackerRequest


class JsonlTracker:
    """Appends each event to a file as a line of JSON: ``event``, its type; ``run``; ``time``; and its fields."""

    def __init__(self, request: TrackerRequest) -> None:
        self._run = str(request.run)
        path = parse_path(request.options.file) if request.options.file else request.folder / "events.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115  closed by `close`
        self._write("Resumed" if request.resumed else "Configured", {"config": request.config, "group": request.group})

    def track(self, event: Event) -> None:
        """Writes a line."""
        self._write(type(event).__name__, dataclasses.asdict(event))

    def close(self, status: str) -> None:
        """Writes the last line and closes the file."""
        self._write("Closed", {"status": status})
        self._file.close()

    def _write(self, name: str, values: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = {"event": name, "run": self._run, "time": now, **replace_nonfinite(values)}
        if name == "Started":
            row["name"], row["run"] = row["run"], self._run  # its own 'run' is the name
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
