"""A linear tagger of words: outside of every field, at the beginning of one, or further inside.

An averaged structured perceptron (Collins 2002) that trains with a margin: while it learns, every wrong label gets
a bonus (Taskar, Guestrin and Koller 2003). Few examples are learned from in several orders, whose weights are
averaged. Weights are lanes of integers (see `tagging`), so that plain Python is fast enough.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from loopai_runtime.synthesis.learners.extract import tagging
from loopai_runtime.synthesis.learners.extract.tagging import PLACES, WORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.synthesis.learners.extract.locate import Span

# A place (4: a word two before the property, 0: one two after, 5: a pair) and the property's name.
Block: TypeAlias = tuple[int, str]

NEVER = -(1 << 24)
MARGIN = 3
REACH = 30  # of the search while it learns, in steps of one
LARGEST = 44  # of a weight in the program
MOST_BLOCKS = 8_000  # of weights in the program


class Sentence(NamedTuple):
    """What a text's words show, their pairs, and their labels."""

    names: list[list[str]]
    pairs: list[list[str]]
    labels: list[int]


def sentence(text: str, fields: Sequence[Sequence[Sequence[Span]]]) -> Sentence:
    """A text whose field number f has its values at the first place of each of `fields[f]` that is whole words."""
    spans = [found.span() for found in WORD.finditer(text)]
    starts = {start: at for at, (start, _) in enumerate(spans)}
    ends = {end: at for at, (_, end) in enumerate(spans)}
    labels = [0] * len(spans)
    for number, values in enumerate(fields):
        for options in values:
            for start, end in options:
                first, last = starts.get(start), ends.get(end)
                if first is not None and last is not None and not any(labels[first : last + 1]):
                    labels[first : last + 1] = [2 * number + 1] + [2 * number + 2] * (last - first)
                    break
    words = [text[start:end] for start, end in spans]
    return Sentence([tagging.properties(word) for word in words], tagging.pairs(words), labels)


