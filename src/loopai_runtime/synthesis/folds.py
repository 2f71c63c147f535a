"""Stratified folds that keep near-duplicate groups on one side."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def folds(codes: Sequence[int], groups: Sequence[int], count: int, seed: int) -> list[list[int]]:
    """`count` lists of row numbers; together they are all rows, and no group is in two of them."""
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    order = sorted(members)
    random.Random(seed).shuffle(order)  # noqa: S311  a seed, not a secret
    order.sort(key=lambda group: -len(members[group]))
    sizes = [Counter[int]() for _ in range(count)]
    parts: list[list[int]] = [[] for _ in range(count)]
    for group in order:
        label = codes[members[group][0]]
        at = min(range(count), key=lambda i: (sizes[i][label], len(parts[i]), i))
        parts[at] += members[group]
        for row in members[group]:
            sizes[at][codes[row]] += 1
    return [sorted(part) for part in parts if part]
