"""The regression gate: nothing that was right may become wrong unattended.

Every gold example (the specification's, persons' labels, the oracle's answers to earlier failures) is put to the
version that serves and to the candidate, in the sandbox. An answer that was right and no longer is, is a flip.

    a person's label          a flip blocks, whatever is gained
    any other gold example    flips block unless the gain outweighs them: of all answers that change between right
                              and wrong, more than half must be repaired with 95 % confidence (the exact sign test,
                              as McNemar 1947 counts)

The gain is measured where neither program has an advantage: on checked executions that the serving version was
not made from, with what the candidate's fellows answered that had not seen the row (out of fold). The flips of
gold are counted against it in full.
"""

from __future__ import annotations

import hmac
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.compare import compare
from loopai_runtime.datasets.labels import BY_PERSONS
from loopai_runtime.errors import GateMissed
from loopai_runtime.flows import oracles
from loopai_runtime.flows.checked_inputs import judged, new_labels
from loopai_runtime.flows.describe import ROW_HASH_BYTES, rows_of
from loopai_runtime.flows.gather import gather_here
from loopai_runtime.flows.measure import open_pool, run_inputs
from loopai_runtime.intervals import binomial_tail
from loopai_runtime.sandbox import Program
from loopai_runtime.synthesis.examples import NoExamples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.artifacts.store import Stored
    from loopai_runtime.config import Config
    from loopai_runtime.flows.checked_inputs import Judged
    from loopai_runtime.flows.generated import Written
    from loopai_runtime.layout import Layout
    from loopai_runtime.models import CompareConfig
    from loopai_runtime.sandbox import Outcome, SyncPool
    from loopai_runtime.synthesis.examples import Example
    from loopai_runtime.synthesis.specfile import Loaded

ALPHA = 0.05
MOST_REPLAYED = 20_000
"""Gold examples; beyond that persons' labels all the same, and others at random."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A gold example that was answered rightly and no longer is. `source`: given, person, reviewed or oracle."""

    input: Any
    right: Any
    answer: Any
    source: str
    where: str

    @property
    def is_a_persons(self) -> bool:
        return self.source in BY_PERSONS

    def as_dict(self) -> dict[str, Any]:
        return {
            "input": self.input,
            "right": self.right,
            "answer": self.answer,
            "source": self.source,
            "where": self.where,
        }


@dataclass(frozen=True, slots=True)
class Gain:
    """Of `rows` that neither program was made from: answers that become right, and that become wrong."""

    rows: int = 0
    fixed: int = 0
    broken: int = 0


@dataclass(frozen=True, slots=True)
class Regression:
    """What a candidate changes for the better and for the worse."""

    replayed: int
    flips: list[Flip]
    gain: Gain = field(default_factory=Gain)
    needs_gain: bool = True
    """Whether a candidate that changes nothing for the better is of no use."""

    @property
    def p(self) -> float:
        """How probable so lopsided a result were if repairs and damage were equally likely."""
        broken = self.gain.broken + len(self.flips)
        return binomial_tail(broken, self.gain.fixed + broken, 0.5) if self.gain.fixed else 1.0

    @property
    def refused(self) -> str | None:
        """Why the candidate may not go on, without a word of any input; None: it may."""
        persons = sum(flip.is_a_persons for flip in self.flips)
        if persons:
            return (
                f"it gets {_examples(persons)} wrong that a person has labelled and the serving version gets right"
            )
        if not self.needs_gain and not self.flips and not self.gain.broken:
            return None
        if self.p <= ALPHA:
            return None
        gain = (
            f"{self.gain.fixed} of {self.gain.rows} checked executions become right and {self.gain.broken} wrong"
        )
        if self.flips:
            return f"{_examples(len(self.flips))} become wrong, and the gain does not outweigh that: {gain}"
        return f"it is not shown to be better: {gain}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "replayed": self.replayed,
            "flips": [flip.as_dict() for flip in self.flips],
            "gain": {"rows": self.gain.rows, "fixed": self.gain.fixed, "broken": self.gain.broken},
            "p": round(self.p, 6),
            "refused": self.refused,
        }


