"""How right the oracle itself is: it is asked what persons have answered already."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.compare import compare
from loopai_runtime.datasets import labels as label_file
from loopai_runtime.errors import InputError, OracleError, UsageError
from loopai_runtime.files import make_dir, replace_file
from loopai_runtime.flows import oracles
from loopai_runtime.models import utc_now
from loopai_runtime.synthesis.examples import load_saved
from loopai_runtime.validation import error_rate
from loopai_runtime.validation.error_rate import OracleAudit
from loopai_runtime.validation.oracle import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loopai_runtime.config import Config
    from loopai_runtime.layout import Layout
    from loopai_runtime.synthesis.specfile import Loaded
    from loopai_runtime.validation.oracle import Oracle
    from loopai_runtime.validation.prompt import Example


MOST_GOLD = 200


def audit_oracle(loaded: Loaded, layout: Layout, config: Config, tell: Callable[[str], None]) -> float:
    """Ask the oracle what is known already, and keep how often it was right; answers what that cost.

    Gold labels are those of persons, and the task's examples but for those that the oracle is shown. Raises
    UsageError where the oracle is itself where such labels come from, or there are none; OracleError where it
    answers none of them.
    """
    options = oracles.chosen(loaded, config)
    if options is None or options.kind == "human":
        raise UsageError("a person's answers are the gold labels themselves", hint="--audit is for other oracles")
    shown = oracles.shown_examples(loaded, layout, options)
    gold = gold_labels(layout, loaded.spec.task_id, shown)
    if not gold:
        raise UsageError(
            "no gold labels to measure the oracle on: those that it is shown do not count",
            hint=f"loopai label {loaded.spec.task_id} makes some, or oracle.examples: 0 shows it none",
        )
    oracle = oracles.oracle_of(loaded, layout, config, purpose="audit", tell=tell, show=shown)
    assert oracle is not None
    answers = oracle.ask([value for value, _ in gold])
    known = [(a, right) for a, (_, right) in zip(answers, gold, strict=True) if isinstance(a, Verdict)]
    if not known:
        raise next(answer for answer in answers if isinstance(answer, OracleError))
    judge = oracles.judge_of(loaded, layout, config, tell)
    rules = oracles.comparing(loaded)
    made = OracleAudit(
        oracle=oracle.name,
        right=sum(compare(verdict.output, right, rules, judge).match for verdict, right in known),
        n=len(known),
        labels=error_rate.label_count(loaded.spec.output_schema, (right for _, right in gold)),
        timestamp=utc_now(),
    )
    path = layout.oracle_audit(loaded.spec.task_id)
    make_dir(path.parent)
    replace_file(path, jsonl.compact(made.model_dump()))
    return sum(verdict.usd for verdict, _ in known)


def gold_labels(layout: Layout, task_id: str, shown: Sequence[Example]) -> list[tuple[Any, Any]]:
    """Inputs whose right outputs persons have given, at most 200, at random; the same ones each time."""
    found = {jsonl.canonical(one.input): (one.input, one.output) for one in load_saved(layout, task_id)}
    persons = label_file.known(layout, task_id, label_file.BY_PERSONS)
    found |= {key: (one.input, one.output) for key, one in persons.items()}
    for example in shown:
        found.pop(jsonl.canonical(example.input), None)
    rows = [found[key] for key in sorted(found)]
    return random.Random(0).sample(rows, min(len(rows), MOST_GOLD))  # noqa: S311  a choice, not a secret


def last_audit(layout: Layout, task_id: str, oracle: Oracle) -> OracleAudit | None:
    """The last measurement of this oracle."""
    try:
        made = OracleAudit.model_validate(jsonl.loads(layout.oracle_audit(task_id).read_bytes()))
    except (OSError, InputError, ValueError):
        return None
    return made if made.oracle == oracle.name else None
