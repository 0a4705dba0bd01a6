"""Kills trainings for real and goes on with them: what tests/training/test_killed.py starts, and a longer trial.

``resume_job.py FOLDER --kills 60 --case average`` trains once undisturbed and once killed again and again, half of the
times by a clock and half of the times on the way through a save, and compares what comes of it. This process imports
what is slow; each training is a fork of it, and dies by SIGKILL.
"""

from zoo.utils.lazy_dynamo import defer_dynamo_import

defer_dynamo_import()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from fakes import FakePlugin, make_backbone_spec, make_head_spec, make_images, make_registry, make_samples  # noqa: E402

import zoo.cli.main  # noqa: E402
from zoo.plugins.entry_points import Candidate  # noqa: E402
from zoo.runs.open import open_run  # noqa: E402
from zoo.training import finalize as conclusion  # noqa: E402

TRAINED = {
    "head": "flat",
    "data": "colours",
    "epochs": 3,
    "batch_size": 6,
    "optimizer": "adamw",
    "lr": 3e-3,
    "freeze": "none",
    "probe": False,
    "ema": None,
    "crop_scale": 0.35,
    "eval_crop": None,
    "device": "cpu",
    "precision": "fp32",
    "workers": 2,
    "save_every": 0,
}
CASES = {
    "plain": {},
    "average": {"backbone": "small-dropout", "dropout": 0.3, "ema": 0.9, "mixup": 0.2, "freeze_norm_stats": False},
    "views": {"freeze": "2", "views": 2, "probe": True, "ema": 0.9},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "schedule": "linear", "freeze": "1", "probe": True, "workers": 1},
    "adaptive": {"optimizer": "rmsprop", "clip_grad": 1.0, "randaugment": 5, "cache": "off", "loss": "focal"},
    "solved": {"freeze": "all", "optimizer": "lbfgs", "weight_decay": 0.1},
    "on-features": {"freeze": "all", "ema": 0.9},
}


def plugin():
    parts = {"train": make_samples("train", 16), "val": make_samples("val", 4), "test": make_samples("test", 4)}
    backbones = [make_backbone_spec(), make_backbone_spec("small-dropout", dropout=0.3)]
    return FakePlugin(backbones=backbones, heads=[make_head_spec()], dataset=make_images(**parts))


def train(runs, case):
    """Begins a run, or goes on with the one that is there."""
    for name in ("write_curves", "write_confusion", "write_mistakes"):
        setattr(conclusion, name, lambda *args, **how: None)
    registry, there = make_registry(plugin()), sorted(runs.glob("*/run.json"))
    if there:
        run = open_run(there[0].parent)
        done = run.finished and (run.path / "manifest.json").exists()
        return run if done else zoo.resume(run.path, registry=registry)
    values = {"backbone": "small", **TRAINED, **CASES[case]}
    return zoo.finetune(values.pop("backbone"), registry=registry, runs=runs, **values)


def die_on_the_way(countdown):
    """Has this process killed at a step of a save: before or after a write, a flush or a rename, or in mid-write."""
    left = iter(range(countdown, 0, -1))

    def tick():
        if next(left, 1) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function):
        def watched(*args, **how):
            tick()
            given = function(*args, **how)
            tick()
            return given

        return watched

    def write_in_halves(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            tick()
            file.write(content[len(content) // 2 :])

    Path.write_bytes = around(write_in_halves)
    Path.replace = around(Path.replace)
    os.fsync = around(os.fsync)


def in_a_fork(work):
    """Returns the number of a process that does some work and ends; what it says goes to a file in the folder."""
    number = os.fork()
    if number:
        return number
    try:
        work()
    except SystemExit as end:
        os._exit(end.code)
    except BaseException as error:
        Path("error.txt").write_text(f"{type(error).__name__}: {error}", "utf-8")
        os._exit(1)
    os._exit(0)


def ended(number):
    """Waits for a process; returns whether it was killed. One that failed is an error."""
    status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    if status > 0:
        raise RuntimeError(Path("error.txt").read_text("utf-8"))
    return status < 0


def signalled(number, folder):
    """Has the command line train and sends it a signal; returns its exit code and what it printed."""
    folder.mkdir(parents=True)
    os.chdir(folder)

    def work():
        out = os.open("out.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        found = Candidate(entry="fake", distribution="fake", version="1", load=plugin)
        zoo.plugins.registry.find_plugins = lambda: [found]
        values = [f"--{name.replace('_', '-')}={'none' if value is None else value}" for name, value in TRAINED.items()]
        zoo.cli.main.main(["finetune", "small", *values, "--epochs", "200", "--save-every", "60"])

    child = in_a_fork(work)
    while not list(Path().glob("runs/*/metrics.jsonl")):
        time.sleep(0.01)
    os.kill(child, number)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, "last line": Path("out.txt").read_text("utf-8").strip().splitlines()[-1]}


def disturbed(runs, case, *, most, chance, seconds):
    """Trains to the end, but is killed again and again, up to `most` times; returns how often."""
    killed = {"by the clock": 0, "in a save": 0}
    while sum(killed.values()) < most:
        how = chance.choice([*killed])
        if how == "in a save":
            countdown = chance.randrange(1, 60)
            child = in_a_fork(lambda count=countdown: (die_on_the_way(count), train(runs, case)))
        else:
            child = in_a_fork(lambda: train(runs, case))
            time.sleep(chance.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        if not ended(child):
            return killed
        killed[how] += 1
    ended(in_a_fork(lambda: train(runs, case)))
    return killed


def outcome(runs):
    """Returns weights and figures of the one finished run below a folder; nothing that depends on the time."""
    (folder,) = (file.parent for file in runs.glob("*/run.json"))
    run = open_run(folder)
    assert run.finished, run.record.status
    rows = [{name: value for name, value in row.items() if "second" not in name} for row in run.metrics()]
    results = {name: value for name, value in run.results.items() if "second" not in name}
    files = sorted(file.name for file in folder.iterdir())
    return safetensors.torch.load_file(run.weights_path), rows, results, files


def compare(case, *, kills, seed, runs):
    """Returns how often a training was killed, and whether what came of it was the same each time."""
    started = time.perf_counter()
    ended(in_a_fork(lambda: train(runs / case / "whole", case)))
    seconds = time.perf_counter() - started
    weights, *whole = outcome(runs / case / "whole")
    chance, told = random.Random(f"{case} {seed}"), {"by the clock": 0, "in a save": 0, "runs": 0, "other": 0}
    while (left := kills - told["by the clock"] - told["in a save"]) > 0:
        again = runs / case / f"killed-{told['runs']}"
        for how, count in disturbed(again, case, most=left, chance=chance, seconds=seconds).items():
            told[how] += count
        others, *figures = outcome(again)
        same = weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)
        told["runs"] += 1
        told["other"] += not (same and figures == whole)
    return told


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # started in the background, it would be ignored
    folder = arguments.folder.resolve()
    os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        print(json.dumps({"case": number.name, **signalled(number, folder / number.name)}), flush=True)
    for case in arguments.case or CASES:
        told = compare(case, kills=arguments.kills, seed=arguments.seed, runs=folder)
        print(json.dumps({"case": case, **told}), flush=True)


if __name__ == "__main__":
    main()
