"""The features of a problem's inputs, looked at once: learners count numbers, not names.

Everything here is computed from the inputs alone, so all folds may share it.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from loopai_runtime.synthesis import features

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loopai_runtime.synthesis.strategy import Problem, Rows

tokens, word_features, letter_features = features.tokens, features.word_features, features.letter_features
leaves, facts = features.leaves, features.facts


def found(value: Any, letters: bool) -> list[str]:
    """The distinct features of an input, in the order they come."""
    items = leaves(value)
    texts = [item for path, item in items if isinstance(item, str)]
    names = facts(items, {}, ())
    for path, item in items:
        if isinstance(item, str):
            prefix = f"{path}:" if len(texts) > 1 else ""
            written = tokens(item)
            names += [prefix + name for name in word_features(written)]
            if letters:
                for word in dict.fromkeys([token.lower() for token in written]):
                    names += [prefix + name for name in letter_features(word, 4)]
    return list(dict.fromkeys(names))


def words(value: Any) -> list[str]:
    """The words of all texts in an input, lower-case, as often as they occur."""
    return [token.lower() for _, item in leaves(value) if isinstance(item, str) for token in tokens(item)]


EMITTED = (tokens, word_features, letter_features, leaves, facts, found)
"""The functions whose source goes into programs, in order."""


@dataclass
class Vocabulary:
    """Feature names in the order they were first met, and the numbers of the features of each row."""

    letters: bool
    names: list[str] = field(default_factory=list)
    rows: list[array[int]] = field(default_factory=list)

    @classmethod
    def of(cls, problem: Problem, letters: bool) -> Vocabulary:
        """The problem's, computed on first use."""
        known: Vocabulary | None = problem.memo.get(("vocabulary", letters))
        if known is None:
            known = problem.memo["vocabulary", letters] = cls(letters)
            known._read(problem.inputs)
        return known

    def _read(self, inputs: Iterable[Any]) -> None:
        places: dict[str, int] = {}
        for value in inputs:
            self.rows.append(array("I", [places.setdefault(n, len(places)) for n in found(value, self.letters)]))
        self.names = list(places)

    def rarities(self, rows: Rows) -> dict[int, int]:
        """The squared idf of each feature that occurs often enough in `rows`, rounded to the integer that a
        program keeps. From 200 rows on a feature must occur in two of them."""
        counts: Counter[int] = Counter()
        for row in rows:
            counts.update(self.rows[row])
        least, n = (2 if len(rows) >= 200 else 1), len(rows)
        return {
            at: max(1, min(88, round((math.log((1 + n) / (1 + count)) + 1) ** 2 * self.shares[at])))
            for at, count in counts.items()
            if count >= least and self.shares[at]
        }

    @cached_property
    def shares(self) -> list[float]:
        """How much of its rarity a feature keeps: runs of letters say less each; 0 is unusable in a program."""
        return [
            0.0 if "\t" in name or "\n" in name else 0.25 if self.letters and is_letters(name) else 1.0
            for name in self.names
        ]

    @cached_property
    def matrix(self) -> Any:
        """Rows by features, 1.0 where a row has the feature: a `scipy.sparse.csr_matrix`."""
        import numpy as np
        from scipy.sparse import csr_matrix

        ends = np.cumsum([0, *map(len, self.rows)])
        columns = array("I")
        for row in self.rows:
            columns.extend(row)
        indices = np.frombuffer(columns, dtype=np.uint32).astype(np.int32) if columns else np.zeros(0, np.int32)
        return csr_matrix((np.ones(len(indices)), indices, ends), (len(self.rows), len(self.names)))


def is_letters(name: str) -> bool:
    """Whether a feature is a run of letters and not a word."""
    tail = name.rpartition(":")[2] or name
    return len(tail) > 1 and (tail[0] in "_~" or tail.endswith("_"))
