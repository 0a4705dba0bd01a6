"""Watches code of a plugin while it runs, so that whatever it does to the process has a name.

An exception is the business of `zoo.plugins.calls`. This module deals with the rest: a call that does not return, that
ends the process, that changes settings of the process, or that leaves something running which keeps the process alive.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from zoo.errors import PluginWarning
from zoo.plugins.process_state import read_settings, restore_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW_SECONDS = 30.0  # after which a call is announced
# What plugins left running, by thread or process, with the key of the plugin.
_left_running: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def supervised(key: str, action: str) -> Iterator[None]:
    """Watches code of a plugin, and warns about what it does to the process.

    In other threads than the main one it does nothing: settings and threads may change there for other reasons.

    Args:
        key: The key of the plugin, for messages.
        action: What the code does, for messages: ``"building 'tinynet'"``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    settings, running = read_settings(), set(find_running())
    announcement = threading.Timer(SLOW_SECONDS, _announce, (key, action))
    announcement.daemon = True
    announcement.start()
    try:
        with exit_refused():
            yield
    except KeyboardInterrupt as stop:
        stop.add_note(f"Interrupted while the plugin {key} was {action}.\n{_leave_out(key)}")
        raise
    finally:
        announcement.cancel()
        _report_changes(key, action, restore_settings(settings))
        report_running(key, action, [task for task in find_running() if task not in running])


def find_running() -> list[Any]:
    """Returns the threads and the child processes that keep this process alive after its end.

    The workers of `concurrent.futures` are not among them: Python ends them.
    """
    thread_pools: Any = sys.modules.get("concurrent.futures.thread")
    process_pools: Any = sys.modules.get("concurrent.futures.process")
    managers: Any = getattr(process_pools, "_threads_wakeups", ())
    workers = [*getattr(thread_pools, "_threads_queues", ()), *managers]
    main, multiprocessing = threading.main_thread(), sys.modules.get("multiprocessing")
    threads = [each for each in threading.enumerate() if not each.daemon and each is not main and each not in workers]
    if multiprocessing is None or managers:
        return threads
    return [*threads, *(child for child in multiprocessing.active_children() if not child.daemon)]


def describe_left_running() -> str:
    """Returns what plugins left running and still runs; empty if there is nothing."""
    tasks = ((task, _left_running.get(task)) for task in find_running())
    return " and ".join(f"{describe_task(task)} of the plugin {key}" for task, key in tasks if key is not None)


def kill_children() -> None:
    """Kills the processes that plugins left running."""
    for task in find_running():
        if task in _left_running and not isinstance(task, threading.Thread):
            task.kill()


def describe_task(task: Any) -> str:
    """Returns ``"the thread 'worker'"`` for one of `find_running`."""
    return f"the {'thread' if isinstance(task, threading.Thread) else 'process'} '{task.name}'"


def _leave_out(key: str) -> str:
    return f"ZOO_BLOCK_PLUGINS={key} leaves it out."


def _announce(key: str, action: str) -> None:
    text = f"The plugin {key} has been {action} for {SLOW_SECONDS:g} s. Ctrl-C stops it; {_leave_out(key)}"
    warnings.warn(text, PluginWarning, stacklevel=2)


def _report_changes(key: str, action: str, names: list[str]) -> None:
    if names:
        listed = ", ".join(names)
        text = f"The plugin {key} changed settings of the process while {action}: {listed}. They have been set back."
        warnings.warn(text, PluginWarning, stacklevel=4)


def report_running(key: str, action: str, tasks: list[Any]) -> None:
    """Warns that a plugin left threads or processes running, once for each; the command line does not wait for them."""
    for task in tasks:
        if task not in _left_running:
            _left_running[task] = key
            text = f"The plugin {key} left {describe_task(task)} running after {action}: it keeps the process alive."
            warnings.warn(text, PluginWarning, stacklevel=4)


@contextlib.contextmanager
def exit_refused() -> Iterator[None]:
    """Turns `os._exit`, which ends the process without a word, into a `SystemExit`.

    Not in forked processes, and not in other threads: those may be the zoo's own, which end a process for good reasons.
    """
    end, process, thread = os._exit, os.getpid(), threading.get_ident()

    def refuse(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) != (process, thread):
            end(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = end
