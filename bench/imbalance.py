"""Measures what helps where classes are of very different size: weights, sampling and adjustment of logits.

All photos of a data set are divided into folds, stratified by class; each fold is predicted by a head that was fitted
to the others, by the code of `zoo finetune --freeze all`: the head and its penalty are chosen in cross-validation on
the training photos, and fitted once more to training and validation photos together. The features are computed once.
With --fine-tune, `zoo finetune` trains a whole network for every fold and setting instead.

The predictions of each fold are kept as a JSON file, and a later call reuses them. Figures are over all photos, each
predicted once for every seed, which decides folds and validation photos. Differences to the first setting are paired
over photos and seeds; their 95 % intervals are those of bench/_intervals.py for the balanced accuracy, and of a
bootstrap over the photos of each class for the macro F1.
"""

from __future__ import annotations

import copy
import importlib
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import _photos
import _project
from _bench import make_parser, report
from _intervals import analyse, combine
from _runs import Store
from _sets import PhotoSet, class_of, find_sets, name_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from zoo.plugins.specs import ImageSet

NAME = "imbalance"
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "weights balanced": {"class_weights": "balanced"},
    "weights effective": {"class_weights": "effective"},
    "sampler balanced": {"sampler": "balanced"},
    "sampler sqrt": {"sampler": "sqrt"},
    "adjustment 0.5": {"logit_adjustment": 0.5},
    "adjustment 1": {"logit_adjustment": 1.0},
}
_RESAMPLES = 1000


class _CapturedError(Exception):
    """Ends a training once the features of its photos are known."""


class Features:
    """The features of all photos of a set, for each of the heads that `zoo finetune --freeze all` chooses from.

    Args:
        backbone: Its name.
        images: The photos, all in the training split.
        values: Further fields of the configuration.
    """

    def __init__(self, backbone: str, images: ImageSet, values: Mapping[str, Any]) -> None:
        import zoo

        linear_probe: Any = importlib.import_module("zoo.training.linear_probe")

        def capture(candidates: Any, features: Any, labels: Any, **more: Any) -> NoReturn:
            self.candidates, self.features, self.labels = candidates, features, labels
            raise _CapturedError

        original, linear_probe.choose_head = linear_probe.choose_head, capture
        try:
            with tempfile.TemporaryDirectory() as runs:
                zoo.finetune(backbone, data=images, freeze="all", runs=runs, pictures=False, **values)
        except _CapturedError:
            pass
        finally:
            linear_probe.choose_head = original

    def predict(self, backbone: str, images: ImageSet, values: Mapping[str, Any]) -> list[int]:
        """Fits a head to training and validation photos, and returns the predicted classes of the test photos.

        Args:
            backbone: As for the class.
            images: The photos in their splits; the name of a photo begins with its number.
            values: Fields of the configuration.
        """
        import torch

        from zoo.config import make_config
        from zoo.models.offers import find_offers
        from zoo.plugins.losses import build_criterion
        from zoo.plugins.registry import load_registry
        from zoo.training.balance import make_balance
        from zoo.training.frozen.head_choice import choose_head
        from zoo.training.frozen.solver import fit_head

        config = make_config(backbone, data=images, freeze="all", **values)
        balance, loss = make_balance(config, images), find_offers(config, load_registry()).loss
        assert loss is not None
        criterion = build_criterion(
            loss,
            classes=len(images.classes),
            class_weights=balance.loss_weights,
            logit_offsets=balance.logit_offsets,
        )
        candidates = copy.deepcopy(self.candidates)
        for candidate in candidates:
            candidate.head.criterion = criterion
        train, val, test = (
            torch.tensor([_number(sample.name) for sample in split])
            for split in (images.train, images.val, images.test)
        )
        number, chosen = choose_head(
            candidates,
            [each[train] for each in self.features],
            self.labels[train],
            classes=len(images.classes),
            strength=config.weight_decay,
            seed=config.seed,
            draws=balance.draws,
        )
        head, features, both = candidates[number].head, self.features[number], torch.cat([train, val])
        fit_head(
            head,
            features[both],
            self.labels[both],
            solver="lbfgs",
            strength=chosen["strength"],
            draws=balance.draws,
        )
        with torch.no_grad():
            predicted: list[int] = head.eval().classify(features[test]).argmax(dim=1).tolist()
        return predicted


def fine_tune(backbone: str, images: ImageSet, values: Mapping[str, Any]) -> list[int]:
    """Trains a whole network, and returns the predicted classes of the test photos."""
    import zoo

    with tempfile.TemporaryDirectory() as runs:
        run = zoo.finetune(backbone, data=images, runs=runs, pictures=False, **values)
        results = run.predict([sample.source for sample in images.test])
    return [images.classes.index(result.label) for result in results]


