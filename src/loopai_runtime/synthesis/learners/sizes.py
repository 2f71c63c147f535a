"""How large programs may be: more labels need a wider table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

BYTES_A_LABEL = 5_800
FEW_LABELS, MANY_LABELS = 9, 80


def room(labels: int) -> int:
    """Bytes that the rows of a table of so many labels may take."""
    return BYTES_A_LABEL * min(max(labels, FEW_LABELS), MANY_LABELS)


def fitting(names: Iterable[str], alike: Iterable[Any], labels: int, most: int) -> int:
    """How many of the features, in their order, fit `most` bytes; those alike share the line of their weights."""
    count = 0
    known = set()
    for name, kind in zip(names, alike, strict=False):
        most -= len(name.encode("utf-8", "surrogatepass")) + 1 + (0 if kind in known else labels + 1)
        if most < 0:
            break
        known.add(kind)
        count += 1
    return count
