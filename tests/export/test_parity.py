"""The comparison of an exported file with its run."""

import numpy as np
import onnx
import pytest
import torch
from fakes import images

from zoo.errors import ExportError
from zoo.events import ignore
from zoo.inference.run_predictor import rebuild
from zoo_export.parity import Subject, compare, logits_of, onnx_subjects, probabilities_of


@pytest.fixture
def classifier(small_run, small_registry):
    return rebuild(small_run, small_registry).classifier.eval()


def test_what_the_report_says_is_what_was_compared(exported, classifier):
    subjects = onnx_subjects(exported.path.read_bytes(), exported.card, ["cpu"])
    report = compare(subjects, exported.card, classifier, images().val, ignore)
    assert {**report.to_dict(), "data": "validation"} == exported.card.parity


def test_probabilities_that_are_not_those_of_the_logits_are_refused(exported, classifier):
    proto = onnx.load(exported.path)
    softmax = next(node for node in proto.graph.node if "probabilities" in node.output)
    proto.graph.node.append(onnx.helper.make_node("Sigmoid", [softmax.input[0]], ["probabilities"]))
    proto.graph.node.remove(softmax)
    subjects = onnx_subjects(proto.SerializeToString(), exported.card, ["cpu"])
    with pytest.raises(
        ExportError, match=r"probabilities .* are not those of its logits for val/\w+/\d\.png: one is 0"
    ):
        compare(subjects, exported.card, classifier, images().val, ignore)


@pytest.mark.parametrize("which", [0, 1], ids=["probabilities", "logits"])
def test_what_is_no_number_is_refused(exported, classifier, which):
    def compute(feed):
        outputs = list(subject.compute(feed))
        outputs[which] = np.full_like(outputs[which], np.nan)
        return tuple(outputs)

    (subject,) = onnx_subjects(exported.path.read_bytes(), exported.card, ["cpu"])
    with pytest.raises(ExportError, match="inf"):
        compare([Subject("broken", compute)], exported.card, classifier, images().val, ignore)


def test_a_run_that_gives_no_numbers_itself_is_told(exported, classifier):
    with torch.no_grad():
        classifier.head.linear.bias[1] = torch.nan
    subjects = onnx_subjects(exported.path.read_bytes(), exported.card, ["cpu"])
    with pytest.raises(ExportError, match=r"The run itself gives no numbers for val/red/0\.png: \[.* nan"):
        compare(subjects, exported.card, classifier, images().val, ignore)


def test_probabilities_are_those_of_the_head(classifier):
    tensor = torch.randn(2, 3, 16, 16)
    logits = logits_of(classifier, tensor)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities_of(classifier, logits), expected, rtol=1e-5)
