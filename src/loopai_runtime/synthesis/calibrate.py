"""From evidence to a probability: logistic calibration (Platt 1999) on answers given out of fold.

How much of an input was unknown counts against an answer (`doubt`), where the examples show that it should.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.strategy import Calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.synthesis.strategy import Prediction

_ROUNDS, _HALVINGS = 50, 20
_ENOUGH = 20_000
"""Answers that three numbers are fitted to; more would only take time."""
_RIDGE = 1e-6


def calibrate(answers: Sequence[Prediction], right: Sequence[bool]) -> Calibration:
    """Fit the probability of being right to evidence and novelty, with Platt's smoothed targets."""
    rows: Sequence[int] = range(len(answers))
    if len(answers) > _ENOUGH:
        rows = random.Random(0).sample(rows, _ENOUGH)  # noqa: S311  a seed, not a secret
    hits = sum(right[row] for row in rows)
    high, low = (hits + 1) / (hits + 2), 1 / (len(rows) - hits + 2)
    points = [(answers[row].evidence, -answers[row].novelty, high if right[row] else low) for row in rows]
    start = math.log((hits + 1) / (len(rows) - hits + 1))
    novel = any(novelty for _, novelty, _ in points)
    slope, doubt, offset = _fit(points, start, uses=(True, novel))
    if doubt < 0 or slope < 0:  # the two may speak for the same thing: evidence is asked first
        slope, doubt, offset = _fit(points, start, uses=(True, False))
    if slope < 0:
        slope, doubt, offset = _fit(points, start, uses=(False, False))
    return Calibration(*(float(f"{value:.6g}") for value in (max(0.0, slope), offset, max(0.0, doubt))))


def lowered(calibration: Calibration, answers: Sequence[Prediction], most: float) -> Calibration:
    """The same order of answers, with confidences that are no more than `most` on average."""
    if most >= 1 or not answers:
        return calibration
    low, high = -60.0, 0.0
    for _ in range(40):
        shift = (low + high) / 2
        moved = calibration._replace(offset=calibration.offset + shift)
        mean = sum(probability(moved, answer) for answer in answers) / len(answers)
        low, high = (low, shift) if mean > most else (shift, high)
    return calibration._replace(offset=round(calibration.offset + low - 0.001, 4))


def probability(calibration: Calibration, answer: Prediction) -> float:
    """What an emitted program says of such an answer."""
    slope, offset, doubt = calibration
    odds = slope * answer.evidence + offset - doubt * answer.novelty
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


def _fit(points: Sequence[tuple[float, float, float]], start: float, uses: tuple[bool, bool]) -> list[float]:
    """Slope, doubt and offset by Newton's method with halved steps; what is not used stays 0."""
    weights = [0.0, 0.0, start]
    loss = _loss(points, weights)
    kept = [at for at, used in enumerate((*uses, True)) if used]
    for _ in range(_ROUNDS):
        gradient, curvature = _derivatives(points, weights)
        step = _solve([[curvature[i][j] + (_RIDGE if i == j else 0.0) for j in kept] for i in kept],
                      [gradient[i] for i in kept])  # fmt: skip
        for _ in range(_HALVINGS):
            moved = list(weights)
            for at, change in zip(kept, step, strict=True):
                moved[at] -= change
            better = _loss(points, moved)
            if better <= loss:
                break
            step = [change / 2 for change in step]
        else:
            break
        gain, loss, weights = loss - better, better, moved
        if gain < 1e-9 * len(points):
            break
    return weights


def _loss(points: Sequence[tuple[float, float, float]], weights: Sequence[float]) -> float:
    """Minus the log-likelihood of the targets."""
    a, b, c = weights
    total = 0.0
    for x, y, wanted in points:
        odds = a * x + b * y + c
        total += max(odds, 0.0) + math.log1p(math.exp(-abs(odds))) - wanted * odds
    return total


def _derivatives(
    points: Sequence[tuple[float, float, float]], weights: Sequence[float]
) -> tuple[list[float], list[list[float]]]:
    """Gradient and Hessian of the log loss."""
    a, b, c = weights
    g0 = g1 = g2 = h00 = h01 = h02 = h11 = h12 = h22 = 0.0
    for x, y, wanted in points:
        p = 1 / (1 + math.exp(-max(-30.0, min(30.0, a * x + b * y + c))))
        error, weight = p - wanted, max(p * (1 - p), 1e-9)
        g0, g1, g2 = g0 + error * x, g1 + error * y, g2 + error
        wx, wy = weight * x, weight * y
        h00, h01, h02 = h00 + wx * x, h01 + wx * y, h02 + wx
        h11, h12, h22 = h11 + wy * y, h12 + wy, h22 + weight
    return [g0, g1, g2], [[h00, h01, h02], [h01, h11, h12], [h02, h12, h22]]


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gaussian elimination of a few equations; a singular one moves nothing."""
    n = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for at in range(n):
        pivot = max(range(at, n), key=lambda i: abs(rows[i][at]))
        if abs(rows[pivot][at]) <= 1e-12:
            return [0.0] * n
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for i in range(at + 1, n):
            share = rows[i][at] / rows[at][at]
            rows[i] = [x - share * y for x, y in zip(rows[i], rows[at], strict=True)]
    found = [0.0] * n
    for at in reversed(range(n)):
        known = sum(rows[at][j] * found[j] for j in range(at + 1, n))
        found[at] = (rows[at][n] - known) / rows[at][at]
    return found
