"""Runs the commands and the code of the README and of the pages of docs/.

Blocks fenced as ``sh`` run line by line in a folder with some photos. Those fenced as ``sh network`` need the network,
so their lines are only parsed, and ``sh setup`` is covered by `.ci/run` itself. ``python`` blocks run, too.
"""

import importlib
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from zoo import load_registry
from zoo.cli.main import cli
from zoo.plugins.kinds import AUGMENTATION, BACKBONE, HUB, LOSS, METRIC, OPTIMIZER, RECIPE, SCHEDULE, TRACKER
from zoo.testing import check_augmentation, check_plugin

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    return [(tag.strip(), body) for kind, tag, body in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def commands(body: str) -> list[list[str]]:
    lines = (shlex.split(line, comments=True) for line in body.splitlines())
    return [line for line in lines if line]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working directory with ./photos, ./more-photos, photo.jpg and photos.csv."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    rows = ["path,label"]
    for label, hue in (("hotdog", 0), ("salad", 90)):
        for number in range(12):
            file = tmp_path / "photos" / label / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("HSV", (48, 40), (hue + number, 200, 120 + 5 * number)).convert("RGB").save(file)
            rows.append(f"photos/{label}/{number}.jpg,{label}")
    (tmp_path / "photos.csv").write_text("\n".join(rows), "utf-8")
    (tmp_path / "more-photos").mkdir()
    for file in ("photo.jpg", "more-photos/one.jpg"):
        (tmp_path / file).write_bytes((tmp_path / "photos/hotdog/1.jpg").read_bytes())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run(page, photos):
    """Runs every command of a page in its order."""
    runner = CliRunner()
    files = {"recipe": "mine.toml", "config": "run.toml"}
    for tag, body in blocks(page, "toml"):
        if tag in files:
            (photos / files[tag]).write_text(body, "utf-8")
    for tag, body in blocks(page, "sh"):
        for program, *arguments in commands(body):
            if tag == "setup":
                continue
            assert program == "zoo", f"{page.name}: unexpected program {program}"
            if tag == "network":
                arguments = [argument.replace("RUN", "some-run") for argument in arguments]
                name, command, rest = cli.resolve_command(click.Context(cli), arguments)
                assert command is not None
                assert command.make_context(name, rest)
            else:
                result = runner.invoke(cli, arguments, catch_exceptions=False)
                assert result.exit_code == 0, f"{page.name}: zoo {shlex.join(arguments)}\n{result.output}"
    for tag, body in blocks(page, "python") if page.name in ("run-folder.md", "export.md") else ():
        if tag:  # not a complete program
            continue
        exec(compile(body, page.name, "exec"), {})


@pytest.mark.slow
def test_python_examples_run(photos):
    for _, body in blocks(ROOT / "docs" / "python.md", "python"):
        exec(compile(body, "python.md", "exec"), {})
    assert list((photos / "runs").iterdir())


def test_the_plugin_of_the_readme_keeps_the_contract(tmp_path, monkeypatch):
    """Checks the code in the README with the three lines in docs/plugins.md."""
    (source,) = [body for tag, body in blocks(ROOT / "README.md", "python") if tag == "plugin"]
    (tmp_path / "zoo_readme_net.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    plugin = importlib.import_module("zoo_readme_net")
    monkeypatch.delitem(sys.modules, "zoo_readme_net")
    check_plugin(plugin)
    offer = load_registry(extra={"zoo-tinynet": plugin}).find(BACKBONE, "tinynet")
    assert offer.name == "zoo-tinynet/tinynet"
    assert len([line for line in source.splitlines() if line.strip()]) <= 20


def import_example(tag, tmp_path, monkeypatch):
    """Imports the block of docs/plugins.md with a tag as a module."""
    (source,) = [body for each, body in blocks(ROOT / "docs" / "plugins.md", "python") if each == tag]
    name = f"zoo_docs_{tag}"
    (tmp_path / f"{name}.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    return module, source


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (LOSS, "gce"),
        (AUGMENTATION, "invert"),
        (METRIC, "brier"),
        (OPTIMIZER, "signs"),
        (SCHEDULE, "halving"),
        (RECIPE, "gentle"),
        (TRACKER, "mine"),
        (HUB, "share"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_plugins_of_the_plugin_page_keep_the_contract(kind, name, tmp_path, monkeypatch):
    plugin, source = import_example(kind.name, tmp_path, monkeypatch)
    check_plugin(plugin)
    registry = load_registry(extra={"zoo-docs": plugin})
    assert registry.find(kind, name).name == f"zoo-docs/{name}"
    assert len([line for line in source.splitlines() if line.strip()]) <= 15


@pytest.mark.slow
def test_the_adapter_of_kornia_keeps_the_contract(tmp_path, monkeypatch):
    pytest.importorskip("kornia", reason="kornia is not installed: pip install finetune-zoo[kornia]")
    module, source = import_example("kornia", tmp_path, monkeypatch)
    check_augmentation(module.spec)
    adapter = source[source.index("def build") : source.index("spec =")]
    assert len([line for line in adapter.splitlines() if line.strip()]) <= 10


def test_links_lead_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
