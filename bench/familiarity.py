"""Measures how well exported files tell photos of their classes from strangers, by the output `familiarity`.

For each data set, `zoo finetune` trains a backbone, frozen or fine-tuned, and `zoo export` writes the file. Its test
photos are then separated from strangers: the test photos of every other data set; with --near, the test photos of the
classes of its own data set that were held out from training, every second one; and far ones, made by code: noise, plain
colours, drawings and lines of text. A figure is the area under the ROC curve: the share of pairs of a known photo and a
stranger in which the known one is more familiar. `passes` is the share of the test photos that reach the threshold of
the file, which is chosen so that 95 % of the validation photos do; `stopped` is the share of all strangers that do not.

The scores of each file are kept as a JSON file, and a later call reuses them. `--time-limit 0` runs nothing and prints
what is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

import _photos
import _project
from _bench import make_parser, report
from _sets import find_sets

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from _sets import PhotoSet
    from zoo.plugins.specs import ImageSet

NAME = "familiarity"
WAYS: dict[str, dict[str, Any]] = {"frozen": {"freeze": "all"}, "fine-tuned": {}}
FAR = ("noise", "plain", "drawings", "text")
_OWN, _NEAR = "own", "held-out classes"
_FAR_PHOTOS = 60
_SIDE = 256
_WORDS = ("none", "of", "these", "photos", "shows", "any", "class", "that", "the", "network", "was", "trained", "on")


def make_far(kind: str) -> Iterator[Path | bytes]:
    """Yields strangers of a kind, as the bytes of PNG files; always the same."""
    rng = random.Random(kind)
    if kind == "drawings":
        from zoo.data.sources.load import load_source
        from zoo.data.sources.resolve import resolve_data
        from zoo.plugins.registry import load_registry

        images = load_source(resolve_data("hotdog-cartoon", registry=load_registry(), options={}))
        yield from (sample.source for sample in images.test[:_FAR_PHOTOS])
        return
    for number in range(_FAR_PHOTOS):
        if kind == "noise":
            values = np.random.default_rng(number).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
            image = Image.fromarray(values)
        else:
            image = Image.new("RGB", (_SIDE, _SIDE), tuple(rng.randrange(256) for _ in range(3)))
        if kind == "text":
            image = Image.new("RGB", (_SIDE, _SIDE), "white")
            pen = ImageDraw.Draw(image)
            for top in range(8, _SIDE, 20):
                pen.text((8, top), " ".join(rng.choices(_WORDS, k=7)), fill="black")
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        yield buffer.getvalue()


def make_image_set(photos: PhotoSet, classes: Sequence[str], seed: int) -> ImageSet:
    """Returns the training photos of some classes, divided into training and validation."""
    from zoo.data.sources.splits import make_splits
    from zoo.plugins.specs import ImageSet, Sample

    names = tuple(classes)
    samples = tuple(
        Sample(path, names.index(path.parent.name), f"{path.parent.name}/{path.name}")
        for path in photos.photos["train"]
        if path.parent.name in names
    )
    whole = ImageSet(name=photos.name, classes=names, train=samples, val=())
    return make_splits(whole, test_fraction=0, val_fraction=0.1, count=None, seed=seed)


def export(images: ImageSet, values: Mapping[str, Any], folder: Path) -> bytes:
    """Trains and exports; returns the content of the file."""
    import zoo

    run = zoo.finetune(data=images, runs=folder, pictures=False, **values)
    file = folder / "model.onnx"
    run.export(output=file, verify=False)  # the scores of the file itself are measured
    return file.read_bytes()


def measure(content: bytes, strangers: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Returns the threshold of a file, and the familiarity of photos by their kind."""
    from zoo_export.runtime.predictor import load

    predictor = load(content, device="cpu")
    scores = {
        kind: [getattr(outcome, "familiarity", None) for outcome in predictor.predict_files(photos)]
        for kind, photos in strangers.items()
    }
    return {
        "threshold": predictor.familiarity_threshold,
        "bytes": len(content),
        "prototypes": None if predictor.card.familiarity is None else predictor.card.familiarity.prototypes,
        "scores": {kind: [score for score in found if score is not None] for kind, found in scores.items()},
    }


