"""The prompt templates behind many prompts: what is always said, and the places where inputs stand.

Prompts are sequences of tokens. Those that share runs of tokens belong together; what is common to all of a group,
in order, is its fixed text (the matching blocks of Ratcliff and Metzener 1988), and what stands between is input.
Learned from a sample, applied to everything; what no template fits is looked at again.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loopai_runtime.datasets.calls import Message

_TOKEN = re.compile(r"\x1e\w*\n?|\n|[^\S\n]+|\w+|[^\w\s]")
_MARK = "\x1e"  # before a role, so that a message's begin and end are tokens too
_SHINGLE = 4
_SAMPLE = 600
_ALIGNED = 60
_FEWEST = 5
"""Prompts that make a template."""
_SAME = 0.6  # of the frequent runs of tokens that two prompts of one template share
_LITERAL = 3  # tokens that are no space, below which a run common to all is chance
_SURELY_INPUT = 400  # characters of a token run that is looked at; inputs may be long
_OPENING = re.compile(r"[\"'`<(\[{]\s*$")
_CLOSING = re.compile(r"\s*(?:[\"'`>)\]}]|</)")
_LABEL = re.compile(r"(?:<(\w+)>|([^\W\d_][\w -]{0,30}?)\s*[:=])\s*[\"'`<\[(]*\s*$")


def as_text(messages: Sequence[Message]) -> str:
    """A prompt as one text, each message behind a mark and its role."""
    return "".join(f"{_MARK}{role}\n{text.replace(_MARK, ' ')}" for role, text in messages) + _MARK


@dataclass(frozen=True)
class Template:
    """Fixed texts with an input between each two; `names` are the inputs' names."""

    literals: tuple[str, ...]
    names: tuple[str, ...]

    def inputs(self, text: str) -> dict[str, str] | None:
        """What stands at the places for inputs; None for a prompt of another template.

        White space around an input is nobody's. Linear in the text.
        """
        first, *middle, last = self.literals
        end = len(text) - len(last)
        if not text.startswith(first) or not text.endswith(last) or end < len(first):
            return None
        found, at = [], len(first)
        for literal in middle:
            place = text.find(literal, at, end)
            if place < 0:
                return None
            found.append(text[at:place].strip())
            at = place + len(literal)
        return dict(zip(self.names, [*found, text[at:end].strip()], strict=True))

    def asked(self) -> str:
        """What is said in the message of the first input, and after it."""
        return self.literals[0].rpartition(_MARK)[2].partition("\n")[2] + " ".join(self.literals[1:])

    def shown(self) -> str:
        """The template with `{name}` at the places for inputs, roles left out."""
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            parts += [f"{{{name}}}", literal]
        return re.sub(rf"{_MARK}\w*\n?", "\n", "".join(parts)).strip()


def templates_of(
    texts: Sequence[str], alike: Callable[[list[int], list[int]], bool]
) -> list[tuple[Template, list[int]]]:
    """Templates and the places of their prompts in `texts`, the most frequent first; what fits none is left out.

    `alike` says whether two groups of prompts are answered in the same way: then they are one task, however much
    their inputs look like templates of their own.
    """
    found: list[tuple[Template, list[int]]] = []
    rest = list(range(len(texts)))
    for _ in range(5):
        if len(rest) < _FEWEST:
            break
        draw = random.Random(0)  # noqa: S311  a sample, not a secret
        sample = rest if len(rest) <= _SAMPLE else sorted(draw.sample(rest, _SAMPLE))
        made = [template for group in _grouped(texts, sample, alike) if (template := _aligned(texts, group))]
        if not made:
            break
        taken: dict[int, list[int]] = {at: [] for at in range(len(made))}
        left: list[int] = []
        for row in rest:
            at = next((at for at, one in enumerate(made) if one.inputs(texts[row]) is not None), None)
            (left if at is None else taken[at]).append(row)
        found += [(one, taken[at]) for at, one in enumerate(made) if taken[at]]
        if len(left) == len(rest):
            break
        rest = left
    return sorted(found, key=lambda one: -len(one[1]))


def _grouped(
    texts: Sequence[str], rows: list[int], alike: Callable[[list[int], list[int]], bool]
) -> list[list[int]]:
    """Groups of prompts that share their fixed text."""
    runs = {row: _runs(texts[row]) for row in rows}
    groups: list[list[int]] = []
    waiting = [rows]
    while waiting:
        group = waiting.pop()
        parts = _split(group, runs)
        if len(parts) > 1 and not _one_task(parts, alike, texts):
            waiting += parts
        elif len(group) >= _FEWEST:
            groups.append(group)
    return sorted(groups, key=lambda group: (-len(group), group))


def _one_task(parts: list[list[int]], alike: Callable[[list[int], list[int]], bool], texts: Sequence[str]) -> bool:
    whole = sorted(row for part in parts for row in part)
    return all(alike(parts[0], part) for part in parts[1:]) and _aligned(texts, whole) is not None


def _split(group: list[int], runs: dict[int, set[int]]) -> list[list[int]]:
    """Parts that share runs which the others lack; the group itself where there are none, or most prompts are in
    no part."""
    counts = Counter(run for row in group for run in runs[row])
    often, always = max(_FEWEST, 0.02 * len(group)), 0.98 * len(group)
    own = {row: {run for run in runs[row] if often <= counts[run] < always} for row in group}
    parts: list[tuple[set[int], list[int]]] = []
    alone = 0
    for row in sorted(group, key=lambda row: (-len(own[row]), row)):
        if not own[row]:
            alone += 1
            continue
        best = max(parts, key=lambda part: len(own[row] & part[0]) / len(part[0]), default=None)
        if best is not None and len(own[row] & best[0]) >= _SAME * len(best[0]):
            best[1].append(row)
            if shared := best[0] & own[row]:
                best[0].intersection_update(shared)
        else:
            parts.append((set(own[row]), [row]))
    large = [members for _, members in parts if len(members) >= _FEWEST]
    if len(large) < 2 or sum(map(len, large)) < 0.8 * len(group) or alone > 0.1 * len(group):
        return [group]
    return [sorted(members) for members in large]


