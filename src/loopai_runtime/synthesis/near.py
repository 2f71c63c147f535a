"""Near-duplicate groups: rows that say the same but for a number, a date or a few words.

A row left in training while its near-copy is judged would flatter the program, so folds keep groups whole.
Rows are joined at three levels: equal inputs; texts that are equal once digits, case and punctuation are
masked; and texts whose words and pairs of words have a Jaccard similarity of about 0.75, estimated from
bottom-k sketches with one hash function (Broder 1997; Thorup 2013). A group that would swallow a fifth of the
rows says too little to group by (log lines of one template): it falls back to the level below. Time is linear
in the text; the same rows in the same order always make the same groups.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from array import array
from collections import Counter
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

SIMILAR = 0.75
SKETCH = 32  # hashes kept of a text
BAND = 5  # each two of so many smallest hashes lead to a candidate; similar texts share a pair almost surely
MIN_WORDS = 6  # shorter texts are near copies only if they are equal when masked
MASK_MIN_WORDS = 3  # with fewer words beside the digits, the digits are what the text says
MAX_SHARE, MAX_ROWS = 0.2, 10  # a group larger than both falls back to the level below
MAX_CHARACTERS = 20_000

_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")


def near_groups(inputs: Sequence[Any], keys: Sequence[Hashable]) -> list[int]:
    """The group of each input, as the index of its first row; `keys` are equal where inputs are."""
    same = _Groups(len(inputs))
    same.join_equal(keys)
    forms: list[bytes | None] = []
    sketches: dict[bytes, bytes] = {}
    for value in inputs:
        words = _masked(value)
        form = hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        forms.append(form if words else None)
        if len(words) >= MIN_WORDS and form not in sketches:
            sketches[form] = _sketch(words)
    template = same.copy()
    template.join_equal(forms)
    similar = template.copy()
    _join_similar(similar, forms, sketches)
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


def _masked(value: Any) -> list[str]:
    """The words of all texts in `value`, digits masked; none where there is too little text to go by."""
    text = " ".join(_texts(value))[:MAX_CHARACTERS].lower()
    words = _WORD.findall(_DIGITS.sub("0", text))
    return words if len(words) - words.count("0") >= MASK_MIN_WORDS else []


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key in sorted(value) for text in _texts(value[key])]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [] if value is None else [str(value)]


def _join_similar(groups: _Groups, forms: Sequence[bytes | None], sketches: dict[bytes, bytes]) -> None:
    first: dict[int, int] = {}  # a pair of hashes -> the first row that has it
    rows: dict[int, bytes] = {}
    for row, form in enumerate(forms):
        if form is None or (sketch := sketches.pop(form, None)) is None:
            continue  # nothing to go by, or the same form as an earlier row
        hashes = array("I", sketch)
        candidates = set()
        for a, b in combinations(hashes[:BAND], 2):
            if (other := first.setdefault(a << 32 | b, row)) != row:
                candidates.add(other)
        for other in candidates:
            if _similar(set(hashes), set(array("I", rows[other]))):
                groups.join(other, row)
        rows[row] = sketch


def _sketch(words: Sequence[str]) -> bytes:
    """The smallest hashes of the text's words and pairs of neighbouring words, ascending, 4 bytes each."""
    shingles = {*words, *map(" ".join, pairwise(words))}
    hashes = {zlib.crc32(shingle.encode("utf-8", "surrogatepass")) for shingle in shingles}
    return array("I", sorted(hashes)[:SKETCH]).tobytes()


def _similar(a: set[int], b: set[int]) -> bool:
    """Whether the sketched sets are estimated to be at least SIMILAR alike (Jaccard)."""
    shared = a & b
    if max(len(a), len(b)) < SKETCH:  # whole sets, not samples
        return len(shared) >= SIMILAR * len(a | b)
    return len(shared.intersection(sorted(a | b)[:SKETCH])) >= SIMILAR * SKETCH
