"""A linear support vector machine (Fan et al. 2008) by scikit-learn, kept as a table of integers."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from loopai_runtime.synthesis.learners.bayes import not_labels, rarities
from loopai_runtime.synthesis.table import Table, features_of, quantise

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem, Rows


@dataclass(frozen=True)
class Linear:
    """`most` bounds the features of the program, `most_many` where there are more than 40 labels."""

    name: str = "linear"
    kind: str = "ml"
    most: int = 1000
    letters: bool = True

    def refuses(self, problem: Problem) -> str | None:
        if find_spec("sklearn") is None:
            return "needs scikit-learn: pip install 'loopai-runtime[train]'"
        return not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> Table:
        rarity = rarities(problem, rows, self.letters)
        names = sorted(rarity)
        labels = sorted({problem.codes[row] for row in rows})
        model = self._train(problem, rows, rarity, names, seed)
        if len(names) > self.most:
            weights = _by_class(model.coef_)
            size = abs(weights).max(axis=0)
            kept = sorted(range(len(names)), key=lambda i: (-size[i], names[i]))[: self.most]
            names = sorted(names[i] for i in kept)
            model = self._train(problem, rows, {name: rarity[name] for name in names}, names, seed)
        weights, biases = _by_class(model.coef_), _by_class(model.intercept_.reshape(-1, 1))
        table = {name: [float(w) * math.sqrt(rarity[name]) for w in weights[:, i]] for i, name in enumerate(names)}
        outputs = [problem.labels[code] for code in labels]
        title = f"linear model of {len(table)} words and runs of letters"
        return quantise(outputs, table, rarity, [float(b) for b in biases[:, 0]], self.letters, title)

    def _train(self, problem: Problem, rows: Rows, rarity: dict[str, int], names: list[str], seed: int) -> Any:
        import numpy as np
        from scipy.sparse import csr_matrix
        from sklearn.svm import LinearSVC

        place = {name: i for i, name in enumerate(names)}
        root = [math.sqrt(rarity[name]) for name in names]
        columns: list[int] = []
        values: list[float] = []
        ends = [0]
        for row in rows:
            known = [place[name] for name in features_of(problem, row, self.letters) if name in place]
            length = math.sqrt(sum(rarity[names[i]] for i in known) or 1)
            columns += known
            values += [root[i] / length for i in known]
            ends.append(len(columns))
        matrix = csr_matrix(
            (np.array(values), np.array(columns, dtype=np.int32), np.array(ends)), (len(rows), len(names))
        )
        model = LinearSVC(C=0.5, class_weight="balanced", random_state=seed, dual=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that stops a little early is still a fit
            return model.fit(matrix, [problem.codes[row] for row in rows])


def _by_class(values: Any) -> Any:
    """A row for each class; scikit-learn gives one for two classes."""
    import numpy as np

    return np.vstack([-values, values]) if values.shape[0] == 1 else values


def candidates() -> list[Linear]:
    return [Linear(), Linear("linear, large", most=8000), Linear("linear, largest", most=24000)]
