import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from plugin_helpers import plugin_of

import zoo
from zoo.errors import PluginError, PluginWarning
from zoo.plugins import supervision
from zoo.plugins.calls import call_plugin, call_within
from zoo.plugins.discovery import Plugin, load_plugins
from zoo.plugins.entry_points import Candidate
from zoo.plugins.kinds import BACKBONE
from zoo.plugins.registry import is_local as registry_is_local
from zoo.plugins.registry import load_registry
from zoo.plugins.supervision import describe_left_running, find_running, supervised

PLUGIN = Plugin(key="acme:nets", qualifier="acme", distribution="acme", version="1.0")


def test_a_call_that_changes_the_process_is_a_warning_that_names_the_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.warns(PluginWarning) as caught:
        assert call_plugin(PLUGIN, "building 'tiny'", lambda: os.chdir("/")) is None
    assert [str(each.message) for each in caught] == [
        "The plugin acme:nets changed settings of the process while building 'tiny': the working directory. "
        "They have been set back."
    ]
    assert Path.cwd() == tmp_path


def test_so_is_the_import_of_a_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load():
        os.chdir("/")
        return plugin_of(zoo_heads=lambda: [zoo.HeadSpec(name="mine", build=len)])

    with pytest.warns(PluginWarning, match="The plugin acme:nets changed settings of the process while loading"):
        (plugin,) = load_plugins([Candidate(entry="nets", distribution="acme", version="1", load=load)])
    assert plugin.error is None
    assert Path.cwd() == tmp_path


def test_a_call_that_ends_the_process_is_an_error():
    with pytest.raises(PluginError, match=r"failed while building: SystemExit: os\._exit\(3\)\.\n"):
        call_plugin(PLUGIN, "building", lambda: os._exit(3))


def test_a_forked_process_may_end():
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    program = (
        "import os\nfrom zoo.plugins.supervision import supervised\nwith supervised('a:b', 'forking'):\n"
        "    child = os.fork()\n    if not child:\n        os._exit(7)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"


def test_another_thread_may_end_the_process_while_a_plugin_is_called():
    program = (
        "import os, threading, time\nfrom zoo.plugins.supervision import supervised\nwith supervised('a:b', 'it'):\n"
        "    threading.Thread(target=lambda: os._exit(7), daemon=True).start()\n    time.sleep(60)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 7


def test_a_thread_that_keeps_the_process_alive_is_named_once():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="uploader")
    try:
        with pytest.warns(PluginWarning) as caught, supervised("acme:nets", "loading 'cats'"):
            call_plugin(PLUGIN, "loading 'cats'", thread.start)
        assert [str(each.message) for each in caught] == [
            "The plugin acme:nets left the thread 'uploader' running after loading 'cats': it keeps the process alive."
        ]
        assert describe_left_running() == "the thread 'uploader' of the plugin acme:nets"
    finally:
        stop.set()
        thread.join()
    assert describe_left_running() == ""


def test_so_is_a_child_process():
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), name="server")
    try:
        with pytest.warns(PluginWarning, match="left the process 'server' running after building"):
            call_plugin(PLUGIN, "building", child.start)
        assert describe_left_running() == "the process 'server' of the plugin acme:nets"
    finally:
        child.kill()
        child.join()


def test_threads_that_python_ends_are_no_fault():
    before, stop = find_running(), threading.Event()
    pool = ThreadPoolExecutor(1)

    def start():
        pool.submit(len, ()).result()
        threading.Thread(target=stop.wait, daemon=True).start()

    call_plugin(PLUGIN, "building", start)
    assert find_running() == before
    stop.set()
    pool.shutdown()


def test_a_call_that_takes_long_is_announced_while_it_runs(monkeypatch):
    announced = threading.Event()
    texts = []

    def warn(text, category, **_):
        texts.append(text)
        announced.set()

    monkeypatch.setattr(supervision, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(supervision.warnings, "warn", warn)
    assert call_plugin(PLUGIN, "building 'tiny'", announced.wait, 10)
    assert texts == [
        "The plugin acme:nets has been building 'tiny' for 0.05 s. Ctrl-C stops it; "
        "ZOO_BLOCK_PLUGINS=acme:nets leaves it out."
    ]


def test_an_interrupt_says_what_the_plugin_was_doing():
    def wait():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        call_plugin(PLUGIN, "building 'tiny'", wait)
    assert caught.value.__notes__ == [
        "Interrupted while the plugin acme:nets was building 'tiny'.\nZOO_BLOCK_PLUGINS=acme:nets leaves it out."
    ]


def test_other_threads_are_not_supervised(tmp_path, monkeypatch):
    """The main thread may change settings meanwhile, for reasons of its own."""
    monkeypatch.chdir(tmp_path)
    call_within(10, lambda: call_plugin(PLUGIN, "building", lambda: os.chdir("/")))
    assert Path.cwd() == Path("/")


def test_a_call_within_a_time_returns_raises_or_times_out():
    assert call_within(10, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(10, lambda: 1 // 0)
    with pytest.raises(TimeoutError, match=r"it did not return within 0\.05 s"):
        call_within(0.05, lambda: time.sleep(5))


def test_the_public_api_warns_too(tmp_path, monkeypatch):
    """Whoever uses the zoo from Python learns it as well."""
    monkeypatch.chdir(tmp_path)

    def is_local():
        os.chdir("/")
        return True

    spec = zoo.BackboneSpec(name="tiny", build=len, card=len, is_local=is_local)
    registry = load_registry({"acme": plugin_of(zoo_backbones=lambda: [spec])})
    with pytest.warns(PluginWarning, match="The plugin acme:acme changed settings"):
        assert registry_is_local(registry.find(BACKBONE, "acme/tiny"))
