"""The files about the project agree with each other: version, changelog, dependencies, workflows."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import zoo

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
RUNTIME = tomllib.loads((ROOT / "export" / "pyproject.toml").read_text("utf-8"))
PINNED = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def name_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0]


def requirements(project):
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    return {name_of(requirement) for group in groups for requirement in group}


def test_the_version_is_the_same_everywhere():
    version = PROJECT["project"]["version"]
    assert zoo.__version__ == version
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_changelog_begins_with_unreleased_changes():
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_every_direct_dependency_is_pinned():
    needed = requirements(PROJECT) | requirements(RUNTIME)
    needed |= {name_of(requirement) for group in PROJECT["dependency-groups"].values() for requirement in group}
    # The tested machine uses onnxruntime-gpu: see the markers in export/pyproject.toml.
    assert needed - {"onnxruntime", RUNTIME["project"]["name"]} <= set(PINNED)
    assert sorted(PINNED) == PINNED


def test_a_dependency_has_one_range_in_both_distributions():
    assert not requirements(PROJECT) & requirements(RUNTIME)


def test_the_distribution_requires_the_runtime_of_the_same_version():
    project, runtime = PROJECT["project"], RUNTIME["project"]
    wanted = [
        requirement
        for group in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in group
        if name_of(requirement) == runtime["name"]
    ]
    assert len(wanted) == 3
    assert all(requirement.endswith(f"]=={project['version']}") for requirement in wanted)
    assert [runtime[key] for key in ("requires-python", "classifiers")] == [
        project[key] for key in ("requires-python", "classifiers")
    ]


def test_pillow_is_limited_to_the_versions_that_were_tested():
    (pillow,) = [each for each in RUNTIME["project"]["dependencies"] if name_of(each) == "pillow"]
    assert pillow == "pillow>=11,<13"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_job_of_a_workflow_is_limited_in_time_and_rights(file):
    workflow = yaml.safe_load(file.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        assert all("uses" in step or "run" in step for step in job["steps"]), name


def test_ci_tests_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    classifiers = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == classifiers
