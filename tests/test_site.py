"""The documentation site: its pages are complete, and a built one needs nothing from elsewhere."""

import functools
import http.server
import importlib.util
import re
import shutil
import threading
import tomllib
from pathlib import Path

import pytest

import zoo
import zoo.testing
import zoo_export

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "docs" / "site"
SECONDS = 30_000  # in milliseconds: the machine may be busy


@pytest.fixture(scope="module")
def builder():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(navigation):
    """Returns the pages of a navigation."""
    for entry in navigation:
        if isinstance(entry, str):
            yield entry
        else:
            (value,) = entry.values()
            yield from [value] if isinstance(value, str) else listed(value)


def test_the_navigation_has_every_page_once(builder):
    settings = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text("utf-8"))["project"]
    pages = [place.as_posix() for place in builder.find_pages().values()]
    assert sorted(listed(settings["nav"])) == sorted(pages)


def test_the_reference_has_every_public_name_once(builder):
    directives = [
        name
        for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
        for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(directives) == len(set(directives))
    public = {f"zoo.{name}" for name in zoo.__all__} | {f"zoo_export.{name}" for name in zoo_export.__all__}
    assert public - set(directives) == set()
    assert {"zoo.testing", "zoo.events", "zoo.errors"} <= set(directives)


def test_pages_are_converted_for_the_site(builder, tmp_path):
    source = ROOT / "docs" / "plugins" / "losses.md"
    places = builder.find_pages()
    text = (
        "[all](../plugins.md#names) [home](../../README.md) [code](../../zoo/events.py) [site](https://example.org)\n"
        "`zoo.finetune`, `zoo.events.Note`, `zoo.unknown` and `[zoo.load]`\n"
        "```python loss\nprint('[a](b)', `zoo.load`)\n```\n"
    )
    assert builder.convert(text, source, places, {"zoo.finetune", "zoo.events", "zoo.load"}) == (
        "[all](../plugins.md#names) [home](../index.md) [code](../source/zoo/events.py.md) [site](https://example.org)\n"
        "[`zoo.finetune`][zoo.finetune], [`zoo.events.Note`][zoo.events.Note], `zoo.unknown` and `[zoo.load]`\n"
        "```python\nprint('[a](b)', `zoo.load`)\n```\n"
    )
    assert places[ROOT / "zoo" / "events.py"] == Path("source/zoo/events.py.md")


def test_the_notebook_becomes_a_page(builder):
    text = builder.read(ROOT / "docs" / "tour.ipynb")
    assert text.startswith("# A tour of the zoo\n")
    assert "\n\n```python\nimport zoo\n" in text


@pytest.fixture(scope="module")
def site():
    """The address of the built site."""
    if not SITE.exists():
        pytest.skip("The site is not built: make docs")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_pages_load_nothing_from_elsewhere(site):
    loads = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)")
    pages = sorted(SITE.rglob("*.html"))
    assert len(pages) > 30
    assert {page.name: found for page in pages if (found := loads.findall(page.read_text("utf-8")))} == {}
    for style in SITE.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text("utf-8")), style


@pytest.mark.slow
def test_the_reference_has_the_help_and_the_defaults_of_options(site):
    text = re.sub(r"<[^>]+>", "", (SITE / "reference" / "training.html").read_text("utf-8"))
    assert "Passes over the training split; at least 1." in text
    assert f"epochs: int = {zoo.FinetuneConfig.__dataclass_fields__['epochs'].default}," in text
    assert "option(" not in text


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_work_without_a_network(site, width):
    """Opens pages in Chromium with every other address cut off; on a wide screen it searches, too."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    elsewhere, problems = [], []
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except sync_api.Error as error:
            pytest.skip(f"Chromium is not available: {str(error).splitlines()[0]}")
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(SECONDS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)

        def cut(route):
            if route.request.url.startswith(site):
                route.continue_()
            else:
                elsewhere.append(route.request.url)
                route.abort()

        page.route("**/*", cut)
        for name in ("index", "plugins/losses", "reference/training"):
            page.goto(f"{site}/{name}.html", wait_until="load")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            assert page.locator("h1").inner_text()
        assert page.locator("[id='zoo.finetune']").count() == 1
        if width > 1000:
            page.get_by_role("button", name="Search").click()
            page.locator("input[aria-label=Search]").fill("label smoothing")
            page.get_by_text(re.compile(r"\d+ results")).first.wait_for()
        browser.close()
    assert elsewhere == []
    assert problems == []
