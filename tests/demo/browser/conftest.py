"""Fixtures: a tiny run on coloured noise, the demo that serves it, and headless Chromium with a fake camera."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import COLOURS, MILLISECONDS, Demo, make_noise_png

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

PLUGIN = Path(__file__).parents[2] / "example_plugin"  # its backbone `tinynet` trains in a second
ARGUMENTS = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@pytest.fixture(scope="package")
def tiny_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Makes the example plugin available to this process and its subprocesses, without installing it."""
    site = tmp_path_factory.mktemp("site")
    info = site / "zoo_tinynet-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-tinynet\nVersion: 0.1\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[zoo]\ntinynet = zoo_tinynet\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for folder in (PLUGIN, site):
            patch.syspath_prepend(folder)
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield


@pytest.fixture(scope="package")
def models(tiny_plugin: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A new run of `tinynet`, and the file exported from it."""
    from zoo.training.finetune import finetune
    from zoo_export.targets.onnx import export_onnx

    folder = tmp_path_factory.mktemp("demo")
    for colour in COLOURS:
        (folder / "photos" / colour).mkdir(parents=True)
        for seed in range(20):
            (folder / "photos" / colour / f"{seed}.png").write_bytes(make_noise_png(colour, seed))
    values = {"weights": "none", "epochs": 6, "batch_size": 8, "lr": 0.01, "device": "cpu", "precision": "fp32"}
    run = finetune("tinynet", data=str(folder / "photos"), runs=folder / "runs", **values)
    return run.path, export_onnx(run, folder / "model.onnx", device="cpu").path


@pytest.fixture(scope="package")
def demo(models: tuple[Path, Path]) -> Iterator[Demo]:
    """The demo, started by its command, on a free port."""
    run, file = models
    arguments = [str(run), str(file), "--runs", str(run.parent), "--device", "cpu", "--port", "0", "--no-open"]
    with subprocess.Popen(
        [sys.executable, "-m", "zoo", "demo", *arguments], stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Listening on http://127.0.0.1:"), line
        names = [run.name, f"{file.parent.name}/{file.name}"]
        assert process.stdout.readline() == f"Models: {', '.join(names)}\n"
        yield Demo(url=line.split()[2], models=names, runs=run.parent)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(20) == 0  # even while pages are open
        finally:
            process.kill()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, or Playwright's own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    playwright.expect.set_options(timeout=MILLISECONDS)
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    with playwright.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        except playwright.Error as error:
            pytest.skip(f"Chromium cannot be started: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def visit(chromium: Browser, demo: Demo) -> Callable[..., Page]:
    """Opens the page in a new browser context each time; takes the options of the context."""

    def visit(**options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(MILLISECONDS)
        context.on("request", lambda request: demo.requests.append(request.url))
        page = context.new_page()
        page.on("websocket", lambda socket: demo.requests.append(socket.url))
        page.on("pageerror", lambda error: demo.errors.append(str(error)))
        page.goto(demo.url)
        page.get_by_role("tab", name="Predict").wait_for(state="attached")
        return page

    return visit


@pytest.fixture(scope="module")
def page(visit: Callable[..., Page]) -> Iterator[Page]:
    """The page on a desktop, loaded once for all tests of a module."""
    page = visit()
    yield page
    page.context.close()
