"""The contract kit: it tests a plugin in three lines.

    from zoo.testing import check_plugin

    def test_contract():
        check_plugin("zoo_tinynet")

`check_plugin` checks everything a plugin offers; `check_backbone`, `check_head`, `check_loss` and the others check a
single offer. Each returns None, or raises an AssertionError that says what the contract requires. Any test runner will
do. Weights and inputs are random with a fixed seed, and only datasets download anything.
"""

from __future__ import annotations

from zoo.testing.augmentation import check_augmentation
from zoo.testing.backbone import check_backbone
from zoo.testing.check import check_findings
from zoo.testing.dataset import check_dataset
from zoo.testing.export_target import check_export_target
from zoo.testing.format import check_format
from zoo.testing.head import check_head
from zoo.testing.hub import check_hub
from zoo.testing.loss import check_loss
from zoo.testing.metric import check_metric
from zoo.testing.optimizer import check_optimizer
from zoo.testing.plugin import check_plugin
from zoo.testing.recipe import check_recipe
from zoo.testing.schedule import check_schedule
from zoo.testing.tracker import check_tracker

__all__ = [
    "check_augmentation",
    "check_backbone",
    "check_dataset",
    "check_export_target",
    "check_findings",
    "check_format",
    "check_head",
    "check_hub",
    "check_loss",
    "check_metric",
    "check_optimizer",
    "check_plugin",
    "check_recipe",
    "check_schedule",
    "check_tracker",
]