def replay_gold(layout: Layout, config: Config, reference: str) -> Regression:
    """Put a version that came from elsewhere (`task@v`) to all that is known here to be right, unredacted.

    Its `refused` says why it must not take traffic. It has seen nothing of this machine, so what it repairs here
    counts as it is. Raises NotFound, TamperedArtifact, PolicyRefused, SpecError, StorageError.
    """
    store = ArtifactStore(layout)
    candidate = store.read(reference)
    task_id = candidate.artifact.task_id
    active = store.active_version(task_id)
    if active is None or active == candidate.artifact.version:
        return Regression(0, [], needs_gain=False)
    before = store.read(f"{task_id}@{active}")
    loaded = oracles.task_spec(layout, before.artifact)
    try:
        gold = chosen(gather_here(loaded, layout, new_labels(layout, task_id, judged(layout, task_id))).examples)
    except NoExamples:
        return Regression(0, [], needs_gain=False)
    right = rightness(loaded)
    with open_pool(config, workers=1) as pool:
        old = answers(pool, before, config, gold)
        new = answers(pool, candidate, config, gold)
    fixed = sum(
        not right(a, one.output) and right(b, one.output) for a, b, one in zip(old, new, gold, strict=True)
    )
    flips = flips_of(gold, old, new, right)
    return Regression(len(gold), flips, Gain(len(gold), fixed, 0), needs_gain=False)


def require_gold(layout: Layout, config: Config, reference: str) -> Regression:
    """The same. Raises GateMissed where it is refused."""
    found = replay_gold(layout, config, reference)
    if found.refused is not None:
        raise GateMissed(f"{reference} is refused here: {found.refused}")
    return found


def chosen(examples: Sequence[Example], most: int = MOST_REPLAYED) -> list[Example]:
    """The gold examples that are replayed; nobody stands for what a model made up."""
    gold = [one for one in examples if one.source != "synthetic"]
    if len(gold) <= most:
        return gold
    first = [one for one in gold if one.source in BY_PERSONS]
    rest = [one for one in gold if one.source not in BY_PERSONS]
    draw = random.Random(0)  # noqa: S311  a seed, not a secret
    return first + draw.sample(rest, max(0, min(len(rest), most - len(first))))


def answers(pool: SyncPool, version: Stored, config: Config, gold: Sequence[Example]) -> list[Outcome]:
    """What a version answers to gold inputs, as it would be served."""
    artifact = version.artifact
    return answers_of(pool, version.code, config.timeout_ms(artifact.timeout_ms), config, gold)


def answers_of(
    pool: SyncPool, code: str, timeout_ms: int, config: Config, gold: Sequence[Example]
) -> list[Outcome]:
    program = Program(
        key=f"gold-{hash(code):x}", source=code, timeout_ms=timeout_ms, memory_mb=config.execution.memory_mb
    )
    return run_inputs(pool, program, [one.input for one in gold])


class rightness:
    """Whether an outcome is right, as the task compares outputs; what means the same is the same only if equal."""

    def __init__(self, loaded: Loaded) -> None:
        self._config: CompareConfig = oracles.comparing(loaded)

    def __call__(self, outcome: Outcome, right: Any) -> bool:
        return outcome.status == "success" and self.same(outcome.output, right)

    def same(self, output: Any, right: Any) -> bool:
        return jsonl.equal(output, right) or compare(output, right, self._config).match


def flips_of(
    gold: Sequence[Example], old: Sequence[Outcome], new: Sequence[Outcome], right: rightness
) -> list[Flip]:
    """Gold examples that `old` has right and `new` has not, persons' first."""
    found = [
        Flip(one.input, one.output, b.output if b.status == "success" else None, one.source or "given", one.where)
        for one, a, b in zip(gold, old, new, strict=True)
        if right(a, one.output) and not right(b, one.output)
    ]
    return sorted(found, key=lambda flip: not flip.is_a_persons)


def gain_of(base: Stored, rows: Sequence[Judged], written: Written, layout: Layout, right: rightness) -> Gain:
    """What changes on executions of `base` that the oracle judged, each input once, and that `base` has not
    learned from; of the candidate the answers out of fold count."""
    seen = rows_of(base.artifact)
    key = layout.secret("rows")
    unseen = _unseen_answers(written)
    found = {jsonl.canonical(one.input): one for one in rows if one.version == base.artifact.version}
    n = fixed = broken = 0
    for canonical, one in found.items():
        if canonical not in unseen or hmac.digest(key, canonical, "sha256")[:ROW_HASH_BYTES] in seen:
            continue
        n += 1
        is_right = right.same(unseen[canonical], one.right)
        fixed += is_right and not one.match
        broken += one.match and not is_right
    return Gain(n, fixed, broken)


def _unseen_answers(written: Written) -> dict[bytes, Any]:
    """What was answered to each example by a program that had not seen it."""
    synthesis, examples = written.synthesis, written.examples.examples
    rows = synthesis.judged_rows if synthesis.judged_rows is not None else range(len(synthesis.predictions))
    return {
        jsonl.canonical(examples[row].input): answer
        for row, (answer, _) in zip(rows, synthesis.predictions, strict=True)
    }


def _examples(n: int) -> str:
    return "one gold example" if n == 1 else f"{n} gold examples"
