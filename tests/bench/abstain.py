"""What abstaining promises and what it keeps: `python -m tests.bench.abstain [--quick]`.

Three tables in Markdown. Coverage: the share of test rows that is answered at a target accuracy of .95 with
confidence .95, learned from the first 5,000 training rows, beside what a sentence-embedding surrogate and a plain
TF-IDF gate reach on the same rows (measured once, with the data). Guarantee: in how many trials on random rows the
accuracy of what is answered, on all the rows that were not drawn, meets the target. Calibration: the expected
calibration error of `score` on test rows, in ten bins of equal width.
"""

from __future__ import annotations

import argparse
import random
from typing import Any

from tests import shared_data
from tests.bench.synthesis import SETS, Rows, problem_of, some

from loopai_runtime.synthesis.synthesize import synthesize

TARGET = 0.95
COVERED = {"banking77": (0.80, 0.837, 0.768), "trec6": (0.70, 0.354, 0.705), "sms_spam": (0.99, 0.994, 0.998),
           "snips_intent": (0.99, 0.991, 1.0)}  # fmt: skip
"""Set -> bar, embedding surrogate, TF-IDF gate."""
TRIAL_ROWS = 600


def answered(name: str, rows: Rows, test: Rows, seed: int = 0) -> tuple[float, float | None]:
    """Share of `test` that a program from `rows` answers under the guarantee, and how often it is right there."""
    problem = problem_of(name, rows, offload_target=TARGET)
    made = synthesize(problem, strategy="auto", seed=seed)
    threshold = made.offload.threshold
    if threshold is None:
        return 0.0, None
    program: dict[str, Any] = {}
    exec(compile(made.code, "program.py", "exec"), program)
    given = [(program["score"](row["input"]), row["output"]) for row in test]
    hits = [answer == right for (answer, sure), right in given if sure >= threshold]
    return len(hits) / len(test), sum(hits) / len(hits) if hits else None


def coverage() -> None:
    print("| set | answered | right | bar | embedding surrogate | TF-IDF gate |\n|---|---|---|---|---|---|")
    for name, (bar, surrogate, gate) in COVERED.items():
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")
        share, right = answered(name, train[:5000], test)
        print(f"| {name} | {share:.3f} | {right or 0:.4f} | {bar} | {surrogate} | {gate} |", flush=True)


def guarantee(trials: int) -> None:
    kept = total = 0
    print("\n| set | trials | kept | mean share answered |\n|---|---|---|---|")
    for name in COVERED:
        rows = shared_data.rows(name, "train") + shared_data.rows(name, "test")
        good, shares = 0, []
        for seed in range(trials):
            order = random.Random(f"{name}/{seed}").sample(range(len(rows)), min(len(rows), TRIAL_ROWS + 4000))
            train, rest = order[:TRIAL_ROWS], order[TRIAL_ROWS:]
            share, right = answered(name, [rows[at] for at in train], [rows[at] for at in rest], seed)
            good += right is None or right >= TARGET
            shares.append(share)
        kept, total = kept + good, total + trials
        print(f"| {name} | {trials} | {good} | {sum(shares) / len(shares):.3f} |", flush=True)
    print(f"\nthe target was met in {kept} of {total} trials: {kept / total:.1%}")


def calibration(sizes: list[int]) -> None:
    print(f"\n| set | {' | '.join(f'{n:,} rows' for n in sizes)} |\n|---|{'---|' * len(sizes)}")
    for name in SETS:
        train, test = shared_data.rows(name, "train"), shared_data.rows(name, "test")
        cells = []
        for n in sizes:
            made = synthesize(problem_of(name, some(train, n, 0)), strategy="auto", seed=0)
            program: dict[str, Any] = {}
            exec(compile(made.code, "program.py", "exec"), program)
            bins: dict[int, list[float]] = {}
            for row in test:
                answer, sure = program["score"](row["input"])
                bins.setdefault(min(9, int(sure * 10)), []).append(sure - (answer == row["output"]))
            cells.append(sum(abs(sum(gaps)) for gaps in bins.values()) / len(test))
        print(f"| {name} | {' | '.join(f'{cell:.3f}' for cell in cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--trials", type=int, default=50)
    arguments = parser.parse_args()
    if not arguments.quick:
        coverage()
        calibration([500, 2000, 20_000])
    guarantee(2 if arguments.quick else arguments.trials)


if __name__ == "__main__":
    main()
