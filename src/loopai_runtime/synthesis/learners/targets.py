"""What a classifier is to answer: one of several labels, or several of them at once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.synthesis.labels import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.synthesis.strategy import JSON, Problem, Rows
    from loopai_runtime.synthesis.vocabulary import Vocabulary

FEW_EXAMPLES = 50  # rows for each label below which the names of labels are examples too
MANY_OUTPUTS = 0.5  # distinct labels by rows from which outputs are no labels


@dataclass(frozen=True)
class Targets:
    """The labels that some rows have, and for each row the places of its own among them.

    While examples are few, the name of a label is one more of them: its row in the vocabulary joins `rows`, and
    labels that the schema declares are known without any other.

    Where outputs are arrays, `many` is true and a row has any number of labels, listed in the schema's order or
    in the order that the examples show; `never_empty` says that every row had one at least.
    """

    rows: Rows
    labels: list[JSON]
    marks: list[tuple[int, ...]]
    many: bool
    never_empty: bool

    @classmethod
    def of(cls, problem: Problem, rows: Rows, words: Vocabulary) -> Targets:
        if are_lists(problem):
            return _lists(problem, rows)
        keys = [problem.keys[row] for row in rows]
        values = {problem.keys[row]: problem.outputs[row] for row in rows}
        hinted: list[bytes] = []
        if len(rows) < FEW_EXAMPLES * len(values):
            known = named(problem)
            hinted = [key for key, one in known.items() if one.declared or key in values]
            values |= {key: known[key].label for key in hinted}
        place = {key: at for at, key in enumerate(sorted(values))}
        every = [*rows, *[words.hints[key] for key in hinted]]
        return cls(every, [values[key] for key in place], [(place[key],) for key in keys + hinted], False, True)


def are_lists(problem: Problem) -> bool:
    """Whether outputs are arrays of distinct labels."""
    return all(
        isinstance(output, list)
        and all(isinstance(item, (str, int, bool)) for item in output)
        and len(set(map(jsonl.canonical, output))) == len(output)
        for output in problem.labels
    )


def not_labels(problem: Problem) -> str | None:
    """Why a classifier cannot take the problem, or None."""
    if len(problem.labels) < 2:
        return f"every example has the output {problem.labels[0]!r}; a program needs at least two to tell apart"
    lists = are_lists(problem)
    count = len({jsonl.canonical(item) for o in problem.labels for item in o}) if lists else len(problem.labels)
    if len(problem) > 20 and count > MANY_OUTPUTS * len(problem):
        return f"{count} different outputs in {len(problem)} examples are no labels"
    admits = problem.admission(len(problem)).admits
    if private := sum(not admits(label) for label in problem.labels):
        return f"{private} labels are personal data, which no program may contain; give them other names"
    return None


def _lists(problem: Problem, rows: Rows) -> Targets:
    keys = [[jsonl.canonical(item) for item in problem.outputs[row]] for row in rows]
    values: dict[bytes, JSON] = {}
    for row, own in zip(rows, keys, strict=True):
        values.update(zip(own, problem.outputs[row], strict=True))
    order = _order(keys, problem.output_schema)
    place = {key: at for at, key in enumerate(order)}
    marks = [tuple(sorted([place[key] for key in own])) for own in keys]
    return Targets(rows, [values[key] for key in order], marks, True, all(marks))


def _order(keys: Sequence[Sequence[bytes]], schema: dict[str, Any]) -> list[bytes]:
    """The labels in the schema's order, those that it does not name by where in arrays they stand."""
    items = schema.get("items")
    members = items.get("enum", []) if isinstance(items, dict) else []
    named = {jsonl.canonical(member): at for at, member in enumerate(members)}
    stands: defaultdict[bytes, list[float]] = defaultdict(list)
    for own in keys:
        for at, key in enumerate(own):
            stands[key].append((at + 1) / (len(own) + 1))
    return sorted(stands, key=lambda key: (named.get(key, len(named)), sum(stands[key]) / len(stands[key]), key))
