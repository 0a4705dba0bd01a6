from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

import zoo
from zoo.cli.scaffold import PLUGIN_KINDS, write_plugin
from zoo.errors import ConfigError, RunError
from zoo.plugins.kinds import KINDS
from zoo.testing import check_plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Makes a new plugin ``zoo_rose_garden`` importable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        try:
            yield
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "zoo_rose_garden"]:
                del sys.modules[name]


def test_a_new_plugin_has_a_package_a_readme_and_a_test(tmp_path: Path) -> None:
    files = write_plugin("zoo-rose-garden", tmp_path / "new" / "zoo-rose-garden")
    assert [str(file.relative_to(tmp_path / "new" / "zoo-rose-garden")) for file in files] == [
        "pyproject.toml",
        "README.md",
        "zoo_rose_garden/__init__.py",
        "zoo_rose_garden/head.py",
        "tests/test_contract.py",
    ]


def test_there_is_a_skeleton_of_every_kind() -> None:
    assert {*PLUGIN_KINDS} == {*(kind.singular_word for kind in KINDS), "command"}


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_a_new_plugin_of_every_kind_passes_its_contract_test(kind: str, tmp_path: Path) -> None:
    files = write_plugin("zoo-rose-garden", tmp_path / "new", kind=kind)
    assert all("$" not in file.read_text() for file in files)
    assert f"{kind.replace('-', ' ')} `rose-garden`" in (tmp_path / "new" / "README.md").read_text()
    with importable(tmp_path / "new"):
        check_plugin("zoo_rose_garden")


# What the kits of these kinds do not try: whether an offer does anything with what it accepts.


def test_a_new_format_predicts_from_the_mean_colour(tmp_path: Path) -> None:
    write_plugin("zoo-rose-garden", tmp_path / "new", kind="format")
    path = tmp_path / "colours.rose-garden"
    path.write_text(json.dumps({"classes": ["warm", "cold"], "weights": [[9, 0, -9], [-9, 0, 9]]}))
    with importable(tmp_path / "new"):
        load = importlib.import_module("zoo_rose_garden.format").load
        predictor = load(zoo.FormatRequest(path=path))
        red, gray = np.uint8([[[250, 20, 20]]]), np.uint8([[[90, 90, 90]]])
        assert [each.label for each in predictor.predict([red, red[..., ::-1]])] == ["warm", "cold"]
        assert predictor.predict(gray).probability == pytest.approx(0.5)
        with pytest.raises(ConfigError, match="cannot run on cuda"):
            load(zoo.FormatRequest(path=path, device="cuda"))
        path.write_text(json.dumps({"classes": ["warm", "warm"], "weights": [[9, 0, -9], [-9, 0, 9]]}))
        with pytest.raises(RunError, match="different names"):
            load(zoo.FormatRequest(path=path))


def test_a_new_hub_has_the_models_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin("zoo-rose-garden", tmp_path / "new", kind="hub")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "hotdog.onnx").touch()
    with importable(tmp_path / "new"):
        hub = importlib.import_module("zoo_rose_garden.hub")
        monkeypatch.setattr(hub, "FOLDER", tmp_path / "models")
        fetched = hub.fetch(zoo.FetchRequest(reference="hotdog.onnx", wanted="file"))
        assert fetched.path == tmp_path / "models" / "hotdog.onnx"
        assert fetched.origin == "rose-garden:hotdog.onnx"
        with pytest.raises(RunError, match=r"There is no model '\.\./models'") as caught:
            hub.fetch(zoo.FetchRequest(reference="../models", wanted="file"))
        assert caught.value.hint == "It has hotdog.onnx."


def test_a_new_command_counts_photos(tmp_path: Path) -> None:
    write_plugin("zoo-rose-garden", tmp_path / "new", kind="command")
    with importable(tmp_path / "new"):
        command = importlib.import_module("zoo_rose_garden.command").command
        done = CliRunner().invoke(command, ["hotdog-cartoon", "--split", "val"])
    assert done.output == "     80  hotdog\n     80  not-hotdog\n"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("zoo-list", "command", "The command 'list' belongs to the zoo"),
        ("zoo-x", "hub", "A hub cannot be called 'x'"),
    ],
)
def test_a_name_that_the_offer_cannot_have_is_refused(name: str, kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        write_plugin(name, tmp_path / "new", kind=kind)
    assert f"such as {name}-" in caught.value.hint
    assert not (tmp_path / "new").exists()


def test_the_example_plugin_begins_like_the_templates(tmp_path: Path) -> None:
    example = ROOT / "tests" / "example_plugin"
    for file in write_plugin("zoo-tinynet", tmp_path / "zoo-tinynet"):
        existing = example / file.relative_to(tmp_path / "zoo-tinynet")
        # Only its command needs this import.
        text, wanted = existing.read_text().replace("from typing import Any\n\n", "", 1), file.read_text()
        # The example goes on, with one offer of each other kind.
        same = text.startswith(wanted) if file.name in ("__init__.py", "README.md") else text == wanted
        assert same, f"{existing} differs from zoo/cli/templates"


@pytest.mark.skipif(shutil.which("ruff", path=Path(sys.executable).parent) is None, reason="ruff is not installed")
@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_the_templates_are_clean_code(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "zoo-lint"
    write_plugin("zoo-lint", folder, kind=kind)
    ruff, config = Path(sys.executable).parent / "ruff", ROOT / "pyproject.toml"
    for arguments in (["check", "--extend-per-file-ignores", "test_*.py:D"], ["format", "--check"]):
        done = subprocess.run(
            [ruff, *arguments, "--no-cache", "--config", config, folder], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", ["", "Zoo-Tiny", "zoo_tiny", "zoo tiny", "9lives", "-zoo", "zoo-", "zoo--a", "../up", "a/b"]
)
def test_an_invalid_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a valid name for a plugin") as caught:
        write_plugin(name, tmp_path / "new")
    assert "zoo-tinynet" in caught.value.hint
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["zoo", "timm", "heads", "finetune-zoo", "json", "class", "torch", "zoo-heads"])
def test_a_taken_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"The name '{name}' is taken"):
        write_plugin(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_existing_folder_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="already exists"):
        write_plugin("zoo-tiny", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Cannot write the plugin to"):
        write_plugin("zoo-tiny", tmp_path / "file" / "zoo-tiny")
