import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import zoo.training.cross_validation
import zoo.training.finetune
import zoo_losses
import zoo_optimizers
import zoo_schedules
from zoo.config import FinetuneConfig
from zoo.events import CrossValidated, EpochResult, Finished, Note
from zoo.plugins.entry_points import DISTRIBUTION, Candidate
from zoo.plugins.options import describe_options
from zoo.runs.cross_validation import CrossValidationRecord, write_folds
from zoo.training.distributed import launch

RESULTS = {"test": {"accuracy": 0.9, "interval": [0.88, 0.92], "count": 800}, "seconds": 9.0, "images_per_second": 48.0}


@pytest.fixture(autouse=True)
def _built_in_parts(plugins):
    """Adds the built-in plugins that a training with default values needs."""
    built_in = {"losses": zoo_losses, "optimizers": zoo_optimizers, "schedules": zoo_schedules}
    for entry, plugin in built_in.items():
        plugins.append(Candidate(entry=entry, distribution=DISTRIBUTION, version="1", load=lambda found=plugin: found))


@pytest.fixture
def calls(monkeypatch):
    """Replaces the library: records its calls, and reports a few events."""
    made = []

    def finetune(config, *, runs, observer, registry):
        made.append((config, runs))
        observer(Note(text="Mind the gap.", warning=True))
        nan = math.nan
        observer(
            EpochResult(
                epoch=1,
                train_loss=0.5,
                train_accuracy=nan,
                val_loss=0.4,
                val_accuracy=0.8,
                learning_rate=1e-4,
                seconds=3.0,
                images_per_second=48.0,
            )
        )
        observer(Finished(path="runs/tiny-linear-dogs-1", results=RESULTS))

    monkeypatch.setattr(zoo.training.finetune, "finetune", finetune)
    return made


def test_only_given_values_are_passed_on(run_zoo, calls):
    code, _, err = run_zoo("finetune", "tiny", "--data", "dogs", "--recipe", "d2l", "--lr", "0.5", "--runs", "there")
    assert (code, err) == (0, "")
    ((config, runs),) = calls
    assert runs == Path("there")
    assert config.lr == 0.5
    assert config.batch_size == 128  # the recipe's


def test_values_are_parsed_as_in_python(run_zoo, calls):
    run_zoo(
        *("finetune", "tiny", "--data", "dogs", "--probe", "no", "--clip-grad", "none", "--freeze", "2"),
        *("--head-option", "hidden=64", "--head-option", "depth=2", "--data-option", "size=3"),
    )
    ((config, _),) = calls
    assert config.probe is False
    assert config.clip_grad is None
    assert config.freeze == "2"
    assert config.head_options == {"hidden": "64", "depth": "2"}
    assert config.data_options == {"size": "3"}


def test_plain_output_ends_with_the_results_and_next_steps(run_zoo, calls):
    out = run_zoo("finetune", "tiny", "--data", "dogs").out
    assert out.splitlines()[0] == "warning: Mind the gap."
    assert "test accuracy 90.0 % ± 2.0 (800 photos)" in out
    assert "9.0 s, training at 48 images/s" in out
    assert out.endswith("  zoo predict runs/tiny-linear-dogs-1 photo.jpg\n  zoo evaluate runs/tiny-linear-dogs-1\n")


def test_quiet_prints_only_the_path(run_zoo, calls):
    assert run_zoo("finetune", "tiny", "--data", "dogs", "--quiet") == (0, "runs/tiny-linear-dogs-1\n", "")


def test_json_prints_one_event_per_line(run_zoo, calls):
    note, epoch, finished = map(json.loads, run_zoo("finetune", "tiny", "--data", "dogs", "--json").out.splitlines())
    assert note == {"event": "Note", "text": "Mind the gap.", "warning": True}
    assert (epoch["event"], epoch["epoch"], epoch["train_accuracy"]) == ("EpochResult", 1, None)
    assert finished["results"]["test"]["accuracy"] == 0.9


def test_an_interrupt_exits_with_130_and_no_traceback(run_zoo, monkeypatch):
    def finetune(config, *, runs, observer, registry):
        observer(Note(text="Stopped."))
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo.training.finetune, "finetune", finetune)
    code, out, err = run_zoo("finetune", "tiny", "--data", "dogs")
    assert code == 130
    assert out == "note: Stopped.\n"
    assert err.strip() == ""


