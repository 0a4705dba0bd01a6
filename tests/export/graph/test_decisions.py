"""The decisions of a file, in the graph and by the predictor."""

import numpy as np
import pytest
from onnx_files import make_card, make_model

from zoo.errors import ExportError
from zoo.metrics.costs import CostDecision
from zoo_export.graph.decisions import append_cost_decision, append_decisions
from zoo_export.model_card import ModelCard
from zoo_export.runtime.predictor import load
from zoo_export.targets.triton import config_text
from zoo_export.validation.decisions import check_decisions

THRESHOLDS = tuple(float(np.float32(each)) for each in (0.4, 0.3, 0.05))
CARD = make_card(multi_label=True, thresholds=THRESHOLDS)


@pytest.fixture(scope="module")
def content():
    model = make_model(CARD)
    append_decisions(model.graph, THRESHOLDS)
    return model.SerializeToString()


@pytest.fixture
def photos():
    random, shades = np.random.default_rng(0), np.array([[1, 2, 8], [9, 1, 1], [1, 1, 1]], dtype=np.uint8)
    return [random.integers(0, 256, (16, 16, 3), dtype=np.uint8) // shade for shade in shades]


def test_the_file_and_the_predictor_decide_alike(content, photos):
    predictor = load(content, device="cpu")
    assert (predictor.multi_label, predictor.thresholds) == (True, THRESHOLDS)
    feed = {"image": np.stack(photos)}
    probabilities, decisions = predictor.session.runtime.run(["probabilities", "decisions"], feed)
    assert decisions.dtype == np.uint8
    assert decisions.tolist() == (probabilities >= np.array(THRESHOLDS, dtype=np.float32)).astype(int).tolist()
    assert 0 < decisions.sum() < decisions.size
    for prediction, row in zip(predictor.predict(photos), decisions, strict=True):
        assert {*prediction.labels} == {name for name, found in zip(predictor.classes, row, strict=True) if found}


def test_a_probability_equal_to_its_threshold_is_enough(content, photos):
    probabilities = load(content, device="cpu").probabilities(photos)
    model = make_model(CARD)
    append_decisions(model.graph, probabilities[0].tolist())
    session = load(model.SerializeToString(), device="cpu").session.runtime
    assert session.run(["decisions"], {"image": np.stack(photos)})[0][0].tolist() == [1, 1, 1]


def test_a_multi_label_file_without_decisions_is_refused():
    with pytest.raises(ExportError, match="has no output 'decisions' of uint8"):
        load(make_model(CARD).SerializeToString(), device="cpu")


@pytest.mark.parametrize("values", [{"thresholds": (0.5,)}, {"thresholds": (0.5, 2.0, 0.5)}, {"multi_label": False}])
def test_a_card_whose_thresholds_do_not_fit_is_refused(values):
    card = make_card(**{"multi_label": True, "thresholds": THRESHOLDS, **values})
    with pytest.raises(ExportError, match="threshold"):
        ModelCard.from_json(card.to_json(), where="model.onnx")
    assert ModelCard.from_json(CARD.to_json(), where="model.onnx") == CARD


def test_triton_declares_the_type_of_decisions():
    text = config_text(CARD, {"probabilities": [3], "decisions": [3]}, name="reef", max_batch=8)
    assert 'name: "decisions"\n    data_type: TYPE_UINT8' in text


@pytest.mark.parametrize("positive", ["red", "green"])
def test_a_decision_by_costs_is_in_the_graph_and_that_of_the_predictor(photos, positive):
    decision = CostDecision(positive=positive, threshold=float(np.float32(0.3)), miss=7, false_alarm=3)
    card = make_card(classes=("red", "green"), decision=decision)
    model = make_model(card)
    append_cost_decision(model.graph, decision, card.classes)
    predictor = load(model.SerializeToString(), device="cpu")
    assert predictor.decision == decision
    probabilities, decisions = predictor.session.runtime.run(
        ["probabilities", "decisions"], {"image": np.stack(photos)}
    )
    check_decisions(decisions, probabilities, card, where="CPU")
    assert decisions.dtype == np.uint8
    number = card.classes.index(positive)
    assert decisions[:, number].tolist() == (probabilities[:, number] >= np.float32(0.3)).astype(int).tolist()
    assert (decisions.sum(axis=1) == 1).all()
    names = [card.classes[row.argmax()] for row in decisions]
    assert [each.label for each in predictor.predict(photos)] == names
    with pytest.raises(ExportError, match="do not follow from its probabilities on CPU"):
        check_decisions(1 - decisions, probabilities, card, where="CPU")
    with pytest.raises(ExportError, match="has no output 'decisions' of uint8"):
        load(make_model(card).SerializeToString(), device="cpu")


def test_a_card_whose_decision_does_not_fit_is_refused():
    decision = CostDecision(positive="yellow", threshold=0.5, miss=1, false_alarm=1)
    card = make_card(classes=("red", "green"), decision=decision)
    with pytest.raises(ExportError, match="'positive' is not one of two classes"):
        ModelCard.from_json(card.to_json(), where="model.onnx")
