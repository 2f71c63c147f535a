"""Wrong labels among the examples: found by answers that programs gave to rows they had not learned from.

Where labels are right, the surest answers are all but never wrong. The share of them that disagrees with the given
label is therefore about the share of wrong labels, and as long as surer and less sure answers disagree about as
often, it is the label that is wrong and not the answer. Rows so found are left out of learning, after the idea of
confident learning (Northcutt et al. 2021).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

BINS = 20  # of answers by how sure they are
SUREST = 4  # bins that tell the share of wrong labels
LEAST = 0.02  # of wrong labels below which all are taken as they are
FACTOR = 1.75  # times as many disagreements as among the surest, from which on they may be the answer's fault


def mislabelled(evidence: Sequence[float], agrees: Sequence[bool]) -> list[int]:
    """The rows whose labels are taken for wrong, from unseen answers' evidence and whether labels agree."""
    order = sorted(range(len(agrees)), key=lambda row: (-evidence[row], row))
    bins = [order[len(order) * at // BINS : len(order) * (at + 1) // BINS] for at in range(BINS)]
    wrong = [[row for row in part if not agrees[row]] for part in bins]
    share = sum(map(len, wrong[:SUREST])) / (sum(map(len, bins[:SUREST])) or 1)
    found: list[int] = []
    if share >= LEAST:
        for part, own in zip(bins, wrong, strict=True):
            if len(own) > FACTOR * share * len(part):
                break
            found += own
    return sorted(found)
