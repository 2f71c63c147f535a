"""What generating programs costs and what they are worth, beside scikit-learn: `python -m tests.bench.synthesis`.

Four tables in Markdown: programs from whole sets; from 20, 100 and 500 rows, five seeds each; from rows of which a
tenth have a wrong label; how often `confidence_score` holds. Beside each stands the best of three models that a
scikit-learn user would fit to the same rows, picked on the test rows: more than anybody can have. `--quick` takes
few sets and trials, `--only NAME` one table. Nothing here asserts: the bars are in docs/benchmarks.md, beside the
last numbers.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tests import shared_data

from loopai_runtime.synthesis.near import near_groups
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.synthesize import synthesize

Rows = list[dict[str, Any]]
SETS = ["sms_spam", "trec6", "snips_intent", "banking77", "langid20", "mr_polarity"]
TRIAL_SETS = ["sms_spam", "trec6", "snips_intent", "mr_polarity", "langid20"]
TRIAL_SIZES = [50, 100, 200, 500]
FEW = [20, 100, 500]
SLOW = 300_000  # labels times rows from which logistic regression is left out


class Measured(NamedTuple):
    """One program: its learner, accuracy on test rows, bytes, mean microseconds a call, seconds to generate."""

    learner: str
    accuracy: float
    bound: float
    bytes: int
    microseconds: float
    seconds: float


def problem_of(name: str, rows: Rows, **settings: Any) -> Problem:
    inputs = [row["input"] for row in rows]
    groups = near_groups(inputs, [json.dumps(value, sort_keys=True) for value in inputs])
    schema = shared_data.card(name)["output_schema"]
    return Problem(name, {}, schema, inputs, [row["output"] for row in rows], groups, **settings)


def measure(name: str, rows: Rows, test: Rows, strategy: str = "auto", seed: int = 0) -> Measured:
    """Generate from `rows`, then run the program as it was written on `test`."""
    started = time.perf_counter()
    made = synthesize(problem_of(name, rows), strategy=strategy, seed=seed)
    seconds = time.perf_counter() - started
    program: dict[str, Any] = {}
    exec(compile(made.code, "program.py", "exec"), program)
    started = time.perf_counter()
    answers = [program["score"](row["input"])[0] for row in test]
    microseconds = (time.perf_counter() - started) / len(test) * 1e6
    accuracy = sum(a == row["output"] for a, row in zip(answers, test, strict=True)) / len(test)
    return Measured(made.learner, accuracy, made.confidence_score, len(made.code.encode()), microseconds, seconds)


def peer(rows: Rows, test: Rows) -> tuple[float, float]:
    """TF-IDF of words and letters into the best of three linear models: accuracy, and µs for one prediction."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import ComplementNB
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    text = make_union(words, letters)
    labels, right = [row["output"] for row in rows], [row["output"] for row in test]
    inputs, fresh = text.fit_transform([_text(row) for row in rows]), text.transform([_text(row) for row in test])
    models = [LinearSVC(), ComplementNB()]
    if len(set(labels)) * len(rows) < SLOW:
        models.append(LogisticRegression(C=10, max_iter=200))
    best = max(float((model.fit(inputs, labels).predict(fresh) == right).mean()) for model in models)
    sample, whole = [_text(row) for row in test[:200]], make_pipeline(text, models[0])
    started = time.perf_counter()
    for one in sample:
        whole.predict([one])
    return best, (time.perf_counter() - started) / len(sample) * 1e6


def _text(row: dict[str, Any]) -> str:
    return " ".join(value for value in row["input"].values() if isinstance(value, str))


def some(rows: Rows, n: int, seed: int) -> Rows:
    """Rows of at least two labels."""
    draw = random.Random(f"{n}/{seed}")
    while True:
        drawn = draw.sample(rows, min(n, len(rows)))
        if len({row["output"] for row in drawn}) > 1:
            return drawn


