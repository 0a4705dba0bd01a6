"""``zoo info``: shows the details of a run, and of whatever plugins offer under a name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands.options import PAIRS, flag_of, json_option, runs_option
from zoo.cli.completion import complete_anything
from zoo.cli.describe import BackboneDescription, DatasetDescription, Description, RecipeDescription, describe
from zoo.cli.describe_run import RunDescription, describe_run
from zoo.config import NAMES_OF
from zoo.display import console
from zoo.display.formatting import (
    NO_VALUE,
    format_bytes,
    format_classes,
    format_count,
    format_duration,
    format_option,
    format_percent,
)
from zoo.display.observers import fold_results
from zoo.display.scores import ACCURACY, MEAN_AP, read_score
from zoo.errors import RunError, UnknownNameError, ZooError
from zoo.events import CrossValidated
from zoo.plugins.options import option_flag
from zoo.plugins.registry import load_registry
from zoo.preprocess import describe_preprocess
from zoo.runs.cross_validation import FOLDS, find_cross_validation
from zoo.runs.open import find_run, list_run_names
from zoo.utils.paths import describe_missing_path, has_file_suffix, is_path_like, missing_path_advice
from zoo.utils.text import article, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zoo.plugins.specs import WeightsInfo
    from zoo.runs.cross_validation import CrossValidationFolder
    from zoo.runs.familiarity import FamiliarityRecord

# Of a split, beside its accuracy or mAP.
_FIGURES = {
    ACCURACY: ("balanced_accuracy", "macro_f1", "loss", "calibration_error"),
    MEAN_AP: ("macro_f1", "micro_f1", "exact_match", "hamming_loss", "loss"),
}


@click.command(name="info")
@click.argument("name", shell_complete=complete_anything)
@runs_option
@json_option
def command(name: str, runs: Path, as_json: bool) -> None:
    """Show the details of a run, a cross-validation, or a backbone, head, dataset, optimizer, loss ...

    NAME is the path, the name or a tag of a run, a run on a hub (hf:anna/hotdog), or a name from 'zoo list'. Of a run:
    settings, data, results with their intervals, weights, plugins, files and tags. Of anything else: options, size,
    weights and licence.
    """
    if (folds := find_cross_validation(name, runs=runs)) is not None:
        _write_folds(folds, as_json=as_json)
        return
    found = _find_all(name, runs)
    if as_json:
        console.write_json([description.to_dict() for description in found])
        return
    for number, description in enumerate(found):
        if number:
            console.echo()
        if isinstance(description, RunDescription):
            _write_run(description)
        else:
            _write(description)


def _write_folds(found: CrossValidationFolder, *, as_json: bool) -> None:
    record = found.record
    if as_json:
        console.write_json(
            [{"kind": "cross-validation", "name": found.name, "path": str(found.path), **asdict(record)}]
        )
        return
    console.write_heading(f"{found.name}, a cross-validation")
    config = record.config
    pairs = [
        ("status", f"{found.status}, {len(found.runs())} of {record.folds} folds started"),
        ("model", f"{config.get('backbone', '?')} + {config.get('head', '?')}"),
        ("data", record.data),
        ("started", record.created),
    ]
    if not found.finished:
        console.write_pairs(pairs, indent=2)
        console.echo(f"\n'zoo finetune --resume {printable(str(found.path))}' continues it.")
        return
    try:
        results = fold_results(CrossValidated(path=str(found.path), results=dict(record.results)))
        rows = [
            (each["name"], *(format_percent(each[key]) for key in ("precision", "recall", "f1")), str(each["support"]))
            for each in record.results["per_class"]
        ]
    except (KeyError, TypeError) as error:
        message = f"{found.path / FOLDS} has unreadable 'results'."
        raise RunError(message, hint="It may have been edited by hand.") from error
    console.write_pairs([*pairs[1:], *results], indent=2)
    console.echo()
    console.write_table(("class", "precision", "recall", "F1", "photos"), rows, right=(1, 2, 3, 4), indent=2)


def _find_all(name: str, runs: Path) -> list[RunDescription | Description]:
    run = find_run(name, runs=runs)
    if run is not None and (run.origin or Path(name).is_dir()):
        return [describe_run(run)]  # a path or a reference, which no offer has
    try:
        offers = describe(name, load_registry(), others=list_run_names(runs))
    except UnknownNameError as error:
        if run is None and is_path_like(name) and not _is_qualified(name):
            raise RunError(describe_missing_path(name), hint=missing_path_advice(name)) from error
        if run is None:
            message = f"No plugin offers '{name}', and there is no such run in {runs}/."
            raise UnknownNameError(message, hint=error.hint) from error
        offers = []
    except ZooError as error:
        if run is None:
            raise
        console.write_warning(error.message)
        offers = []
    return [*offers, *([describe_run(run)] if run is not None else [])]


def _is_qualified(name: str) -> bool:
    """Returns whether a text may be the qualified name of an offer, ``acme/tiny``, rather than a path."""
    return name.count("/") == 1 and not has_file_suffix(name) and not Path(name).parent.is_dir()


def _write(description: Description) -> None:
    console.write_heading(f"{description.name}, {article(description.kind)}")
    pairs = [("summary", description.summary), ("plugin", description.plugin)]
    match description:
        case BackboneDescription():
            console.write_pairs([*pairs, *_backbone_pairs(description)], indent=2)
            _write_stages(description)
        case DatasetDescription():
            console.write_pairs([*pairs, *_dataset_pairs(description)], indent=2)
        case RecipeDescription():
            console.write_pairs(pairs, indent=2)
            _write_recipe(description)
        case _:
            console.write_pairs(pairs, indent=2)
    _write_options(description)


def _backbone_pairs(description: BackboneDescription) -> list[tuple[str, str]]:
    size, preprocess = description.size, description.preprocess
    height, width = preprocess.size
    pairs = [("input", f"{height} x {width} pixels"), ("preprocessing", describe_preprocess(preprocess))]
    pairs += _weights_pairs(description.weights, local=description.local)
    if size is not None:
        pairs.append(("parameters", f"{format_count(size.parameters)} ({size.parameters:,}), without a head"))
        pairs.append(("features", f"pooled (N, {size.pooled_width}), map (N, {size.map_width}, h, w)"))
    return pairs


def _weights_pairs(weights: WeightsInfo | None, *, local: bool) -> list[tuple[str, str]]:
    if weights is None:
        return [("weights", "none available; train with --weights none")]
    published = f", ImageNet top-1 {weights.accuracy:.1f} %" if weights.accuracy is not None else ""
    return [
        ("weights", f"{weights.name}{published}{', on this machine' if local else ''}"),
        ("from", weights.source),
        ("licence", weights.licence or "not stated"),
    ]


def _write_stages(description: BackboneDescription) -> None:
    if description.size is None:
        return
    console.echo("\n  Stages, as counted by --freeze")
    stages = description.size.stages
    rows = [(str(number), name, format_count(size)) for number, (name, size) in enumerate(stages, start=1)]
    console.write_table(("", "stage", "parameters"), rows, right=(0, 2), indent=4)


def _dataset_pairs(description: DatasetDescription) -> list[tuple[str, str]]:
    missing = not (description.present or description.local)
    files = f"{description.folder} (not downloaded yet)" if missing else description.folder
    return [("licence", description.licence or "not stated"), ("files", files)]


def _write_recipe(description: RecipeDescription) -> None:
    sections: list[tuple[str, Mapping[str, Any]]] = [
        (_base_of(description), description.values),
        ("With --weights none", description.from_scratch),
        ("With --freeze all", description.frozen),
    ]
    for title, values in sections:
        if values:
            console.echo(f"\n  {title}")
            console.write_pairs([pair for name, value in values.items() for pair in _setting(name, value)], indent=4)


def _setting(name: str, value: Any) -> list[tuple[str, str]]:
    """Returns how a value of a recipe is set on the command line."""
    if name in PAIRS and isinstance(value, dict):
        return [(PAIRS[name], f"{key}={format_option(each)}") for key, each in value.items()]
    if name in NAMES_OF:
        return [(flag_of(name), each) for each in ([value] if isinstance(value, str) else value)]
    return [(flag_of(name), format_option(value))]


def _base_of(description: RecipeDescription) -> str:
    extended = f"the recipe {description.extends}" if description.extends else "the defaults in 'zoo finetune --help'"
    return f"Differences from {extended}"


def _write_run(run: RunDescription) -> None:
    console.write_heading(f"{run.origin or run.path}, a run")
    created = run.created.replace("T", " ")[:16]
    seconds = run.results.get("seconds")
    took = f", took {format_duration(seconds)}" if isinstance(seconds, int | float) else ""
    counts = ", ".join(f"{number} {split}" for split, number in run.data["counts"].items() if number)
    photos = f": {counts} photos" if counts else ""
    classes = f", {format_classes(run.classes)}" if run.classes else ""
    preprocess = "" if run.preprocess is None else describe_preprocess(run.preprocess)
    console.write_pairs(
        [
            ("copy", run.path if run.origin else ""),
            ("status", f"{run.status}{took}"),
            ("created", f"{created} UTC" if created else ""),
            ("tags", ", ".join(run.tags)),
            ("backbone", run.backbone),
            ("head", run.head),
            ("weights", run.weights),
            ("data", f"{run.data['name']}{photos}{classes}"),
            ("fingerprint", run.data["fingerprint"]),
            ("note", run.data["note"]),
            ("unfamiliar", "" if run.familiarity is None else describe_familiarity(run.familiarity)),
            *(("leak", text) for text in run.data["leaks"]),
            ("input", f"{run.preprocess.size[0]} x {run.preprocess.size[1]} pixels" if run.preprocess else ""),
            ("preprocessing", preprocess),
            ("calibration", "" if run.calibration is None else run.calibration.describe()),
            ("machine", ", ".join(str(run.hardware[key]) for key in ("device", "precision") if key in run.hardware)),
            ("plugins", ", ".join(f"{name} {version}" for name, version in run.plugins.items())),
        ],
        indent=2,
    )
    _write_results(run.results)
    _write_settings(run)
    _write_exports(run)
    console.echo(f"\n  Files, {format_bytes(sum(run.files.values()))}")
    rows = [(name, format_bytes(size)) for name, size in run.files.items()]
    console.write_table(("file", "size"), rows, right=(1,), indent=4)


def describe_familiarity(familiarity: FamiliarityRecord) -> str:
    """Returns which photos a run or an exported file does not recognise, in one line."""
    share = f"{100 * familiarity.share:.0f} % of photos like the {familiarity.photos} of validation"
    return f"photos with a familiarity below {familiarity.threshold:.4f}, which {share} reach"


def _write_exports(run: RunDescription) -> None:
    if not run.exports:
        return
    console.echo("\n  Exports")
    rows = [
        (each.file, f"{each.target} {each.version}".rstrip(), "yes" if each.verified else "no", each.exported[:10])
        for each in run.exports
    ]
    console.write_table(("written", "target", "verified", "on"), rows, indent=4)


def _write_results(results: Mapping[str, Any]) -> None:
    scores = {split: score for split in ("test", "val") if (score := read_score(results, split)) is not None}
    if not scores:
        return
    name = next(iter(scores.values())).name
    rows = [
        (
            split,
            format_percent(score.value),
            " to ".join(map(format_percent, score.interval or ())),
            *(_format_figure(results[split].get(figure)) for figure in ("count", *_FIGURES[name])),
        )
        for split, score in scores.items()
    ]
    console.echo("\n  Results")
    header = ("split", name, "95 % interval", "photos", *(figure.replace("_", " ") for figure in _FIGURES[name]))
    console.write_table(header, rows, right=(1, *range(3, len(header))), indent=4)


def _format_figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(NO_VALUE if value is None else value)


def _write_settings(run: RunDescription) -> None:
    recipe = run.settings.get("recipe", "?")
    shown, title = run.changed, f"Settings that differ from the recipe '{recipe}'; --json lists all"
    if shown is None:
        shown, title = run.settings, f"Settings; the recipe '{recipe}' is not known here"
    if shown:
        console.echo(f"\n  {title}")
        pairs = [(PAIRS.get(name, flag_of(name)), _format_setting(value)) for name, value in shown.items()]
        console.write_pairs(pairs, indent=4)


def _format_setting(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={format_option(each)}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else format_option(value)


def _write_options(description: Description) -> None:
    if not description.options:
        return
    console.echo(f"\n  Options, set with {option_flag(description.kind)} NAME=VALUE")
    console.write_pairs(
        ((option.name, option.describe().partition(" ")[2]) for option in description.options), indent=4
    )
