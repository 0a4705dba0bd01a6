"""The familiarity in the graph and by the predictor."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_files import make_card, make_model

from zoo.errors import ExportError
from zoo.models.prototypes import choose_prototypes, compute_familiarity
from zoo.runs.familiarity import FamiliarityRecord
from zoo_export.graph.familiarity import append_familiarity
from zoo_export.model_card import FEATURES, ModelCard
from zoo_export.runtime.predictor import load
from zoo_export.targets.triton import config_text

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.random((40, 3), dtype=np.float32) * np.array([1, 0.1, 0.1], dtype=np.float32)  # reddish photos
PROTOTYPES = choose_prototypes(VECTORS, 8, seed=0)
RECORD = FamiliarityRecord(threshold=0.9, share=0.95, photos=20, prototypes=8, width=3, neighbours=3)
CARD = make_card(familiarity=RECORD)


def make_file(card=CARD):
    model = make_model(card)
    model.graph.node.append(helper.make_node("Identity", ["pooled"], [FEATURES]))
    model.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", 3]))
    append_familiarity(model.graph, PROTOTYPES, neighbours=3)
    onnx.checker.check_model(model)
    return model


@pytest.fixture
def photos():
    red, black = np.zeros((16, 16, 3), dtype=np.uint8), np.zeros((16, 16, 3), dtype=np.uint8)
    red[..., 0] = 200
    return [red, np.roll(red, 1, axis=2), RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8), black]


def test_the_file_computes_what_numpy_does_in_every_runtime(photos):
    model, feed = make_file(), {"image": np.stack(photos)}
    assert [output.name for output in model.graph.output] == ["probabilities", "logits", "heatmap", "familiarity"]
    session = load(model.SerializeToString(), device="cpu").session.runtime
    logits, found = session.run(["logits", "familiarity"], feed)
    assert found.dtype == np.float32
    expected = compute_familiarity(logits / 4, PROTOTYPES, neighbours=3)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (referee,) = ReferenceEvaluator(model).run(["familiarity"], feed)
    np.testing.assert_allclose(referee, found, atol=1e-5)


def test_the_answer_for_a_stranger_is_none_of_these(photos):
    predictor = load(make_file().SerializeToString(), device="cpu")
    assert predictor.familiarity_threshold == 0.9
    scores = predictor.outputs(photos).familiarity
    card = make_card(familiarity=FamiliarityRecord(**{**vars_of(RECORD), "threshold": float(np.median(scores))}))
    predictions = load(make_file(card).SerializeToString(), device="cpu").predict(photos)
    assert {each.known for each in predictions} == {True, False}
    for prediction, score in zip(predictions, scores, strict=True):
        assert prediction.familiarity == pytest.approx(float(score), abs=1e-6)
        assert prediction.known == (prediction.familiarity >= card.familiarity.threshold)
        expected = prediction.label if prediction.known else f"none of these (most like {prediction.label})"
        assert prediction.answer == expected


def vars_of(record):
    return {name: getattr(record, name) for name in record.__slots__}


def test_a_file_without_it_answers_as_before(photos):
    predictor = load(make_model(make_card()).SerializeToString(), device="cpu")
    assert predictor.familiarity_threshold is None
    prediction = predictor.predict(photos[0])
    assert (prediction.familiarity, prediction.known, prediction.answer) == (None, None, prediction.label)


def test_a_file_that_lacks_the_output_of_its_card_is_refused():
    with pytest.raises(ExportError, match="has no output 'familiarity' of float32"):
        load(make_model(CARD).SerializeToString(), device="cpu")


def test_the_card_is_checked():
    assert ModelCard.from_json(CARD.to_json(), where="model.onnx") == CARD
    text = CARD.to_json().replace('"threshold": 0.9', '"threshold": "high"')
    with pytest.raises(ExportError, match="'threshold' is not a number"):
        ModelCard.from_json(text, where="model.onnx")


def test_triton_declares_it():
    text = config_text(CARD, {"probabilities": [3], "familiarity": []}, name="reef", max_batch=8)
    declared = 'name: "familiarity"\n    data_type: TYPE_FP32\n    dims: [ 1 ]\n    reshape: { shape: [ ] }'
    assert declared in text