def test_resume_accepts_no_other_settings(run_zoo, monkeypatch, make_run):
    make_run("tiny-1", status="interrupted")
    resumed = []

    def resume(run, *, runs, anyway, observer, registry, lr=None):
        resumed.append((run, runs, anyway, lr and float(lr)))

    monkeypatch.setattr(zoo.training.finetune, "resume", resume)
    assert run_zoo("finetune", "--resume", "tiny-1").code == 0
    assert run_zoo("finetune", "--resume", "tiny-1", "--resume-anyway").code == 0
    assert run_zoo("finetune", "--resume", "tiny-1", "--lr", "1e-5").code == 0
    runs = Path("runs")
    assert resumed == [("tiny-1", runs, False, None), ("tiny-1", runs, True, None), ("tiny-1", runs, False, 1e-5)]
    assert run_zoo("finetune", "--resume", "tiny-1", "--lr", "1e-5", "--epochs", "2").code == 2
    code, _, err = run_zoo("finetune", "tiny", "--resume", "tiny-1")
    assert code == 2
    assert "--resume takes all settings from the run" in err
    code, _, err = run_zoo("finetune", "tiny", "--data", "dogs", "--resume-anyway")
    assert code == 2
    assert "--resume-anyway is only valid with --resume RUN" in err


def test_without_data_the_error_lists_the_choices(run_zoo):
    code, _, err = run_zoo("finetune", "tiny")
    assert code == 2
    assert "a dataset        dogs" in err
    assert "a folder         ./photos" in err
    assert "a CSV file       photos.csv" in err


def test_without_a_backbone_the_library_chooses(run_zoo, calls):
    assert run_zoo("finetune", "--data", "dogs", "--epochs", "2").code == 0
    ((config, _),) = calls
    assert (config.backbone, config.epochs) == ("auto", 2)


def test_without_a_backbone_processes_are_started_after_one_is_chosen(run_zoo, plugins, local, monkeypatch):
    plugins.append(local)
    started = []
    monkeypatch.setattr(launch, "launch", lambda arguments, devices: started.append(arguments) or 0)
    assert run_zoo("finetune", "--data", "dogs", "--device", "cpu", "--devices", "2").code == 0
    assert len(started) == 1


def test_an_unknown_option_suggests_a_close_match(run_zoo):
    code, _, err = run_zoo("finetune", "tiny", "--data", "dogs", "--eposch", "3")
    assert code == 2
    assert err.startswith("error: There is no option '--eposch'.\nDid you mean --epochs?")
    assert "Did you mean" not in run_zoo("finetune", "tiny", "--data", "dogs", "--patience", "3").err


