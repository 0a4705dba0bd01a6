"""The options of the metrics."""

from __future__ import annotations

from dataclasses import dataclass

import zoo


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyOptions:
    """Options of the accuracy."""

    k: int = zoo.option(1, help="How many of the most probable classes count as predicted.", minimum=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """Options of the expected calibration error."""

    bins: int = zoo.option(15, help="Bins of equal width into which confidences are sorted.", minimum=1, maximum=1000)
