"""What ``hf:user/name`` means for each command, and what happens when something is wrong."""

import json
import re
import shutil

import pytest
import safetensors.torch
import torch
from hub_server import Repo

pytestmark = pytest.mark.slow  # commands that train, export and push, and their hub

NAME = "anna/tiny"
REFERENCE = f"hf:{NAME}"


def test_a_run_on_the_hub_predicts_and_is_evaluated(place, repo, trained):
    (row,) = map(json.loads, place.ok("predict", REFERENCE, "photo.jpg", "--json").splitlines())
    expected = trained.predict(place.folder / "photo.jpg")
    assert row["label"] == expected.label
    assert row["probabilities"] == pytest.approx(dict(expected.probabilities), abs=1e-5)
    assert json.loads(place.ok("evaluate", REFERENCE, "--json"))["accuracy"] == trained.results["test"]["accuracy"]


def test_it_can_be_named_wherever_runs_can(place, repo, trained):
    commit = repo.refs["main"]
    (described,) = json.loads(place.ok("info", REFERENCE, "--json"))
    assert described["origin"] == f"{REFERENCE}@{commit}"
    assert described["classes"] == list(trained.classes)
    assert re.search(r"all \d+ files are unchanged", place.ok("verify", REFERENCE))
    assert trained.record.created in place.ok("inspect", REFERENCE)
    assert "image_size = 32" in place.ok("recipe", REFERENCE)


def test_the_demo_serves_it(place, repo):
    script = """
from pathlib import Path
from zoo_demo.models.model_pool import load_model_pool
pool = load_model_pool(["hf:anna/tiny"], runs=Path("runs"), device="cpu")
print([*pool.models], pool.models["tiny"].predictor.classes)
"""
    done = place.python("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['tiny'] ('hotdog', 'not-hotdog')\n"


def test_files_are_downloaded_once_and_only_those_that_are_needed(place, repo, hub):
    place.ok("info", REFERENCE)
    first = [request for request in hub.requests if request.startswith("GET /") and "resolve" in request]
    assert {request.rpartition("/resolve/")[2].partition("/")[2] for request in first} <= {
        *("manifest.json", "zoo/run.json", "zoo/photos.json", "zoo/metrics.jsonl", "zoo/manifest.json")
    }
    assert not any("model.onnx" in request for request in hub.requests)
    hub.requests.clear()
    place.ok("info", f"{REFERENCE}@{repo.refs['main']}")  # a commit never changes, so nobody is asked
    assert hub.requests == []


def test_a_revision_is_pinned(place, repo):
    old = repo.refs["main"]
    repo.refs["v1"] = old
    files = dict(repo.files)
    repo.commit({"manifest.json": b"{}"})
    assert f"{REFERENCE}@{old}" in place.ok("info", f"{REFERENCE}@v1", "--json")
    assert f"{REFERENCE}@{old}" in place.ok("info", f"{REFERENCE}@{old}", "--json")
    repo.commit(files)
    assert "has no revision 'v9'" in place.error("info", f"{REFERENCE}@v9")


def test_weights_of_a_run_start_a_training(place, repo, trained):
    data = ("--data", "hotdog-cartoon", "--data-option", "images=20", "--data-option", "size=32")
    size = ("--image-size", "32", "--epochs", "1", "--device", "cpu", "--limit", "16", "--runs", "mine")
    place.ok("finetune", "timm/test_resnet", "--weights", REFERENCE, *data, *size, "--quiet")
    (record,) = (json.loads(path.read_text()) for path in (place.folder / "mine").glob("*/run.json"))
    pinned = f"{REFERENCE}@{repo.refs['main']}"
    assert record["config"]["weights"] == pinned
    assert f"entries loaded from {pinned}" in record["weights"]
    assert "belong to another network" in place.error(
        "finetune", "timm/test_vit", "--weights", REFERENCE, *data, *size, "--quiet"
    )


def test_weights_of_other_repositories_are_read_if_they_are_safetensors(place, hub, published, trained):
    hub.repos["timm/other"] = Repo()
    hub.repos["timm/other"].commit({"model.safetensors": (published / "model.safetensors").read_bytes()})
    hub.repos["timm/pickle"] = Repo()
    hub.repos["timm/pickle"].commit({"pytorch_model.bin": b"\x80\x02."})
    data = ("--data", "hotdog-cartoon", "--data-option", "images=20", "--data-option", "size=32", "--quiet")
    size = ("--image-size", "32", "--epochs", "1", "--device", "cpu", "--limit", "16", "--runs", "mine")
    place.ok("finetune", "timm/test_resnet", "--weights", "hf:timm/other", *data, *size)
    message = place.error("finetune", "timm/test_resnet", "--weights", "hf:timm/pickle", *data, *size)
    assert "has neither a run of the zoo nor model.safetensors" in message
    assert "can contain code" in message
    assert "hf:timm/other has no run of the zoo" in place.error("predict", "hf:timm/other", "photo.jpg")


def test_copies_stay_as_they_are(place, repo):
    assert "Pass the file or folder to write, with -o" in place.error("export", REFERENCE)
    assert "Pass the file or folder to write, with -o" in place.error("convert", REFERENCE, "--to", "timm")
    for command in (("delete", REFERENCE, "--yes"), ("rename", REFERENCE, "mine"), ("tag", REFERENCE, "mine")):
        assert "stays as it is" in place.error("runs", *command)
    assert place.zoo("encrypt", REFERENCE).returncode == 2
    assert place.zoo("sign", REFERENCE, "--new-key", "key").returncode == 2
    assert not (place.folder / "key").exists()
    assert "Only runs of this machine can be pushed" in place.error("push", REFERENCE, "anna/copy")


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("zoo/run.json", lambda content: content.replace(b"hotdog", b"salads"), "its SHA-256 is another one"),
        ("zoo/model.safetensors", lambda content: content[:-1], "bytes, not"),
        ("zoo/metrics.jsonl", lambda content: b"", "it has 0 bytes, not"),
    ],
)
def test_changed_and_cut_files_are_refused(place, repo, file, change, reason):
    repo.files[file] = change(repo.files[file])
    message = place.error("predict", REFERENCE, "photo.jpg")
    assert f"{file} of {REFERENCE}@{repo.refs['main']} is not what its manifest.json lists" in message
    assert reason in message


