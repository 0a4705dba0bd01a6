"""What `finetune-zoo-runtime` can do alone: its packages, and those that it requires, on a path without any others."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import Repo, serve_hub
from onnx_files import CLASSES, make_run_card, write_model
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from zoo.runs.manifest import write_manifest
from zoo_export.exported_files import add_to_manifest
from zoo_export.security.digest import with_digest

ROOT = Path(__file__).parents[2]
INSTALL = "Install it with the rest of the zoo: pip install finetune-zoo"
DISTRIBUTION = "finetune-zoo-runtime"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need additional rights on Windows")


def required(name: str) -> set[str]:
    """Returns a distribution and all that it requires here, without extras."""
    found, waiting = set(), [name]
    while waiting:
        current = canonicalize_name(waiting.pop())
        if current not in found:
            found.add(current)
            requirements = map(Requirement, importlib.metadata.requires(current) or ())
            waiting += [each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]
    return found


def link_files(name: str, folder: Path) -> None:
    """Links the top-level files and folders of an installed distribution into a folder."""
    for file in importlib.metadata.files(name) or ():
        top, link = file.parts[0], folder / file.parts[0]
        if top not in ("..", "__pycache__") and not top.endswith(".pth") and not link.is_symlink():
            link.symlink_to(importlib.metadata.distribution(name).locate_file(top))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with what installing `finetune-zoo-runtime` alone would install."""
    folder = tmp_path_factory.mktemp("site")
    for name in required(DISTRIBUTION):
        link_files(name, folder)
    for package in (
        ROOT / "zoo",
        ROOT / "export" / "zoo_export",
        ROOT / "plugins" / "zoo_datasets",
        ROOT / "plugins" / "zoo_metrics",
        ROOT / "plugins" / "zoo_recipes",
        ROOT / "plugins" / "zoo_hub",
    ):
        (folder / package.name).symlink_to(package)
    return folder


