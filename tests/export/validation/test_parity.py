"""The comparison of an exported file with its run."""

import numpy as np
import onnx
import pytest
import torch
from fakes import make_images

from zoo.errors import ExportError
from zoo.events import ignore
from zoo.inference.run_predictor import build_familiarity, rebuild_model
from zoo_export.validation.parity import (
    Backend,
    FileOutputs,
    RunFamiliarity,
    compare,
    compute_logits,
    compute_probabilities,
    onnx_backends,
)


@pytest.fixture
def classifier(small_run, small_registry):
    return rebuild_model(small_run, small_registry).classifier.eval()


@pytest.fixture
def familiarity(small_run, classifier):
    return RunFamiliarity(build_familiarity(small_run, classifier.head), small_run.familiarity.threshold)


def test_report_equals_the_comparison(exported, classifier, familiarity):
    backends = onnx_backends(exported.path.read_bytes(), exported.card, ["cpu"])
    report = compare(backends, exported.card, classifier, make_images().val, ignore, familiarity=familiarity)
    assert report.providers[0].same_known == report.providers[0].compared
    assert {**report.to_dict(), "data": "validation"} == exported.card.parity


def test_probabilities_that_do_not_follow_from_the_logits_are_refused(exported, classifier):
    proto = onnx.load(exported.path)
    softmax = next(node for node in proto.graph.node if "probabilities" in node.output)
    proto.graph.node.append(onnx.helper.make_node("Sigmoid", [softmax.input[0]], ["probabilities"]))
    proto.graph.node.remove(softmax)
    backends = onnx_backends(proto.SerializeToString(), exported.card, ["cpu"])
    with pytest.raises(
        ExportError, match=r"probabilities .* do not follow from its logits for val/\w+/\d\.png: one is off by 0"
    ):
        compare(backends, exported.card, classifier, make_images().val, ignore)


@pytest.mark.parametrize("which", [0, 1], ids=["probabilities", "logits"])
def test_outputs_that_are_not_finite_are_refused(exported, classifier, which):
    def compute(feed):
        outputs = list(backend.compute(feed))
        outputs[which] = np.full_like(outputs[which], np.nan)
        return FileOutputs(*outputs)

    (backend,) = onnx_backends(exported.path.read_bytes(), exported.card, ["cpu"])
    with pytest.raises(ExportError, match="inf"):
        compare([Backend("broken", compute)], exported.card, classifier, make_images().val, ignore)


def test_a_familiarity_other_than_that_of_the_run_is_refused(exported, classifier, familiarity):
    def compute(feed):
        outputs = backend.compute(feed)
        return outputs._replace(familiarity=outputs.familiarity - 0.01)

    (backend,) = onnx_backends(exported.path.read_bytes(), exported.card, ["cpu"])
    compared = ([Backend("broken", compute)], exported.card, classifier, make_images().val, ignore)
    with pytest.raises(
        ExportError, match=r"disagree about how familiar val/\w+/\d\.png is: by 0\.01, more than 0\.001"
    ):
        compare(*compared, familiarity=familiarity)


def test_run_with_damaged_weights_is_an_error(exported, classifier):
    with torch.no_grad():
        classifier.head.linear.bias[1] = torch.nan
    backends = onnx_backends(exported.path.read_bytes(), exported.card, ["cpu"])
    with pytest.raises(
        ExportError, match=r"The run itself returns logits that are not finite for val/red/0\.png: \[.* nan"
    ):
        compare(backends, exported.card, classifier, make_images().val, ignore)


def test_probabilities_equal_those_of_the_head(classifier):
    tensor = torch.randn(2, 3, 16, 16)
    logits = compute_logits(classifier, tensor)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(compute_probabilities(classifier, logits), expected, rtol=1e-5)
