"""A third-party plugin: installed beside the zoo, found, used, and gone after it is uninstalled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zoo.plugins.kinds import KINDS

EXAMPLE = Path(__file__).parent / "example_plugin"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Environment:
    """A virtual environment with its own `pip` that also sees the packages of the environment that runs the tests.

    `--system-site-packages` would only add the packages of the base interpreter.
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=True)
        scripts = "Scripts" if os.name == "nt" else "bin"
        self.python = folder / "venv" / scripts / "python"
        self.folder = folder
        own = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        # addsitedir instead of a plain path, because it reads .pth files: those of editable installations, too.
        visible = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        lines = [f"import site; site.addsitedir({path!r})" for path in sorted(visible)]
        Path(own, "tests_environment.pth").write_text("\n".join(lines) + "\n")

    def run(self, *arguments: str | Path, fails: bool = False) -> str:
        """Runs Python; returns its output, or its errors if it is expected to fail."""
        inherited = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "ZOO_BLOCK_PLUGINS")
        environment = {name: value for name, value in os.environ.items() if name not in inherited}
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=environment | {"ZOO_HOME": str(self.folder / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stderr if fails else done.stdout

    def plugins(self) -> dict[str, Any]:
        return {plugin["key"]: plugin for plugin in json.loads(self.run("-m", "zoo", "plugins", "--json"))}

    def listed(self, kind: str) -> list[str]:
        return [entry["qualified"] for entry in json.loads(self.run("-m", "zoo", "list", kind, "--json"))[kind]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment(tmp_path_factory.mktemp("third-party"))


def test_a_plugin_is_installed_found_fine_tuned_and_uninstalled(environment: Environment) -> None:
    source = environment.folder / "zoo-tinynet"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    assert "zoo-tinynet:tinynet" not in environment.plugins()
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    environment.run(*pip, "install", "--no-index", "--no-deps", "--no-build-isolation", source)

    plugin = environment.plugins()["zoo-tinynet:tinynet"]
    assert (plugin["version"], plugin["built_in"], plugin["error"]) == ("0.1.0", False, None)
    assert plugin["commands"]
    for kind in KINDS:
        assert plugin[kind.plural], f"it should offer one of {kind.plural}"
        assert f"zoo-tinynet/{plugin[kind.plural][0]}" in environment.listed(kind.word)

    environment.run("-m", "pytest", "-q", source)
    parts = {"loss": "tinynet-loss", "metric": "brier", "optimizer": "tinynet-signs", "schedule": "tinynet-halving"}
    record = fine_tune(environment, "tinynet", head="tinynet-head", **parts)
    for kind, name in parts.items():
        assert record["parts"][kind] == [f"zoo-tinynet/{name}"]
    assert 0 < record["results"]["test"]["metrics"]["brier"]["value"] < 2
    message = environment.run("-m", "zoo", "finetune", "tinynet", "--data", "hotdog-cartoon", fails=True)
    assert "zoo-tinynet/tinynet has no pretrained weights" in message
    assert "--weights none" in message

    check_export(environment)
    check_other_kinds(environment)
    assert train_with_recipe(environment)["other_plugins"]["zoo-tinynet:tinynet"] == "0.1.0"

    environment.run(*pip, "uninstall", "--yes", "zoo-tinynet")
    assert "zoo-tinynet:tinynet" not in environment.plugins()
    message = environment.run("-m", "zoo", "finetune", "zoo-tinynet/tinynet", "--data", "hotdog-cartoon", fails=True)
    assert "There is no backbone 'zoo-tinynet/tinynet'." in message
    assert "Traceback" not in message


def check_export(environment: Environment) -> None:
    """Exports the run of `fine_tune` to the target of the plugin, whose version the run folder then has."""
    (record,) = (environment.folder / "tinynet-head").glob("*/run.json")
    run = record.parent
    out = environment.run("-m", "zoo", "export", run, "--to", "tinynet-npz", "--photos", "2", "--quiet")
    assert out.strip() == str(run / "weights.npz")
    (exported,) = json.loads((run / "exports.json").read_text())["exports"]
    assert (exported["plugin"], exported["version"], exported["verified"]) == ("zoo-tinynet:tinynet", "0.1.0", True)
    assert "zoo-tinynet/tinynet-npz 0.1.0" in environment.run("-m", "zoo", "info", run)
    assert "all" in environment.run("-m", "zoo", "verify", run)


def check_other_kinds(environment: Environment) -> None:
    """Uses what takes no part in a training: the command, the dataset, the hub, the format and the check."""
    assert environment.run("-m", "zoo", "tinynet-count", "tinynet-hues") == "16 warm\n16 cold\n"
    (environment.folder / "models").mkdir()
    (environment.folder / "models" / "even.tinynet").write_text("odds of hotdog salad", encoding="utf-8")
    photo = environment.folder / "photo.png"
    Image.new("RGB", (40, 40)).save(photo)
    predicted = json.loads(environment.run("-m", "zoo", "predict", "tinynet:even.tinynet", photo, "--json"))
    assert predicted["probabilities"] == {"hotdog": 0.5, "salad": 0.5}
    findings = json.loads(environment.run("-m", "zoo", "doctor", "--json"))
    assert [each["status"] for each in findings if each["about"] == "tinynet"] == ["ok"]


def train_with_recipe(environment: Environment) -> dict[str, Any]:
    small = ("--data-option", "images=20", "--data-option", "size=32", "--device", "cpu", "--tracker", "tiny-log")
    runs = environment.folder / "recipe"
    environment.run("-m", "zoo", "finetune", "--data", "hotdog-cartoon", "--recipe", "tiny", *small, "--runs", runs)
    (record,) = runs.glob("*/run.json")
    events = (record.parent / "trackers" / "tiny-log" / "events.txt").read_text().splitlines()
    assert (events[-2:], events.count("EpochResult")) == (["Finished", "finished"], 1)
    return json.loads(record.read_text())


def fine_tune(environment: Environment, backbone: str, *, head: str, **named: str) -> dict[str, Any]:
    runs = environment.folder / head
    task = (
        "--data",
        "hotdog-cartoon",
        "--head",
        head,
        "--weights",
        "none",
        "--epochs",
        "1",
        "--augment",
        "tinynet-tint",
    )
    small = ("--data-option", "images=20", "--data-option", "size=32")
    parts = [text for name, value in named.items() for text in (f"--{name}", value)]
    environment.run(
        "-m", "zoo", "finetune", backbone, *task, *small, *parts, "--device", "cpu", "--quiet", "--runs", runs
    )
    (record,) = runs.glob("*/run.json")
    values: dict[str, Any] = json.loads(record.read_text())
    assert values["parts"]["augmentation"] == ["zoo-tinynet/tinynet-tint"]
    assert values["plugins"]["zoo-tinynet:tinynet"] == "0.1.0"
    assert 0 <= values["results"]["test"]["accuracy"] <= 1
    assert (record.parent / "model.safetensors").stat().st_size > 0
    return values
