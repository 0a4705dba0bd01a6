"""``zoo inspect``: describes an exported file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.commands.info import describe_familiarity
from zoo.cli.commands.options import json_option, runs_option
from zoo.cli.completion import complete_runs
from zoo.display import console
from zoo.display.formatting import format_classes, format_percent
from zoo.display.scores import read_score
from zoo.preprocess import describe_preprocess
from zoo_export.commands.formatting import format_gain, format_parity
from zoo_export.exported_files import find_file
from zoo_export.inspection import inspect_file

if TYPE_CHECKING:
    from pathlib import Path

    from zoo_export.inspection import Inspection, TensorInfo
    from zoo_export.model_card import ModelCard


_MAX_THRESHOLDS = 20


@click.command(name="inspect")
@click.argument("file", metavar="RUN-OR-FILE", shell_complete=complete_runs)
@runs_option
@json_option
def command(file: str, runs: Path, as_json: bool) -> None:
    """Describe an exported file, or that of a run.

    Shows inputs and outputs, classes, preprocessing, origin and verification.
    """
    inspection = inspect_file(find_file(file, runs=runs), ask=console.passphrase_prompt())
    if as_json:
        console.write_json(inspection.to_dict())
    else:
        _write(inspection)


def _write(inspection: Inspection) -> None:
    console.write_heading(str(inspection.path))
    opset = f"opset {inspection.opset}, " if inspection.opset else ""
    producer = inspection.producer or "an unknown tool"
    pairs = [("file", f"{inspection.bytes / 1e6:.1f} MB, {opset}written by {producer}")]
    pairs += [("input" if i == 0 else "", _format_tensor(value)) for i, value in enumerate(inspection.inputs)]
    pairs += [("output" if i == 0 else "", _format_tensor(value)) for i, value in enumerate(inspection.outputs)]
    if inspection.card is None:
        console.write_pairs(pairs, indent=2)
        console.echo("\n'zoo export' did not write this file: its classes and its preprocessing are unknown.")
        return
    console.write_pairs([*pairs, *_card_pairs(inspection.card)], indent=2)


def _format_tensor(value: TensorInfo) -> str:
    return f"{value.name}: {value.type} ({', '.join(map(str, value.shape))})"


def _card_pairs(card: ModelCard) -> list[tuple[str, str]]:
    place = "inside the graph" if card.input == "pixels" else "left to the caller"
    return [
        ("classes", format_classes(card.classes, limit=20)),
        *_threshold_pairs(card),
        *([] if card.calibration is None else [("calibration", card.calibration.describe())]),
        *_familiarity_pairs(card),
        ("preprocessing", f"{describe_preprocess(card.preprocess)}; {place}"),
        ("precision", f"{card.precision}{'; ' if card.quantisation else ''}{format_gain(card.quantisation)}"),
        ("network", f"{card.backbone} + {card.head}, {card.activation}"),
        ("run", f"{card.run.get('name')}, created {card.run.get('created')}"),
        *_accuracy_pairs(card),
        ("data", f"{card.data.get('name')}, fingerprint {card.data.get('fingerprint')}"),
        *_leak_pairs(card),
        ("started from", card.weights),
        ("weights", f"sha256 {card.weights_sha256}"),
        ("exported", f"{card.exported}, with {', '.join(f'{name} {v}' for name, v in card.versions.items())}"),
        ("verified", format_parity(card.parity)),
    ]


def _threshold_pairs(card: ModelCard) -> list[tuple[str, str]]:
    if card.decision is not None:
        return [("decision", card.decision.describe())]
    if not card.multi_label:
        return []
    shown = [f"{name} {value:.3f}" for name, value in zip(card.classes, card.thresholds, strict=True)][:_MAX_THRESHOLDS]
    more = ", ..." if len(card.classes) > len(shown) else ""
    return [("thresholds", f"{', '.join(shown)}{more}; a photo has any number of these labels")]


def _familiarity_pairs(card: ModelCard) -> list[tuple[str, str]]:
    return [] if card.familiarity is None else [("unfamiliar", describe_familiarity(card.familiarity))]


def _leak_pairs(card: ModelCard) -> list[tuple[str, str]]:
    leaks = card.data.get("leaks")
    return [("warning", str(text)) for text in leaks] if isinstance(leaks, list) else []


def _accuracy_pairs(card: ModelCard) -> list[tuple[str, str]]:
    results = card.run.get("results")
    for split in ("test", "val"):
        score = read_score(results, split) if isinstance(results, dict) else None
        if score is not None:
            return [(f"{split} {score.name}", format_percent(score.value))]
    return []
