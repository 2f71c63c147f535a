"""What makes one execution worth more checking than another, each as a number relative to the others."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any
from zlib import crc32

_CLUSTERS = 8
_STRATA = 256
_FORGET_AT = 20_000  # executions, after which the older half of what was counted fades
_OPENING = 100  # characters of an input that its cluster is told from
_PARTS = 16  # of an input, looked at for them
_WORD = re.compile(rb"[A-Za-z\x80-\xff]+")


def uncertainty(confidence: float | None) -> float | None:
    """The standard deviation of "it is right" where that has probability `confidence`: the shares by which the
    accuracy is known best (Neyman 1934). None where the program says nothing of its confidence."""
    if confidence is None:
        return None
    sure = min(0.99, max(0.01, confidence))
    return float((sure * (1 - sure)) ** 0.5)


class Strata:
    """An equal number from every stratum: an output label and a cluster of inputs.

    A reservoir would take that number exactly, but whether a record stays in it is known only when its window
    ends. Here each record's probability is inverse to its stratum's share so far, which has the same expectation.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[Any, int] | None, float] = {}
        self._total = 0.0

    def weight(self, output: Any, value: Any) -> float:
        stratum: tuple[Any, int] | None = (_label(output), cluster(value))
        if stratum not in self._counts and len(self._counts) >= _STRATA:
            stratum = None  # the rest is one stratum: outputs that never repeat are none of their own
        before = self._counts.get(stratum, 0.0)
        strata = len(self._counts) + (before == 0.0)
        share = (before + 1) / (self._total + strata)
        self._counts[stratum] = before + 1
        self._total += 1
        if self._total >= _FORGET_AT:
            self._forget()
        return min(10.0, max(0.1, 1 / (strata * share)))

    def _forget(self) -> None:
        self._counts = {stratum: count / 2 for stratum, count in self._counts.items() if count >= 2}
        self._total = sum(self._counts.values())


class Boost:
    """How much more is checked after another version began to serve; half as much more every half-life."""

    def __init__(self, changed_at: float, boost: float, half_life_s: float) -> None:
        self._changed_at = changed_at
        self._more = boost - 1
        self._half_life_s = half_life_s

    def at(self, at: float) -> float:
        age_s = at - self._changed_at
        return 1 + self._more * 0.5 ** (age_s / self._half_life_s) if age_s >= 0 else 1.0


def cluster(value: Any) -> int:
    """One of eight groups, the same for inputs that begin alike: their smallest hashed word (MinHash, Broder 1997:
    two inputs share it with the probability that is the overlap of their words)."""
    words = _WORD.findall(_opening(value).encode("utf-8", "surrogatepass"))
    return min(map(crc32, words)) % _CLUSTERS if words else 0


def _opening(value: Any) -> str:
    """The first characters of the first texts of an input."""
    if isinstance(value, str):
        return value[:_OPENING]
    text, waiting, parts = "", [value], 0
    while waiting and parts < _PARTS and len(text) < _OPENING:
        item = waiting.pop()
        parts += 1
        if isinstance(item, str):
            text = f"{text} {item[:_OPENING]}"
        elif isinstance(item, dict):
            waiting += list(islice(item.values(), _PARTS))[::-1]
        elif isinstance(item, list):
            waiting += item[:_PARTS][::-1]
    return text[:_OPENING]


def _label(output: Any) -> Any:
    """A label as it is; of anything larger only the shape, as there may be no two alike."""
    if isinstance(output, dict):
        return tuple(output)[:16]
    if isinstance(output, list):
        return len(output)
    return output[:64] if isinstance(output, str) else repr(output)