def programs(sets: Iterable[str]) -> None:
    print("| set | rows | test accuracy | bound | scikit-learn | learner | bytes | µs/call | sk µs | generate s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in sets:
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")
        ours, (theirs, cost) = measure(name, train, test), peer(train, test)
        print(
            f"| {name} | {len(train)} | {ours.accuracy:.4f} | {ours.bound:.4f} | {theirs:.4f} | {ours.learner} "
            f"| {ours.bytes:,} | {ours.microseconds:.0f} | {cost:.0f} | {ours.seconds:.1f} |",
            flush=True,
        )


def few(sets: Iterable[str], sizes: Iterable[int], seeds: int) -> None:
    """Mean accuracy of programs from few rows, and how far above (+) or below (-) scikit-learn that is."""
    sizes = list(sizes)
    heads = " | ".join(f"{n} rows | sk | gap, points" for n in sizes)
    print(f"\n| set | {heads} |\n|---|{'---|' * 3 * len(sizes)}")
    for name in sets:
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")[:2000]
        cells = []
        for n in sizes:
            draws = [some(train, n, seed) for seed in range(seeds)]
            ours = sum(measure(name, rows, test).accuracy for rows in draws) / seeds
            theirs = sum(peer(rows, test)[0] for rows in draws) / seeds
            cells.append(f"{ours:.3f} | {theirs:.3f} | {100 * (ours - theirs):+.1f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def noise(sets: Iterable[str], rows: int) -> None:
    """What it costs that a tenth of the labels is the label that is most often taken for the right one."""
    print("\n| set | rows | clean | a tenth wrong | cost, points |\n|---|---|---|---|---|")
    for name in sets:
        train, test = some(shared_data.rows(name, "train"), rows, 0), shared_data.rows(name, "test")
        clean = measure(name, train, test, "ml").accuracy
        noisy = measure(name, wrong(train, 0.1, 0), test, "ml").accuracy
        print(f"| {name} | {len(train)} | {clean:.4f} | {noisy:.4f} | {100 * (clean - noisy):+.2f} |", flush=True)


def wrong(rows: Rows, share: float, seed: int) -> Rows:
    """Rows of which a share has the label whose words are most like those of the right one."""
    words: dict[str, Counter[str]] = {}
    for row in rows:
        words.setdefault(row["output"], Counter()).update(set(_text(row).lower().split()))
    length = {label: math.sqrt(sum(n * n for n in own.values())) for label, own in words.items()}
    near = {
        label: max(
            (other for other in sorted(words) if other != label),
            key=lambda other: sum(n * words[other][w] for w, n in own.items()) / length[other],
        )
        for label, own in words.items()
    }
    draw = random.Random(seed)
    return [row | {"output": near[row["output"]]} if draw.random() < share else row for row in rows]


def bounds(sets: Iterable[str], sizes: Iterable[int], seeds: int) -> None:
    """Trials in which the accuracy on test rows was at or above `confidence_score`."""
    held = trials = 0
    sizes = list(sizes)
    print(f"\n| set | {' | '.join(f'{n} rows' for n in sizes)} |\n|---|{'---|' * len(sizes)}")
    for name in sets:
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")
        cells = []
        for n in sizes:
            made = [measure(name, some(train, n, seed), test, seed=seed) for seed in range(seeds)]
            good = sum(one.accuracy >= one.bound for one in made)
            held, trials = held + good, trials + seeds
            cells.append(f"{good}/{seeds}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\nconfidence_score held in {held} of {trials} trials: {held / trials:.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", choices=["programs", "few", "noise", "bounds"])
    arguments = parser.parse_args()
    quick, seeds = arguments.quick, arguments.seeds
    tables: dict[str, Callable[[], None]] = {
        "programs": lambda: programs(SETS[:1] if quick else SETS),
        "few": lambda: few(SETS[:1], [20], 2) if quick else few(SETS, FEW, seeds),
        "noise": lambda: noise(SETS[:1] if quick else SETS, 1200 if quick else 10_000),
        "bounds": lambda: bounds(TRIAL_SETS[:1], [50], 2) if quick else bounds(TRIAL_SETS, TRIAL_SIZES, seeds),
    }
    for name, table in tables.items():
        if arguments.only in (None, name):
            table()


if __name__ == "__main__":
    main()
