"""What generating programs costs and what they are worth, beside scikit-learn: `python -m tests.bench.synthesis`.

Three tables in Markdown: programs on whole sets and on 500 rows, beside the model that a scikit-learn user would
fit to the same rows; how often `confidence_score` holds; what the generated files weigh and take. `--quick` takes
few sets and trials. Nothing here asserts: the bars are in docs/benchmarks.md, beside the last numbers.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from tests import shared_data

from loopai_runtime.synthesis.near import near_groups
from loopai_runtime.synthesis.strategy import Problem
from loopai_runtime.synthesis.synthesize import synthesize

Rows = list[dict[str, Any]]
SETS = ["sms_spam", "trec6", "snips_intent", "banking77", "langid20", "mr_polarity"]
TRIAL_SETS = ["sms_spam", "trec6", "snips_intent", "mr_polarity", "langid20"]
TRIAL_SIZES = [50, 100, 200, 500]


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
    return Problem(name, {}, {}, inputs, [row["output"] for row in rows], groups, **settings)


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
    """TF-IDF of words and letters into a linear SVM: accuracy on test, and microseconds for one prediction."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, letters), LinearSVC())
    model.fit([_text(row) for row in rows], [row["output"] for row in rows])
    hits = model.predict([_text(row) for row in test]) == [row["output"] for row in test]
    sample = [_text(row) for row in test[:200]]
    started = time.perf_counter()
    for text in sample:
        model.predict([text])
    return float(hits.mean()), (time.perf_counter() - started) / len(sample) * 1e6


def _text(row: dict[str, Any]) -> str:
    return " ".join(value for value in row["input"].values() if isinstance(value, str))


def some(rows: Rows, n: int, seed: int) -> Rows:
    return random.Random(f"{n}/{seed}").sample(rows, min(n, len(rows)))


def programs(sets: Iterable[str]) -> None:
    print(
        "| set | rows | test accuracy | bound | scikit-learn | learner | bytes | µs/call | sk µs/call | generate s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in sets:
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")
        for rows in (train, some(train, 500, 0)) if name != "banking77" else (train,):
            ours, (theirs, cost) = measure(name, rows, test), peer(rows, test)
            print(
                f"| {name} | {len(rows)} | {ours.accuracy:.4f} | {ours.bound:.4f} | {theirs:.4f} | {ours.learner} "
                f"| {ours.bytes:,} | {ours.microseconds:.0f} | {cost:.0f} | {ours.seconds:.1f} |",
                flush=True,
            )


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
    parser.add_argument("--seeds", type=int, default=6)
    arguments = parser.parse_args()
    programs(SETS[:1] if arguments.quick else SETS)
    if arguments.quick:
        bounds(TRIAL_SETS[:1], [50, 100], 2)
    else:
        bounds(TRIAL_SETS, TRIAL_SIZES, arguments.seeds)


if __name__ == "__main__":
    main()
