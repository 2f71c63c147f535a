"""From a lead to a probability: logistic calibration (Platt 1999) on answers given out of fold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.strategy import Calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUNDS = 50


def calibrate(leads: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Fit the probability of being right to the lead, by Newton's method with Platt's smoothed targets."""
    hits = sum(right)
    high, low = (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2)
    slope, offset = 0.0, math.log((hits + 1) / (len(right) - hits + 1))
    for _ in range(_ROUNDS):
        g0 = g1 = h00 = h01 = h11 = 0.0
        for lead, was in zip(leads, right, strict=True):
            p = 1 / (1 + math.exp(-max(-30.0, min(30.0, slope * lead + offset))))
            error, weight = p - (high if was else low), max(p * (1 - p), 1e-9)
            g0, g1 = g0 + error, g1 + error * lead
            h00, h01, h11 = h00 + weight, h01 + weight * lead, h11 + weight * lead * lead
        h00, h11 = h00 + 1e-6, h11 + 1e-6
        gap = h00 * h11 - h01 * h01
        if gap <= 1e-12:
            break
        step0, step1 = (h11 * g0 - h01 * g1) / gap, (h00 * g1 - h01 * g0) / gap
        offset, slope = offset - max(-5.0, min(5.0, step0)), slope - max(-5.0, min(5.0, step1))
        if abs(step0) + abs(step1) < 1e-8:
            break
    return Calibration(float(f"{max(0.0, slope):.6g}"), float(f"{offset:.6g}"), 0.0)
