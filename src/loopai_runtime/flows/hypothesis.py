"""What is the matter, in words: a sentence for each pattern of failures, and what to do about it. Deterministic.

For people alone: no program is made from it, and as it has words of inputs, it stays on this machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.flows.failures import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loopai_runtime.flows.evidence import Evidence
    from loopai_runtime.flows.failures import Pattern
    from loopai_runtime.synthesis.examples import Example

_NAMED = 3


def hypothesis_of(evidence: Evidence, patterns: Sequence[Pattern], examples: Iterable[Example]) -> str:
    """Why the version fails, as far as its failures tell; `examples` are what it was made from."""
    known: set[str] = set()
    for one in examples:
        known |= words_of(one.input)
    said = [_sentence(pattern, evidence, known) for pattern in patterns[:_NAMED]]
    if not said:
        return f"v{evidence.version} was not seen to fail."
    left = len(patterns) - _NAMED
    if left > 0:
        said.append(f"{left} further patterns are rarer.")
    return " ".join(said)


def _sentence(pattern: Pattern, evidence: Evidence, known: set[str]) -> str:
    if pattern.share is None:
        return f"It stops with {pattern.pattern.removeprefix('error ')} on {pattern.count} inputs."
    part = f"{pattern.count} of {evidence.failed} failures" if evidence.failed else f"{pattern.count} failures"
    said = f"It answers {pattern.pattern} ({part}, {pattern.share:.1%} of what was checked)."
    if not pattern.words:
        return (
            said + " Their inputs have no words in common: the examples may be too few, or contradict each other."
        )
    if new := [word for word in pattern.words if word not in known]:
        return f"{said} Their inputs have {_named(new)}, which no example has: what comes in has changed."
    return (
        f"{said} Their inputs have {_named(pattern.words)}, which examples have as well: it weighs them wrongly."
    )


def _named(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