@dataclass(frozen=True)
class Tagger:
    """Quantised weights: a row of integers, one a label, for each block; and for each label before."""

    rows: Mapping[Block, Sequence[int]]
    moves: list[list[int]]
    fields: int
    packed: tuple[dict[str, int], dict[str, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packed", tagging.packed(self.rows, self.size))

    @property
    def size(self) -> int:
        return 2 * self.fields + 1

    def tag(self, text: str) -> tuple[dict[int, list[str]], float]:
        return tagging.tagged(text, self.packed, self.moves)


def rounds_for(count: int) -> tuple[int, ...]:
    """How often to go through so many sentences: where labels are noisy, few rounds are better."""
    return (8,) if count <= 150 else (6, 2)


def orders_for(count: int) -> int:
    """How many orders of the sentences to average: more are better, and many sentences need fewer."""
    return 3 if count <= 3000 else 1


def train(sentences: Sequence[Sentence], fields: int, rounds: int, orders: int, seed: int) -> Tagger:
    """Learn from the sentences in so many orders; deterministic in `seed`."""
    blocks: dict[Block, list[float]] = {}
    moves = [[0.0] * (2 * fields + 1) for _ in range(2 * fields + 2)]
    for order in range(orders):
        learning = _Learning(2 * fields + 1)
        learning.run(sentences, rounds, seed * 10 + order)
        for block, row in learning.averaged():
            known = blocks.setdefault(block, [0.0] * len(row))
            blocks[block] = [a + b for a, b in zip(known, row, strict=True)]
        moves = [
            [a + b for a, b in zip(x, y, strict=True)]
            for x, y in zip(moves, learning.averaged_moves(), strict=True)
        ]
    return _quantised(blocks, moves, fields)


def _quantised(blocks: dict[Block, list[float]], moves: list[list[float]], fields: int) -> Tagger:
    """The strongest blocks, in steps that make the largest weight LARGEST."""
    strength = {block: max(map(abs, row)) for block, row in blocks.items()}
    kept = sorted(blocks, key=lambda block: (-strength[block], block))[:MOST_BLOCKS]
    top = max([strength[block] for block in kept], default=0.0) or 1.0
    rows = {block: [round(weight * LARGEST / top) for weight in blocks[block]] for block in kept}
    steps = [[max(NEVER, round(weight * LARGEST / top)) for weight in row] for row in moves]
    steps = [[NEVER if weight < NEVER // 2 else weight for weight in row] for row in steps]
    return Tagger({block: row for block, row in rows.items() if any(row)}, steps, fields)


class _Learning:
    """`now` are the weights; `then` sums each change times when it was made, for the average."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.now: dict[str, int] = {}
        self.then: dict[str, int] = {}
        self.moves = [
            [NEVER if label and label % 2 == 0 and was not in (label - 1, label) else 0 for label in range(size)]
            for was in range(size + 1)
        ]
        self.moves_then = [[0] * size for _ in range(size + 1)]
        self.time = 1
        self.bonus = [sum(MARGIN << 32 * lane for lane in range(size) if lane != gold) for gold in range(size)]
        self.unpack = struct.Struct(f"<{size}I").unpack

    def run(self, sentences: Sequence[Sentence], rounds: int, seed: int) -> None:
        order = [number for number in range(len(sentences)) if sentences[number].names]
        draw = random.Random(seed)  # noqa: S311  a seed, not a secret
        for _ in range(rounds):
            draw.shuffle(order)
            for number in order:
                one = sentences[number]
                path = tagging.best_path(self._scores(one), self.moves, REACH)
                if path != one.labels:
                    self._learn(one, path)
                self.time += 1

    def _scores(self, one: Sentence) -> list[tuple[int, ...]]:
        get = self.now.get
        spoken = [sum([get(name, 0) for name in group]) for group in one.names]
        paired = [sum([get(name, 0) for name in group]) for group in one.pairs]
        totals = tagging.totals(spoken, paired, get("^", 0), get("$", 0), self.size)
        bonus, unpack, length = self.bonus, self.unpack, 4 * self.size
        return [
            unpack((total + bonus[gold]).to_bytes(length, "little"))
            for total, gold in zip(totals, one.labels, strict=True)
        ]

    def _learn(self, one: Sentence, path: Sequence[int]) -> None:
        around = [["^"], ["^"], *one.names, ["$"], ["$"]]
        was = did = self.size
        for at, (right, wrong) in enumerate(zip(one.labels, path, strict=True)):
            if right != wrong:
                for place in range(PLACES):
                    self._shift(around[at + place], PLACES - 1 - place, right, wrong)
                self._shift(one.pairs[at], 0, right, wrong)
            if (was, right) != (did, wrong):
                for row, label, step in ((was, right, 1), (did, wrong, -1)):
                    self.moves[row][label] += step
                    self.moves_then[row][label] += step * self.time
            was, did = right, wrong

    def _shift(self, names: Sequence[str], place: int, right: int, wrong: int) -> None:
        lane, other = self.size * place + right, self.size * place + wrong
        change = (1 << 32 * lane) - (1 << 32 * other)
        later = ((1 << 64 * lane) - (1 << 64 * other)) * self.time
        now, then = self.now, self.then
        for name in names:
            now[name] = now.get(name, 0) + change
            then[name] = then.get(name, 0) + later

    def averaged(self) -> list[tuple[Block, list[float]]]:
        out: list[tuple[Block, list[float]]] = []
        size = self.size
        for name, now in self.now.items():
            lanes = _lanes(now, 32, PLACES * size), _lanes(self.then[name], 64, PLACES * size)
            weights = [a - b / self.time for a, b in zip(*lanes, strict=True)]
            pair = "_" in name and len(name) > 1
            for place in range(1 if pair else PLACES):
                row = weights[size * place : size * (place + 1)]
                if any(row):
                    out.append(((PLACES if pair else place, name), row))
        return out

    def averaged_moves(self) -> list[list[float]]:
        return [
            [now - then / self.time if now > NEVER // 2 else NEVER for now, then in zip(a, b, strict=True)]
            for a, b in zip(self.moves, self.moves_then, strict=True)
        ]


def _lanes(total: int, bits: int, count: int) -> list[int]:
    """The signed numbers that are packed in an integer."""
    half = 1 << bits - 1
    total += sum(half << bits * lane for lane in range(count))
    return [(total >> bits * lane & (1 << bits) - 1) - half for lane in range(count)]