def auroc(known: Sequence[float], strangers: Sequence[float]) -> float:
    """Returns the area under the ROC curve: the chance that a known photo is more familiar than a stranger."""
    ranked = np.sort(np.asarray(strangers))
    below, upto = (np.searchsorted(ranked, known, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(ranked))


def find_measured(sets: Sequence[PhotoSet], arguments: argparse.Namespace, *, near: bool) -> dict[str, dict[str, Any]]:
    """Returns what was measured of the file of each data set, now or before; none for those that time did not allow."""
    found = {}
    for photos in sets:
        classes = sorted({path.parent.name for path in photos.photos["train"]})
        trained = classes[::2] if near else classes
        if len(trained) < 2:
            continue
        values = {"backbone": arguments.backbone, "seed": arguments.seed, **WAYS[arguments.way], **arguments.values}
        key = {"photos": photos.digest(), "near": near, **values}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
        file = arguments.keep / f"{digest}.json"
        if not file.is_file():
            if time.monotonic() > arguments.deadline:
                continue
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                content = export(make_image_set(photos, trained, arguments.seed), values, Path(folder))
            result = measure(content, find_strangers(photos, sets, trained, arguments.most))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"key": key, **result}) + "\n", "utf-8")
            print(f"{photos.name}, near {near}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        found[photos.name] = json.loads(file.read_text("utf-8"))
    return found


def find_strangers(
    photos: PhotoSet, sets: Sequence[PhotoSet], trained: Sequence[str], most: int
) -> dict[str, Sequence[Any]]:
    """Returns the photos to score: the data set's own test photos and all strangers, by kind."""
    test = photos.photos["test"]
    found: dict[str, Sequence[Any]] = {_OWN: [path for path in test if path.parent.name in trained]}
    if len(found[_OWN]) < len(test):
        found[_NEAR] = [path for path in test if path.parent.name not in trained]
    else:
        found |= {other.name: other.photos["test"] for other in sets if other is not photos}
        found |= {kind: list(make_far(kind)) for kind in FAR}
    return {
        kind: [each[n * len(each) // min(most, len(each))] for n in range(min(most, len(each)))]
        for kind, each in found.items()
    }


def make_rows(measured: Mapping[str, Mapping[str, Any]], kinds: Sequence[str]) -> list[dict[str, Any]]:
    """Returns a row for each data set, with the area for each kind of stranger."""
    rows = []
    for name, result in measured.items():
        scores, threshold = result["scores"], result["threshold"]
        strangers = [score for kind in kinds for score in scores.get(kind, ())]
        areas = {kind: f"{auroc(scores[_OWN], scores[kind]):.3f}" if scores.get(kind) else "" for kind in kinds}
        rows.append(
            {
                "trained on": name,
                **areas,
                "passes": f"{np.mean(np.array(scores[_OWN]) >= threshold):.3f}",
                "stopped": f"{np.mean(np.array(strangers) < threshold):.3f}" if strangers else "",
            }
        )
    return rows


def describe(measured: Mapping[str, Mapping[str, Any]], kinds: Sequence[str], what: str) -> str:
    """Returns mean and minimum of the areas over all pairs, in one line."""
    areas = {
        f"{name} / {kind}": auroc(result["scores"][_OWN], result["scores"][kind])
        for name, result in measured.items()
        for kind in kinds
        if result["scores"].get(kind)
    }
    if not areas:
        return f"{what}: nothing measured"
    low = min(areas, key=lambda pair: areas[pair])
    below = ", ".join(f"{pair} {area:.3f}" for pair, area in areas.items() if area < 0.85) or "none"
    mean = np.mean(list(areas.values()))
    return f"{what}: mean {mean:.4f} over {len(areas)} pairs, minimum {areas[low]:.3f} ({low}); below 0.85: {below}"


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(NAME, __doc__)
    add = parser.add_argument
    add("--sets", type=Path, action="append", default=[], metavar="FOLDER", help="folder of data sets, or one data set")
    add("--names", type=lambda text: text.split(","), help="comma-separated names of the sets to use (all)")
    add("--backbone", default="efficientnet_lite0", help="backbone, with its pretrained weights (efficientnet_lite0)")
    add("--weights", help="file of its weights (those of the backbone)")
    add("--way", choices=list(WAYS), default="frozen", help="how it is trained (frozen)")
    add("--near", action="store_true", help="measure the held-out classes of each data set instead")
    add("--seed", type=int, default=0, help="seed (0)")
    add("--most", type=int, default=10_000, help="photos of a kind, evenly spaced (all)")
    add("--time-limit", type=float, default=1e6, metavar="MINUTES", help="start nothing after that time")
    add("--keep", type=Path, default=_project.ROOT / "bench" / "results" / NAME, help="folder of what is done")
    arguments = parser.parse_args(args)
    if not (arguments.sets or arguments.quick):
        parser.error("--sets FOLDER is required, except with --quick")
    arguments.deadline = time.monotonic() + 60 * arguments.time_limit
    arguments.values = {"weights": arguments.weights} if arguments.weights else {}
    if arguments.quick:
        arguments.values |= {"image_size": 64}
    return arguments


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_arguments(args)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        sets = find_sets(arguments.sets, arguments.names) if arguments.sets else []
        if arguments.quick:
            arguments.keep, arguments.most = Path(folder) / "kept", 10
            sets = sets or find_sets([_photos.generate(24, size=(64, 48), below=Path(folder))], None)
        measured = find_measured(sets, arguments, near=arguments.near)
        kinds = [_NEAR] if arguments.near else [photos.name for photos in sets]
        far = () if arguments.near else FAR
        notes = [describe(measured, kinds, "strangers"), *([describe(measured, far, "far strangers")] if far else [])]
        sizes = [f"{name} {result['bytes'] / 1e6:.2f} MB" for name, result in measured.items()]
        report(NAME, arguments, make_rows(measured, [*kinds, *far]), notes=[*notes, f"files: {', '.join(sizes)}"])


if __name__ == "__main__":
    main()