def _runs(text: str) -> set[int]:
    """Hashes of the runs of tokens in each message, those at its ends marked as such."""
    found: set[int] = set()
    for message in text.split(_MARK)[1:-1]:
        words = [token for token in _TOKEN.findall(message) if not token.isspace()]
        if len(words) > 2 * _SURELY_INPUT:
            words = words[:_SURELY_INPUT] + words[-_SURELY_INPUT:]
        for at in range(len(words) - _SHINGLE + 1):
            found.add(hash(tuple(words[at : at + _SHINGLE])))
        found.add(hash(("begin", *words[:3])))
        found.add(hash(("end", *words[-2:])))
    return found


def _aligned(texts: Sequence[str], group: list[int]) -> Template | None:
    """The template of a group of prompts; None where nothing is fixed or nothing varies."""
    step = max(1, len(group) // _ALIGNED)
    sample = [_TOKEN.findall(texts[row]) for row in group[::step]]
    blocks = _in_all(sample)
    for tokens in sample[1:]:
        blocks = _common(blocks, tokens)
    literals = _whole_lines(["".join(block) for block in blocks])
    if not literals or not literals[0].startswith(_MARK) or not literals[-1].endswith(_MARK):
        return None  # a message begins and ends in all of them, or they are no conversation of one form
    if len(literals) == 1 or not any(re.search(r"\w", re.sub(rf"{_MARK}\w*", "", one)) for one in literals):
        return None
    return Template(tuple(literals), _names(literals))


def _in_all(sample: list[list[str]]) -> list[list[str]]:
    """The parts of the first prompt whose every run of three tokens stands in all the others too."""
    shared = set.intersection(*({gram for gram, _ in _grams(tokens)} for tokens in sample))
    first = sample[0]
    covered = bytearray(len(first))
    for gram, places in _grams(first):
        if gram in shared:
            covered[places[0] : places[-1] + 1] = b"\1" * (places[-1] + 1 - places[0])
    blocks: list[list[str]] = []
    for at, token in enumerate(first):
        if covered[at]:
            if not at or not covered[at - 1]:
                blocks.append([])
            blocks[-1].append(token)
    return blocks


def _grams(tokens: list[str]) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Runs of three tokens that are no space, or of one and two at a message's ends, with their places."""
    solid = [at for at, token in enumerate(tokens) if _solid(token)]
    for at in range(len(solid)):
        for size in (1, 2, 3):
            places = solid[at : at + size]
            gram = tuple(tokens[place] for place in places)
            if len(gram) == _LITERAL or (len(gram) == size and any(token.startswith(_MARK) for token in gram)):
                yield gram, places


def _solid(piece: str) -> bool:
    """Whether a token is more than a gap between words; the mark itself counts as white space in Unicode."""
    return piece == "\n" or piece.startswith(_MARK) or not piece.isspace()


def _whole_lines(literals: list[str]) -> list[str]:
    """Inputs grow to whole lines, unless a label or a bracket bounds them: that all log lines begin with the same
    month does not make the month an instruction."""
    kept: list[str] = []
    last = len(literals) - 1
    for at, literal in enumerate(literals):
        edge = re.search(r"[\n\x1e]", literal)
        if at and at < last and edge is None:
            if _LABEL.search(literal) or _CLOSING.match(literal):
                kept.append(literal)
            continue
        begin, end = 0, len(literal)
        if at and not _CLOSING.match(literal):
            begin = edge.start() if edge else 0
        bracketed = at < last and _OPENING.search(literal) and _CLOSING.match(literals[at + 1])
        if at < last and not bracketed and not _LABEL.search(literal):
            end = max(literal.rfind("\n"), literal.rfind(_MARK)) + 1
        kept.append(literal[begin:end])
    return [literal for at, literal in enumerate(kept) if literal or at in (0, len(kept) - 1)]


def _common(blocks: list[list[str]], tokens: list[str]) -> list[list[str]]:
    """The parts of the blocks that stand in `tokens` in the same order."""
    flat: list[str] = []
    for block in blocks:
        flat += [*block, "\x1d"]  # no token of any prompt, so that no match runs over a gap
    matcher = SequenceMatcher(None, flat, tokens, autojunk=False)
    found = [flat[a : a + size] for a, _, size in matcher.get_matching_blocks() if size]
    return [kept for block in found if (kept := _trimmed(block))]


def _trimmed(block: list[str]) -> list[str] | None:
    """A run that is no chance: of some length, or at the edge of a message."""
    solid = sum(map(_solid, block))
    return block if solid >= _LITERAL or any(token.startswith(_MARK) for token in block) else None


def _names(literals: Sequence[str]) -> tuple[str, ...]:
    """A name for each place between literals: the label that stands before it, or `text`."""
    names: list[str] = []
    for literal in literals[:-1]:
        label = _LABEL.search(literal)
        name = re.sub(r"\W+", "_", (label[1] or label[2] or "").lower()).strip("_") if label else ""
        name = name or "text"
        taken = sum(other == name or re.fullmatch(rf"{re.escape(name)}_\d+", other) is not None for other in names)
        names.append(f"{name}_{taken + 1}" if taken else name)
    return tuple(names)
