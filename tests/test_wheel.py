"""The built wheel: its contents, and its use in an environment that contains nothing else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
SCRIPTS = "Scripts" if os.name == "nt" else "bin"

pytestmark = pytest.mark.timeout(900)


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ZOO_BLOCK_PLUGINS")}
    return subprocess.run(command, cwd=cwd, env=inherited | variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, or the one that ZOO_TEST_WHEEL names."""
    if given := os.environ.get("ZOO_TEST_WHEEL"):
        return Path(given).resolve()
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return file


class Environment:
    """A virtual environment with the wheel, and a working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scripts = folder / "venv" / SCRIPTS
        self.uv = shutil.which("uv")
        command = (self.uv, "venv", "--python", sys.executable) if self.uv else (sys.executable, "-m", "venv")
        done = run(*command, folder / "venv", cwd=folder)
        assert done.returncode == 0, done.stderr

    def install(self, *arguments: str | Path, offline: bool = False) -> subprocess.CompletedProcess[str]:
        """Installs packages, with uv if there is one. `offline`: from uv's cache only."""
        python = self.scripts / "python"
        installer = (self.uv, "pip", "install", "--python", python) if self.uv else (python, "-m", "pip", "install")
        return run(*installer, *(("--offline",) if offline else ()), *arguments, cwd=self.folder)

    def zoo(self, *arguments: str | Path) -> str:
        """Runs the installed command and returns its output."""
        done = run(self.scripts / "zoo", *arguments, cwd=self.folder, ZOO_HOME=str(self.folder / "home"))
        assert done.returncode == 0, f"zoo {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def serve(self, model: Path) -> Iterator[str]:
        """Runs ``zoo demo`` for the duration of the block and yields its address."""
        command = (self.scripts / "zoo", "demo", model, "--port", "0", "--no-open")
        with subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                addresses = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stdout)
                yield next(address[0] for address in addresses if address)
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    made = Environment(tmp_path_factory.mktemp("empty"))
    done = made.install("--no-deps", wheel)
    assert done.returncode == 0, done.stderr  # a broken wheel must not look like a missing network
    dependencies = ("--constraint", ROOT / "constraints.txt", wheel)
    done = made.install(*dependencies, offline=True) if made.uv else made.install(*dependencies)
    if done.returncode and made.uv:
        done = made.install(*dependencies)
    if done.returncode:
        pytest.skip(f"The dependencies cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    yield made
    shutil.rmtree(made.folder / "venv")  # gigabytes


def test_the_wheel_contains_every_file_of_every_package(wheel: Path) -> None:
    expected = set()
    for package in PACKAGES:
        folder = ROOT / package
        assert (folder / "py.typed").is_file(), f"{package} has no py.typed"
        files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        expected |= {path.relative_to(folder.parent).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        contained = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    assert contained == expected
    assert f"Version: {PROJECT['project']['version']}\n" in text


@pytest.mark.slow
def test_the_installed_commands_find_the_built_in_plugins(environment: Environment) -> None:
    assert environment.zoo("--version").split() == ["finetune-zoo", PROJECT["project"]["version"]]
    plugins = json.loads(environment.zoo("plugins", "--json"))
    expected = {f"finetune-zoo:{entry}" for entry in PROJECT["project"]["entry-points"]["zoo"]}
    assert {plugin["key"] for plugin in plugins} == expected
    assert [plugin for plugin in plugins if plugin["error"]] == []
    assert "torchvision/resnet18" in environment.zoo("list", "--json")


@pytest.mark.slow
def test_the_installed_packages_train_export_predict_and_serve(environment: Environment) -> None:
    data = ("hotdog-cartoon", "--data-option", "images=20", "--data-option", "size=32")
    small = ("--weights", "none", "--image-size", "32", "--epochs", "1", "--device", "cpu", "--quiet")
    environment.zoo("finetune", "resnet18", "--data", *data, *small)
    environment.zoo("export", "resnet18-linear-hotdog-cartoon-1", "--photos", "4")
    model = environment.folder / "runs" / "resnet18-linear-hotdog-cartoon-1" / "model.onnx"
    photo = environment.folder / "photo.png"
    environment.zoo("show", *data, "--count", "1", "--output", photo)
    assert "hotdog" in environment.zoo("predict", model, photo)
    with environment.serve(model) as address:
        with urllib.request.urlopen(address, timeout=60) as page:
            assert "<html" in page.read().decode()
        with urllib.request.urlopen(f"{address}/api/v1/predict", photo.read_bytes(), timeout=60) as answer:
            assert json.loads(answer.read())["predictions"]


@pytest.mark.slow
def test_the_installed_templates_are_complete(environment: Environment) -> None:
    environment.zoo("new-plugin", "zoo-mynet", "--to", "mynet")
    assert (environment.folder / "mynet" / "pyproject.toml").is_file()
    page = environment.folder / "page.html"
    environment.zoo("data", "check", "hotdog-cartoon", "--html", page)
    assert "<html" in page.read_text("utf-8")
