"""Kills trainings by SIGKILL and resumes them: the job of tests/training/test_killed.py, and a longer trial.

``resume_job.py FOLDER --kills 60 --case average`` trains once without interruption, and again while it is killed
repeatedly, half of the times after a random time and half of the times during a save, and compares the results. This
process imports the slow libraries; every training is a fork of it.
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

import torch  # noqa: E402
from fakes import FakePlugin, make_backbone_spec, make_head_spec, make_images, make_registry, make_samples  # noqa: E402
from training_runs import FAST, read_weights, without_times  # noqa: E402

import zoo.cli.main  # noqa: E402
import zoo_heads  # noqa: E402
import zoo_recipes  # noqa: E402
from zoo.plugins.entry_points import DISTRIBUTION, Candidate  # noqa: E402
from zoo.runs.open import open_run  # noqa: E402

OPTIONS = {**FAST, "batch_size": 6, "lr": 3e-3, "ema": None, "save_every": 0}
CASES = {
    "plain": {},
    "average": {"backbone": "small-dropout", "dropout": 0.3, "ema": 0.9, "mixup": 0.2, "freeze_norm_stats": False},
    "views": {"freeze": "2", "views": 2, "probe": True, "ema": 0.9},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "schedule": "linear", "freeze": "1", "probe": True, "workers": 1},
    "adaptive": {"optimizer": "rmsprop", "clip_grad": 1.0, "randaugment": 5, "cache": "off", "loss": "focal"},
    "solved": {"freeze": "all", "optimizer": "lbfgs", "weight_decay": 0.1},
    "on-features": {"freeze": "all", "ema": 0.9},
    "stages": {"head": "linear", "freeze": "1", "probe": True, "ema": 0.9, "patience": 2, "epochs": 4},
    "refitted": {"head": "linear", "probe": True, "lr": 1e-9, "patience": 1},
    "compared": {"head": "linear", "freeze": "all", "optimizer": "lbfgs", "weight_decay": "auto"},
}
BY_TIME, IN_SAVE = "after a time", "in a save"  # ways to kill a training


def make_plugin():
    counts = {"train": 16, "val": 4, "test": 4}
    images = make_images(**{split: make_samples(split, count) for split, count in counts.items()})
    backbones = [make_backbone_spec(), make_backbone_spec("small-dropout", dropout=0.3)]
    return FakePlugin(backbones=backbones, heads=[make_head_spec(), *zoo_heads.zoo_heads()], dataset=images)


def train(runs, case):
    """Starts a run, or resumes the one that exists."""
    registry, records = make_registry(make_plugin()), sorted(runs.glob("*/run.json"))
    if records:
        run = open_run(records[0].parent)
        complete = run.finished and (run.path / "manifest.json").exists()
        return run if complete else zoo.resume(run.path, registry=registry, pictures=False)
    values = {"backbone": "small", **OPTIONS, **CASES[case]}
    return zoo.finetune(values.pop("backbone"), registry=registry, runs=runs, pictures=False, **values)


def kill_in_save(countdown):
    """Kills this process in step `countdown` of saving: before, after or in the middle of a write, sync or rename."""
    remaining = iter(range(countdown, 0, -1))

    def tick():
        if next(remaining, 1) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def with_ticks(function):
        def call(*args, **kwargs):
            tick()
            result = function(*args, **kwargs)
            tick()
            return result

        return call

    def write_in_halves(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            tick()
            file.write(content[len(content) // 2 :])

    Path.write_bytes = with_ticks(write_in_halves)
    Path.replace = with_ticks(Path.replace)
    os.fsync = with_ticks(os.fsync)


def fork(work):
    """Runs a function in a fork and returns its process id; an error is written to a file in the folder."""
    process = os.fork()
    if process:
        return process
    try:
        work()
    except SystemExit as end:
        os._exit(end.code)
    except BaseException as error:
        Path("error.txt").write_text(f"{type(error).__name__}: {error}", "utf-8")
        os._exit(1)
    os._exit(0)


def wait_for(process):
    """Waits for a process; returns whether it was killed. One that failed is an error."""
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status > 0:
        raise RuntimeError(Path("error.txt").read_text("utf-8"))
    return status < 0


def signal_command(number, folder):
    """Trains with the command line and sends it a signal; returns its exit code and the last line of its output."""
    folder.mkdir(parents=True)
    os.chdir(folder)

    def work():
        out = os.open("out.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        recipes = Candidate(entry="recipes", distribution=DISTRIBUTION, version="1", load=lambda: zoo_recipes)
        candidate = Candidate(entry="fake", distribution="fake", version="1", load=make_plugin)
        zoo.plugins.registry.find_plugins = lambda: [recipes, candidate]
        values = [f"--{name.replace('_', '-')}={'none' if value is None else value}" for name, value in OPTIONS.items()]
        zoo.cli.main.main(["finetune", "small", *values, "--epochs", "200", "--save-every", "60"])

    process = fork(work)
    while not list(Path().glob("runs/*/metrics.jsonl")):
        time.sleep(0.01)
    os.kill(process, number)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return {"code": code, "last line": Path("out.txt").read_text("utf-8").strip().splitlines()[-1]}


def train_with_kills(runs, case, *, most, generator, seconds):
    """Trains to the end while it is killed up to `most` times; returns how often, by way."""
    kills = {BY_TIME: 0, IN_SAVE: 0}
    while sum(kills.values()) < most:
        way = generator.choice([*kills])
        if way == IN_SAVE:
            countdown = generator.randrange(1, 60)
            process = fork(lambda count=countdown: (kill_in_save(count), train(runs, case)))
        else:
            process = fork(lambda: train(runs, case))
            time.sleep(generator.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
        if not wait_for(process):
            return kills
        kills[way] += 1
    wait_for(fork(lambda: train(runs, case)))
    return kills


def read_outcome(runs):
    """Returns the weights, metrics, results and files of the only run in a folder, without times."""
    (folder,) = (file.parent for file in runs.glob("*/run.json"))
    run = open_run(folder)
    assert run.finished, run.record.status
    files = sorted(file.name for file in folder.iterdir())
    return read_weights(run), [without_times(row) for row in run.metrics()], without_times(run.results), files


def run_case(case, *, kills, seed, runs):
    """Returns how often a training was killed, and in how many runs the outcome differed."""
    started = time.perf_counter()
    wait_for(fork(lambda: train(runs / case / "whole", case)))
    seconds = time.perf_counter() - started
    weights, *whole = read_outcome(runs / case / "whole")
    generator, counts = random.Random(f"{case} {seed}"), {BY_TIME: 0, IN_SAVE: 0, "runs": 0, "different": 0}
    while (left := kills - counts[BY_TIME] - counts[IN_SAVE]) > 0:
        folder = runs / case / f"killed-{counts['runs']}"
        killed = train_with_kills(folder, case, most=left, generator=generator, seconds=seconds)
        for way, count in killed.items():
            counts[way] += count
        other_weights, *others = read_outcome(folder)
        same = weights.keys() == other_weights.keys() and all(
            torch.equal(weights[name], other_weights[name]) for name in weights
        )
        counts["runs"] += 1
        counts["different"] += not (same and others == whole)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--case", action="append", choices=CASES)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background ignores it
    folder = arguments.folder.resolve()
    os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        print(json.dumps({"case": number.name, **signal_command(number, folder / number.name)}), flush=True)
    for case in arguments.case or CASES:
        counts = run_case(case, kills=arguments.kills, seed=arguments.seed, runs=folder)
        print(json.dumps({"case": case, **counts}), flush=True)


if __name__ == "__main__":
    main()
