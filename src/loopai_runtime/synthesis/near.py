"""Near-duplicate groups: rows that say the same but for a number, a date or a few words.

A row left in training while its near-copy is judged would flatter the program, so folds keep groups whole.
Rows are joined at three levels: equal inputs; texts that are equal once digits, case and punctuation are
masked; and texts whose words and pairs of words have a Jaccard similarity of about 0.75, estimated from
bottom-k sketches with one hash function (Broder 1997; Thorup 2013). A group that would swallow a fifth of the
rows says too little to group by (log lines of one template): it falls back to the level below. Time is linear
in the text; the same rows in the same order always make the same groups.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

SIMILAR = 0.75
SKETCH = 32  # hashes kept of a text
ANCHORS = 4  # of these, how many lead to candidates: similar texts share one almost surely
CANDIDATES = 8  # compared with at most so many earlier rows an anchor
MIN_WORDS = 6  # shorter texts are near copies only if they are equal when masked
MASK_MIN_WORDS = 3  # with fewer words beside the digits, the digits are what the text says
MAX_SHARE, MAX_ROWS = 0.2, 10  # a group larger than both falls back to the level below
MAX_CHARACTERS = 20_000

_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")


def near_groups(inputs: Sequence[Any], keys: Sequence[Hashable]) -> list[int]:
    """The group of each input, as the index of its first row; `keys` are equal where inputs are."""
    masked = [_masked(value) for value in inputs]
    same = _Groups(len(inputs))
    same.join_equal(keys)
    template = same.copy()
    template.join_equal(masked)
    similar = template.copy()
    _join_similar(similar, masked)
    template.fall_back(same)
    similar.fall_back(template)
    return similar.roots()


class _Groups:
    """Disjoint sets of rows; a set is named by its first row."""

    def __init__(self, count: int, parents: list[int] | None = None) -> None:
        self._parents = list(range(count)) if parents is None else parents

    def copy(self) -> _Groups:
        return _Groups(0, self._parents.copy())

    def root(self, row: int) -> int:
        parents = self._parents
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    def roots(self) -> list[int]:
        return [self.root(row) for row in range(len(self._parents))]

    def join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        self._parents[max(a, b)] = min(a, b)

    def join_equal(self, forms: Sequence[Hashable | None]) -> None:
        """Join the rows whose form is the same; None is like nothing."""
        first: dict[Hashable, int] = {}
        for row, form in enumerate(forms):
            if form is not None and (other := first.setdefault(form, row)) != row:
                self.join(other, row)

    def fall_back(self, finer: _Groups) -> None:
        """Dissolve groups that are too large into those of the level below."""
        roots = self.roots()
        most = max(MAX_ROWS, MAX_SHARE * len(roots))
        large = {root for root, size in Counter(roots).items() if size > most}
        if large:
            self._parents = [finer.root(row) if root in large else root for row, root in enumerate(roots)]


def _masked(value: Any) -> str | None:
    """The words of all texts in `value`, digits masked; None where there is too little text to go by."""
    text = " ".join(_texts(value))[:MAX_CHARACTERS].lower()
    words = _WORD.findall(_DIGITS.sub("0", text))
    if len(words) - words.count("0") < MASK_MIN_WORDS:
        return None
    return " ".join(words)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key in sorted(value) for text in _texts(value[key])]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [] if value is None else [str(value)]


def _join_similar(groups: _Groups, masked: Sequence[str | None]) -> None:
    sketches: dict[int, frozenset[int]] = {}
    anchors: dict[int, list[int]] = {}
    for row, form in enumerate(masked):
        # A masked form is looked at once, in the first row that has it.
        if form is None or groups.root(row) != row:
            continue
        words = form.split(" ")
        if len(words) < MIN_WORDS:
            continue
        ordered = _sketch(words)
        sketch = frozenset(ordered)
        seen: set[int] = set()
        for anchor in ordered[:ANCHORS]:
            known = anchors.setdefault(anchor, [])
            for other in known:
                if other not in seen and _similar(sketch, sketches[other]):
                    groups.join(other, row)
                seen.add(other)
            if len(known) < CANDIDATES:
                known.append(row)
                sketches[row] = sketch


def _sketch(words: Sequence[str]) -> list[int]:
    """The smallest hashes of the text's words and pairs of neighbouring words, in order."""
    shingles = {*words, *map(" ".join, pairwise(words))}
    return sorted({zlib.crc32(shingle.encode("utf-8", "surrogatepass")) for shingle in shingles})[:SKETCH]


def _similar(a: frozenset[int], b: frozenset[int]) -> bool:
    """Whether the sketched sets are estimated to be at least SIMILAR alike (Jaccard)."""
    shared = a & b
    if len(shared) < SIMILAR * max(len(a), len(b)):  # most pairs end here, and no estimate can be higher
        return False
    if max(len(a), len(b)) < SKETCH:  # whole sets, not samples
        return len(shared) >= SIMILAR * len(a | b)
    smallest = sorted(a | b)[:SKETCH]
    return sum(value in shared for value in smallest) >= SIMILAR * SKETCH
