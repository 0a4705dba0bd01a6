"""The contract kit: what a plugin's author runs on the plugin, in three lines.

    from zoo.testing import check_plugin

    def test_contract():
        check_plugin("zoo_tinynet")

`check_plugin` checks all that a plugin offers; `check_backbone`, `check_head`, `check_dataset`, `check_format` and
`check_findings` check one offer. Each returns None, or raises an AssertionError whose sentence says what the contract
wants. Any test runner will do. All weights and inputs are random, with a fixed seed: nothing is downloaded, except by a
dataset that downloads.
"""

from __future__ import annotations

from zoo.testing.backbone import check_backbone
from zoo.testing.dataset import check_dataset
from zoo.testing.head import check_head
from zoo.testing.plugin import check_plugin
from zoo.testing.setup import check_findings, check_format

__all__ = ["check_backbone", "check_dataset", "check_findings", "check_format", "check_head", "check_plugin"]
