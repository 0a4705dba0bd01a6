"""``zoo push``: what arrives on the server, and what happens when something is wrong."""

import json
import re

import pytest
from hub_server import Repo

pytestmark = pytest.mark.slow  # commands that train, export and push, and their hub

NAME = "anna/tiny"
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PUSH = """
import dataclasses, json, sys
from pathlib import Path
from zoo.errors import ZooError
from zoo_hub.push import Target, find_target, push
from zoo_hub.repository import parse_repository

folder, name, values = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
revision = values.pop("revision", "")
try:
    repository = parse_repository(f"{find_target(name).id}@{revision}") if revision else find_target(name)
    pushed = push(Path(folder), Target(repository=repository, **values), message="More")
    print(json.dumps(dataclasses.asdict(pushed)))
except ZooError as error:
    print(json.dumps({"error": str(error)}))
"""


@pytest.fixture
def push(place, published):
    """Pushes what is published, as the command does; returns the fields of the result, or the text of an error."""

    def call(name, variables=None, folder=published, **target):
        done = place.python("-c", PUSH, folder, name, json.dumps(target), **(variables or {}))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


def test_a_run_is_published_as_one_commit(place, trained, hub, published):
    output = place.ok("push", trained.name, NAME, "--license", "MIT", "--message", "First")
    assert f"{hub.url}/{NAME}" in output.splitlines()
    assert f"zoo predict hf:{NAME} photo.jpg" in output
    repo = hub.repos[NAME]
    assert repo.messages == ["initial commit", "First"]
    assert not repo.private
    names = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    assert {*repo.files} == {*names, ".gitattributes"}
    assert repo.files["README.md"] == (published / "README.md").read_bytes()
    place.ok("info", f"hf:{NAME}", HF_TOKEN="hf_bob")


def test_a_private_repository_without_onnx(place, trained, hub):
    pushed = json.loads(place.ok("push", trained.name, "mine", "--private", "--no-onnx", "--json"))
    assert pushed["repository"] == "anna/mine"
    assert pushed["commit"] == hub.repos["anna/mine"].refs["main"]
    assert hub.repos["anna/mine"].private
    assert "model.onnx" not in hub.repos["anna/mine"].files
    assert "There is no repository anna/mine" in place.error("info", "hf:anna/mine", HF_TOKEN="hf_bob")
    assert "has no model.onnx" in place.error("inspect", "hf:anna/mine")


def test_branches_and_pull_requests(push, hub, repo):
    before = repo.refs["main"]
    repo.files["README.md"] = b"old"
    push(NAME, revision="better")
    assert repo.refs["better"] != before
    assert push(NAME, create_pr=True)["url"] == f"{hub.url}/{NAME}/discussions/1"
    assert repo.refs["main"] == before


def test_files_of_an_earlier_push_are_deleted_and_others_stay(push, repo, published, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    (small / "README.md").write_text("---\nlicense: mit\n---\n")
    repo.commit({**repo.files, "notes.md": b"mine"})
    push(NAME, folder=small)
    assert {*repo.files} == {"README.md", "manifest.json", "notes.md"}


def test_a_readme_that_was_edited_on_the_hub_is_kept(push, place, repo):
    edited = repo.files["README.md"] + b"\nThanks to Bob.\n"
    repo.commit({**repo.files, "README.md": edited})
    assert push(NAME)["kept_readme"]
    assert repo.files["README.md"] == edited
    place.ok("info", f"hf:{NAME}")
    assert not push(NAME, overwrite_readme=True)["kept_readme"]
    assert b"Thanks" not in repo.files["README.md"]
    assert not push(NAME)["kept_readme"]


def test_without_a_token_nothing_begins(place, push, trained, hub):
    message = place.error("push", trained.name, NAME, HF_TOKEN="")
    assert "You are not logged in" in message
    assert "hf auth login" in message
    assert "does not accept the token" in push(NAME, {"HF_TOKEN": "hf_expired"})["error"]
    assert hub.repos == {}


def test_without_the_right_to_write(push, hub):
    assert "You may not write to hf:bob/tiny" in push("bob/tiny")["error"]
    hub.repos["bob/there"] = Repo()
    hub.repos["bob/there"].commit({"README.md": b"Bob's"})
    assert "You may not write to hf:bob/there" in push("bob/there")["error"]
    assert hub.repos["bob/there"].files == {"README.md": b"Bob's"}


def test_private_is_not_promised_for_a_public_repository(push, repo):
    before = dict(repo.refs)
    assert "exists and is public" in push(NAME, private=True)["error"]
    assert repo.refs == before


@pytest.mark.slow  # huggingface_hub tries again for half a minute
def test_a_connection_that_is_cut_publishes_nothing(push, hub):
    hub.refuse_uploads = True
    assert f"hf:{NAME} cannot be pushed" in push(NAME)["error"]
    assert {*hub.repos[NAME].files} == {".gitattributes"}


def test_offline(place, push, trained):
    assert "HF_HUB_OFFLINE is set" in place.error("push", trained.name, NAME, HF_HUB_OFFLINE="1")
    assert "127.0.0.1:9 cannot be reached" in push(NAME, {"HF_ENDPOINT": "http://127.0.0.1:9"})["error"]


def test_unfinished_runs_and_wrong_names_are_refused(place, trained, tmp_path):
    folder = tmp_path / "unfinished"
    folder.mkdir()
    record = json.loads((trained.path / "run.json").read_text()) | {"status": "interrupted"}
    (folder / "run.json").write_text(json.dumps(record))
    assert "is not finished" in place.error("push", folder, NAME)
    assert "is not the name of a repository" in place.error("push", trained.name, "anna/tiny/more")
    assert "is not an identifier of a licence" in place.error("push", trained.name, NAME, "--license", "do what")
    assert "is not empty" in place.error("push", trained.name, NAME, "--to", tmp_path)
    assert place.zoo("push", trained.name, NAME, "--create-pr", "--revision", "better").returncode == 2


def test_the_code_of_the_card_runs(place, repo):
    examples = EXAMPLE.findall(repo.files["README.md"].decode())
    assert len(examples) == 3
    outputs = []
    for example in examples:
        done = place.python("-c", example)
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "hotdog" in outputs[0]
    numbers = [[float(number) for number in re.findall(r"\d\.\d+", output)] for output in outputs[1:]]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.05)


def test_help_does_not_import_huggingface_hub(place):
    script = """
import sys
from zoo.cli.main import main
try:
    main(["--help"])
except SystemExit:
    print("huggingface_hub" in sys.modules)
"""
    done = place.python("-c", script)
    assert "Publish a run on the Hugging Face Hub." in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
