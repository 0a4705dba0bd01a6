"""What the engine's choices are worth: precision and layout, memory, optimiser, batch size, compilation.

Training steps (forward, backward, optimiser) on a batch that lies on the device, in the variants of each choice, taking
turns. The speed of a variant is that of its fastest step, as what else goes on at a machine only ever adds to a time.
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
    """One way to take a training step.

    Attributes:
        name: For the table.
        images: How many a step.
        steps: Takes that many.
        first: Seconds of the first step, where they are worth telling.
    """

    name: str
    images: int
    steps: Callable[[int], float]
    first: float | None = None


class Bench:
    """Makes variants for one backbone, each with a copy of the network."""

    def __init__(self, backbone: str, arguments: argparse.Namespace) -> None:
        import torch

        from zoo.config import make_config
        from zoo.models.build import assemble, preprocess_for
        from zoo.models.classifier import freeze
        from zoo.models.offers import find_offers
        from zoo.models.precision import choose_device
        from zoo.plugins.registry import card_of, load_registry

        self.config = make_config(backbone, data="none", weights="none", freeze=arguments.freeze)
        offers = find_offers(self.config, load_registry())
        preprocess = preprocess_for(self.config, card_of(offers.backbone).preprocess)
        model = assemble(self.config, offers, classes=2, preprocess=preprocess)
        freeze(model.classifier, self.config.frozen_stages(len(model.classifier.backbone.stages())))
        self.device = choose_device("auto")
        self.network = model.classifier.to(self.device)
        self.size, self.batch = arguments.image_size, arguments.batch_size
        self.fast = arguments.precision
        self.layouts = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}

    def variant(
        self,
        name: str,
        *,
        precision: str | None = None,
        layout: str = "channels-last",
        images: int | None = None,
        keep: bool = True,
        compiled: bool = False,
        fused: bool | None = True,
    ) -> Variant:
        """Returns a way to take a step; what is not said is as the engine has it."""
        import torch

        from zoo.models.classifier import set_training
        from zoo.models.precision import choose_precision
        from zoo.models.runtime import keeping_freed_memory

        network, count = copy.deepcopy(self.network), images or self.batch
        network.to(memory_format=self.layouts[layout])
        set_training(network, freeze_norm_stats=self.config.freeze_norm_stats)
        how = choose_precision(precision or self.fast, self.device)
        batch = torch.randn(count, 3, self.size, self.size, device=self.device)
        batch = batch.contiguous(memory_format=self.layouts[layout])
        labels = torch.arange(count, device=self.device) % 2
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=1e-6, fused=fused)
        forward: Any = torch.compile(network, dynamic=False) if compiled else network

        def steps(number: int) -> float:
            """Returns the seconds of the fastest of some steps."""
            taken = []
            with keeping_freed_memory() if keep else nullcontext():
                for _ in range(number):
                    started = time.perf_counter()
                    optimizer.zero_grad(set_to_none=True)
                    with how.autocast():
                        logits = forward(batch)
                    network.head.loss(logits, labels).backward()
                    optimizer.step()
                    if self.device.type == "cuda":
                        torch.cuda.synchronize()
                    taken.append(time.perf_counter() - started)
            return min(taken)

        return Variant(name=name, images=count, steps=steps, first=steps(1) if compiled else None)

    def choices(self, *, compile: bool) -> Iterator[tuple[str, list[Variant]]]:
        """Yields each choice with its variants, the engine's own last."""
        names = ["fp32", "bf16"]
        yield (
            "precision, layout",
            [
                self.variant(f"{name}, {layout}", precision=name, layout=layout)
                for name in names
                for layout in reversed(self.layouts)
            ],
        )
        yield "freed memory", [self.variant("given back", keep=False), self.variant("kept")]
        yield "AdamW", [self.variant("torch's choice", fused=None), self.variant("fused")]
        yield (
            "batch",
            [self.variant(str(count), images=count) for count in (self.batch // 2, self.batch * 4, self.batch)],
        )
        if compile:
            yield "compile", [self.variant("eager"), self.variant("compiled", compiled=True)]


def measure(backbone: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yields the rows of a backbone."""
    for choice, variants in Bench(backbone, arguments).choices(compile=arguments.compile):
        # Each variant's first step of a turn finds the memory as the one before it left it.
        times = alternate({v.name: partial(v.steps, 3) for v in variants}, arguments.repeats, warm_up=True)
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
    """Parses, measures, reports."""
    parser = make_parser(NAME, __doc__, repeats=3)
    parser.add_argument("--backbones", default="resnet18", help="names, parted by commas (resnet18)")
    parser.add_argument("--freeze", default="none", help="as of zoo finetune (none)")
    parser.add_argument("--batch-size", type=int, default=32, help="images a step (32)")
    parser.add_argument("--image-size", type=int, default=224, help="side of the network's input (224)")
    parser.add_argument("--precision", default="bf16", help="in which all but the first choice are measured (bf16)")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: a minute a network")
    arguments = parser.parse_args(args)
    if arguments.quick:
        arguments.image_size, arguments.batch_size, arguments.repeats = 32, 4, 1
    _project.use_checkout()
    report(NAME, arguments, [row for name in arguments.backbones.split(",") for row in measure(name, arguments)])


if __name__ == "__main__":
    main(sys.argv[1:])
