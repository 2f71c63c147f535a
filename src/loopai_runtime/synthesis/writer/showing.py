"""Which examples a prompt shows, within a budget of characters, and how data stands in it: fenced, as JSON."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from loopai_runtime import jsonl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loopai_runtime.synthesis.strategy import JSON, Problem, Rows

MOST_ROWS = 48
MOST_CHARACTERS = 14_000
MOST_A_TEXT = 1_200


def chosen(problem: Problem, rows: Rows, seed: int) -> list[int]:
    """Rows to show, every output as often as possible, one of each near-duplicate group first, in random order."""
    draw = random.Random(seed)  # noqa: S311  a seed, not a secret
    order = list(rows)
    draw.shuffle(order)
    met: dict[int, int] = {}
    rank: list[tuple[int, int, int]] = []
    groups: set[int] = set()
    for at, row in enumerate(order):
        again = problem.groups[row] in groups
        groups.add(problem.groups[row])
        code = problem.codes[row]
        met[code] = met.get(code, 0) + 1
        rank.append((met[code] + (1000 if again else 0), at, row))
    found: list[int] = []
    used = 0
    for _, _, row in sorted(rank)[:MOST_ROWS]:
        used += len(example(problem.inputs[row], problem.outputs[row]))
        if found and used > MOST_CHARACTERS:
            break
        found.append(row)
    draw.shuffle(found)
    return found


def example(given: JSON, output: JSON, **more: JSON) -> str:
    return jsonl.dumps({"input": clipped(given), "output": clipped(output), **more})


def clipped(value: JSON) -> JSON:
    """A value whose texts are cut where they are longer than a prompt should show."""
    if isinstance(value, str):
        return value if len(value) <= MOST_A_TEXT else value[:MOST_A_TEXT] + "… (cut here in this prompt only)"
    if isinstance(value, dict):
        return {key: clipped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clipped(item) for item in value[:50]]
    return value


def fenced(name: str, lines: Iterable[str]) -> str:
    """Lines of data between tags that no line of it can close: their name depends on all of it."""
    text = "\n".join(lines)
    tag = f"{name}-{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"
    return f"<{tag}>\n{text}\n</{tag}>"


def shares(problem: Problem, rows: Sequence[int]) -> list[str]:
    """How often each output is given, the most frequent first."""
    counts: dict[int, int] = {}
    for row in rows:
        counts[problem.codes[row]] = counts.get(problem.codes[row], 0) + 1
    order = sorted(counts, key=lambda code: (-counts[code], code))
    return [f"{jsonl.dumps(problem.labels[code])}: {counts[code]}" for code in order[:100]]
