"""A linear support vector machine over words and letters (Fan et al. 2008), cut to programs of several sizes."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from loopai_runtime.synthesis.learners.bayes import not_labels
from loopai_runtime.synthesis.table import Table
from loopai_runtime.synthesis.vocabulary import Vocabulary

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem, Rows

SIZES = {"linear, small": 10_000, "linear": 44_000, "linear, large": 160_000, "linear, largest": 480_000}
"""Bytes that the table of each program may take."""
NAME_BYTES = 7  # of a feature's line, beside its weights


@dataclass(frozen=True)
class Linear:
    """Learns once from all features, then again from the strongest ones that fit each size."""

    kind: str = "ml"
    letters: bool = True

    @property
    def names(self) -> list[str]:
        return list(SIZES)

    def refuses(self, problem: Problem) -> str | None:
        if find_spec("sklearn") is None:
            return "needs scikit-learn: pip install 'loopai-runtime[train]'"
        return not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> list[Table]:
        learning = _Learning(problem, rows, Vocabulary.of(problem, self.letters), seed)
        features = sorted(learning.rarity)
        model = learning.train(features)
        strength = abs(_by_class(model.coef_)).max(axis=0)
        order = sorted(range(len(features)), key=lambda i: (-strength[i], learning.words.names[features[i]]))
        tables: list[Table] = []
        for size in SIZES.values():
            most = size // (len(learning.labels) + 1 + NAME_BYTES)
            if tables and tables[-1].features == len(features):
                tables.append(tables[-1])
            elif most >= len(features):
                tables.append(learning.table(features, model))
            else:
                kept = sorted(features[i] for i in order[:most])
                tables.append(learning.table(kept, learning.train(kept)))
        return tables


class _Learning:
    """One set of rows to learn from."""

    def __init__(self, problem: Problem, rows: Rows, words: Vocabulary, seed: int) -> None:
        self.problem = problem
        self.words = words
        self.seed = seed
        self.rarity = words.rarities(rows)
        self.codes = [problem.codes[row] for row in rows]
        self.labels = sorted(set(self.codes))
        self.matrix = words.matrix[list(rows)]

    def train(self, features: list[int]) -> Any:
        """A model of these features; an input counts as a vector of length 1."""
        import numpy as np
        from scipy.sparse import diags
        from sklearn.svm import LinearSVC

        rarity = np.array([self.rarity[at] for at in features], dtype=float)
        inputs = self.matrix[:, features]
        length = np.sqrt(np.maximum(inputs @ rarity, 1.0))
        inputs = (diags(1.0 / length) @ inputs @ diags(np.sqrt(rarity))).tocsr()
        model = LinearSVC(C=0.5, class_weight="balanced", random_state=self.seed, dual=True, tol=0.01)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that stops a little early is still a fit
            return model.fit(inputs, self.codes)

    def table(self, features: list[int], model: Any) -> Table:
        weights, biases = _by_class(model.coef_), _by_class(model.intercept_.reshape(-1, 1))
        names = [self.words.names[at] for at in features]
        rarity = [self.rarity[at] for at in features]
        scaled = (weights * [math.sqrt(value) for value in rarity]).T.tolist()
        return Table(
            [self.problem.labels[code] for code in self.labels],
            dict(zip(names, scaled, strict=True)),
            dict(zip(names, rarity, strict=True)),
            [float(f"{bias:.6g}") for bias in biases[:, 0]],
            self.words.letters,
            f"linear model of {len(names)} words and runs of letters",
        )


def _by_class(values: Any) -> Any:
    """A row for each class; scikit-learn gives one for two classes."""
    import numpy as np

    return np.vstack([-values, values]) if values.shape[0] == 1 else values


def candidates() -> list[Linear]:
    return [Linear()]
