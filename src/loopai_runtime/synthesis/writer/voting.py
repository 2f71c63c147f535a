"""How programs that were written apart answer together. Runs in training, and its source is put into programs.

A program's opinion is its answer, how sure it is (0 to 1), and why. Its vote is its weight times how sure it is: a
program that knows that it is guessing hardly counts, which is how it abstains. Objects are voted on by field.
Whatever is written here must run on Python 3.9, on the standard library alone, and pass the sandbox policy.
"""

from __future__ import annotations

import json
import math
from typing import Any

# How much of all votes is neither for nor against an answer, so that evidence stays finite.
DOUBT = 0.05


def opinion(answer: Any) -> Any:
    """What a program said, as (output, how sure, why)."""
    if isinstance(answer, tuple) and len(answer) in (2, 3):
        sure = answer[1]
        if isinstance(sure, (int, float)) and not isinstance(sure, bool) and sure == sure:
            return answer[0], min(0.99, max(0.01, float(sure))), str(answer[2]) if len(answer) == 3 else ""
    return answer, 0.5, ""


def spelled(output: Any) -> str:
    """A text that is the same for equal outputs. Raises TypeError or ValueError for what is not JSON."""
    return output if isinstance(output, str) else "\n" + json.dumps(output, sort_keys=True, allow_nan=False)


def elect(votes: Any, total: float) -> Any:
    """The output with the most votes (output, votes), and the evidence for it: the log of its odds in `total`."""
    names = {tuple(output) if isinstance(output, dict) else () for output, mass in votes}
    if len(votes) > 1 and len(names) == 1 and () not in names:
        parts = {key: elect([(output[key], mass) for output, mass in votes], total) for key in votes[0][0]}
        return {key: part[0] for key, part in parts.items()}, min([part[1] for part in parts.values()])
    masses: dict[str, float] = {}
    outputs: dict[str, Any] = {}
    for output, mass in votes:
        key = spelled(output)
        masses[key] = masses.get(key, 0.0) + mass
        outputs.setdefault(key, output)
    best = max(masses, key=lambda key: masses[key])
    return outputs[best], math.log((masses[best] + DOUBT * total) / (total - masses[best] + DOUBT * total))
