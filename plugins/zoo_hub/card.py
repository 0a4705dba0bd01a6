"""Writes the model card of a repository, its README.md: https://huggingface.co/docs/hub/model-cards."""

from __future__ import annotations

import importlib.resources
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.display.scores import FIGURE_TITLES, SPLIT_NAMES, list_figures, split_results
from zoo.preprocess import describe_preprocess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.specs import WeightsInfo
    from zoo.runs.record import RunRecord

TASK = "image-classification"
_COUNTED = {"train": "training", "val": "validation"}
# The fields of `results` that a card lists, with their names on the Hub, https://huggingface.co/metrics.
_METRICS = {"accuracy": "accuracy", "macro_f1": "f1"}
_MAX_CLASSES = 200  # that the page lists; run.json has all
_HUB_WEIGHTS = re.compile(r"(?:https://huggingface\.co/|hf:)(?P<id>[\w.\-]+/[\w.\-]+)")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#|~&$])")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardInput:
    """What a model card is written from.

    Attributes:
        repository: ``"anna/hotdog"``.
        record: The record that is published.
        licence: The licence of the model, as an identifier of the Hub; empty if its owner stated none.
        data_licence: The licence of the data; empty if unknown.
        weights: The pretrained weights; None if training started from others.
        timm: Whether timm loads the repository.
        onnx: Whether it has an ONNX file.
        pictures: The pictures in it.
        version: The version of the zoo.
    """

    repository: str
    record: RunRecord
    licence: str
    data_licence: str
    weights: WeightsInfo | None
    timm: bool
    onnx: bool
    pictures: tuple[str, ...]
    version: str


def write_card(card: CardInput) -> str:
    """Returns the text of README.md."""
    sections = [_intro(card), _use(card), _results(card), _classes(card), _data(card), _network(card), _licence(card)]
    return f"---\n{_metadata(card)}---\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _metadata(card: CardInput) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    record = card.record
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=record.data.name or "unknown",
            dataset_name=record.data.name or "unknown",
            dataset_split=SPLIT_NAMES[split],
            metric_type=_METRICS[metric],
            metric_name=FIGURE_TITLES[metric],
            metric_value=round(value, 4),
        )
        for split, values in split_results(record.results)
        for metric in _METRICS
        if isinstance(value := values.get(metric), int | float)
    ]
    base = _HUB_WEIGHTS.search(card.weights.source if card.weights else record.weights)
    data = ModelCardData(
        license=card.licence or None,
        library_name="timm" if card.timm else "finetune-zoo",
        pipeline_tag=TASK,
        tags=[TASK, "finetune-zoo", *(["timm"] if card.timm else []), *(["onnx"] if card.onnx else [])],
        metrics=sorted({result.metric_type for result in results}) or None,
        base_model=base["id"] if base else None,
        model_name=card.repository.partition("/")[2],
        eval_results=results or None,
    )
    return f"{data.to_yaml()}\n"


def _intro(card: CardInput) -> str:
    record = card.record
    kinds = "labels, any number of which a photo may have" if record.multi_label else "classes"
    score = next((text for _, values in split_results(record.results) if (text := _format_score(values))), "")
    return (
        f"# {_plain(card.repository.partition('/')[2])}\n\n"
        f"An image classifier with {len(record.classes)} {kinds}, fine-tuned with finetune-zoo {card.version}: "
        f"`{record.backbone}` with the head `{record.head}`.{f' {score}.' if score else ''}"
    )


def _use(card: CardInput) -> str:
    blocks = [_example("zoo", card)]
    if card.timm:
        blocks.append(_example("timm", card))
    if card.onnx:
        blocks.append(_example("onnx", card))
    return "## Use\n\n" + "\n\n".join(blocks)


def _example(name: str, card: CardInput) -> str:
    template = importlib.resources.files("zoo_hub").joinpath("templates", f"{name}.md").read_text("utf-8")
    return template.strip().replace("@repository@", card.repository).replace("@activation@", _activation(card.record))


def _activation(record: RunRecord) -> str:
    return "sigmoid()" if record.activation == "sigmoid" else "softmax(dim=1)"


def _results(card: CardInput) -> str:
    rows = [
        f"| {FIGURE_TITLES.get(name, _plain(name))} | {SPLIT_NAMES[split]} | {value} | {interval} | "
        f"{values.get('count', '')} |"
        for split, values in split_results(card.record.results)
        for name, value, interval in list_figures(values)
    ]
    if not rows:
        return ""
    warnings = [f"\n\n**{_plain(text)}**" for text in (*card.record.data.leaks, card.record.partly_random) if text]
    pictures = "".join(f"\n\n![{name.partition('.')[0]}](zoo/{name})" for name in card.pictures)
    header = "| metric | split | value | 95 % interval | photos |\n|---|---|---|---|---|\n"
    return f"## Results\n\n{header}{chr(10).join(rows)}{''.join(warnings)}{pictures}"


def _format_score(values: Mapping[str, Any]) -> str:
    """Returns ``Accuracy 93.1 % (90.2 % to 95.6 %, 211 photos)``, or the same of the mAP."""
    for name, value, interval in list_figures(values):
        if name in ("accuracy", "mean_ap"):
            return f"{FIGURE_TITLES[name]} {value}" + (
                f" ({interval}, {values.get('count')} photos)" if interval else ""
            )
    return ""


def _classes(card: CardInput) -> str:
    names = card.record.classes
    listed = ", ".join(map(_plain, names[:_MAX_CLASSES]))
    more = f", and {len(names) - _MAX_CLASSES} more" if len(names) > _MAX_CLASSES else ""
    return f"## Classes\n\nIn the order of the outputs: {listed}{more}."


def _data(card: CardInput) -> str:
    data = card.record.data
    counts = ", ".join(f"{number} {_COUNTED.get(split, split)}" for split, number in data.counts.items() if number)
    lines = [
        f"- data: {_plain(data.name or 'unknown')}{f', {counts} photos' if counts else ''}",
        f"- licence of the data: {_plain(card.data_licence or 'not stated')}",
    ]
    if data.note:
        lines.append(f"- {_plain(data.note)}")
    if data.fingerprint:
        lines.append(f"- fingerprint: `{data.fingerprint}`")
    return "## Data\n\n" + "\n".join(lines)


def _network(card: CardInput) -> str:
    record, weights = card.record, card.weights
    origin = f"{weights.name}, from {weights.source}" if weights else record.weights
    lines = [
        f"- backbone: `{record.backbone}`, head: `{record.head}`",
        f"- initial weights: {_plain(origin)}",
        f"- licence of these weights: {_plain(weights.licence or 'not stated')}" if weights else "",
    ]
    if record.preprocess is not None:
        height, width = record.preprocess.size
        lines.append(f"- input: {height} x {width} pixels; {describe_preprocess(record.preprocess)}")
    lines.append("- `zoo/run.json` has all settings and versions.")
    return "## Network\n\n" + "\n".join(filter(None, lines))


def _licence(card: CardInput) -> str:
    stated = f"`{card.licence}`." if card.licence else "Not stated. Those of the data and of the initial weights apply."
    return f"## Licence\n\n{stated}"


def _plain(text: str) -> str:
    """Returns a text that Markdown shows as it is, on one line: the names of classes may contain anything."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
