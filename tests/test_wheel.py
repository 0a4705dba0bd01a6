"""The two built wheels: their contents, and their use in environments that contain nothing else."""

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
RUNTIME = tomllib.loads((ROOT / "export" / "pyproject.toml").read_text("utf-8"))
ALL, WITHOUT_TORCH = "finetune-zoo", "finetune-zoo-runtime"
PACKAGES = {
    ALL: [ROOT / package for package in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]],
    WITHOUT_TORCH: [
        ROOT / "export" / package
        for package in RUNTIME["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["packages"]
    ],
}
RUN = "resnet18-linear-hotdog-cartoon-1"
DATA = ("hotdog-cartoon", "--data-option", "images=20", "--data-option", "size=32")
SMALL = ("--weights", "none", "--image-size", "32", "--epochs", "1", "--device", "cpu", "--quiet")
SCRIPTS = "Scripts" if os.name == "nt" else "bin"

pytestmark = pytest.mark.timeout(900)


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ZOO_BLOCK_PLUGINS")}
    return subprocess.run(command, cwd=cwd, env=inherited | variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheels of this checkout, or those in the folder that ZOO_TEST_WHEELS names, by distribution."""
    folder = Path(os.environ.get("ZOO_TEST_WHEELS") or tmp_path_factory.mktemp("wheels")).resolve()
    if "ZOO_TEST_WHEELS" not in os.environ:
        for project in (ROOT, ROOT / "export"):
            build = ("-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
            done = run(sys.executable, *build, cwd=project)
            assert done.returncode == 0, done.stderr
    found = {file.name.partition("-")[0].replace("_", "-"): file for file in folder.glob("*.whl")}
    assert found.keys() == PACKAGES.keys()
    return found


class Environment:
    """An empty virtual environment, and a working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scripts = folder / "venv" / SCRIPTS
        self.uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
        command = (self.uv, "venv", "--python", sys.executable) if self.uv else (sys.executable, "-m", "venv")
        done = run(*command, folder / "venv", cwd=folder)
        assert done.returncode == 0, done.stderr

    def install(self, *arguments: str | Path, offline: bool = False) -> subprocess.CompletedProcess[str]:
        """Installs packages, with uv if there is one. `offline`: from uv's cache only."""
        python = self.scripts / "python"
        installer = (self.uv, "pip", "install", "--python", python) if self.uv else (python, "-m", "pip", "install")
        return run(*installer, *(("--offline",) if offline else ()), *arguments, cwd=self.folder)

    def install_with_dependencies(self, *wheels: Path) -> None:
        """Installs wheels and what they require in the versions that were tested; skips the test without a network."""
        done = self.install("--no-deps", *wheels)
        assert done.returncode == 0, done.stderr  # a broken wheel must not look like a missing network
        dependencies = ("--constraint", ROOT / "constraints.txt", *wheels)
        done = self.install(*dependencies, offline=True) if self.uv else self.install(*dependencies)
        if done.returncode and self.uv:
            done = self.install(*dependencies)
        if done.returncode:
            pytest.skip(f"The dependencies cannot be installed: {done.stderr.strip().splitlines()[-1]}")

    def uninstall(self, name: str) -> None:
        """Uninstalls a distribution."""
        python = self.scripts / "python"
        uninstall = ("pip", "uninstall", "--python", python) if self.uv else ("-m", "pip", "uninstall", "--yes")
        done = run(self.uv or python, *uninstall, name, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def python(self, *arguments: str | Path) -> str:
        """Runs Python and returns its output."""
        return self._run("python", *arguments)

    def zoo(self, *arguments: str | Path, code: int = 0) -> str:
        """Runs the installed command and returns its output, or its errors if it is expected to fail."""
        return self._run("zoo", *arguments, code=code)

    def _run(self, script: str, *arguments: str | Path, code: int = 0) -> str:
        done = run(self.scripts / script, *arguments, cwd=self.folder, ZOO_HOME=str(self.folder / "home"))
        assert done.returncode == code, f"{script} {' '.join(map(str, arguments))}\n{done.stdout}\n{done.stderr}"
        return done.stderr if code else done.stdout

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
def environment(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with both wheels."""
    made = Environment(tmp_path_factory.mktemp("all"))
    made.install_with_dependencies(*wheels.values())
    yield made
    shutil.rmtree(made.folder / "venv")  # gigabytes


@pytest.fixture(scope="module")
def runtime(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with the runtime alone."""
    made = Environment(tmp_path_factory.mktemp("runtime"))
    made.install_with_dependencies(wheels[WITHOUT_TORCH])
    yield made
    shutil.rmtree(made.folder / "venv")


class Checkout:
    """This checkout, with torch, in a working directory that contains an exported file and photos."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.zoo("finetune", "resnet18", "--data", *DATA, *SMALL)
        self.zoo("export", RUN, "--photos", "4")
        self.zoo("data", "check", *DATA, "--fix-into", folder / "photos", "--quiet")
        self.model, self.photos = folder / "runs" / RUN / "model.onnx", folder / "photos" / "test"

    def zoo(self, *arguments: str | Path) -> str:
        """Runs the command and returns its output."""
        return self.python("-m", "zoo", *arguments)

    def python(self, *arguments: str | Path) -> str:
        """Runs Python and returns its output."""
        done = run(sys.executable, *arguments, cwd=self.folder, ZOO_HOME=str(self.folder / "home"))
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_wheel_contains_every_file_of_every_package(wheels: dict[str, Path], name: str) -> None:
    expected = set()
    for folder in PACKAGES[name]:
        assert (folder / "py.typed").is_file(), f"{folder} has no py.typed"
        files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        expected |= {path.relative_to(folder.parent).as_posix() for path in files}
    with zipfile.ZipFile(wheels[name]) as archive:
        contained = {file for file in archive.namelist() if ".dist-info/" not in file}
        (metadata,) = [file for file in archive.namelist() if file.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    assert contained == expected
    assert f"Version: {PROJECT['project']['version']}\n" in text


def test_every_package_belongs_to_one_wheel() -> None:
    rooms = (ROOT, ROOT / "plugins", ROOT / "export", ROOT / "demo")
    packages = [file.parent for room in rooms for file in room.glob("zoo*/__init__.py")]
    listed = [folder.resolve() for folders in PACKAGES.values() for folder in folders]
    assert sorted(listed) == sorted(packages)


@pytest.mark.slow
def test_either_wheel_can_be_uninstalled(wheels: dict[str, Path], tmp_path: Path) -> None:
    """No file belongs to both: after each removal, all files of the other are there and none of the removed."""
    environment = Environment(tmp_path)
    packages = {name: {folder.name for folder in folders} for name, folders in PACKAGES.items()}
    for first, second in ((ALL, WITHOUT_TORCH), (WITHOUT_TORCH, ALL)):
        assert environment.install("--no-deps", wheels[first], wheels[second]).returncode == 0
        (site,) = {file.parent for file in environment.folder.glob("venv/**/zoo_heads")}
        for name, left in ((first, packages[second]), (second, set())):
            environment.uninstall(name)
            assert {file.name for file in site.glob("zoo*")} == left
            assert (environment.scripts / f"zoo{'.exe' if os.name == 'nt' else ''}").exists() == ("zoo" in left)


@pytest.mark.slow
def test_the_installed_commands_find_the_built_in_plugins(environment: Environment) -> None:
    assert environment.zoo("--version").split() == ["finetune-zoo", PROJECT["project"]["version"]]
    plugins = json.loads(environment.zoo("plugins", "--json"))
    entries = [*PROJECT["project"]["entry-points"]["zoo"], *RUNTIME["project"]["entry-points"]["zoo"]]
    expected = {f"finetune-zoo:{entry}" for entry in entries}
    assert {plugin["key"] for plugin in plugins} == expected
    assert [plugin for plugin in plugins if plugin["error"]] == []
    assert "torchvision/resnet18" in environment.zoo("list", "--json")


@pytest.mark.slow
def test_the_installed_packages_train_export_predict_and_serve(environment: Environment) -> None:
    environment.zoo("finetune", "resnet18", "--data", *DATA, *SMALL)
    environment.zoo("export", RUN, "--photos", "4")
    model = environment.folder / "runs" / RUN / "model.onnx"
    photo = environment.folder / "photo.png"
    environment.zoo("show", *DATA, "--count", "1", "--output", photo)
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


@pytest.mark.slow
def test_the_runtime_installs_no_torch_and_one_onnx_runtime(runtime: Environment) -> None:
    listing = "from importlib.metadata import distributions; print(*{each.name for each in distributions()})"
    installed = set(runtime.python("-c", listing).split())
    assert not installed & {ALL, "torch", "torchvision", "timm", "scipy", "matplotlib", "gradio"}
    assert len(installed & {"onnxruntime", "onnxruntime-gpu"}) == 1


@pytest.mark.slow
def test_the_runtime_agrees_with_the_complete_installation(runtime: Environment, checkout: Checkout) -> None:
    model, photos = checkout.model, checkout.photos
    for command in (
        ("predict", model, photos, "--csv", "-"),
        ("evaluate", model, "--data", photos, "--json"),
        ("inspect", model, "--json"),
        ("verify", model, "--json"),
    ):
        assert runtime.zoo(*command) == checkout.zoo(*command)
    photo = str(photos / "hotdog" / "00000.ppm")
    program = f"import zoo_export; print(zoo_export.load({str(model)!r}).predict({photo!r}))"
    assert runtime.python("-c", program) == checkout.python("-c", program)


@pytest.mark.slow
def test_the_runtime_tags_and_verifies_a_run(runtime: Environment, checkout: Checkout) -> None:
    shutil.copytree(checkout.folder / "runs", runtime.folder / "runs")
    assert runtime.zoo("runs", "tag", RUN, "hotdog@prod", "--quiet") == "hotdog@prod\n"
    assert "hotdog@prod" in runtime.zoo("runs", "tags")
    assert runtime.zoo("verify", "hotdog@prod").count("ok") >= 3
    assert "classes" in runtime.zoo("inspect", "hotdog@prod")
    with (runtime.folder / "runs" / RUN / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"changed")
    assert "failed" in run(runtime.scripts / "zoo", "verify", "hotdog@prod", cwd=runtime.folder).stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", [("finetune", "resnet18", "--data", "photos"), ("show", "photos"), ("demo", "x")])
def test_the_runtime_says_what_other_commands_need(runtime: Environment, command: tuple[str, ...]) -> None:
    error = runtime.zoo(*command, code=1)
    assert error.splitlines()[1:] == ["Install it with the rest of the zoo: pip install finetune-zoo"]
