"""How large programs may be: more labels need a wider table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BYTES_A_LABEL = 5_800
FEW_LABELS, MANY_LABELS = 9, 80


def room(labels: int) -> int:
    """Bytes that the rows of a table of so many labels may take."""
    return BYTES_A_LABEL * min(max(labels, FEW_LABELS), MANY_LABELS)


def fitting(names: Iterable[str], labels: int, most: int) -> int:
    """How many of the features, in their order, fit `most` bytes."""
    count = 0
    for name in names:
        most -= len(name.encode("utf-8", "surrogatepass")) + labels + 2
        if most < 0:
            break
        count += 1
    return count
