"""A run as an archive of torch.export."""

import pytest
import torch
from fakes import images

from zoo.inference.run_predictor import load
from zoo_export.card import KEY, ModelCard
from zoo_export.photos import normalised, read
from zoo_export.pt2 import export_pt2


def test_the_archive_gives_what_the_run_gives_and_tells_what_it_is(small_run, small_registry, tmp_path):
    exported = export_pt2(small_run, tmp_path / "m.pt2", photos=3, registry=small_registry)
    assert exported.path.stat().st_size == exported.bytes
    extra = {KEY: ""}
    module = torch.export.load(exported.path, extra_files=extra).module()
    card = ModelCard.from_json(extra[KEY], where="m.pt2")
    assert card == exported.card
    assert card.verified
    assert (card.input, card.opset, card.parity["photos"]) == ("tensor", 0, 3)
    pixels = [photo for _, photo in read(images().test[:5], print)]
    predictor = load(small_run, device="cpu", registry=small_registry)
    for photo in pixels:
        probabilities, logits, heatmap = module(normalised([photo], card.preprocess))
        expected = predictor.predict(photo).probabilities
        assert probabilities[0].tolist() == pytest.approx([expected[name] for name in card.classes], abs=1e-6)
        assert logits.shape == (1, 3)
        assert heatmap.shape == (1, 2, 2)
    assert module(normalised(pixels[:1] * 7, card.preprocess))[0].shape == (7, 3)


def test_it_can_go_unverified(small_run, small_registry, tmp_path):
    assert not export_pt2(small_run, tmp_path / "m.pt2", verify=False, registry=small_registry).card.verified