def _number(name: str) -> int:
    return int(name.partition(" ")[0])


def make_image_set(photos: PhotoSet) -> ImageSet:
    """Returns all photos of a set as training photos; the name of each begins with its number."""
    from zoo.plugins.specs import ImageSet, Sample

    paths = [path for split in photos.photos.values() for path in split]
    classes = tuple(sorted({path.parent.name for path in paths}))
    samples = tuple(
        Sample(path, classes.index(path.parent.name), f"{number} {name_of(path)}") for number, path in enumerate(paths)
    )
    one_each = {sample.label: sample._replace(name=f"copy of {sample.name}") for sample in samples}
    # Training demands a validation split; these are not used.
    return ImageSet(name=photos.name, classes=classes, train=samples, val=tuple(one_each.values()))


def split_fold(images: ImageSet, fold: int, *, folds: int, seed: int) -> ImageSet:
    """Returns the splits of a fold: a stratified share of all photos for testing, a tenth of the others to validate."""
    import dataclasses

    from zoo.data.sources.splits import make_splits

    rng, fold_of, place = random.Random(seed), {}, 0
    for label in range(len(images.classes)):
        own = [sample.name for sample in images.train if sample.label == label]
        rng.shuffle(own)
        for name in own:
            fold_of[name], place = place % folds, place + 1
    train, test = (
        tuple(sample for sample in images.train if (fold_of[sample.name] == fold) == chosen) for chosen in (False, True)
    )
    divided = dataclasses.replace(images, train=train, val=(), test=test)
    return make_splits(divided, test_fraction=0.2, val_fraction=0.1, count=None, seed=seed)


def measure_set(photos: PhotoSet, arguments: argparse.Namespace, store: Store) -> dict[tuple[str, int], dict[str, str]]:
    """Returns the predicted class of every photo by setting and seed, of seeds that are complete."""
    images, code, features = make_image_set(photos), _project.hash_code([_project.ROOT / "zoo"]), None
    found: dict[tuple[str, int], dict[str, str]] = {}
    for seed in range(arguments.seeds):
        for fold in range(arguments.folds):
            divided = split_fold(images, fold, folds=arguments.folds, seed=seed)
            for setting in arguments.settings:
                values = {**arguments.values, **SETTINGS[setting], "seed": seed}
                key = {"photos": photos.digest(), "fold": fold, "folds": arguments.folds, **values}
                key |= {"backbone": arguments.backbone, "whole": arguments.fine_tune}
                if (result := store.find(key, code)) is None:
                    if time.monotonic() > arguments.deadline:
                        continue
                    started = time.perf_counter()
                    if arguments.fine_tune:
                        predicted = fine_tune(arguments.backbone, divided, values)
                    else:
                        features = features or Features(arguments.backbone, images, arguments.values)
                        predicted = features.predict(arguments.backbone, divided, values)
                    store.add(key, code, _describe(divided, predicted, time.perf_counter() - started))
                    result = store.find(key, code)
                    print(f"{photos.name}, {setting}, seed {seed}, fold {fold}: {result}"[:120], file=sys.stderr)
                assert result is not None
                found.setdefault((setting, seed), {}).update(result.predictions)
    return {key: predictions for key, predictions in found.items() if len(predictions) == len(images.train)}


def _describe(images: ImageSet, predicted: Sequence[int], seconds: float) -> dict[str, Any]:
    names = [sample.name.partition(" ")[2] for sample in images.test]
    numbered = {sample.name: images.classes[label] for sample, label in zip(images.test, predicted, strict=True)}
    right = [class_of(name) == label for name, label in zip(names, numbered.values(), strict=True)]
    return {
        "seconds": seconds,
        "cpu_seconds": 0.0,
        "accuracy": float(np.mean(right)),
        "predictions": numbered,
        "load": 0,
    }


