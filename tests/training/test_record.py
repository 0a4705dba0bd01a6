import json
import re

import pytest
import torch
from fakes import CLASSES, make_images

from zoo.config import make_config
from zoo.metrics.classification import evaluate_predictions
from zoo.models.build import assemble, resolve_preprocess
from zoo.models.offers import find_offers
from zoo.models.precision import choose_precision
from zoo.plugins.registry import get_card
from zoo.runs.record import RunRecord
from zoo.training.parts import find_parts
from zoo.training.record import describe_data, describe_hardware, start_record, summarise

PRECISION = choose_precision("fp32", torch.device("cpu"))


@pytest.fixture
def records(registry):
    """The record of a run that is about to start, and that of its photos."""
    config = make_config(
        "small",
        data="colours",
        head="flat",
        weights="none",
        eval_crop=None,
        loss="bce",
        metric="recall",
        monitor="log-loss",
    )
    offers = find_offers(config, registry)
    preprocess = resolve_preprocess(config, get_card(offers.backbone).preprocess)
    model = assemble(config, offers, classes=len(CLASSES), preprocess=preprocess)
    parts = find_parts(config, registry)
    return start_record(config, offers=offers, parts=parts, images=make_images(), model=model, precision=PRECISION)


def test_a_new_record_is_unfinished_and_survives_json(records):
    record, _ = records
    assert (record.status, record.results) == ("training", {})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record.created)
    values = json.loads(json.dumps(record.to_json()))
    assert RunRecord.from_json(values, where="run.json").to_json() == record.to_json()


def test_names_are_qualified_and_versions_listed(records):
    record, _ = records
    assert (record.backbone, record.head) == ("fake/small", "fake/flat")
    parts = {"loss": ["losses/bce"], "metric": ["metrics/recall", "metrics/log-loss"]}
    assert record.parts.items() >= (parts | {"optimizer": ["optimizers/adamw"]}).items()
    assert record.activation == "sigmoid"
    assert record.plugins["fake:fake"] == "1.2"
    assert {"finetune-zoo:losses", "finetune-zoo:metrics", "finetune-zoo:optimizers"} <= record.plugins.keys()
    assert {"finetune-zoo", "torch", "torchvision", "timm"} <= record.packages.keys()
    assert list(record.sources) == ["zoo", "fakes", "zoo_losses", "zoo_metrics", "zoo_optimizers", "zoo_schedules"]


def test_data_and_photos_are_described():
    data, photos = describe_data(make_images(note="noise", skipped=("a.txt: no image",)))
    assert data.name == "colours"
    assert data.note == "noise"
    assert data.skipped == ("a.txt: no image",)
    assert data.counts == {"train": 36, "val": 12, "test": 18}
    assert data.fingerprint != describe_data(make_images(test=()))[0].fingerprint
    assert photos.names["test"][:2] == ("test/red/0.png", "test/green/0.png")
    assert {split: len(hashes) for split, hashes in photos.hashes.items()} == data.counts


def test_the_hardware_is_described():
    hardware = describe_hardware(PRECISION)
    assert hardware["device"] == "cpu"
    assert hardware["precision"] == "fp32"
    assert hardware["threads"] == torch.get_num_threads()
    assert "gpu" not in hardware


def test_results_list_the_main_metrics_of_a_split():
    evaluation = evaluate_predictions([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], ("a", "b"))
    results = summarise(evaluation)
    assert results["accuracy"] == pytest.approx(2 / 3)
    assert results["count"] == 3
    assert results["interval"][0] < 2 / 3 < results["interval"][1]
    figures = {"balanced_accuracy", "loss", "macro_f1", "calibration_error"}
    assert results.keys() == {"accuracy", "interval", "count", *figures}
