"""What goes wrong most: failures that a task's checks found, grouped by what they have in common, with examples.

Failures are grouped by the answer and the right answer; within a group, the words that its inputs have far more
often than other inputs (smoothed log odds) say where to look. Errors are grouped by their type.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.datasets import raw, tally
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loopai_runtime.datasets.checked import Checked
    from loopai_runtime.flows.analysis import Analysis
    from loopai_runtime.layout import Layout

MOST_PATTERNS = 10
EXAMPLES = 3
WORDS = 4
_BACKGROUND = 2000  # other inputs that words are compared with
_LOOKED_AT = 500  # inputs of one group at most
_CLEARLY = 1.0  # log odds

_ID = re.compile(rb'"execution_id": ?"([^"\\]{1,64})"')
_WORD = re.compile(r"\w{2,30}")


@dataclass(slots=True)
class Pattern:
    """A kind of failure: how often, as a share of all checks (None for errors), and what its inputs have."""

    pattern: str
    count: int
    share: float | None
    words: list[str] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    """`execution_id, input, output`, and `right` where an oracle said it."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "pattern": self.pattern,
            "count": self.count,
            "share": None if self.share is None else round(self.share, 6),
            "words": self.words,
            "examples": self.examples,
        }


def failure_patterns(layout: Layout, analysis: Analysis) -> list[Pattern]:
    """The most frequent patterns of all tasks that were analysed. Raises StorageError."""
    found: list[Pattern] = []
    for task_id in analysis.stats:
        found += _checked_failures(layout, task_id, analysis.checked[task_id])
        found += _errors(layout, task_id, analysis)
    return sorted(found, key=lambda pattern: -pattern.count)[:MOST_PATTERNS]


def _checked_failures(layout: Layout, task_id: str, judged: Sequence[Checked]) -> list[Pattern]:
    groups: dict[str, list[Checked]] = {}
    for one in judged:
        if not one.match:
            groups.setdefault(f"{_short(one.output)} instead of {_short(one.right)}", []).append(one)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_PATTERNS]
    wanted = {one.execution_id for _, ones in ranked for one in ones[:_LOOKED_AT]}
    days = sorted({one.day for _, ones in ranked for one in ones})
    inputs, others = inputs_of(layout, task_id, days, wanted)
    usual = Counter(word for value in others for word in words_of(value))
    patterns = []
    for name, ones in ranked:
        here = [inputs[one.execution_id] for one in ones if one.execution_id in inputs]
        examples = [
            {
                "execution_id": one.execution_id,
                "input": inputs[one.execution_id],
                "output": one.output,
                "right": one.right,
            }
            for one in ones
            if one.execution_id in inputs
        ]
        words = typical_words(here, usual, len(others))
        patterns.append(Pattern(name, len(ones), len(ones) / len(judged), words, examples[:EXAMPLES]))
    return patterns


def _errors(layout: Layout, task_id: str, analysis: Analysis) -> Iterator[Pattern]:
    types: Counter[str] = Counter()
    for day in analysis.stats[task_id]:
        types.update(day.counts.failures)
    if not types:
        return
    examples: dict[str, list[dict[str, Any]]] = {}
    days = [day.day for day in analysis.stats[task_id] if day.counts.failures]
    for line in raw.lines(layout, task_id, reversed(days)):
        if b'"error"' not in line:
            continue
        record = _record(line)
        if record is not None and isinstance(error := record.get("error"), dict):
            shown = {name: record.get(name) for name in ("execution_id", "input", "output")}
            here = examples.setdefault(str(error.get("type")), [])
            if len(here) < EXAMPLES:
                here.append(shown | {"error": error.get("message")})
        if all(len(examples.get(kind, [])) >= min(EXAMPLES, count) for kind, count in types.items()):
            break
    for kind, count in types.items():
        yield Pattern(f"error {kind}", count, None, [], examples.get(kind, []))


def inputs_of(
    layout: Layout, task_id: str, days: Sequence[str], wanted: set[str]
) -> tuple[dict[str, Any], list[Any]]:
    """The inputs of the executions that are wanted, and some others to compare with."""
    found: dict[str, Any] = {}
    others: list[Any] = []
    left = {id_.encode() for id_ in wanted}
    for line in raw.lines(layout, task_id, days):
        match = _ID.search(line)
        if match is None or (match[1] not in left and len(others) >= _BACKGROUND):
            continue
        record = _record(line)
        if record is None or "input" not in record:
            continue
        if match[1] in left:
            found[match[1].decode()] = record["input"]
            left.discard(match[1])
            if not left:
                break
        else:
            others.append(record["input"])
    return found, others


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = tally.read(line)
    except InputError:
        return None
    return record if isinstance(record, dict) else None


def words_of(value: Any) -> set[str]:
    """The words of all texts in an input, without regard to case."""
    if isinstance(value, str):
        return set(_WORD.findall(value.lower()))
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*map(words_of, value)) if isinstance(value, list) else set()


def typical_words(inputs: Sequence[Any], usual: Counter[str], n_usual: int) -> list[str]:
    """The words that at least two of `inputs` have, and clearly more often than `n_usual` others do."""
    counts = Counter(word for value in inputs for word in words_of(value))

    def odds(word: str) -> float:
        here = (counts[word] + 0.5) / (len(inputs) - counts[word] + 0.5)
        elsewhere = (usual[word] + 0.5) / (n_usual - usual[word] + 0.5)
        return math.log(here / elsewhere)

    scored = {word: odds(word) * math.sqrt(count) for word, count in counts.items() if count >= 2}
    clear = [word for word in scored if odds(word) >= _CLEARLY]
    return sorted(clear, key=lambda word: (-scored[word], word))[:WORDS]


def _short(value: Any) -> str:
    text = jsonl.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"