def test_every_field_is_an_option_listed_under_its_group(run_zoo):
    out = run_zoo("finetune", "--help").out
    for info in describe_options(FinetuneConfig):
        if info.name != "backbone":
            assert f"--{info.name.replace('_', '-')} " in out
    groups = ["Model:", "Data:", "Training:", "Augmentation:", "Machine:", "Output:"]
    assert [line for line in out.splitlines() if line in groups] == groups
    assert "[default: cosine]" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--lr", "fast"], "'lr' is 'fast'"),
        (["--epochs", "0"], "'epochs' is '0', out of bounds"),
        (["--probe", "maybe"], "'probe' is 'maybe'"),
        (["--recipe", "d3l"], "There is no recipe 'd3l'"),
        (["--head-option", "hidden"], "'hidden' is not of the form NAME=VALUE"),
        (["--head", "nosuch"], "There is no head 'nosuch'"),
        (["--head", "linear", "--head-option", "nosuch=1"], "head linear has no option 'nosuch'"),
        (["--weights", "nosuch.pth"], "There is no weights file nosuch.pth"),
    ],
)
def test_a_wrong_value_is_refused_in_two_lines_before_torch_is_imported(tmp_path, args, message):
    photos = tmp_path / "photos"
    for kind in ("cat", "dog"):
        (photos / kind).mkdir(parents=True)
        for number in range(9):
            (photos / kind / f"{number}.jpg").write_bytes(b"never opened")
    program = (
        "import sys\n"
        "from zoo.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'torch', 'timm', 'torchvision'} & set(sys.modules)\n"
        "    print(*heavy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "finetune", "resnet18", "--data", str(photos), *args],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "ZOO_HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert len(rest) <= 1


@pytest.mark.parametrize("flag", ["--batch", "--batch-size"])
def test_the_batch_size_has_two_spellings_and_may_be_auto(run_zoo, calls, flag):
    run_zoo("finetune", "tiny", "--data", "dogs", flag, "auto")
    ((config, _),) = calls
    assert config.batch_size == "auto"


def test_names_are_checked_before_any_process_is_started(run_zoo, monkeypatch):
    monkeypatch.setattr(launch, "launch", lambda *args, **how: pytest.fail("started"))
    result = run_zoo("finetune", "tony", "--data", "dogs", "--devices", "2")
    assert result.code == 1
    assert result.err.startswith("error: There is no backbone 'tony'.\nDid you mean")


def test_the_command_line_is_started_again(run_zoo, monkeypatch):
    started = []
    monkeypatch.setattr(launch, "launch", lambda arguments, devices: started.append((arguments, devices)) or 7)
    command_line = ("finetune", "tiny", "--data", "dogs", "--device", "cpu", "--weights", "none", "--devices", "2")
    assert run_zoo(*command_line).code == 7
    assert started == [(command_line, 2)]


def test_a_file_has_all_options_and_the_command_line_wins(run_zoo, calls, tmp_path):
    (tmp_path / "run.toml").write_text(
        'data = "dogs"\nbackbone = "tiny"\nrecipe = "mine.toml"\nlr = 0.5\nepochs = 3\n[data_options]\nsize = 3\n'
    )
    (tmp_path / "mine.toml").write_text("batch_size = 7\nepochs = 9\n")
    code, _, err = run_zoo("finetune", "--config", "run.toml", "--epochs", "4", "--data-option", "seed=1")
    assert (code, err) == (0, "")
    ((config, _),) = calls
    assert (config.data, config.backbone, config.lr, config.epochs, config.batch_size) == ("dogs", "tiny", 0.5, 4, 7)
    assert config.data_options == {"size": 3, "seed": "1"}
    run_zoo("finetune", "other", "--config", "run.toml", "--data", "./photos")
    assert (calls[1][0].backbone, calls[1][0].data, calls[1][0].lr) == ("other", "./photos", 0.5)


def test_a_wrong_file_is_reported_in_two_lines(run_zoo, calls, tmp_path):
    (tmp_path / "run.toml").write_text('data = "dogs"\n\nlerning_rate = 0.5\n')
    code, _, err = run_zoo("finetune", "--config", "run.toml")
    assert (code, err.splitlines()[0]) == (1, "error: run.toml, line 3: there is no option 'lerning_rate'.")
    (tmp_path / "run.toml").write_text("epochs = 3\n")
    code, _, err = run_zoo("finetune", "--config", "run.toml")
    assert code == 2
    assert "Missing option '--data'" in err
    assert not calls


def test_a_wrong_option_of_a_head_in_a_file_is_reported_with_its_line(run_zoo, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "mine.toml").write_text('head = "mlp"\n\n[head_options]\nhiden = 3\n')
    code, _, err = run_zoo("finetune", "tiny", "--data", "./photos", "--recipe", "mine.toml")
    assert code == 1
    assert err.startswith("error: mine.toml, line 4: head mlp has no option 'hiden'.\nDid you mean hidden?")
    (tmp_path / "run.toml").write_text('data = "./photos"\nhead = "mlp"\nhead_options = {hidden = "wide"}\n')
    code, _, err = run_zoo("finetune", "tiny", "--config", "run.toml")
    assert err.startswith("error: run.toml, line 3: head mlp: option 'hidden' is 'wide', not a whole number.")
    (tmp_path / "run.toml").write_text('data = "./photos"\nhead = "mlp"\n')
    code, _, err = run_zoo("finetune", "tiny", "--config", "run.toml", "--head-option", "hiden=3")
    assert err.startswith("error: head mlp has no option 'hiden'")


def test_like_takes_all_settings_of_a_run(run_zoo, calls, make_run, tmp_path):
    folder = make_run("tiny-linear-dogs-1")
    record = json.loads((folder / "run.json").read_text())
    record["config"] |= {"epochs": 9, "hflip": 0.5, "head": "mlp", "head_options": {"hidden": 3}}
    (folder / "run.json").write_text(json.dumps(record | {"requested": {"hflip": "auto"}}))
    code, _, err = run_zoo("finetune", "--like", "tiny-linear-dogs-1", "--lr", "1e-2", "--head-option", "dropout=0.5")
    assert (code, err) == (0, "")
    ((config, _),) = calls
    assert (config.backbone, config.data, config.epochs, config.lr, config.hflip) == ("tiny", "dogs", 9, 0.01, "auto")
    assert config.head_options == {"hidden": 3, "dropout": "0.5"}
    run_zoo("finetune", "--like", "tiny-linear-dogs-1", "--head", "linear", "--data", "./photos")
    assert (calls[1][0].head, calls[1][0].head_options, calls[1][0].data) == ("linear", {}, "./photos")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--like", "tiny-linear-dogs-1", "--recipe", "d2l"], "--like takes all settings from the run"),
        (["--like", "tiny-linear-dogs-1", "--config", "run.toml"], "--like takes all settings from the run"),
        (["--resume", "tiny-linear-dogs-1", "--config", "run.toml"], "--resume takes all settings from the run"),
        (["--resume", "tiny-linear-dogs-1", "--like", "x"], "--resume takes all settings from the run"),
    ],
)
def test_settings_come_from_one_place(run_zoo, calls, make_run, args, message):
    make_run("tiny-linear-dogs-1")
    code, _, err = run_zoo("finetune", *args)
    assert code == 2
    assert message in err
    assert not calls


