"""A run as an archive of torch.export."""

import dataclasses

import numpy as np
import pytest
import torch
from fakes import make_images

from zoo.errors import ExportError
from zoo.events import ignore
from zoo.inference.run_predictor import load
from zoo_export.graph.classifier import ExportableClassifier
from zoo_export.model_card import KEY, ModelCard
from zoo_export.targets.pt2 import export_pt2
from zoo_export.validation.samples import decode_samples, preprocess_batch


def test_archive_returns_what_the_run_returns_and_has_its_card(small_run, small_registry, tmp_path):
    exported = export_pt2(small_run, tmp_path / "m.pt2", photos=3, registry=small_registry)
    assert exported.path.stat().st_size == exported.bytes
    extra = {KEY: ""}
    module = torch.export.load(exported.path, extra_files=extra).module()
    card = ModelCard.from_json(extra[KEY], where="m.pt2")
    assert card == exported.card
    assert card.verified
    assert (card.input, card.opset, card.parity["photos"]) == ("tensor", 0, 3)
    pixels = [photo for _, photo in decode_samples(make_images().test[:5], ignore)]
    predictor = load(small_run, device="cpu", registry=small_registry)
    for photo in pixels:
        probabilities, logits, heatmap, _ = module(preprocess_batch([photo], card.preprocess))
        expected = predictor.predict(photo).probabilities
        assert probabilities[0].tolist() == pytest.approx([expected[name] for name in card.classes], abs=1e-6)
        assert logits.shape == (1, 3)
        assert heatmap.shape == (1, 2, 2)
    assert module(preprocess_batch(pixels[:1] * 7, card.preprocess))[0].shape == (7, 3)


def test_no_verify_is_recorded_in_the_card(small_run, small_registry, tmp_path):
    assert not export_pt2(small_run, tmp_path / "m.pt2", verify=False, registry=small_registry).card.verified


def test_network_that_cannot_be_traced_is_reported(small_run, small_registry, tmp_path, monkeypatch):
    def forward(self, tensor):
        return tensor if tensor.sum() > 0 else -tensor

    monkeypatch.setattr(ExportableClassifier, "forward", forward)
    with pytest.raises(ExportError, match="The network cannot be exported: GuardOnDataDependent") as caught:
        export_pt2(small_run, tmp_path / "m.pt2", verify=False, registry=small_registry)
    assert "must not depend on the values" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_archive_with_several_labels_has_their_decisions(small_run, small_registry, tmp_path):
    thresholds = tuple(float(np.float32(each)) for each in (0.4, 0.3, 0.2))
    record = dataclasses.replace(small_run.record, multi_label=True, thresholds=thresholds)
    run = dataclasses.replace(small_run, record=record)
    exported = export_pt2(run, tmp_path / "m.pt2", verify=False, registry=small_registry)
    module = torch.export.load(exported.path).module()
    photos = [photo for _, photo in decode_samples(make_images().test[:5], ignore)]
    probabilities, _, _, _, decisions = module(preprocess_batch(photos, exported.card.preprocess))
    assert decisions.dtype == torch.uint8
    assert torch.equal(decisions.bool(), probabilities >= torch.tensor(thresholds))
    assert 0 < int(decisions.sum()) < decisions.numel()
