"""The folder for temporary files of this process; it is removed when the process ends."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path


@functools.cache
def scratch() -> Path:
    """Returns the folder, made on the first call."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-demo-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
