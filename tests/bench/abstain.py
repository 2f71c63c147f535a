"""What abstaining promises and what it keeps: `python -m tests.bench.abstain [--quick]`.

Three tables in Markdown. Coverage: the share of test rows that is answered at a target accuracy of .95 with
confidence .95, learned from the first 5,000 training rows, beside what a sentence-embedding surrogate and a plain
TF-IDF gate reach on the same rows (measured once, with the data). Guarantee: in how many trials on random rows the
accuracy of what is answered, on rows that were not drawn, meets the target, and how much more a threshold would
answer that was chosen on those very rows; the linear table is the only candidate, so that a trial takes seconds.
Calibration: the expected calibration error of `score` on test rows, in ten bins of equal width.
"""

from __future__ import annotations

import argparse
import random
from itertools import accumulate
from typing import Any, NamedTuple
from unittest import mock

from tests import shared_data
from tests.bench.synthesis import SETS, Rows, problem_of, some

from loopai_runtime.synthesis import synthesize as synthesizing
from loopai_runtime.synthesis.learners import linear
from loopai_runtime.synthesis.synthesize import synthesize

TARGET = 0.95
COVERED = {"banking77": (0.80, 0.837, 0.768), "trec6": (0.70, 0.354, 0.705), "sms_spam": (0.99, 0.994, 0.998),
           "snips_intent": (0.99, 0.991, 1.0)}  # fmt: skip
"""Set -> bar, embedding surrogate, TF-IDF gate."""
TRIALS = {"sms_spam": 0.99, "snips_intent": 0.98, "trec6": 0.9}
"""Set -> target of the trials: one that answering everything would miss."""
TRIAL_ROWS, UNSEEN_ROWS = 1000, 2000
DRAWS = 5  # whose calibration errors are averaged, where rows are few


class Answered(NamedTuple):
    """Share of test rows that is answered, how often that is right, and the share that could be answered at the
    target by the best threshold for those rows."""

    share: float
    right: float | None
    possible: float


def answered(name: str, rows: Rows, test: Rows, target: float = TARGET, seed: int = 0) -> Answered:
    """What a program from `rows` answers of `test` under the guarantee."""
    made = synthesize(problem_of(name, rows, offload_target=target), strategy="auto", seed=seed)
    program: dict[str, Any] = {}
    exec(compile(made.code, "program.py", "exec"), program)
    given = [(*program["score"](row["input"]), row["output"]) for row in test]
    ranked = sorted([(sure, answer == right) for answer, sure, right in given], reverse=True)
    hits = accumulate([hit for _, hit in ranked])
    possible = max([at for at, right in enumerate(hits, 1) if right >= target * at], default=0) / len(test)
    threshold = made.offload.threshold
    own = [hit for sure, hit in ranked if threshold is not None and sure >= threshold]
    return Answered(len(own) / len(test), sum(own) / len(own) if own else None, possible)


def coverage() -> None:
    print(
        "| set | answered | right | possible | bar | embedding surrogate | TF-IDF gate |\n|---|---|---|---|---|---|---|"
    )
    for name, (bar, surrogate, gate) in COVERED.items():
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")
        one = answered(name, train[:5000], test)
        print(f"| {name} | {one.share:.3f} | {one.right or 0:.4f} | {one.possible:.3f} | {bar} | {surrogate} | {gate} |",
              flush=True)  # fmt: skip


def guarantee(trials: int) -> None:
    with mock.patch.object(synthesizing, "strategies", linear.candidates):
        _guarantee(trials)


def _guarantee(trials: int) -> None:
    kept = total = 0
    print("\n| set | target | trials | kept | some answered | mean share answered | possible |")
    print("|---|---|---|---|---|---|---|")
    for name, target in TRIALS.items():
        rows = shared_data.rows(name, "train") + shared_data.rows(name, "test")
        found = []
        for seed in range(trials):
            drawn = random.Random(f"{name}/{seed}").sample(rows, min(len(rows), TRIAL_ROWS + UNSEEN_ROWS))
            found.append(answered(name, drawn[:TRIAL_ROWS], drawn[TRIAL_ROWS:], target, seed))
        good = sum(one.right is None or one.right >= target for one in found)
        kept, total = kept + good, total + trials
        some_answered = sum(one.right is not None for one in found)
        share, possible = (sum(column) / trials for column in list(zip(*found, strict=True))[::2])
        print(
            f"| {name} | {target} | {trials} | {good} | {some_answered} | {share:.3f} | {possible:.3f} |",
            flush=True,
        )
    print(f"\nthe target was met in {kept} of {total} trials: {kept / total:.1%}")


def calibration(sizes: list[int]) -> None:
    print(f"\n| set | {' | '.join(f'{n:,} rows' for n in sizes)} |\n|---|{'---|' * len(sizes)}")
    for name in SETS:
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")
        cells = []
        for n in sizes:
            draws = DRAWS if n < 1000 else 1
            cells.append(sum(_error(name, some(train, n, seed), test) for seed in range(draws)) / draws)
        print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |", flush=True)


def _error(name: str, rows: Rows, test: Rows) -> float:
    """The expected calibration error of a table from these rows."""
    made = synthesize(problem_of(name, rows), strategy="ml", seed=0)
    program: dict[str, Any] = {}
    exec(compile(made.code, "program.py", "exec"), program)
    bins: dict[int, list[float]] = {}
    for row in test:
        answer, sure = program["score"](row["input"])
        bins.setdefault(min(9, int(sure * 10)), []).append(sure - (answer == row["output"]))
    return sum(abs(sum(gaps)) for gaps in bins.values()) / len(test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["coverage", "guarantee", "calibration"])
    parser.add_argument("--trials", type=int, default=70)
    arguments = parser.parse_args()
    wanted = "guarantee" if arguments.quick else arguments.only
    if wanted in (None, "coverage"):
        coverage()
    if wanted in (None, "calibration"):
        calibration([500, 2000, 20_000])
    if wanted in (None, "guarantee"):
        guarantee(1 if arguments.quick else arguments.trials)


if __name__ == "__main__":
    main()
