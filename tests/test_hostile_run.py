"""A run folder from a stranger runs no code, reads no other files, blocks nothing, and cannot control the terminal."""

import json
import os
import pickle
import time

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from fakes import FakePlugin, make_backbone_spec, make_registry

from zoo.cli.commands.runs import command as runs_command
from zoo.cli.main import cli, main
from zoo.display import console
from zoo.errors import RunError, WeightsError, ZooError
from zoo.inference import run_predictor
from zoo.models.weights import read_state_dict
from zoo.runs.manifest import MANIFEST, check_folder, read_manifest
from zoo.runs.open import open_run
from zoo.runs.record import PHOTOS, RECORD
from zoo.runs.run import CHECKPOINT, METRICS, WEIGHTS, list_runs
from zoo.runs.tag_history import TAGS
from zoo.runs.tags import list_tags
from zoo.training.checkpoint import describe_checkpoint
from zoo.training.finetune import finetune

ODD = "\x1b[31mred\x1b]0;title\x07\n<img src=x onerror=alert(1)>\u202e\x9b1m"
PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")


class Touch:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, target) -> None:
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.fixture(scope="module")
def registry():
    return make_registry(FakePlugin())


@pytest.fixture(scope="module")
def trained(registry, tmp_path_factory):
    """A trained run; no test changes it."""
    values = {"head": "flat", "epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32"}
    return finetune("small", data="colours", runs=tmp_path_factory.mktemp("runs"), registry=registry, **values)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the folder of the trained run."""
    import shutil

    return shutil.copytree(trained.path, tmp_path / "runs" / "small-1")


def change(folder, **values):
    record = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**record, **values}))


@pytest.mark.parametrize("name", ["plain", "zip"])
@pytest.mark.parametrize("file", [CHECKPOINT, "weights.pth", "weights.bin", "weights.ckpt"])
def test_no_pickle_runs_code(folder, tmp_path, name, file):
    touched = tmp_path / "touched"
    content = {"about": {}, "network": Touch(touched), "state_dict": Touch(touched)}
    if name == "plain":
        (folder / file).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, folder / file)
    if file == CHECKPOINT:
        with pytest.raises(RunError, match=r"checkpoint\.pt cannot be read"):
            describe_checkpoint(folder)
    else:
        with pytest.raises(WeightsError, match=r"would run code of its author|a pickle of another program"):
            read_state_dict(folder / file)
    assert not touched.exists()


def test_no_pickle_in_place_of_downloaded_weights_runs_code(tmp_path, monkeypatch):
    from zoo_torchvision.pretrained import default_weights, fetch_state_dict

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / default_weights("squeezenet1_1").url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    for content in (pickle.dumps(Touch(tmp_path / "touched"), 2), None):
        if content is None:
            torch.save({"weight": Touch(tmp_path / "touched")}, cached)
        else:
            cached.write_bytes(content)
        with pytest.raises(WeightsError, match="are not usable"):
            fetch_state_dict("squeezenet1_1")
    assert not (tmp_path / "touched").exists()


def test_weights_that_are_a_pickle_are_refused(folder, registry, tmp_path):
    (folder / WEIGHTS).write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    with pytest.raises(RunError, match=r"model\.safetensors is a (pickle of another program|pickled checkpoint)"):
        run_predictor.load(folder, device="cpu", registry=registry)
    assert not (tmp_path / "touched").exists()


READERS = {
    RECORD: lambda folder: (list_runs(folder.parent), open_run(folder)),
    METRICS: lambda folder: open_run(folder).metrics(),
    MANIFEST: lambda folder: (read_manifest(folder), check_folder(folder)),
    WEIGHTS: lambda folder: run_predictor.load(folder, device="cpu", registry=make_registry(FakePlugin())),
    CHECKPOINT: describe_checkpoint,
    TAGS: lambda folder: list_tags(folder.parent),
}


@PIPES
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_read(folder, name, kind):
    file = (folder.parent if name == TAGS else folder) / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()
    with pytest.raises(RunError):
        READERS[name](folder)


@pytest.mark.parametrize("name", [RECORD, METRICS, MANIFEST, TAGS])
def test_a_file_larger_than_the_limit_is_not_read(folder, name):
    with ((folder.parent if name == TAGS else folder) / name).open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(RunError, match="Larger than 512 MiB"):
        READERS[name](folder)


@pytest.mark.parametrize("name", [RECORD, METRICS, MANIFEST, TAGS])
@pytest.mark.parametrize("content", [b"[" + b"[]," * 5_000_000 + b"[]]", b"\n" * 6_000_000], ids=["lists", "lines"])
def test_a_file_of_more_values_than_fit_into_memory_is_not_parsed(folder, name, content):
    ((folder.parent if name == TAGS else folder) / name).write_bytes(content)
    started = time.process_time()
    with pytest.raises(RunError, match="it has more than 5,000,000 values"):
        READERS[name](folder)
    assert time.process_time() - started < 1


def test_a_link_to_another_file_does_not_reveal_its_content(folder, tmp_path):
    secret = tmp_path / "id_rsa"
    secret.write_text("-----BEGIN-----\nsecret\n-----END-----\n")
    for name in (RECORD, METRICS, MANIFEST, WEIGHTS, CHECKPOINT):
        file = folder / name
        content = file.read_bytes() if file.exists() else None
        file.unlink(missing_ok=True)
        file.symlink_to(secret)
        with pytest.raises(ZooError) as caught:
            READERS[name](folder)
        assert "secret" not in str(caught.value)
        file.unlink()
        if content is not None:
            file.write_bytes(content)


def test_links_are_neither_hashed_nor_written_through(folder, tmp_path, registry):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (folder / "extra").symlink_to(secret)
    (folder / "above").symlink_to(tmp_path)
    assert [(each.file, each.state) for each in check_folder(folder)] == [
        ("above", "not a regular file"),
        ("extra", "not a regular file"),
    ]
    from zoo.runs.record import RunRecord, write_record
    from zoo.runs.run import append_metrics

    for name, write, value in ((RECORD, write_record, RunRecord()), (METRICS, append_metrics, {"epoch": 1})):
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
        if write is append_metrics:
            (folder / name).unlink()
            (folder / name).symlink_to(tmp_path / "nowhere")
        write(folder, value)
        assert not (folder / name).is_symlink()
    assert secret.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "..\\secret", "C:secret", "a\0b", ""])
def test_a_manifest_that_names_files_elsewhere_is_refused(folder, name):
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": {name: {"sha256": "0" * 64, "size": 1}}}))
    with pytest.raises(RunError, match="is not a file inside the folder"):
        check_folder(folder)


@pytest.mark.parametrize("run", ["../../etc", "/etc", "a/b", "..", "a\nb", "\x1b[2J"])
def test_a_tag_that_points_elsewhere_is_refused(folder, run):
    entry = {"name": "dog@1", "run": run, "created": "", "weights": "", "at": "", "by": ""}
    (folder.parent / TAGS).write_text(json.dumps({"format": 1, "history": [entry]}))
    with pytest.raises(RunError, match="is not a valid name"):
        list_tags(folder.parent)


@pytest.mark.parametrize(
    "name", ["../small-1", "small-1/../small-1", "-x", "--runs", "a\0b", "\x1b[31m", "x" * 5000, "dog@../../x", "", "~"]
)
def test_a_hostile_reference_is_an_error_without_control_characters(folder, name, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--runs", str(folder.parent / "none"), "--", name, "photo.jpg"])
    output = capsys.readouterr()
    assert caught.value.code in (1, 2)
    assert set("\x1b\x07\x9b\0").isdisjoint(output.out + output.err)
    assert "Traceback" not in output.err


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("preprocess", {"size": [10**6, 10**6]}, "more than 2048 pixels"),
        ("preprocess", {"size": [10**400, 8]}, "more than 2048 pixels"),
        ("preprocess", {"size": [4096, 4096]}, "more than 2048 pixels"),
        ("preprocess", {"resize": 10**9}, "more than 2048 pixels"),
        ("config", {"image_size": 10**9}, "out of bounds"),
        ("config", {"backbone_options": {"module": "os"}}, "has no option 'module'"),
        ("config", {"head_options": "module=os"}, "'head_options' is 'module=os', not a dict"),
        ("backbone", "fake/../small", "no backbone"),
        ("backbone", "local-dir:/etc", "no backbone"),
        ("head", "os.system", "no head"),
        ("classes", ["a"] * 100_001, "100,001 names, 1 of them different"),
        ("classes", [*map(str, range(100_001))], "at most 100,000 are allowed"),
        ("classes", {"a": 1}, "unreadable 'classes'"),
    ],
)
def test_the_values_of_a_record_are_checked_before_anything_is_built(folder, key, value, message):
    record = json.loads((folder / RECORD).read_text())
    change(folder, **{key: {**record[key], **value} if isinstance(value, dict) and key != "classes" else value})
    unbuilt = FakePlugin(backbones=[make_backbone_spec(build=lambda request: pytest.fail("It was built."))])
    with pytest.raises(ZooError) as caught:
        run_predictor.load(folder, device="cpu", registry=make_registry(unbuilt))
    assert message in str(caught.value)


def test_weights_of_other_shapes_are_refused(folder, registry):
    safetensors.torch.save_file({"backbone.x": torch.zeros(2)}, folder / WEIGHTS)
    with pytest.raises(RunError, match="does not fit"):
        run_predictor.load(folder, device="cpu", registry=registry)


def test_control_characters_in_names_are_escaped_on_the_terminal(folder, capsys):
    change(folder, classes=[ODD, "b", "c"], backbone=ODD, head=ODD, created=ODD, status=ODD)
    record = json.loads((folder / RECORD).read_text())
    change(folder, config={**record["config"], "backbone": ODD, "data": ODD}, data={**record["data"], "name": ODD})
    for arguments in ([], ["--json"]):
        result = CliRunner().invoke(runs_command, [*arguments, "--runs", str(folder.parent)], catch_exceptions=False)
        assert "red" in result.output
        assert all(c == "\n" or c.isprintable() for c in result.output)
    assert json.loads(result.output)[0]["data"] == ODD  # escaped, but complete


def test_control_characters_in_errors_titles_and_notes_are_escaped(capsys):
    from zoo.display.observers import LineDisplay
    from zoo.events import Note

    console.write_table((ODD, "b"), [("1", "2")])
    LineDisplay()(Note(text=f"Left out: {ODD}"))
    with pytest.raises(SystemExit):
        main(["info", f"no\n{ODD}"])
    output = capsys.readouterr()
    assert all(c == "\n" or c.isprintable() for c in output.out + output.err)
    assert "\\x1b[31mred" in output.out
    assert [line[:2] for line in output.err.splitlines()[1:3]] == [
        "  ",
        "  ",
    ]  # indented, unlike messages


def test_markup_in_names_is_escaped_on_the_page():
    from zoo_demo.page.handlers import UserError, escape_markup

    escaped = escape_markup(ODD + "[x](http://evil) ![](http://evil/x.png) `a` **b** $c$ # d")
    assert set("<>[]()!*`$_\\\n\x1b\x07\x9b\u202e").isdisjoint(escaped)
    assert escape_markup("a cat, 1.5: b") == "a cat, 1.5: b"
    assert "<img" not in UserError(f"{ODD} is no class.", title="Error").message


def test_the_page_of_a_foreign_run_shows_no_photos_of_this_machine(folder, registry, tmp_path):
    """The page shows only photos whose hashes are in the run folder, whatever data the record names."""
    from zoo_demo.models.examples import find_examples

    own = find_examples(open_run(folder), run_predictor.load(folder, device="cpu", registry=registry), registry)
    assert own
    photos = json.loads((folder / PHOTOS).read_text())
    other_digests = {split: "0" * len(digests) for split, digests in photos["digests"].items()}
    for digests in (other_digests, {}):
        (folder / PHOTOS).write_text(json.dumps({**photos, "digests": digests}))
        stranger = open_run(folder)
        assert find_examples(stranger, run_predictor.load(stranger, device="cpu", registry=registry), registry) == []


def test_a_path_is_not_a_command():
    result = CliRunner().invoke(cli, ["../../etc/passwd"])
    assert result.exit_code == 2
    assert "There is no command" in result.output