@pytest.fixture
def python(site, tmp_path):
    """Runs Python with that folder; returns its output, or its errors if it is expected to fail."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE", "ZOO_"))
    }
    variables = inherited | {"PYTHONPATH": str(site), "ZOO_HOME": str(tmp_path / "home")}

    def run(*arguments, code=0):
        command = (sys.executable, "-S", *arguments)
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stderr if code else done.stdout

    return run


@pytest.fixture
def photos(tmp_path, runs):
    """A photo of each class, and a run with an exported file that has a digest."""
    file = runs / "r-1" / "model.onnx"
    write_model(file, make_run_card())
    file.write_bytes(with_digest(file.read_bytes()))
    add_to_manifest(file)
    for index, name in enumerate(CLASSES):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20), tuple(255 * np.eye(3, dtype=int)[index])).save(tmp_path / "photos" / name / "a.png")
    return tmp_path / "photos"


def test_the_packages_that_it_requires_are_few_and_have_one_onnx_runtime():
    packages = required(DISTRIBUTION)
    assert not packages & {"finetune-zoo", "torch", "torchvision", "timm", "scipy", "matplotlib", "gradio"}
    assert not {name for name in packages if name.startswith("nvidia")}
    assert len(packages & {"onnxruntime", "onnxruntime-gpu"}) == 1


def test_it_predicts_and_evaluates(python, photos):
    file = "runs/r-1/model.onnx"
    predictions = [json.loads(line) for line in python("-m", "zoo", "predict", file, "photos", "--json").splitlines()]
    assert [prediction["label"] for prediction in predictions] == sorted(CLASSES)
    evaluate = ("-m", "zoo", "evaluate", file, "--data", "photos", "--json", "--metric", "balanced-accuracy")
    evaluation = json.loads(python(*evaluate))
    assert (evaluation["accuracy"], evaluation["count"]) == (1, 3)
    assert evaluation["metrics"]["balanced_accuracy"]["value"] == 1


def test_it_inspects(python, photos):
    assert json.loads(python("-m", "zoo", "inspect", "r-1", "--json"))["card"]["classes"] == list(CLASSES)


def test_it_verifies_and_tags(python, photos):
    assert python("-m", "zoo", "runs", "tag", "r-1", "colours@prod") == "colours@prod is r-1\n"
    results = json.loads(python("-m", "zoo", "verify", "colours@prod", "--json"))
    assert {"manifest", "digest", "tag"} <= {result["about"] for result in results}
    assert all(result["ok"] for result in results)
    assert "colours@prod" in python("-m", "zoo", "runs", "tags")


def test_python_loads_a_file(python, photos):
    program = (
        "import sys, zoo_export; print(zoo_export.load('runs/r-1/model.onnx').predict('photos/green/a.png').label)"
    )
    assert python("-c", f"{program}; assert 'torch' not in sys.modules") == "green\n"


def test_only_what_is_installed_is_listed(python):
    plugins = json.loads(python("-m", "zoo", "plugins", "--json"))
    assert [(plugin["key"], plugin["error"]) for plugin in plugins] == [
        ("finetune-zoo:recipes", None),
        ("finetune-zoo:metrics", None),
        ("finetune-zoo:datasets", None),
        ("finetune-zoo:hub", None),
        ("finetune-zoo:export", None),
    ]


def test_models_on_the_hub_need_one_more_package(python, photos):
    message = python("-m", "zoo", "predict", "hf:anna/colours", "photos", code=1)
    assert "huggingface_hub is not installed" in message
    assert "pip install 'finetune-zoo-runtime[hub]'" in message
    assert INSTALL in python("-m", "zoo", "push", "r-1", "anna/colours", code=1)


def test_the_exported_file_of_a_repository_predicts(photos, site, tmp_path):
    shared = tmp_path / "site"
    shutil.copytree(site, shared, symlinks=True)
    for name in required("huggingface-hub") - required(DISTRIBUTION):
        link_files(name, shared)
    file = photos.parent / "runs" / "r-1" / "model.onnx"
    published = tmp_path / "published"
    published.mkdir()
    shutil.copyfile(file, published / file.name)
    write_manifest(published)
    with serve_hub() as hub:
        hub.repos["anna/colours"] = Repo()
        hub.repos["anna/colours"].commit({path.name: path.read_bytes() for path in published.iterdir()})
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HF_"))}
        own = {"PYTHONPATH": str(shared), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        command = (sys.executable, "-S", "-m", "zoo", "predict", "hf:anna/colours", "photos", "--json")
        done = subprocess.run(command, cwd=tmp_path, env=inherited | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["label"] for line in done.stdout.splitlines()] == sorted(CLASSES)


def test_the_doctor_finds_no_problem(python):
    findings = json.loads(python("-m", "zoo", "doctor", "--json"))
    (torch,) = [each for each in findings if each["about"] == "torch"]
    assert (torch["status"], torch["advice"]) == (
        "warning",
        "To train, export or serve, install torch with the rest of the zoo: pip install finetune-zoo",
    )
    assert "problem" not in {each["status"] for each in findings}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("finetune resnet18 --data photos", "Fine-tuning needs torch, which is not installed."),
        ("finetune --data photos --devices 2", "Fine-tuning needs torch, which is not installed."),
        ("compare resnet18 --data photos --seeds 0,1", "Fine-tuning needs torch, which is not installed."),
        ("export r-1 -o new.onnx", "The export of a run needs torch, which is not installed."),
        ("export r-1 --to pt2 -o new.pt2", "The export of a run needs torch, which is not installed."),
        ("show photos", "'zoo show' needs matplotlib, which is not installed."),
        ("demo runs/r-1/model.onnx", "'zoo demo' is part of finetune-zoo, which is not installed."),
        ("convert r-1", "'zoo convert' is part of finetune-zoo, which is not installed."),
    ],
)
def test_other_commands_say_what_to_install_in_two_lines(python, photos, arguments, message):
    assert python("-m", "zoo", *arguments.split(), code=1) == f"error: {message}\n{INSTALL}\n"


def test_a_backbone_is_unknown_and_the_error_says_where_it_is(python):
    error = python("-m", "zoo", "info", "resnet18", code=1)
    assert error.endswith("\nBackbones and heads are installed with the rest of the zoo: pip install finetune-zoo\n")
