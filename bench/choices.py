"""Measures what the engine's choices are worth: precision and layout, memory, optimizer, batch size, compilation.

Runs training steps (forward, backward, optimizer) on a batch that is already on the device, alternating between the
variants of each choice. A variant's speed is that of its fastest step, because other load only ever adds time.
"""

from __future__ import annotations

import copy
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import _project
from _bench import alternate, make_parser, report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

NAME = "choices"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to run a training step.

    Attributes:
        name: Name in the table.
        images: Images per step.
        run_steps: Runs a number of steps and returns the seconds of the fastest.
        first: Seconds of the first step, where they matter.
    """

    name: str
    images: int
    run_steps: Callable[[int], float]
    first: float | None = None


class Bench:
    """Creates the variants of one backbone, each with its own copy of the network."""

    def __init__(self, backbone: str, arguments: argparse.Namespace) -> None:
        import torch

        from zoo.config import make_config
        from zoo.models.build import assemble, resolve_preprocess
        from zoo.models.classifier import freeze
        from zoo.models.offers import find_offers
        from zoo.models.precision import choose_device
        from zoo.plugins.registry import get_card, load_registry

        self.config = make_config(backbone, data="none", weights="none", freeze=arguments.freeze)
        offers = find_offers(self.config, load_registry())
        preprocess = resolve_preprocess(self.config, get_card(offers.backbone).preprocess)
        model = assemble(self.config, offers, classes=2, preprocess=preprocess)
        freeze(model.classifier, self.config.frozen_stages(len(model.classifier.backbone.stages())))
        self.device = choose_device("auto")
        self.network = model.classifier.to(self.device)
        self.size, self.batch = arguments.image_size, arguments.batch_size
        self.precision = arguments.precision
        self.layouts = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}

    def variant(
        self,
        name: str,
        *,
        precision: str | None = None,
        layout: str = "channels-last",
        images: int | None = None,
        keep_memory: bool = True,
        compiled: bool = False,
        fused: bool | None = True,
    ) -> Variant:
        """Creates a variant; the defaults are the engine's own choices."""
        import torch

        from zoo.models.classifier import set_training
        from zoo.models.precision import choose_precision
        from zoo.models.runtime import keep_freed_memory

        network, count = copy.deepcopy(self.network), images or self.batch
        network.to(memory_format=self.layouts[layout])
        set_training(network, freeze_norm_stats=self.config.freeze_norm_stats)
        chosen = choose_precision(precision or self.precision, self.device)
        batch = torch.randn(count, 3, self.size, self.size, device=self.device)
        batch = batch.contiguous(memory_format=self.layouts[layout])
        labels = torch.arange(count, device=self.device) % 2
        trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=1e-6, fused=fused)
        forward: Any = torch.compile(network, dynamic=False) if compiled else network

        def run_steps(number: int) -> float:
            """Returns the seconds of the fastest of `number` steps."""
            times = []
            with keep_freed_memory() if keep_memory else nullcontext():
                for _ in range(number):
                    started = time.perf_counter()
                    optimizer.zero_grad(set_to_none=True)
                    with chosen.autocast():
                        logits = forward(batch)
                    network.head.loss(logits, labels).backward()
                    optimizer.step()
                    if self.device.type == "cuda":
                        torch.cuda.synchronize()
                    times.append(time.perf_counter() - started)
            return min(times)

        return Variant(name=name, images=count, run_steps=run_steps, first=run_steps(1) if compiled else None)

    def choices(self, *, compile: bool) -> Iterator[tuple[str, list[Variant]]]:
        """Yields each choice with its variants, the engine's own last."""
        yield (
            "precision, layout",
            [
                self.variant(f"{name}, {layout}", precision=name, layout=layout)
                for name in ("fp32", "bf16")
                for layout in reversed(self.layouts)
            ],
        )
        yield "freed memory", [self.variant("returned", keep_memory=False), self.variant("kept")]
        yield "AdamW", [self.variant("torch's default", fused=None), self.variant("fused")]
        yield (
            "batch",
            [self.variant(str(count), images=count) for count in (self.batch // 2, self.batch * 4, self.batch)],
        )
        if compile:
            yield "compile", [self.variant("eager"), self.variant("compiled", compiled=True)]


def measure(backbone: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields the rows of one backbone."""
    for choice, variants in Bench(backbone, arguments).choices(compile=arguments.compile):
        # The first step of a turn finds the memory as the previous variant left it, so each turn has several.
        times = alternate({v.name: partial(v.run_steps, 3) for v in variants}, arguments.repeats, warm_up=True)
        speeds = {v.name: v.images / min(times[v.name]) for v in variants}
        for variant in variants:
            yield {
                "backbone": backbone,
                "choice": choice,
                "variant": variant.name,
                "images/s": speeds[variant.name],
                "x the first": speeds[variant.name] / speeds[variants[0].name],
                "first step, s": variant.first,
            }


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = make_parser(NAME, __doc__, repeats=3)
    parser.add_argument("--backbones", default="resnet18", help="comma-separated names (resnet18)")
    parser.add_argument("--freeze", default="none", help="as in zoo finetune (none)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step (32)")
    parser.add_argument("--image-size", type=int, default=224, help="side of the network's input (224)")
    parser.add_argument("--precision", default="bf16", help="precision of all but the first choice (bf16)")
    parser.add_argument("--compile", action="store_true", help="also measure torch.compile: one minute per network")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.image_size, arguments.batch_size, arguments.repeats = 32, 4, 1
    _project.use_checkout()
    report(NAME, arguments, [row for name in arguments.backbones.split(",") for row in measure(name, arguments)])


if __name__ == "__main__":
    main(sys.argv[1:])
