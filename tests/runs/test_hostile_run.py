"""A run folder from a stranger runs no code, reads nothing beside itself, waits for nothing; its names are text."""

import json
import os
import pickle

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from fakes import FakePlugin, make_backbone_spec, make_registry

from zoo.cli.commands.runs import command as runs_command
from zoo.cli.main import cli, main
from zoo.cli.terminal import console
from zoo.errors import RunError, WeightsError, ZooError
from zoo.inference import run_predictor as predictor
from zoo.models.weights import read_state_dict
from zoo.runs.manifest import MANIFEST, check_folder, read_manifest
from zoo.runs.open import open_run
from zoo.runs.record import RECORD
from zoo.runs.run import CHECKPOINT, METRICS, WEIGHTS, list_runs
from zoo.runs.tag_history import TAGS
from zoo.runs.tags import list_tags
from zoo.training.checkpoint import describe_checkpoint
from zoo.training.finetune import finetune

ODD = "\x1b[31mred\x1b]0;title\x07\n<img src=x onerror=alert(1)>\u202e\x9b1m"
PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")


class Touch:
    """What a pickle can hold: a call of any function."""

    def __init__(self, target) -> None:
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.fixture(scope="module")
def registry():
    return make_registry(FakePlugin())


@pytest.fixture(scope="module")
def trained(registry, tmp_path_factory):
    """A run that is whole; no test changes it."""
    values = {"head": "flat", "epochs": 1, "batch_size": 8, "device": "cpu", "precision": "fp32"}
    return finetune("small", data="colours", runs=tmp_path_factory.mktemp("runs"), registry=registry, **values)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of its folder."""
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
        with pytest.raises(WeightsError, match=r"would run its author's code|no pickled checkpoint|cannot be read"):
            read_state_dict(folder / file)
    assert not touched.exists()


def test_nor_does_one_in_the_place_of_downloaded_weights(tmp_path, monkeypatch):
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
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
        predictor.load(folder, device="cpu", registry=registry)
    assert not (tmp_path / "touched").exists()


READERS = {
    RECORD: lambda folder: (list_runs(folder.parent), open_run(folder)),
    METRICS: lambda folder: open_run(folder).metrics(),
    MANIFEST: lambda folder: (read_manifest(folder), check_folder(folder)),
    WEIGHTS: lambda folder: predictor.load(folder, device="cpu", registry=make_registry(FakePlugin())),
    CHECKPOINT: describe_checkpoint,
    TAGS: lambda folder: list_tags(folder.parent),
}


@PIPES
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_plain_file_is_not_read(folder, name, kind):
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
def test_a_file_that_would_fill_the_memory_is_not_read(folder, name):
    with ((folder.parent if name == TAGS else folder) / name).open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(RunError, match="Larger than 512 MiB"):
        READERS[name](folder)


def test_a_link_to_somebodys_file_tells_nothing_of_it(folder, tmp_path):
    secret = tmp_path / "id_rsa"
    secret.write_text("-----BEGIN-----\nsecret\n-----END-----\n")
    for name in (RECORD, METRICS, MANIFEST, WEIGHTS, CHECKPOINT):
        file = folder / name
        kept = file.read_bytes() if file.exists() else None
        file.unlink(missing_ok=True)
        file.symlink_to(secret)
        with pytest.raises(ZooError) as caught:
            READERS[name](folder)
        assert "secret" not in str(caught.value)
        file.unlink()
        if kept is not None:
            file.write_bytes(kept)


def test_links_are_never_hashed_nor_written_through(folder, tmp_path, registry):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (folder / "extra").symlink_to(secret)
    (folder / "above").symlink_to(tmp_path)
    assert [(each.file, each.state) for each in check_folder(folder)] == [
        ("above", "not a plain file"),
        ("extra", "not a plain file"),
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
    with pytest.raises(RunError, match="which is no run here"):
        list_tags(folder.parent)


@pytest.mark.parametrize(
    "name", ["../small-1", "small-1/../small-1", "-x", "--runs", "a\0b", "\x1b[31m", "x" * 5000, "dog@../../x", "", "~"]
)
def test_a_hostile_reference_is_an_error_in_lines_fit_for_a_terminal(folder, name, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as caught:
        main(["predict", "--runs", str(folder.parent / "none"), "--", name, "photo.jpg"])
    told = capsys.readouterr()
    assert caught.value.code in (1, 2)
    assert set("\x1b\x07\x9b\0").isdisjoint(told.out + told.err)
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("preprocess", {"size": [10**6, 10**6]}, "more than 4096 pixels"),
        ("preprocess", {"size": [10**400, 8]}, "more than 4096 pixels"),
        ("preprocess", {"resize": 10**9}, "more than 4096 pixels"),
        ("config", {"image_size": 10**9}, "out of bounds"),
        ("config", {"backbone_options": {"module": "os"}}, "has no option 'module'"),
        ("config", {"head_options": "module=os"}, "'head_options' is 'module=os', not a dict"),
        ("backbone", "fake/../small", "no backbone"),
        ("backbone", "local-dir:/etc", "no backbone"),
        ("head", "os.system", "no head"),
        ("classes", ["a"] * 100_001, "100,001 names, 1 of them different"),
        ("classes", [*map(str, range(100_001))], "at most 100,000 can be"),
        ("classes", {"a": 1}, "unreadable 'classes'"),
    ],
)
def test_what_a_record_asks_for_is_checked_before_it_is_built(folder, part, value, told):
    record = json.loads((folder / RECORD).read_text())
    change(folder, **{part: {**record[part], **value} if isinstance(value, dict) and part != "classes" else value})
    unbuilt = FakePlugin(backbones=[make_backbone_spec(build=lambda request: pytest.fail("It was built."))])
    with pytest.raises(ZooError) as caught:
        predictor.load(folder, device="cpu", registry=make_registry(unbuilt))
    assert told in str(caught.value)


def test_weights_of_other_shapes_than_the_record_says_are_refused(folder, registry):
    safetensors.torch.save_file({"backbone.x": torch.zeros(2)}, folder / WEIGHTS)
    with pytest.raises(RunError, match="does not fit"):
        predictor.load(folder, device="cpu", registry=registry)


def test_names_are_text_on_the_terminal(folder, capsys):
    change(folder, classes=[ODD, "b", "c"], backbone=ODD, head=ODD, created=ODD, status=ODD)
    record = json.loads((folder / RECORD).read_text())
    change(folder, config={**record["config"], "backbone": ODD, "data": ODD}, data={**record["data"], "name": ODD})
    for arguments in ([], ["--json"]):
        result = CliRunner().invoke(runs_command, [*arguments, "--runs", str(folder.parent)], catch_exceptions=False)
        assert "red" in result.output
        assert all(c == "\n" or c.isprintable() for c in result.output)
    assert json.loads(result.output)[0]["data"] == ODD  # escaped, and whole


def test_errors_titles_and_notes_are_text_too(capsys):
    from zoo.cli.terminal.observers import LineDisplay
    from zoo.events import Note

    console.write_table((ODD, "b"), [("1", "2")])
    LineDisplay()(Note(text=f"Left out: {ODD}"))
    with pytest.raises(SystemExit):
        main(["info", f"no\n{ODD}"])
    told = capsys.readouterr()
    assert all(c == "\n" or c.isprintable() for c in told.out + told.err)
    assert "\\x1b[31mred" in told.out
    assert [line[:2] for line in told.err.splitlines()[1:3]] == ["  ", "  "]  # none is taken for another message


def test_names_are_text_on_the_page():
    from zoo_demo.page.handlers import UserError, escape_markup

    shown = escape_markup(ODD + "[x](http://evil) ![](http://evil/x.png) `a` **b** $c$ # d")
    assert set("<>[]()!*`$_\\\n\x1b\x07\x9b\u202e").isdisjoint(shown)
    assert escape_markup("a cat, 1.5: b") == "a cat, 1.5: b"
    assert "<img" not in UserError(f"{ODD} is no class.", title="Error").message


def test_a_run_of_others_exhibits_no_photos_of_this_machine(folder, registry, tmp_path):
    """Whoever opens the page is shown examples: those alone that the run was made with, whatever it names."""
    from zoo_demo.models.examples import find_examples

    own = find_examples(open_run(folder), predictor.load(folder, device="cpu", registry=registry), registry)
    assert own
    record = json.loads((folder / RECORD).read_text())
    data = {**record["data"], "digests": {part: "0" * len(text) for part, text in record["data"]["digests"].items()}}
    for changed in (data, {key: value for key, value in data.items() if key != "digests"}):
        change(folder, data=changed)
        stranger = open_run(folder)
        assert find_examples(stranger, predictor.load(stranger, device="cpu", registry=registry), registry) == []


def test_the_cli_knows_no_command_by_a_path():
    result = CliRunner().invoke(cli, ["../../etc/passwd"])
    assert result.exit_code == 2
    assert "There is no command" in result.output
