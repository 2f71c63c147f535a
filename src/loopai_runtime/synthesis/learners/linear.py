"""Support vector machines over words and letters (Fan et al. 2008), cut to programs of several sizes.

Complement naive Bayes has its say in the weights, the less the more labels there are: what it assumes helps where
examples are few for what is to be learned (Wang and Manning 2012 blend the two for sentiment). Both are linear in
the same features, so the sum is one table.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime.synthesis.learners.noise import mislabelled
from loopai_runtime.synthesis.learners.sizes import fitting, room
from loopai_runtime.synthesis.learners.targets import Targets, not_labels
from loopai_runtime.synthesis.table import Table
from loopai_runtime.synthesis.vocabulary import Reading, Vocabulary

if TYPE_CHECKING:
    from loopai_runtime.synthesis.strategy import Problem, Rows

SHARES = {"linear, small": 0.2, "linear": 1.0}
"""How much of the room that a program has its table may take."""
LARGEST = {"linear, large": 350_000}
"""Bytes of a table where weak words are many and labels few, as in sentiment."""
SMALL_FROM = 2000  # examples from which a small table is judged surely enough to be preferred
COMMON = 0.5  # a feature is worth how far it parts the labels times how much of it there is, to this power
COST = 1.0
BAYES = 5.0  # the share of naive Bayes, divided by the square of the number of labels
SMOOTHING = 0.1
NOISE_FROM = 1000  # rows from which wrong labels are looked for
PARTS, PARTS_TO = 5, 20_000  # by models of all but one part each; beyond so many rows halves tell as much
ABSENT = -10.0  # the score of a label that no row has
SHARPNESS = 3.0  # standard deviations of scores to a log-likelihood; calibration does the rest


@dataclass(frozen=True)
class Linear:
    """Learns once from all features, then again from the strongest ones that fit each size."""

    kind: str = "ml"

    @property
    def names(self) -> list[str]:
        return [*SHARES, *LARGEST]

    def refuses(self, problem: Problem) -> str | None:
        if find_spec("sklearn") is None:
            return "needs scikit-learn: pip install 'loopai-runtime[train]'"
        return not_labels(problem)

    def fit(self, problem: Problem, rows: Rows, seed: int) -> list[Table]:
        learning = Learning(problem, rows, seed)
        most = room(len(learning.targets.labels))
        parts = [1.0 if len(problem) < SMALL_FROM else part for part in SHARES.values()]
        sizes = [int(part * most) for part in parts] + [max(most, size) for size in LARGEST.values()]
        return learning.tables(sizes)

    def usual(self, problem: Problem, rows: Rows, seed: int) -> Table:
        """The table of the middle size alone."""
        learning = Learning(problem, rows, seed)
        return learning.tables([room(len(learning.targets.labels))])[0]


class Learning:
    """One set of rows to learn from."""

    def __init__(self, problem: Problem, rows: Rows, seed: int) -> None:
        self.words = Vocabulary.of(problem, Reading.of(problem, letters=True))
        self.targets = Targets.of(problem, rows, self.words)
        self.seed = seed
        self._learn_from(list(range(len(self.targets.rows))))
        if len(rows) >= NOISE_FROM and not self.targets.many:
            wrong = set(self._mislabelled())
            if wrong:
                self._learn_from([at for at in range(len(self.targets.rows)) if at not in wrong])

    def _learn_from(self, places: list[int]) -> None:
        """Take these of the rows, by their places in `targets.rows`."""
        rows = [self.targets.rows[at] for at in places]
        self.marks = [self.targets.marks[at] for at in places]
        self.rarity = self.words.rarities(rows)
        self.matrix = self.words.matrix[rows]

    def _mislabelled(self) -> list[int]:
        """Rows whose labels a model of other rows takes for wrong."""
        import numpy as np

        features = sorted(self.rarity)
        inputs, codes = self._vectors(features)[0], np.array([label for (label,) in self.marks])
        parts = PARTS if len(codes) <= PARTS_TO else 2
        place = np.random.RandomState(self.seed).permutation(len(codes)) % parts
        scores = np.zeros((len(codes), len(self.targets.labels)))
        for part in range(parts):
            weights, biases = self._one(inputs[place != part], codes[place != part])
            scores[place == part] = inputs[place == part] @ weights.T + biases
        scores *= SHARPNESS / (float(scores.std()) or 1.0)
        top = scores.max(axis=1)
        evidence = -np.log(np.exp(scores - top[:, None]).sum(axis=1) - 1 + 1e-12)
        return mislabelled(evidence.tolist(), (scores.argmax(axis=1) == codes).tolist())

    def tables(self, sizes: list[int]) -> list[Table]:
        """A table for each size in bytes, ascending; one that would be as the one before it is that one."""
        features = sorted(self.rarity)
        whole = self.train(features)
        order = self._strongest(features, whole)
        names = [self.words.names[at] for at in order]
        alike = self._alike(features)
        kinds = [alike[at] for at in order]
        tables: list[Table] = []
        known = 0
        for size in sizes:
            most = fitting(names, kinds, len(self.targets.labels), size)
            if tables and most == known:
                tables.append(tables[-1])
            elif most == len(features):
                tables.append(self.table(features, whole))
            else:
                kept = sorted(order[:most])
                tables.append(self.table(kept, self.train(kept)))
            known = most
        return tables

    def _alike(self, features: list[int]) -> dict[int, tuple[float, int]]:
        """What features that the same rows have are known by: they get the same weights."""
        import numpy as np

        draws = np.random.RandomState(self.seed).random_sample(self.matrix.shape[0])
        sums = (self.matrix.T @ draws).tolist()
        return {at: (sums[at], self.rarity[at]) for at in features}

    def _strongest(self, features: list[int], model: Model) -> list[int]:
        strength = (model.raw.std(axis=0) * model.energy**COMMON).tolist()
        pairs = sorted(zip(strength, features, strict=True), key=lambda p: (-p[0], self.words.names[p[1]]))
        return [at for _, at in pairs]

    def train(self, features: list[int]) -> Model:
        import numpy as np

        inputs, rarity = self._vectors(features)
        if self.targets.many:
            weights, biases = self._many(inputs)
        else:
            weights, biases = self._one(inputs, np.array([label for (label,) in self.marks]))
        spread = float((inputs @ weights.T + biases).std()) or 1.0
        energy = np.asarray(inputs.multiply(inputs).sum(axis=0)).ravel()
        return Model(weights, weights * np.sqrt(rarity), biases, SHARPNESS / spread, energy)

    def _vectors(self, features: list[int]) -> tuple[Any, Any]:
        """Inputs as vectors of length 1, and the rarity of each feature."""
        import numpy as np
        from scipy.sparse import diags

        rarity = np.array([self.rarity[at] for at in features], dtype=float)
        inputs = self.matrix[:, features]
        length = np.sqrt(np.maximum(inputs @ rarity, 1.0))
        return (diags(1.0 / length) @ inputs @ diags(np.sqrt(rarity))).tocsr(), rarity

    def _one(self, inputs: Any, codes: Any) -> tuple[Any, Any]:
        """One label of several: each against the rest, and naive Bayes. A label without a row is never best."""
        import numpy as np

        present, places = np.unique(codes, return_inverse=True)
        size = len(self.targets.labels)
        every = np.zeros((size, inputs.shape[1])), np.full(size, ABSENT)
        if len(present) == 1:
            every[1][present] = 0.0
            return every
        weights, biases = _machine(inputs, codes, self.seed, balanced=True)
        if len(weights) == 1:
            weights, biases = np.vstack([-weights, weights]), np.concatenate([-biases, biases])
        bayes = naive_bayes(inputs, places, len(present))
        spread = [float((inputs @ part.T).std()) or 1.0 for part in (weights, bayes)]
        every[0][present] = weights / spread[0] + BAYES / size**2 / spread[1] * bayes
        every[1][present] = biases / spread[0]
        return every

    def _many(self, inputs: Any) -> tuple[Any, Any]:
        """Each label by itself: present or not. A label that all rows have needs no features."""
        import numpy as np

        weights = np.zeros((len(self.targets.labels), inputs.shape[1]))
        biases = np.ones(len(self.targets.labels))
        for label in range(len(biases)):
            present = [label in marks for marks in self.marks]
            if not all(present):
                own, bias = _machine(inputs, present, self.seed, balanced=False)
                weights[label], biases[label] = own[0], bias[0]
        return weights, biases

    def table(self, features: list[int], model: Model) -> Table:
        names = [self.words.names[at] for at in features]
        return Table(
            self.targets.labels,
            dict(zip(names, model.weights.T.tolist(), strict=True)),
            {name: self.rarity[at] for name, at in zip(names, features, strict=True)},
            [float(f"{bias:.6g}") for bias in model.biases],
            self.words.reading,
            f"linear model of {len(names)} words and runs of letters",
            float(f"{model.sharpness:.6g}"),
            self.targets.many,
            self.targets.never_empty,
        )


class Model(NamedTuple):
    """Weights of each label (rows) for each feature (columns): of vectors, and as a table has them; how much of
    each feature there is."""

    raw: Any
    weights: Any
    biases: Any
    sharpness: float
    energy: Any


def _machine(inputs: Any, codes: Any, seed: int, balanced: bool) -> tuple[Any, Any]:
    """A support vector machine for each label against the rest (one for two labels): weights and biases."""
    from sklearn.svm import LinearSVC

    weight = "balanced" if balanced else None
    model = LinearSVC(C=COST, class_weight=weight, random_state=seed, dual=True, tol=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that stops a little early is still a fit
        model.fit(inputs, codes)
    return model.coef_, model.intercept_


def naive_bayes(inputs: Any, codes: Any, labels: int) -> Any:
    """The weights of complement naive Bayes, as `NaiveBayes` has them, for many rows at once."""
    import numpy as np

    present = np.zeros((len(codes), labels))
    present[np.arange(len(codes)), codes] = 1.0
    sums = (inputs.T @ present).T
    others = sums.sum(axis=0) - sums + SMOOTHING
    weights = -np.log(others / others.sum(axis=1, keepdims=True))
    return weights - weights.mean(axis=0)


def candidates() -> list[Linear]:
    return [Linear()]
