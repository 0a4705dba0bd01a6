"""Augmentations of the built-in plugin, ready to use."""

import functools

from fakes import CLASSES, PREPROCESS

from zoo.data.loading.augmenters import build_augmenters, build_mixers
from zoo.plugins.kinds import AUGMENTATION
from zoo.plugins.registry import load_registry


@functools.cache
def _registry():
    return load_registry()


def make_augmenters(*names, spec=PREPROCESS, options=None):
    choices = _registry().choose_all(AUGMENTATION, names, options or {})
    return build_augmenters(choices, spec, classes=len(CLASSES))


def make_mixers(*names, spec=PREPROCESS, options=None, features=False):
    choices = _registry().choose_all(AUGMENTATION, names, options or {})
    return build_mixers(choices, spec, classes=len(CLASSES), features=features)
