"""Adversarial photos: changes too small to see that are computed to mislead a network. Imports torch.

The attacked pixels are those of `zoo.data.images.resize.preprocess`: uint8, resized and cropped to the network's input,
before they are normalised. Resizing is not part of the attack, because its result would depend on the size of the
photo. Levels change by whole numbers, so that an adversarial photo can be saved as an image file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.nn import functional as F

from zoo.data.loading.augment import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from torch import Tensor

    from zoo.data.images.decode import Pixels
    from zoo.inference.run_predictor import Predictor

Method = Literal["fgsm", "pgd"]
METHODS: dict[Method, str] = {
    "fgsm": "Adversarial: one step along the sign of the gradient; the levels are the largest change, of 255.",
    "pgd": "Adversarial: ten steps from a random start; the levels are the largest change, of 255.",
}
_STEPS = 10
_STEP_SHARE = 0.25  # of epsilon, the length of a step of PGD
_BATCH = 8  # photos: activations for the gradient take several times the memory of a prediction


class Attacker:
    """Computes adversarial photos for a run.

    Args:
        predictor: The run. Its weights and its mode stay as they are.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def attack(
        self,
        method: Method,
        images: Sequence[Pixels],
        labels: Sequence[int],
        epsilon: int,
        randoms: Sequence[Generator],
    ) -> list[Pixels]:
        """Returns images that differ from `images` by at most `epsilon` levels.

        Args:
            method: ``"fgsm"``: one step of `epsilon` along the sign of the gradient of the loss (Goodfellow et al.
                2015, https://arxiv.org/abs/1412.6572); ``"pgd"``: ten steps of a quarter of it from a random start,
                each projected back (Madry et al. 2018, https://arxiv.org/abs/1706.06083).
            images: Preprocessed images, uint8 ``(h, w, 3)`` each, of the network's input size.
            labels: The true class of each.
            epsilon: The largest change of a level, 1 to 255.
            randoms: The generator of each, for the start of PGD.
        """
        attacked: list[Pixels] = []
        for start in range(0, len(images), _BATCH):
            some = slice(start, start + _BATCH)
            clean = torch.from_numpy(np.stack(images[some])).permute(0, 3, 1, 2).float()
            clean = clean.to(self._predictor.precision.device)
            targets = torch.tensor(labels[some], device=clean.device)
            changed = self._step(method, clean, targets, epsilon, randoms[some])
            attacked += list(changed.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
        return attacked

    def _step(
        self, method: Method, clean: Tensor, targets: Tensor, epsilon: int, randoms: Sequence[Generator]
    ) -> Tensor:
        if method == "fgsm":
            return (clean + epsilon * self._gradient(clean, targets).sign()).clamp(0, 255)
        low, high = (clean - epsilon).clamp(min=0), (clean + epsilon).clamp(max=255)
        shape = clean.shape[1:]
        starts = [random.uniform(-epsilon, epsilon, size=shape).astype(np.float32) for random in randoms]
        changed = torch.minimum(torch.maximum(clean + torch.from_numpy(np.stack(starts)).to(clean.device), low), high)
        for _ in range(_STEPS):
            changed = changed + _STEP_SHARE * epsilon * self._gradient(changed, targets).sign()
            changed = torch.minimum(torch.maximum(changed, low), high)
        return changed

    def _gradient(self, images: Tensor, targets: Tensor) -> Tensor:
        """Returns the gradient of the loss by the pixels, ``(N, 3, h, w)``."""
        classifier, preprocess = self._predictor.classifier, self._predictor.preprocess
        with torch.enable_grad():
            pixels = images.detach().requires_grad_()
            logits = classifier.head(classifier.backbone.extract(normalise(pixels, preprocess)))
            # In float64: of a confident network, the softmax in float32 is exactly 1, and its gradient 0.
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits.double(), targets, reduction="sum"), pixels)
        return gradient