def test_a_changed_exported_file_is_refused(place, repo):
    repo.files["model.onnx"] = repo.files["model.onnx"][:-100]
    assert "model.onnx of hf:anna/tiny" in place.error("inspect", REFERENCE)


def test_a_missing_file_is_named(place, repo):
    del repo.files["zoo/model.safetensors"]
    assert "has no zoo/model.safetensors, which its manifest.json lists" in place.error("info", REFERENCE)


def test_a_copy_that_was_damaged_on_this_machine_is_made_again(place, repo):
    (described,) = json.loads(place.ok("info", REFERENCE, "--json"))
    record = place.folder / "home" / described["path"] / "run.json"
    record.unlink()
    record.write_text("{}")
    (again,) = json.loads(place.ok("info", REFERENCE, "--json"))
    assert again == described


def test_a_lost_connection_is_resumed(place, repo, hub):
    hub.cuts["zoo/model.safetensors"] = 2
    place.ok("info", REFERENCE)
    assert hub.cuts["zoo/model.safetensors"] == 0


def test_a_connection_that_is_lost_for_good_is_reported(place, repo, hub):
    hub.cuts["manifest.json"] = 1000
    message = place.error("info", REFERENCE)
    assert f"{REFERENCE} cannot be downloaded" in message
    hub.cuts.clear()
    place.ok("info", REFERENCE)