FOLD_RESULTS = {
    "accuracy": 0.9,
    "interval": [0.85, 0.94],
    "count": 160,
    "balanced_accuracy": 0.88,
    "macro_f1": 0.87,
    "groups": 20,
    "left_out": 0,
    "seconds": 75.0,
    "folds": [
        {"run": f"fold-{number}", "accuracy": accuracy, "interval": [0.8, 0.96], "count": 80}
        for number, accuracy in ((1, 0.85), (2, 0.95))
    ],
}


@pytest.fixture
def fold_calls(monkeypatch):
    """Replaces the library: records its calls, and reports the results."""
    made = []

    def finish(call, observer):
        made.append(call)
        observer(Finished(path="runs/tiny-2fold-1/fold-2", results=RESULTS))
        observer(CrossValidated(path="runs/tiny-2fold-1", results=FOLD_RESULTS, command="zoo finetune --like fold-1"))
        return SimpleNamespace(path=Path("runs/tiny-2fold-1"))

    def cross_validate(config, *, folds, runs, observer, registry):
        return finish((config.lr, folds, runs), observer)

    def resume_cross_validation(reference, *, runs, anyway, observer, registry):
        return finish((reference, runs, anyway), observer)

    monkeypatch.setattr(zoo.training.cross_validation, "cross_validate", cross_validate)
    monkeypatch.setattr(zoo.training.cross_validation, "resume_cross_validation", resume_cross_validation)
    return made


def test_folds_are_cross_validated_and_the_final_command_is_printed(run_zoo, fold_calls):
    out = run_zoo("finetune", "tiny", "--data", "dogs", "--folds", "2", "--lr", "0.5").out
    assert fold_calls == [(0.5, 2, Path("runs"))]
    assert "fold 2            95.0 % ± 8.0 (80 photos)\n" in out
    assert "accuracy          90.0 % ± 4.5 (160 photos in 20 groups, 2 folds)\nbalanced accuracy 88.0 %\n" in out
    assert "zoo predict" not in out
    assert out.endswith("To train one on all photos:\n  zoo finetune --like fold-1\n")


def test_folds_with_quiet_and_json(run_zoo, fold_calls):
    command = ("finetune", "tiny", "--data", "dogs", "--folds", "2")
    assert run_zoo(*command, "--quiet") == (0, "runs/tiny-2fold-1\n", "")
    *_, last = map(json.loads, run_zoo(*command, "--json").out.splitlines())
    assert (last["event"], last["results"]["accuracy"]) == ("CrossValidated", 0.9)


def test_a_cross_validation_is_resumed_by_its_name(run_zoo, fold_calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "tiny-2fold-1"
    folder.mkdir(parents=True)
    write_folds(folder, CrossValidationRecord(created="2026-01-01", folds=2))
    assert run_zoo("finetune", "--resume", "tiny-2fold-1", "--resume-anyway").code == 0
    assert fold_calls == [("tiny-2fold-1", Path("runs"), True)]
    assert "a run that diverged" in run_zoo("finetune", "--resume", "tiny-2fold-1", "--lr", "0.1").err
    assert "--resume takes all settings" in run_zoo("finetune", "--resume", "tiny-2fold-1", "--folds", "3").err


@pytest.mark.parametrize("folds", ["1", "101", "x"])
def test_a_wrong_number_of_folds_is_wrong_usage(run_zoo, folds):
    assert run_zoo("finetune", "tiny", "--data", "dogs", "--folds", folds).code == 2
