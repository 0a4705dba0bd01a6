"""The sections of the report of a run: what it is, on what data, how good, how sure, and what is not known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.display.formatting import format_percent
from zoo.display.scores import FIGURE_TITLES, SPLIT_NAMES, list_figures, split_results
from zoo.preprocess import describe_preprocess
from zoo.report.blocks import (
    Message,
    Photo,
    Photos,
    Section,
    Text,
    load_picture,
    make_facts,
    make_table,
)
from zoo.report.pages import encode_thumbnail
from zoo.report.run_input import MAX_PHOTOS, SPLITS
from zoo.report.run_trust import (
    describe_calibration,
    describe_familiarity,
    describe_slices,
    describe_stress,
    describe_suspects,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zoo.report.blocks import Block, Table
    from zoo.report.run_input import ReportInput

_MAX_CLASSES, _MAX_FINDINGS = 100, 40
_PATHS = ("data", "weights", "recipe", "exclude", "labels", "groups")  # whose folders are private
_LEVELS = ("problem", "warning", "note")


def make_sections(content: ReportInput) -> list[Section]:
    """Returns the sections of a report, in their order."""
    return [
        _describe_model(content),
        _describe_data(content),
        _describe_metrics(content),
        _describe_mistakes(content),
        describe_calibration(content),
        describe_familiarity(content),
        describe_stress(content),
        describe_slices(content),
        describe_suspects(content),
        _describe_provenance(content),
        _describe_licences(content),
        _describe_limits(content),
    ]


def _describe_model(content: ReportInput) -> Section:
    record = content.run.record
    size = None if record.preprocess is None else record.preprocess.size
    kinds = "labels, any number of which a photo may have" if record.multi_label else "classes"
    listed = ", ".join(record.classes[:_MAX_CLASSES])
    more = f", and {len(record.classes) - _MAX_CLASSES:,} more" if len(record.classes) > _MAX_CLASSES else ""
    rows = [
        ("task", f"classify photos into {len(record.classes):,} {kinds}"),
        ("classes", listed + more),
        ("backbone", record.backbone),
        ("head", record.head),
        ("initial weights", record.weights),
        ("input", None if size is None else f"{size[0]} x {size[1]} pixels"),
        ("preprocessing", None if record.preprocess is None else describe_preprocess(record.preprocess)),
        ("probabilities", record.activation),
    ]
    partly = [Message("warning", record.partly_random)] if record.partly_random else []
    return Section("model", "The model", (make_facts(rows), *partly))


def _describe_data(content: ReportInput) -> Section:
    data = content.run.record.data
    found = data.check.get("findings") if data.check else None
    findings = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    levels = {level: [row for row in findings if row.get("level") == level] for level in _LEVELS}
    rows = [
        ("data", data.name),
        *((f"{SPLITS.get(split, split)} photos", f"{count:,}") for split, count in data.counts.items()),
        ("corrected labels", data.corrected or None),
        ("files left out", len(data.skipped) or None),
        ("unreadable photos", sum(map(len, data.unreadable.values())) or None),
        ("fingerprint", data.fingerprint),
        ("note", data.note),
    ]
    messages = [
        Message(level, f"{row.get('about', '')}: {row.get('text', '')}")  # type: ignore[arg-type]
        for level in _LEVELS
        for row in levels[level][:_MAX_FINDINGS]
    ]
    none = [] if messages or not data.check else [Text("The data check found no problems.", "fine")]
    missing = "" if data.check else "no data check is recorded; run 'zoo data check' on the data."
    return Section("data", "The data", (make_facts(rows), *messages, *none), missing)


def _describe_metrics(content: ReportInput) -> Section:
    run, evaluation = content.run, content.evaluation
    recorded = split_results(run.results)
    blocks: list[Block] = [_tabulate_figures(recorded)] if recorded else []
    blocks += [Message("problem", text) for text in run.leaks]
    if evaluation is not None:
        rows = [
            (each.name, format_percent(each.precision), format_percent(each.recall), f"{each.f1:.3f}", each.support)
            for each in evaluation.per_class
        ]
        header = ("class", "precision", "recall", "F1", "photos")
        blocks.append(make_table(header, rows, right=(1, 2, 3, 4), most=_MAX_CLASSES))
    for name, alt in (
        ("confusion.png", "Confusion matrix"),
        ("precision_recall.png", "Precision and recall of each label"),
        ("curves.png", "Loss and accuracy in each epoch"),
    ):
        blocks += load_picture(run.path / name, alt)
    return Section("metrics", "How good it is", tuple(blocks), "" if recorded else "training is not finished.")


def _tabulate_figures(recorded: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    """Returns a table of the figures of each split, with their 95 % intervals."""
    columns = [
        {name: f"{value} ({interval})" if interval else value for name, value, interval in list_figures(values)}
        for _, values in recorded
    ]
    names = dict.fromkeys(name for column in columns for name in column)
    counts = ("photos", *(str(values.get("count", "")) for _, values in recorded))
    rows = [(FIGURE_TITLES.get(name, name), *(column.get(name, "") for column in columns)) for name in names]
    header = ("with the 95 % interval", *(SPLIT_NAMES[split] for split, _ in recorded))
    return make_table(header, [counts, *rows], right=range(1, len(header)))


def _describe_mistakes(content: ReportInput) -> Section:
    evaluation = content.evaluation
    if evaluation is None:
        pictures = load_picture(content.run.path / "mistakes.png", "The most confident mistakes")
        return Section("mistakes", "Mistakes", pictures, "" if pictures else content.not_evaluated)
    shown = content.mistakes[:MAX_PHOTOS]
    photos = tuple(
        Photo(
            jpeg=encode_thumbnail(each.source),
            title=f"{evaluation.classes[each.predicted]} ({each.probability:.2f})",
            detail=f"labelled {evaluation.classes[each.true]}",
            name=each.name,
        )
        for each in shown
    )
    total = len(content.mistakes)
    text = f"{total:,} of {evaluation.count:,} {SPLITS[content.split]} photos are classified wrongly."
    blocks: list[Block] = [Text(text)]
    if total:
        pairs = [(each.true, each.predicted, each.count, each.support) for each in evaluation.most_confused(10)]
        blocks.append(make_table(("true class", "predicted class", "photos", "of"), pairs, right=(2, 3)))
        blocks.append(Photos(photos, f"The {len(shown)} most confident." if len(shown) < total else ""))
    return Section("mistakes", "Mistakes", tuple(blocks))


def _describe_provenance(content: ReportInput) -> Section:
    run, record = content.run, content.run.record
    hardware, results = record.hardware, run.results
    rows = [
        ("run", run.name),
        ("started", record.created),
        ("status", record.status),
        ("training time", None if (seconds := results.get("seconds")) is None else f"{seconds:.0f} s"),
        ("best epoch", results.get("best_epoch")),
        ("seed", record.config.get("seed")),
        ("data fingerprint", record.data.fingerprint),
        (
            "device",
            f"{hardware.get('gpu') or hardware.get('processor', '')}, {hardware.get('precision', '')}".strip(", "),
        ),
        ("platform", hardware.get("platform")),
        ("resumed in spite of changes", len(record.changed) or None),
        ("report written by", f"finetune-zoo {content.version}"),
    ]
    versions = [(name, version) for name, version in {**record.packages, **record.plugins}.items()]
    digests = [(name, str(digest)) for name, digest in record.sources.items()]
    settings = [
        (name, Path(value).name if name in _PATHS and isinstance(value, str) else value)
        for name, value in record.config.items()
        if value not in (None, "", [], {})
    ]
    blocks: list[Block] = [
        make_facts(rows),
        make_table(("package or plugin", "version"), versions),
        make_table(("source code of", "digest"), digests) if digests else Text(""),
        make_table(("setting", "value"), settings),
    ]
    return Section("provenance", "Where it comes from", tuple(each for each in blocks if each != Text("")))


def _describe_licences(content: ReportInput) -> Section:
    weights = content.weights
    rows = [
        ("initial weights", weights.name if weights else content.run.record.weights),
        ("their source", weights.source if weights else None),
        ("their licence", (weights.licence or "not stated") if weights else None),
    ]
    note = "The licence of the data is not recorded: whoever passes the model on must know it."
    return Section("licences", "Licences", (make_facts(rows), Text(note, "quiet")))


def _describe_limits(content: ReportInput) -> Section:
    return Section("limits", "Limits of use", tuple(Text(text) for text in _list_limits(content)))


def _list_limits(content: ReportInput) -> Iterator[str]:
    run, record = content.run, content.run.record
    results = run.results.get("test") or run.results.get("val")
    count = results.get("count") if isinstance(results, dict) else None
    if count:
        kind = "test" if run.results.get("test") else "validation, which chose the epoch,"
        yield (
            f"The figures are those of {count:,} {kind} photos of the data named above. Photos of another origin, such "
            "as another camera, place or season, may be recognised less well."
        )
    yield from run.leaks
    if not record.to_json().get("familiarity"):
        yield "It answers one of its classes to any picture, even to one that shows something else."
    if content.evaluation is not None:
        weak = sorted((each for each in content.evaluation.per_class if each.support), key=lambda each: each.recall)
        low = [each for each in weak[:3] if each.recall < content.evaluation.accuracy]
        if low:
            listed = ", ".join(f"{each.name} ({format_percent(each.recall)} of {each.support})" for each in low)
            yield f"It recognises these classes least well: {listed}."
        few = [each.name for each in content.evaluation.per_class if each.support < 10]
        if few:
            others = f" and {len(few) - 1} other classes" if len(few) > 1 else ""
            yield f"Fewer than 10 photos each measured {few[0]}{others}: little is known of them."
    if content.stress is None:
        yield "How it does on blurred, dark or cropped photos was not measured."
    yield "Whoever uses it for decisions about people has to examine it for that purpose, which this report does not."