def test_offline_the_cached_copy_is_used(place, repo):
    missing = place.error("info", REFERENCE, HF_HUB_OFFLINE="1")
    assert f"{REFERENCE} is not in the cache, and cannot be downloaded: HF_HUB_OFFLINE is set." in missing
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "127.0.0.1:9 cannot be reached" in place.error("info", REFERENCE, **nowhere)
    online = place.ok("info", REFERENCE)
    quiet = place.zoo("info", REFERENCE, HF_HUB_OFFLINE="1")
    assert (quiet.stdout, quiet.stderr) == (online, "")
    noted = place.zoo("info", REFERENCE, **nowhere)
    assert noted.stdout == online
    assert f"the copy of {REFERENCE} in the cache is used" in noted.stderr
    assert "is not in the cache" in place.error("info", f"{REFERENCE}@v2", HF_HUB_OFFLINE="1")


def test_repositories_that_cannot_be_read(place, repo, hub):
    assert "There is no repository anna/none" in place.error("info", "hf:anna/none")
    hub.repos["bob/secret"] = Repo(private=True)
    assert "There is no repository bob/secret" in place.error("info", "hf:bob/secret")
    repo.private = True
    place.ok("info", REFERENCE)
    shutil.rmtree(place.folder / "hf")
    assert "or it is private" in place.error("info", REFERENCE, HF_TOKEN="")
    hub.repos["bob/gated"] = Repo(gated=True)
    hub.repos["bob/gated"].commit(dict(repo.files))
    message = place.error("info", "hf:bob/gated")
    assert "hf:bob/gated is gated" in message
    assert f"Ask for access on {hub.url}/bob/gated" in message
    hub.repos["bob/gated"].readers = ("anna",)
    place.ok("info", "hf:bob/gated")


@pytest.mark.parametrize(
    "reference", ["hf:tiny", "hf:anna/tiny/more", "hf:../../etc", "hf:anna/tiny@", "hf:anna/ti ny"]
)
def test_malformed_names(place, reference):
    assert "is not the name of a repository on the Hub" in place.error("info", reference)


def test_a_hub_of_nearly_the_name(place):
    assert "There is no hub 'hff'.\nDid you mean hf?" in place.error("predict", "hff:anna/tiny", "photo.jpg")
    assert "There is no run 'acme:tiny'" in place.error("predict", "acme:tiny", "photo.jpg")


def test_nothing_is_unpickled(place, repo, tmp_path):
    """A repository full of pickles that would write a file."""
    bomb = f"cos\nsystem\n(S'touch {tmp_path / 'executed'}'\ntR."
    for name in ("pytorch_model.bin", "zoo/checkpoint.pt", "zoo/model.pth", "hubconf.py"):
        repo.files[name] = bomb.encode()
    place.ok("predict", REFERENCE, "photo.jpg")
    place.ok("info", REFERENCE)
    assert not (tmp_path / "executed").exists()
    repo.commit({**repo.files, "zoo/model.safetensors": bomb.encode()})
    assert "is not what its manifest.json lists" in place.error("predict", REFERENCE, "photo.jpg")
    assert not (tmp_path / "executed").exists()


def test_timm_loads_the_repository(place, repo, trained):
    script = """
import sys, safetensors.torch, timm, torch
model = timm.create_model("hf_hub:anna/tiny", pretrained=True).eval()
assert model.pretrained_cfg["label_names"] == ["hotdog", "not-hotdog"], model.pretrained_cfg
images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    safetensors.torch.save_file({"logits": model(images), "images": images}, sys.argv[1])
"""
    done = place.python("-c", script, place.folder / "timm.safetensors")
    assert done.returncode == 0, done.stderr
    found = safetensors.torch.load_file(place.folder / "timm.safetensors")
    import zoo

    classifier = zoo.load(trained, device="cpu").classifier
    with torch.inference_mode():
        assert torch.allclose(found["logits"], classifier(found["images"]), atol=1e-5)
