"""Runs the commands and the code of the README and of the pages of docs/.

Blocks fenced as ``sh`` run line by line in a folder with some photos. Those fenced as ``sh network`` need the network,
so their lines are only parsed, and ``sh setup`` is covered by `.ci/run` itself. ``python`` blocks run, too.
"""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from zoo import load_registry
from zoo.cli.main import cli
from zoo.cli.scaffold import PLUGIN_KINDS
from zoo.plugins.kinds import BACKBONE, KINDS
from zoo.testing import check_augmentation, check_plugin

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLUGIN_PAGES = [
    page for page in PAGES if page.parent.name == "plugins" and "\n```python plugin " in page.read_text("utf-8")
]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[str, str]]:
    return [(tag.strip(), body) for kind, tag, body in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def commands(body: str) -> list[list[str]]:
    lines = (shlex.split(line, comments=True) for line in body.splitlines())
    return [line for line in lines if line]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A working directory with ./photos, ./more-photos, photo.jpg and the tables that the pages name."""
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
    patients = [f"{row.partition(',')[0]},p{number // 2}" for number, row in enumerate(rows[1:])]
    (tmp_path / "patients.csv").write_text("\n".join(["path,group", *patients]), "utf-8")
    several = [(f"photos/hotdog/{n}.jpg", ["fish"] * (n % 2) + ["ray"] * (n % 3 < 2)) for n in range(12)]
    lines = ["path,labels,animals", *(f'{name},{"|".join(each)},"{",".join(each)}"' for name, each in several)]
    (tmp_path / "reef.csv").write_text("\n".join(lines), "utf-8")
    lines = ["path,label", *(f"{name},{label}" for name, each in several for label in each or [""])]
    (tmp_path / "reef-rows.csv").write_text("\n".join(lines), "utf-8")
    (tmp_path / "more-photos").mkdir()
    for file in ("photo.jpg", "more-photos/one.jpg"):
        (tmp_path / file).write_bytes((tmp_path / "photos/hotdog/1.jpg").read_bytes())
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=lambda page: page.name)
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
    forget(monkeypatch, "zoo_readme_net")
    plugin = importlib.import_module("zoo_readme_net")
    check_plugin(plugin)
    offer = load_registry(extra={"zoo-tinynet": plugin}).find(BACKBONE, "tinynet")
    assert offer.name == "zoo-tinynet/tinynet"
    assert len([line for line in source.splitlines() if line.strip()]) <= 20


def install_example(page, folder, replace=("", "")):
    """Installs the plugin that a page begins with into a folder, as a distribution; returns its name and its code."""
    ((tag, source),) = [block for block in blocks(page, "python") if block[0].startswith("plugin ")]
    name, (old, new) = tag.removeprefix("plugin "), replace
    assert old in source
    (folder / f"zoo_{name}.py").write_text(source.replace(old, new), "utf-8")
    metadata = folder / f"zoo_{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-{name}\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text(f"[zoo]\n{name} = zoo_{name}\n", "utf-8")
    return name, source


def forget(monkeypatch, name):
    """Lets this test import a module of that name, whatever others imported, and removes it when the test ends."""
    monkeypatch.setitem(sys.modules, name, None)  # at the end, what was there before is restored, or nothing
    del sys.modules[name]


def test_every_kind_has_a_page():
    assert {page.stem for page in PLUGIN_PAGES} >= {kind.word for kind in KINDS}
    index = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    assert all(f"](plugins/{page.name})" in index for page in PLUGIN_PAGES)


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_the_page_of_a_kind_names_its_skeleton(kind):
    plural = next((each.word for each in KINDS if each.singular_word == kind), f"{kind}s")
    text = " ".join((ROOT / "docs" / "plugins" / f"{plural}.md").read_text("utf-8").split())
    option = "" if kind == "backbone" else f" --kind {kind}"  # the default
    assert re.search(
        rf"`zoo new-plugin zoo-[a-z]+{option}` writes a distribution with an? {kind.replace('-', ' ')}", text
    )


@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda page: page.stem)
def test_the_plugin_of_a_page_keeps_its_contract(page, tmp_path, monkeypatch):
    name, source = install_example(page, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    forget(monkeypatch, f"zoo_{name}")
    check_plugin(f"zoo_{name}")
    (plugin,) = [each for each in load_registry().plugins if each.distribution == f"zoo-{name}"]
    assert plugin.error is None
    assert len([line for line in source.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda page: page.stem)
def test_the_kit_says_what_a_page_says_of_a_mistake(page, tmp_path, monkeypatch):
    ((tag, message),) = blocks(page, "text")
    old, new = tag.removeprefix("broken ").split(" -> ")
    name, _ = install_example(page, tmp_path, (old, new))
    monkeypatch.syspath_prepend(tmp_path)
    forget(monkeypatch, f"zoo_{name}")
    with pytest.raises(AssertionError) as caught:
        check_plugin(f"zoo_{name}")
    assert " ".join(str(caught.value).split()) == " ".join(message.split())


@pytest.mark.slow
@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda page: page.stem)
def test_the_command_line_shows_what_a_page_shows(page, tmp_path):
    install_example(page, tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "ZOO_HOME": str(tmp_path / "home"), "COLUMNS": "100"}
    ((_, console),) = blocks(page, "console")
    for part in console.split("$ ")[1:]:
        line, _, expected = part.partition("\n")
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        shown = done.stdout.replace(environment["ZOO_HOME"], "$ZOO_HOME").strip()
        assert (shown, done.returncode) == (expected.strip(), 0), f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_the_adapter_of_kornia_keeps_the_contract(tmp_path, monkeypatch):
    pytest.importorskip("kornia", reason="kornia is not installed: pip install finetune-zoo[kornia]")
    page = ROOT / "docs" / "plugins" / "augmentations.md"
    (source,) = [body for tag, body in blocks(page, "python") if tag == "kornia"]
    (tmp_path / "zoo_kornia_adapter.py").write_text(source, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    forget(monkeypatch, "zoo_kornia_adapter")
    module = importlib.import_module("zoo_kornia_adapter")
    check_augmentation(module.spec)
    adapter = source[source.index("def build") : source.index("spec =")]
    assert len([line for line in adapter.splitlines() if line.strip()]) <= 10


def test_links_lead_somewhere():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
