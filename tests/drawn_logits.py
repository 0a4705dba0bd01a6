"""Logits with a known temperature, and labels drawn from the probabilities that they should have."""

import numpy as np

from zoo.metrics.temperature import to_probabilities


def draw(count, *, temperature, classes=5, seed=0):
    """Returns logits `temperature` times too large, and labels drawn from the right probabilities."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(count, classes))
    cumulated = to_probabilities(logits, (), "softmax").cumsum(axis=1)
    labels = (cumulated < random.random((count, 1))).sum(axis=1).clip(max=classes - 1)
    return (temperature * logits).astype(np.float32), labels


def draw_probabilities(count, *, seed, classes=5):
    logits, labels = draw(count, temperature=1.5, seed=seed, classes=classes)
    return to_probabilities(logits, (), "softmax").astype(np.float32), labels
