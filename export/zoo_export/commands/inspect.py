"""``zoo inspect``: tells what an exported file is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.commands.info import describe_preprocess
from zoo.cli.options import json_option, runs_option
from zoo.cli.terminal import console, wording
from zoo_export.commands.words import gain_told, parity_told
from zoo_export.files import find_file
from zoo_export.inspection import inspect

if TYPE_CHECKING:
    from pathlib import Path

    from zoo_export.card import ModelCard
    from zoo_export.inspection import Inspected, Value


@click.command(name="inspect")
@click.argument("file", metavar="RUN-OR-FILE")
@runs_option
@json_option
def command(file: str, runs: Path, as_json: bool) -> None:
    """Tell what a file, or that of a run, is.

    Inputs and outputs, classes, preprocessing, where it comes from, what proves it.
    """
    inspected = inspect(find_file(file, runs=runs), ask=console.passphrase_prompt())
    if as_json:
        console.write_json(inspected.to_dict())
    else:
        _write(inspected)


def _write(inspected: Inspected) -> None:
    console.heading(str(inspected.path))
    opset = f"opset {inspected.opset}, " if inspected.opset else ""
    told = f"{inspected.bytes / 1e6:.1f} MB, {opset}written by {inspected.producer or 'an unknown tool'}"
    pairs = [("file", told)]
    pairs += [("input" if i == 0 else "", _told(value)) for i, value in enumerate(inspected.inputs)]
    pairs += [("output" if i == 0 else "", _told(value)) for i, value in enumerate(inspected.outputs)]
    if inspected.card is None:
        console.write_pairs(pairs, indent=2)
        click.echo("\nIt was not written by 'zoo export': nothing is known of its classes or its preprocessing.")
        return
    console.write_pairs([*pairs, *_card_pairs(inspected.card)], indent=2)


def _told(value: Value) -> str:
    return f"{value.name}: {value.type} ({', '.join(map(str, value.shape))})"


def _card_pairs(card: ModelCard) -> list[tuple[str, str]]:
    place = "inside" if card.input == "pixels" else "to be done by the caller"
    return [
        ("classes", wording.list_classes(card.classes, most=20)),
        ("preprocessing", f"{describe_preprocess(card.preprocess)}; {place}"),
        ("precision", f"{card.precision}{'; ' if card.quantisation else ''}{gain_told(card.quantisation)}"),
        ("network", f"{card.backbone} + {card.head}, {card.activation}"),
        ("run", f"{card.run.get('name')}, of {card.run.get('created')}"),
        *_accuracy(card),
        ("data", f"{card.data.get('name')}, fingerprint {card.data.get('fingerprint')}"),
        *_leaks(card),
        ("started from", card.weights),
        ("weights", f"sha256 {card.weights_sha256}"),
        ("exported", f"{card.exported}, with {', '.join(f'{name} {v}' for name, v in card.versions.items())}"),
        ("verified", parity_told(card.parity)),
    ]


def _leaks(card: ModelCard) -> list[tuple[str, str]]:
    found = card.data.get("leaks")
    return [("warning", str(text)) for text in found] if isinstance(found, list) else []


def _accuracy(card: ModelCard) -> list[tuple[str, str]]:
    results = card.run.get("results")
    for part in ("test", "val"):
        scores = results.get(part) if isinstance(results, dict) else None
        accuracy = scores.get("accuracy") if isinstance(scores, dict) else None
        if isinstance(accuracy, int | float):
            return [(f"{part} accuracy", console.percent(accuracy))]
    return []
