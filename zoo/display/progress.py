"""The observer that shows progress wherever Python code runs: in a notebook, on a terminal, or in a log file."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import warnings
from typing import TYPE_CHECKING

from zoo.events import ignore
from zoo.utils.markup import in_ipython, in_notebook

if TYPE_CHECKING:
    from zoo.events import Observer


def progress() -> Observer:
    """Returns an observer that shows progress: pass it as `observer` to `zoo.finetune`, `zoo.evaluate` and the like.

    In a notebook it is an output that is updated in place; on a terminal, lines above a progress bar; elsewhere, plain
    lines. In IPython and notebooks `zoo.finetune` and its like use one by default; `observer=zoo.events.ignore` is
    silent there, too.
    """
    # Imported only now, because they import click, which the library does not need to stay silent.
    from zoo.display import console
    from zoo.display.observers import LineDisplay, LiveDisplay

    if in_notebook():
        from zoo.display.notebook import NotebookDisplay

        _import_tqdm_quietly()
        return NotebookDisplay()
    if console.on_terminal():
        live = LiveDisplay(next_steps=False)
        atexit.register(live.close)  # after an error, too: the bar hides the cursor
        return live
    return LineDisplay(next_steps=False)


def choose_observer(observer: Observer | None) -> Observer:
    """Returns an observer, or by default one that shows progress in IPython and notebooks, and is silent elsewhere."""
    if observer is not None:
        return observer
    return progress() if in_ipython() else ignore


def _import_tqdm_quietly() -> None:
    """Imports tqdm before huggingface-hub does: on import it warns of bars in notebooks that the zoo does not draw."""
    with warnings.catch_warnings(), contextlib.suppress(ImportError):
        warnings.simplefilter("ignore")
        importlib.import_module("tqdm.auto")
