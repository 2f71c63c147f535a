"""The features of a problem's inputs, looked at once: learners count numbers, not names.

Everything here is computed from the inputs and the schemas alone, so all folds may share it.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime.synthesis import features
from loopai_runtime.synthesis.labels import named
from loopai_runtime.synthesis.privacy import SUPPORTED_FROM

if TYPE_CHECKING:
    from loopai_runtime.synthesis.privacy import Admission, Forbidden
    from loopai_runtime.synthesis.strategy import Problem, Rows

LONGEST = 4  # letters that are looked at together
FACT = re.compile(r"\S=\S")  # words have no such sign within
SIGN = "@:"  # what the names of signs begin with, and nothing else that is found
MAX_CUTS = 31
MAX_PATHS = 64

EMITTED = (
    features.tokens,
    features.word_features,
    features.letter_features,
    features.run_features,
    features.text_features,
    features.leaves,
    features.facts,
    features.found,
)
"""The functions whose source goes into programs, in order."""


def words(value: Any) -> list[str]:
    """The words of all texts in an input, lower-case, as often as they occur."""
    texts = [item for _, item in features.leaves(value) if isinstance(item, str)]
    return [token.lower() for text in texts for token in features.tokens(text)]


class Reading(NamedTuple):
    """How inputs of a task are read; a program that was learned reads as it was taught."""

    longest: int
    main: str
    cuts: dict[str, tuple[float, ...]]
    expected: tuple[str, ...]

    @classmethod
    def of(cls, problem: Problem, letters: bool) -> Reading:
        """The main text is the longest in all; numbers are cut at quantiles; absences of what is common count."""
        known: Reading | None = problem.memo.get("reading")
        if known is None:
            known = problem.memo["reading"] = _reading(problem)
        return known if letters else known._replace(longest=0)


def _reading(problem: Problem) -> Reading:
    characters: Counter[str] = Counter()
    numbers: dict[str, list[float]] = {}
    present: Counter[str] = Counter()
    rows = 0
    for value in problem.inputs:
        rows += 1
        items = features.leaves(value)
        present.update({path for path, _ in items})
        for path, item in items:
            if isinstance(item, str):
                characters[path] += len(item)
            elif isinstance(item, (int, float)) and not isinstance(item, bool) and abs(item) < 1e300:
                numbers.setdefault(path, []).append(float(item))
    admission = problem.admission(rows)
    least = max(2, admission.least)
    present = Counter({path: n for path, n in present.items() if n >= least and admission.admits(path)})
    texts = [path for path in characters if path in present]
    main = max(texts, key=lambda path: (characters[path], path), default="")
    usual = [path for path, _ in sorted(present.items(), key=lambda item: (-item[1], item[0]))]
    expected = [path for path in usual if "[]" not in path and present[path] <= rows - problem.min_support][
        :MAX_PATHS
    ]
    measured = [path for path in usual if path in numbers][:MAX_PATHS]
    cuts = {path: found for path in sorted(measured) if (found := _cuts(path, numbers[path], admission))}
    return Reading(LONGEST, main, cuts, tuple(sorted(expected)))


def _cuts(path: str, values: list[float], admission: Admission) -> tuple[float, ...]:
    """Short numbers that part the values into about equal shares."""
    ordered = sorted(values)
    step = max(1, len(ordered) // (MAX_CUTS + 1))
    marks = sorted(set(ordered[::step]) | {ordered[-1]})
    cuts = dict.fromkeys([_between(low, high) for low, high in pairwise(marks)])
    return tuple(
        [cut for cut in cuts if admission.admits(f"{path}>={cut}") and admission.admits(int(cut))][:MAX_CUTS]
    )


def _between(low: float, high: float) -> float:
    """The shortest number above `low` and not above `high`, near their middle."""
    middle = low + (high - low) / 2
    for digits in range(1, 17):
        short = float(f"{middle:.{digits}g}")
        if low < short <= high:
            return int(short) if short % 1 == 0 and abs(short) < 1e15 else short
    return high


@dataclass
class Vocabulary:
    """Feature names in the order they were first met, and the numbers of the features of each row."""

    reading: Reading
    forbidden: Forbidden | None = None
    min_support: int = 2
    names: list[str] = field(default_factory=list)
    rows: list[array[int]] = field(default_factory=list)
    hints: dict[bytes, int] = field(default_factory=dict)
    """After the inputs' rows come those of the names of labels: which one is a label's."""
    alike: list[int] = field(default_factory=list)
    """For each row the first one that has the same features."""

    @classmethod
    def of(cls, problem: Problem, reading: Reading) -> Vocabulary:
        """The problem's as it is read so, computed on first use."""
        key = ("vocabulary", repr(reading))
        known: Vocabulary | None = problem.memo.get(key)
        if known is None:
            known = cls(reading, problem.forbidden, problem.min_support)
            known._read(problem, {key: one.words for key, one in named(problem).items()})
            problem.memo[key] = known
        return known

    def _read(self, problem: Problem, hints: dict[bytes, str]) -> None:
        places: dict[str, int] = {}
        signs = problem.signs
        for row, value in enumerate(problem.inputs):
            self._add([*features.found(value, *self.reading), *(signs.rows[row] if signs else ())], places)
        for key, text in hints.items():
            self.hints[key] = len(self.rows)
            own = [n for n in features.text_features(text, self.reading.longest) if n[0] != "^"]
            self._add(own + (signs.hints[key][1] if signs and key in signs.hints else []), places)
        self.names = list(places)
        first: dict[bytes, int] = {}
        self.alike = [first.setdefault(row.tobytes(), at) for at, row in enumerate(self.rows)]

    def _add(self, names: list[str], places: dict[str, int]) -> None:
        self.rows.append(array("I", [places.setdefault(name, len(places)) for name in dict.fromkeys(names)]))

    def usable(self, name: str) -> bool:
        """Whether a program may contain the feature."""
        return "\t" not in name and "\n" not in name and not (self.forbidden and self.forbidden(name))

    def rarities(self, rows: Rows) -> dict[int, int]:
        """The squared idf of each feature that occurs often enough in `rows`, rounded to the integer that a
        program keeps. From 200 rows on a feature must occur in two distinct inputs."""
        counts: Counter[int] = Counter()
        repeats: Counter[int] = Counter()
        seen: set[int] = set()
        for row in rows:
            counts.update(self.rows[row])
            if self.alike[row] in seen:
                repeats.update(self.rows[row])
            seen.add(self.alike[row])
        n = len(rows)
        least = self.min_support if n >= SUPPORTED_FROM else 1
        return {
            at: max(1, min(88, round((math.log((1 + n) / (1 + count)) + 1) ** 2 * self.shares[at])))
            for at, count in counts.items()
            if count - repeats[at] >= least and self.shares[at]
        }

    @cached_property
    def shares(self) -> list[float]:
        """How much of its rarity a feature keeps: runs of letters say less each than words, facts say more; 0 is
        unusable in a program."""
        return [self._share(name) if self.usable(name) else 0.0 for name in self.names]

    def _share(self, name: str) -> float:
        if name.startswith(SIGN):
            return 10.0
        if FACT.search(name):
            return 4.0
        return 0.25 if self.reading.longest and is_letters(name) else 1.0

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
