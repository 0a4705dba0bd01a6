"""Sections of a report on how far a run can be trusted: calibration, strange and changed photos, slices, suspects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.display.formatting import format_percent
from zoo.report.blocks import Photo, Photos, Section, Text, load_picture, make_facts, make_table
from zoo.report.pages import encode_thumbnail
from zoo.report.run_input import MAX_PHOTOS, SPLITS

if TYPE_CHECKING:
    from zoo.metrics.slices import Slice
    from zoo.report.blocks import Block
    from zoo.report.run_input import ReportInput


def describe_calibration(content: ReportInput) -> Section:
    """Returns the section on how far probabilities can be relied on."""
    results = content.run.results.get("test") or content.run.results.get("val")
    values = results.get("reliability") if isinstance(results, dict) else None
    pictures = load_picture(content.run.path / "reliability.png", "Probabilities, and how often they are right")
    blocks: list[Block] = []
    if isinstance(values, dict):
        names = {"uncalibrated": "before calibration", "calibrated": "as returned"}
        rows = [
            (title, *(_number(values[key], name) for name in ("calibration_error", "brier", "loss")))
            for key, title in names.items()
            if isinstance(values.get(key), dict)
        ]
        blocks.append(make_table(("probabilities", "calibration error", "Brier score", "loss"), rows, right=(1, 2, 3)))
        sets = [each for each in values.get("sets") or () if isinstance(each, dict)]
        if sets:
            cells = [[_number(each, name) for name in ("promised", "measured", "size")] for each in sets]
            header = ("coverage promised", "measured", "classes in a set")
            blocks.append(make_table(header, cells, right=(0, 1, 2)))
    elif isinstance(results, dict) and (error := results.get("calibration_error")) is not None:
        blocks.append(Text(f"The expected calibration error is {format_percent(error)}, without any calibration."))
    blocks += pictures
    missing = "" if blocks else "the probabilities of this run were not compared with how often they are right."
    return Section("calibration", "How far its probabilities can be relied on", tuple(blocks), missing)


def describe_familiarity(content: ReportInput) -> Section:
    """Returns the section on photos that show none of the classes."""
    values = content.run.record.to_json().get("familiarity")
    title = "Photos of something else"
    if not isinstance(values, dict):
        text = "the run has no measure of how familiar a photo is: it answers one of its classes to every photo."
        return Section("familiarity", title, (), text)
    text = (
        "A photo that looks like none of the training photos is answered with 'none of these'. The threshold lets "
        f"{format_percent(values.get('share'))} of {values.get('photos')} validation photos pass."
    )
    names = ("threshold", "prototypes", "neighbours")
    return Section("familiarity", title, (Text(text), make_facts([(name, _number(values, name)) for name in names])))


def describe_stress(content: ReportInput) -> Section:
    """Returns the section on photos that are changed, such as blurred ones."""
    title = "Under changed conditions"
    models = (content.stress or {}).get("models")
    model = models[0] if isinstance(models, list) and models and isinstance(models[0], dict) else None
    if model is None:
        return Section("stress", title, (), f"run 'zoo stress {content.run.name}'.")
    kinds = [each for each in model.get("kinds") or () if isinstance(each, dict)]
    rows = [
        (each.get("name", ""), *(_percent(row, "accuracy") for row in (*each.get("strengths", ()), each.get("mean"))))
        for each in kinds
    ]
    width = max((len(row) for row in rows), default=2)
    header = ("change", *(f"strength {number}" for number in range(1, width - 1)), "mean")
    padded = [(*row[:-1], *[""] * (width - len(row)), row[-1]) for row in rows]
    clean, mean = _percent(model.get("clean"), "accuracy"), _percent(model.get("mean"), "accuracy")
    text = f"The accuracy is {clean} on {model.get('count')} unchanged photos, and {mean} on average over the changes."
    blocks: list[Block] = [Text(text), make_table(header, padded, right=range(1, width))]
    if content.stress_folder is not None:
        blocks += load_picture(content.stress_folder / "curves.png", "Accuracy by kind and strength of change")
    return Section("stress", title, tuple(blocks))


def describe_slices(content: ReportInput) -> Section:
    """Returns the section on parts of the photos, such as the darkest quarter."""
    title = "Photos on which it is worse"
    if content.evaluation is None:
        return Section("slices", title, (), content.not_evaluated)
    slices = content.evaluation.slices
    if not slices:
        return Section("slices", title, (), "there are too few photos to compare parts of them.")
    worse = [each for each in slices if each.is_worse]
    text = (
        f"{len(worse)} of {len(slices)} parts of the photos are worse than the others by more than chance explains."
        if worse
        else f"None of {len(slices)} parts of the photos is worse than the others by more than chance explains."
    )
    shown = worse or slices[:3]
    table = make_table(
        ("photos", "number", "accuracy", "95 % interval", "others", "by its classes", "corrected p"),
        map(_slice_row, shown),
        right=range(1, 7),
        most=20,
    )
    note = "By its classes: the accuracy if each class were recognised as well as everywhere."
    return Section("slices", title, (Text(text), table, Text(note, "quiet")))


def _slice_row(each: Slice) -> tuple[str, ...]:
    low, high = each.interval
    return (
        each.title,
        f"{each.count:,}",
        format_percent(each.accuracy),
        f"{format_percent(low)} to {format_percent(high)}",
        format_percent(each.rest),
        format_percent(each.expected),
        f"{each.p_adjusted:.2g}",
    )


def describe_suspects(content: ReportInput) -> Section:
    """Returns the section on labels that may be wrong."""
    title = "Labels that may be wrong"
    if content.suspects is None:
        return Section("suspects", title, (), f"run 'zoo report {content.run.name} --suspects'.")
    if not content.suspects:
        return Section("suspects", title, (Text("No photo is confidently predicted as another class.", "fine"),))
    counts = {split: sum(each.split == split for each in content.suspects) for split in SPLITS}
    listed = ", ".join(f"{count:,} {SPLITS[split]}" for split, count in counts.items() if count)
    shown = content.suspects[:MAX_PHOTOS]
    photos = tuple(
        Photo(
            jpeg=encode_thumbnail(each.sample.source),
            title=f"looks like {each.suggested} ({each.suggested_probability:.2f})",
            detail=f"labelled {each.label} ({each.label_probability:.2f}), {each.split}",
            name=each.name,
        )
        for each in shown
    )
    more = f"The first {len(shown)} of {len(content.suspects):,}." if len(shown) < len(content.suspects) else ""
    text = f"Suspects: {listed} photos. They were found by confident learning; many of them may be right."
    return Section("suspects", title, (Text(text), Photos(photos, more)))


def _number(values: Any, name: str) -> str:
    value = values.get(name) if isinstance(values, dict) else None
    return f"{value:.4g}" if isinstance(value, int | float) else "-"


def _percent(values: Any, name: str) -> str:
    value = values.get(name) if isinstance(values, dict) else None
    return format_percent(value) if isinstance(value, int | float) else "-"
