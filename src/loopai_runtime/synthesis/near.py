"""Near-duplicate groups: rows that say the same but for a number, a date or a few words.

A row left in training while its near-copy is judged would flatter the program, so folds keep groups whole.
Two rows belong together if their texts are equal once digits, case and punctuation are masked, or if the
Jaccard similarity of their word shingles, estimated from bottom-k sketches with one hash function (Broder
1997; Thorup 2013), reaches 0.75. Time is linear in the text; nothing depends on hash seeds.
"""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SIMILAR = 0.75
SKETCH = 24  # hashes kept of a text
ANCHORS = 4  # of these, how many lead to candidates: similar texts share one almost surely
CANDIDATES = 8  # compared with at most so many earlier rows an anchor
MIN_WORDS = 6  # shorter texts are near copies only if they are equal when masked
MAX_SHARE = 0.2  # a masked form that would swallow more rows than this says too little to group by
MAX_CHARACTERS = 20_000

_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")


def near_groups(inputs: Sequence[Any], keys: Sequence[bytes]) -> list[int]:
    """The group of each input, as the index of its first row; `keys` are the inputs' canonical JSON."""
    parents = list(range(len(inputs)))
    masked = [_masked(value) for value in inputs]
    for forms in (list(keys), _trusted(masked, keys)):
        first: dict[object, int] = {}
        for index, form in enumerate(forms):
            _join(parents, first.setdefault(form, index), index)
    _join_similar(parents, masked)
    return [_root(parents, index) for index in range(len(parents))]


def _masked(value: Any) -> str | None:
    """The words of all texts in `value`, digits masked; None where there is too little text to go by."""
    text = " ".join(_texts(value))[:MAX_CHARACTERS].lower()
    words = _WORD.findall(_DIGITS.sub("0", text))
    if sum(not word.isdigit() for word in words) < 3:
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


def _trusted(masked: Sequence[str | None], keys: Sequence[bytes]) -> list[object]:
    counts: dict[str, set[bytes]] = {}
    for form, key in zip(masked, keys, strict=True):
        if form is not None:
            counts.setdefault(form, set()).add(key)
    most = max(10, MAX_SHARE * len(keys))
    return [
        key if form is None or len(counts[form]) > most else form for form, key in zip(masked, keys, strict=True)
    ]


def _join_similar(parents: list[int], masked: Sequence[str | None]) -> None:
    sketches: dict[int, frozenset[int]] = {}
    anchors: dict[int, list[int]] = {}
    for index, form in enumerate(masked):
        if form is None or _root(parents, index) != index:
            continue
        words = form.split(" ")
        if len(words) < MIN_WORDS:
            continue
        sketch = _sketch(words)
        mine = frozenset(sketch)
        for anchor in sketch[:ANCHORS]:
            known = anchors.setdefault(anchor, [])
            for other in known:
                if (
                    _root(parents, other) != _root(parents, index)
                    and _similarity(mine, sketches[other]) >= SIMILAR
                ):
                    _join(parents, other, index)
            if len(known) < CANDIDATES:
                known.append(index)
                sketches[index] = mine


def _sketch(words: Sequence[str]) -> list[int]:
    """The smallest hashes of the text's two-word shingles."""
    shingles = {f"{a} {b}" for a, b in pairwise(words)}
    return sorted({zlib.crc32(shingle.encode("utf-8", "surrogatepass")) for shingle in shingles})[:SKETCH]


def _similarity(a: frozenset[int], b: frozenset[int]) -> float:
    """The bottom-k estimate of the Jaccard similarity of two sketched sets."""
    union = sorted(a | b)[: max(len(a), len(b))]
    return sum(value in a and value in b for value in union) / len(union)


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def _join(parents: list[int], a: int, b: int) -> None:
    """The smaller index stays the root, so a group is named by its first row."""
    a, b = _root(parents, a), _root(parents, b)
    parents[max(a, b)] = min(a, b)
