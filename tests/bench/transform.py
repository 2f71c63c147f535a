"""What programs learned from a few examples are worth on the rest: `python -m tests.bench.transform [--quick]`.

A task counts as right where the emitted program, learned from the first n examples, is right on *all* remaining ones.
A fifth of the tasks is held out by family (tasks that share their first input): costs and confidence were fitted
without it, and both numbers are printed. `--cvc5 SECONDS` runs the SyGuS solver cvc5 on the SyGuS tasks beside.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests import shared_data

from loopai_runtime.synthesis.dsl import Transformation, transform

SETS = {"SyGuS": "sygus_pbe_slia", "PROSE": "prose_transformation_text", "TDE": "tde_transform"}
BARS = {("SyGuS", 3): 78, ("PROSE", 1): 42, ("PROSE", 2): 55, ("PROSE", 3): 65, ("TDE", 3): 28}
BASELINES = {
    "SyGuS": {1: 53, 2: 64, 3: 73},
    "PROSE": {1: 34, 2: 44, 3: 55},
    "TDE": {1: 11, 2: 16, 3: 22},
}
"""A 250-line enumerative prototype, measured once with the data."""
SURE = 0.9


@dataclass(frozen=True)
class Task:
    """Rows of strings, and whether the task was kept out of all fitting."""

    name: str
    inputs: list[Any]
    outputs: list[str]
    held_out: bool


@dataclass(frozen=True)
class Result:
    """What one program was worth."""

    task: Task
    made: Transformation | None
    right: bool
    seconds: float
    microseconds: float


def tasks(label: str) -> list[Task]:
    """The tasks of a set whose inputs and outputs are strings."""
    found = []
    for record in shared_data.tasks(SETS[label]):
        if record.get("ret", "String") != "String":
            continue
        rows = [[_text(part) for part in example["input"]] for example in record["examples"]]
        first = json.dumps(record["examples"][0]["input"], ensure_ascii=False)
        named = [{f"input{i + 1}": part for i, part in enumerate(row)} if len(row) > 1 else row[0] for row in rows]
        held_out = hashlib.sha256(first.encode()).digest()[0] % 5 == 0
        outputs = [_text(example["output"]) for example in record["examples"]]
        found.append(Task(record["name"], named, outputs, held_out))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def learn(task: Task, n: int, seconds: float = 10.0) -> Result:
    """Learn from the first n examples, then run the program as it was written on all of them."""
    started = time.perf_counter()
    made = transform(task.inputs[:n], task.outputs[:n], name=task.name, seconds=seconds)
    spent = time.perf_counter() - started
    if made is None:
        return Result(task, None, False, spent, 0.0)
    program: dict[str, Any] = {}
    exec(compile(made.code, "program.py", "exec"), program)
    run: Callable[[Any], str] = program["run"]
    sample = task.inputs[:200]
    run(sample[0])  # compiles its patterns
    passes = []
    for _ in range(5):
        started = time.perf_counter()
        for value in sample:
            run(value)
        passes.append((time.perf_counter() - started) / len(sample) * 1e6)
    cost = min(passes)
    right = all(run(value) == output for value, output in zip(task.inputs, task.outputs, strict=True))
    return Result(task, made, right, spent, cost)


def share(results: Sequence[Result], says: Callable[[Result], bool]) -> str:
    return f"{100 * sum(map(says, results)) / len(results):.1f}" if results else "-"


def generalisation(sets: dict[str, list[Task]], counts: Sequence[int]) -> list[Result]:
    print(
        "| set | n | tasks | right % | bar | prototype | fitted on % | held out % | some program % | seconds, median / p90 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    everything = []
    for label, some in sets.items():
        for n in counts:
            results = [learn(task, n) for task in some]
            everything += results if n == 3 else []
            held = [one for one in results if one.task.held_out]
            tuned = [one for one in results if not one.task.held_out]
            times = sorted(one.seconds for one in results)
            print(
                f"| {label} | {n} | {len(results)} | {share(results, _right)} | {BARS.get((label, n), '')} "
                f"| {BASELINES[label].get(n, '')} | {share(tuned, _right)} ({len(tuned)}) | {share(held, _right)} ({len(held)}) "
                f"| {share(results, lambda one: one.made is not None)} "
                f"| {statistics.median(times):.3f} / {times[len(times) * 9 // 10]:.3f} |",
                flush=True,
            )
    return everything


def _right(result: Result) -> bool:
    return result.right


def confidence(results: Sequence[Result]) -> None:
    """Whether programs with a confidence of .9 keep it, with three examples."""
    print(
        f"\n| n = 3, programs | confidence >= {SURE} | of them right % (bar 90) | share of the right ones % (bar 40) |"
    )
    print("|---|---|---|---|")
    for name, some in (
        ("all", results),
        ("fitted on", [one for one in results if not one.task.held_out]),
        ("held out", [one for one in results if one.task.held_out]),
    ):
        # A task with no row left says nothing about unseen ones.
        made = [one for one in some if one.made is not None and len(one.task.inputs) > 3]
        sure = [one for one in made if one.made is not None and one.made.confidence >= SURE]
        right = [one for one in made if one.right]
        reached = [one for one in sure if one.right]
        kept = f"{100 * len(reached) / len(sure):.1f}" if sure else "-"
        print(f"| {name} ({len(made)}) | {len(sure)} | {kept} | {100 * len(reached) / max(1, len(right)):.1f} |")
    print("\n| form | programs | right % |\n|---|---|---|")
    for form in ("straight", "conditional"):
        some = [one for one in results if one.made is not None and one.made.form == form]
        print(f"| {form} | {len(some)} | {share(some, _right)} |")
    calls = [one.microseconds for one in results if one.made is not None]
    print(f"\nA call takes {statistics.median(calls):.1f} µs, at most {max(calls):.1f} µs (bar 50).")


def fits(some: Sequence[Task]) -> None:
    """SyGuS as its competition has it: one program for all examples."""
    results = [learn(task, len(task.inputs)) for task in some]
    slowest = max(one.seconds for one in results)
    fit = share(results, lambda one: one.right and one.seconds <= 10)
    straight = share(results, lambda one: one.right and one.made is not None and one.made.form == "straight")
    print(
        f"\nSyGuS, all examples, 10 s: {fit} % of {len(results)} fit (bar 95), {straight} % without conditions (bar 70), ",
        end="",
    )
    print(
        f"slowest {slowest:.1f} s. Not fit: {', '.join(one.task.name for one in results if not one.right) or 'none'}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every fourth task, three examples")
    parser.add_argument(
        "--cvc5", type=float, metavar="SECONDS", help="beside cvc5 (pip install cvc5), so long a task"
    )
    arguments = parser.parse_args()
    sets = {label: tasks(label)[:: 4 if arguments.quick else 1] for label in SETS}
    confidence(generalisation(sets, [3] if arguments.quick else [1, 2, 3]))
    fits(sets["SyGuS"])
    if arguments.cvc5:
        from tests.bench import sygus

        records = shared_data.tasks(SETS["SyGuS"])
        sygus.beside(sets["SyGuS"], {one["name"]: one["consts"] for one in records}, arguments.cvc5)


if __name__ == "__main__":
    main()
