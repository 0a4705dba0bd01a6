from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli.scaffold import PLUGIN_KINDS, write_plugin
from zoo.errors import ConfigError
from zoo.testing import check_plugin

ROOT = Path(__file__).parents[2]


def forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def test_a_new_plugin_passes_its_contract_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_plugin("zoo-rose-garden", tmp_path / "new" / "zoo-rose-garden")
    assert [str(file.relative_to(tmp_path / "new" / "zoo-rose-garden")) for file in files] == [
        "pyproject.toml",
        "README.md",
        "zoo_rose_garden/__init__.py",
        "zoo_rose_garden/head.py",
        "tests/test_contract.py",
    ]
    assert all("$" not in file.read_text() for file in files)
    monkeypatch.syspath_prepend(tmp_path / "new" / "zoo-rose-garden")
    try:
        check_plugin("zoo_rose_garden")
    finally:
        forget("zoo_rose_garden")


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_a_new_plugin_of_every_kind_passes_its_contract_test(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_plugin("zoo-rose-garden", tmp_path / "new", kind=kind)
    assert all("$" not in file.read_text() for file in files)
    assert f"{kind.replace('-', ' ')} `rose-garden`" in (tmp_path / "new" / "README.md").read_text()
    monkeypatch.syspath_prepend(tmp_path / "new")
    try:
        check_plugin("zoo_rose_garden")
    finally:
        forget("zoo_rose_garden")


def test_the_example_plugin_equals_the_templates(tmp_path: Path) -> None:
    example = ROOT / "tests" / "example_plugin"
    for file in write_plugin("zoo-tinynet", tmp_path / "zoo-tinynet"):
        existing = example / file.relative_to(tmp_path / "zoo-tinynet")
        text, wanted = existing.read_text(), file.read_text()
        # The example goes on, with one offer of each other kind.
        same = text.startswith(wanted) if file.name == "__init__.py" else text == wanted
        assert same, f"{existing} differs from zoo/cli/templates/plugin"


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
