"""Measures the time from the start of `zoo finetune` to the end of its first training step.

Runs on a single batch of photos, so that only fixed costs count, and compares with bare Python processes: one that
imports torch and builds the same network with torchvision, and one that continues to a first step in plain torch. The
events of `zoo finetune --json` mark the end of the first step. Alternating; the ratio is that of medians.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _photos
import _project
from _bench import alternate, make_parser, median, report

if TYPE_CHECKING:
    import argparse

NAME = "startup"
_BATCH = 32
_BUILD = "import torch; from torchvision.models import resnet18; net = resnet18()"
_STEP = (
    "; images, labels = torch.randn({batch}, 3, {size}, {size}), torch.zeros({batch}, dtype=torch.long)"
    "; device = 'cuda' if torch.cuda.is_available() else 'cpu'; net.to(device)"
    "; optimizer = torch.optim.AdamW(net.parameters())"
    "; torch.nn.functional.cross_entropy(net(images.to(device)), labels.to(device)).backward(); optimizer.step()"
)


def time_program(program: str, environment: dict[str, str]) -> float:
    """Returns the seconds that a Python program takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return time.perf_counter() - started


def time_first_step(options: list[str], environment: dict[str, str]) -> float:
    """Returns the seconds until `zoo finetune` reports its first step; waits for the run to finish."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "zoo", "finetune", *options, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        events = [(json.loads(line)["event"], time.perf_counter() - started) for line in process.stdout]
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return next(seconds for event, seconds in events if event == "StepResult")


def write_random_weights(path: Path) -> Path:
    """Writes the weights of an untrained resnet18, so that a run can start as if from pretrained ones."""
    program = f"{_BUILD}; import safetensors.torch; safetensors.torch.save_file(net.state_dict(), {str(path)!r})"
    subprocess.run([sys.executable, "-c", program], check=True)
    return path


def measure(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of the table."""
    data = arguments.data or _photos.generate(_BATCH)
    environment = _project.checkout_environment(PYTHONWARNINGS="ignore")
    options = ["resnet18", "--data", str(data), "--runs", str(folder), "--epochs", "1", "--limit", str(_BATCH)]
    options += ["--image-size", str(arguments.image_size)]
    plain = _STEP.format(batch=_BATCH, size=arguments.image_size)
    measures = {
        "import torch, torchvision, build resnet18": partial(time_program, _BUILD, environment),
        "zoo finetune --weights none": partial(time_first_step, [*options, "--weights", "none"], environment),
    }
    if not arguments.quick:
        name = "the same imports and network, and a step in plain torch"
        measures[name] = partial(time_program, _BUILD + plain, environment)
        weights = arguments.weights or write_random_weights(folder / "resnet18.safetensors")
        options += ["--weights", str(weights)]
        measures["zoo finetune, default recipe (probe first)"] = partial(time_first_step, options, environment)
    results = alternate(measures, arguments.repeats, warm_up=not arguments.quick)
    reference = median(next(iter(results.values())))
    return [
        {"until": name, "seconds": median(seconds), "fastest": min(seconds), "ratio": median(seconds) / reference}
        for name, seconds in results.items()
    ]


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=5, photos=_BATCH)
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.repeats, arguments.image_size = 1, 32
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(arguments, Path(folder))
    report(NAME, arguments, rows, notes=["Bare processes are timed to their end, the zoo to its first step."])


if __name__ == "__main__":
    main(sys.argv[1:])
