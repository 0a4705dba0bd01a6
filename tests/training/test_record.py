import json
import re

import pytest
import torch
from fakes import CLASSES, make_images

from zoo.config import make_config
from zoo.metrics.classification import evaluate_predictions
from zoo.models.build import assemble, preprocess_for
from zoo.models.offers import find_offers
from zoo.models.precision import choose_precision
from zoo.plugins.registry import card_of
from zoo.training.record import describe_data, describe_hardware, figures, start_record

PRECISION = choose_precision("fp32", torch.device("cpu"))


@pytest.fixture
def record(registry):
    config = make_config("small", data="colours", head="flat", weights="none", eval_crop=None)
    offers = find_offers(config, registry)
    preprocess = preprocess_for(config, card_of(offers.backbone).preprocess)
    model = assemble(config, offers, classes=len(CLASSES), preprocess=preprocess)
    return start_record(config, offers=offers, images=make_images(), model=model, precision=PRECISION)


def test_a_run_begins_unfinished_and_goes_through_json(record):
    assert (record["status"], record["results"]) == ("training", {})
    assert json.loads(json.dumps(record)) == record | {"preprocess": json.loads(json.dumps(record["preprocess"]))}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["created"])


def test_names_are_qualified_and_plugins_have_their_versions(record):
    assert (record["backbone"], record["head"]) == ("fake/small", "fake/flat")
    assert record["plugins"] == {"fake:fake": "1.2"}
    assert {"finetune-zoo", "torch", "torchvision", "timm"} <= record["packages"].keys()


def test_the_data_is_told_with_every_photos_part():
    told = describe_data(make_images(note="noise", skipped=("a.txt: no image",)))
    assert told["name"] == "colours"
    assert told["note"] == "noise"
    assert told["skipped"] == ["a.txt: no image"]
    assert told["counts"] == {"train": 36, "val": 12, "test": 18}
    assert told["split"]["test"][:2] == ["test/red/0.png", "test/green/0.png"]
    assert told["fingerprint"] != describe_data(make_images(test=()))["fingerprint"]


def test_the_hardware_is_told():
    told = describe_hardware(PRECISION)
    assert told["device"] == "cpu"
    assert told["precision"] == "fp32"
    assert told["threads"] == torch.get_num_threads()
    assert "gpu" not in told


def test_the_figures_of_a_part_are_those_that_matter():
    evaluation = evaluate_predictions([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], ("a", "b"))
    told = figures(evaluation)
    assert told["accuracy"] == pytest.approx(2 / 3)
    assert told["count"] == 3
    assert told["interval"][0] < 2 / 3 < told["interval"][1]
    assert told.keys() == {"accuracy", "interval", "count", "loss", "macro_f1", "calibration_error"}
