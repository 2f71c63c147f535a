"""A model's programs as one: weighed by how often each was right, voting, with a calibrated confidence."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopai_runtime.synthesis.strategy import JSON, Calibration, Prediction, Problem
from loopai_runtime.synthesis.writer import voting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.synthesis.writer.runs import Opinion
    from loopai_runtime.synthesis.writer.source import Source

_HEAD_START = 1.0  # a program that is right half of the time still says something, where outputs are many
_LEAST = 0.05


def weight(right: float, judged: int) -> float:
    """What a program's votes are worth: the log odds of its being right, smoothed."""
    return round(max(_LEAST, math.log((right + 1) / (judged - right + 1)) + _HEAD_START), 3)


def together(opinions: Sequence[Opinion], weights: Sequence[float]) -> Prediction | None:
    """What several programs answer to one input; None where none of them has an answer."""
    votes = [(one.output, w * one.sure) for one, w in zip(opinions, weights, strict=True) if one.error is None]
    if not votes:
        return None
    output, evidence = voting.elect(votes, sum(weights))
    return Prediction(output, evidence)


@dataclass(frozen=True)
class Member:
    """A program of an ensemble: its text, what its votes are worth, and how it goes about the task."""

    source: Source
    weight: float
    angle: str


@dataclass(frozen=True)
class Ensemble:
    """One program or several. `otherwise` is the answer to inputs on which all of them fail.

    It is None where outputs are no labels: then the call fails.
    """

    members: Sequence[Member]
    otherwise: JSON
    labels: Sequence[JSON] | None
    """The outputs that the schema lists, if it does: what a program says beside them is no vote."""

    @property
    def weights(self) -> list[float]:
        return [member.weight for member in self.members]

    def answer(self, opinions: Sequence[Opinion]) -> Prediction:
        """From what each member said."""
        return together(opinions, self.weights) or Prediction(self.otherwise, -3.0)

    def emit(self, problem: Problem, calibration: Calibration) -> str:
        """The program's source."""
        taken = dict(_RESERVED)
        texts, rows = [], []
        for number, member in enumerate(self.members, 1):
            own = member.source.beside(taken, f"_{number}")
            taken |= own.binds
            texts.append(f"# --- program {number}: {member.angle}\n\n{own.text.strip()}")
            rows.append(f"    ({own.entry}, {member.weight!r}, {member.angle!r}),")
        several = f"{len(rows)} programs that vote, each" if len(rows) > 1 else "A program"
        return _PROGRAM.format(
            title=_plain(f"{problem.name}: {problem.description}"),
            kind=f"{several} written by a language model",
            slope=calibration.slope,
            offset=calibration.offset,
            programs="\n\n\n".join(texts),
            rows="\n".join(rows),
            labels=repr(list(self.labels)) if self.labels is not None else "None",
            otherwise=repr(self.otherwise),
            doubt=voting.DOUBT,
            functions="\n\n".join(inspect.getsource(part) for part in _EMITTED),
        )


def _plain(text: str) -> str:
    plain = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return plain[:200].replace("\\", "/").replace('"', "'")


_EMITTED = (voting.opinion, voting.spelled, voting.elect)
_RESERVED: dict[str, str | None] = {
    **dict.fromkeys(
        ["run", "score", "explain", "probability", "votes", "PROGRAMS", "LABELS", "OTHERWISE", "SLOPE", "OFFSET"]
    ),
    **dict.fromkeys(["DOUBT", *[part.__name__ for part in _EMITTED]]),
    "json": "json",
    "math": "math",
    "Any": "typing.Any",
}

_PROGRAM = '''"""{title}

{kind}. Standard library alone; defines run, score and explain.
"""

from __future__ import annotations

import json
import math
from typing import Any

{programs}


# --- what they say together: a function, what its votes are worth, how it goes about the task.

PROGRAMS = [
{rows}
]
LABELS = {labels}
OTHERWISE = {otherwise}

# Confidence: how often answers with such evidence were right on examples that no program had seen.
SLOPE, OFFSET = {slope!r}, {offset!r}
# How much of all votes is neither for nor against an answer, so that evidence stays finite.
DOUBT = {doubt!r}


{functions}

def votes(input_data: Any) -> Any:
    """What each program says: (output, votes, why, its way); one that fails says nothing."""
    found = []
    text = json.dumps(input_data)
    for program, weight, way in PROGRAMS:
        try:
            output, sure, why = opinion(program(json.loads(text)))  # its own copy: it may change it
            spelled(output)
        except Exception:  # the others go on; where there is none, OTHERWISE does
            continue
        if LABELS is None or output in LABELS:
            found.append((output, weight * sure, why, way))
    return found


def probability(evidence: float) -> float:
    """How likely an answer is right."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, SLOPE * evidence + OFFSET))))


def score(input_data: Any) -> Any:
    """The answer with the most votes, and the probability that it is right."""
    said = votes(input_data)
    if not said and OTHERWISE is None:
        raise ValueError("no program has an answer to this input")
    if not said:
        return OTHERWISE, probability(-3.0)
    total = sum([weight for program, weight, way in PROGRAMS])
    output, evidence = elect([vote[:2] for vote in said], total)
    return output, probability(evidence)


def explain(input_data: Any) -> Any:
    """What each program said, and why."""
    return [
        {{"program": way, "answer": output, "votes": round(mass, 4), "why": why[:200]}}
        for output, mass, why, way in votes(input_data)
    ]


def run(input_data: Any) -> Any:
    """The answer."""
    return score(input_data)[0]
'''