def make_rows(name: str, found: Mapping[tuple[str, int], Mapping[str, str]], settings: Sequence[str]) -> list[Any]:
    """Returns a row for each setting, over the seeds that it and the first setting have in common."""
    rows = []
    for setting in settings:
        seeds = [seed for first, seed in found if first == settings[0] and (setting, seed) in found]
        if not seeds:
            continue
        photos = sorted(found[settings[0], seeds[0]])
        truth = [class_of(photo.partition(" ")[2]) for photo in photos]
        classes = sorted(set(truth))
        labels = np.array([classes.index(each) for each in truth])
        own, base = (
            np.array([[classes.index(found[each, seed][photo]) for photo in photos] for seed in seeds])
            for each in (setting, settings[0])
        )
        right, before = own == labels, base == labels
        gain = combine([analyse((right.astype(float) - before).T, labels)])
        f1, f1_gain = macro_f1(labels, own), bootstrap_f1_gain(labels, own, base)
        rows.append(
            {
                "set": name,
                "setting": setting,
                "seeds": len(seeds),
                "accuracy": f"{right.mean():.4f}",
                "balanced": f"{np.mean([right[:, labels == label].mean() for label in range(len(classes))]):.4f}",
                "macro F1": f"{f1:.4f}",
                "balanced, points": f"{100 * gain.mean:+.2f} ({100 * gain.low:+.2f} to {100 * gain.high:+.2f})",
                "macro F1, points": "{:+.2f} ({:+.2f} to {:+.2f})".format(*(100 * each for each in f1_gain)),
            }
        )
    return rows


def macro_f1(labels: NDArray[Any], predicted: NDArray[Any]) -> float:
    """Returns the mean over seeds of the macro F1 of predictions ``(seeds, photos)``."""
    count = int(labels.max()) + 1
    values = []
    for row in predicted:
        hits = np.bincount(labels[labels == row], minlength=count)
        both = np.bincount(labels, minlength=count) + np.bincount(row, minlength=count)
        values.append(float(np.mean(2 * hits[both > 0] / both[both > 0])))
    return float(np.mean(values))


def bootstrap_f1_gain(labels: NDArray[Any], own: NDArray[Any], base: NDArray[Any]) -> tuple[float, float, float]:
    """Returns the difference of two macro F1 with its 95 % interval, for other photos of each class."""
    rng, groups = np.random.default_rng(0), [np.flatnonzero(labels == label) for label in np.unique(labels)]
    gains = []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([rng.choice(group, len(group)) for group in groups])
        gains.append(macro_f1(labels[drawn], own[:, drawn]) - macro_f1(labels[drawn], base[:, drawn]))
    low, high = np.percentile(gains, [2.5, 97.5]).tolist()
    return macro_f1(labels, own) - macro_f1(labels, base), low, high


def make_arguments(args: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(NAME, __doc__)
    add = parser.add_argument
    add("--sets", type=Path, action="append", default=[], metavar="FOLDER", help="folder of data sets, or one data set")
    add("--names", type=lambda text: text.split(","), help="comma-separated names of the sets to use (all)")
    add("--backbone", default="efficientnet_lite0", help="backbone, with its pretrained weights (efficientnet_lite0)")
    add("--settings", type=lambda text: text.split(","), default=list(SETTINGS), help=f"some of {', '.join(SETTINGS)}")
    add("--folds", type=int, default=5, help="folds (5)")
    add("--seeds", type=int, default=3, help="seeds, from 0 (3)")
    add("--fine-tune", action="store_true", help="train the whole network with the default recipe")
    add("--time-limit", type=float, default=1e6, metavar="MINUTES", help="start nothing after that time")
    add("--keep", type=Path, default=_project.ROOT / "bench" / "results" / NAME, help="folder of what is done")
    add("--any-code", action="store_true", help="reuse what other versions of the code did, too")
    arguments = parser.parse_args(args)
    if unknown := set(arguments.settings) - SETTINGS.keys():
        parser.error(f"--settings: none is called {', '.join(sorted(unknown))}")
    if not (arguments.sets or arguments.quick):
        parser.error("--sets FOLDER is required, except with --quick")
    arguments.deadline = time.monotonic() + 60 * arguments.time_limit
    arguments.values = {"image_size": 64} if arguments.quick else {}
    return arguments


def main(args: list[str] | None = None) -> None:
    """Runs the benchmark."""
    arguments = make_arguments(args)
    _project.use_checkout()
    with tempfile.TemporaryDirectory() as folder:
        sets = find_sets(arguments.sets, arguments.names) if arguments.sets else []
        if arguments.quick:
            arguments.keep, arguments.folds, arguments.seeds = Path(folder) / "kept", 2, 1
            arguments.settings = arguments.settings[:2]
            sets = sets or find_sets([_photos.generate(24, size=(64, 48), below=Path(folder))], None)
        store, rows = Store(arguments.keep, any_code=arguments.any_code), []
        for photos in sets:
            rows += make_rows(photos.name, measure_set(photos, arguments, store), arguments.settings)
        notes = [f"{store.others} results are of other versions of the code."] if store.others else []
        report(NAME, arguments, rows, notes=notes)


if __name__ == "__main__":
    main(sys.argv[1:])
