"""A run, what is published of it, and commands of the zoo against a hub server on loopback.

huggingface_hub reads its environment when it is imported, so everything that calls it runs in a process of its own.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import Hub, Repo, serve_hub

import zoo

NAME = "anna/tiny"
DATA = ("--data", "hotdog-cartoon", "--data-option", "images=20", "--data-option", "size=32")


@dataclass(frozen=True)
class Workplace:
    """A folder with runs, caches of its own, and a server."""

    folder: Path
    hub: Hub

    def environment(self, **variables: str) -> dict[str, str]:
        """Returns the environment of a process; an empty value removes a variable."""
        own = {
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.folder / "hf"),
            "ZOO_HOME": str(self.folder / "home"),
            "HF_TOKEN": "hf_anna",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "OMP_NUM_THREADS": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return {name: value for name, value in (inherited | own | variables).items() if value}

    def python(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        environment = self.environment(**variables)
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=250
        )

    def zoo(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the zoo."""
        return self.python("-m", "zoo", *arguments, **variables)

    def ok(self, *arguments: str | Path, **variables: str) -> str:
        """Runs a command that succeeds, and returns what it prints."""
        done = self.zoo(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def error(self, *arguments: str | Path, **variables: str) -> str:
        """Runs a command that ends with an error for users, and returns it."""
        done = self.zoo(*arguments, **variables)
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stderr


def run_alone(folder: Path, *arguments: str | Path) -> None:
    """Runs a command of the zoo without a network."""
    own = {
        "ZOO_HOME": str(folder / "home"),
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "zoo", *arguments, "--quiet"]
    done = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of a tiny network of timm on generated drawings, with an exported file."""
    folder = tmp_path_factory.mktemp("work")
    settings = ("--weights", "none", "--image-size", "32", "--epochs", "1", "--device", "cpu", "--precision", "fp32")
    run_alone(folder, "finetune", "timm/test_resnet", *DATA, *settings)
    (run,) = zoo.list_runs(folder / "runs")
    run_alone(folder, "export", run.path)
    return run


@pytest.fixture(scope="session")
def published(trained, tmp_path_factory):
    """The folder that is published of the run."""
    folder = tmp_path_factory.mktemp("published")
    run_alone(folder, "push", trained.path, NAME, "--license", "mit", "--to", folder / "all")
    return folder / "all"


@pytest.fixture
def hub():
    with serve_hub() as server:
        yield server


@pytest.fixture
def place(trained, hub, tmp_path):
    """A workplace with the run, a photo, and an empty server."""
    (tmp_path / "runs").symlink_to(trained.path.parent)
    (tmp_path / "photo.jpg").symlink_to(trained.path / "confusion.png")
    return Workplace(tmp_path, hub)


@pytest.fixture
def repo(published, hub):
    """The published folder in a repository of the server."""
    paths = [path for path in published.rglob("*") if path.is_file()]
    files = {path.relative_to(published).as_posix(): path.read_bytes() for path in paths}
    hub.repos[NAME] = Repo()
    hub.repos[NAME].commit(files)
    return hub.repos[NAME]
