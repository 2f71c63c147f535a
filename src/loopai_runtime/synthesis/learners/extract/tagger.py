"""A linear tagger of words: outside of every field, at the beginning of one, or further inside.

An averaged structured perceptron (Collins 2002) that trains with a margin: while it learns, every wrong label gets
a bonus (Taskar, Guestrin and Koller 2003). Few examples are learned from in several orders, whose weights are
averaged. Weights are lanes of integers (see `tagging`), so that plain Python is fast enough.
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from loopai_runtime.synthesis.learners.extract import tagging
from loopai_runtime.synthesis.learners.extract.tagging import PLACES, WORD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.synthesis.learners.extract.locate import Span
    from loopai_runtime.synthesis.privacy import Admission

# A place and a name: 0 to 4, for a property of the word two after to the one two before; 5, 6 and 7 for a pair.
Block: TypeAlias = tuple[int, str]

NEVER = -(1 << 24)
LIFT = 1 << 27  # keeps lanes above zero while they are added
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
    return Sentence([tagging.properties(word) for word in words], _pairs(words), labels)


def _pairs(words: Sequence[str]) -> list[list[str]]:
    """For each word: it with the one before, with the one after, and those two with each other."""
    edge = ["^", *[word.lower().replace("\n", "line-end") for word in words], "$"]
    return [
        [f"<{edge[at]} {edge[at + 1]}", f">{edge[at + 1]} {edge[at + 2]}", f"={edge[at]} {edge[at + 2]}"]
        for at in range(len(words))
    ]


def admitted(sentences: Sequence[Sentence], admission: Admission) -> list[Sentence]:
    """The sentences, showing only what may stand in a program."""
    distinct = {(tuple(map(tuple, one.names)), tuple(map(tuple, one.pairs))): one for one in sentences}
    support: Counter[str] = Counter()
    for one in distinct.values():
        support.update({name for group in (*one.names, *one.pairs) for name in group})
    known = {name for name, count in support.items() if count >= admission.least and admission.admits(name)}

    def shown(groups: list[list[str]]) -> list[list[str]]:
        return [[name for name in group if name in known] for group in groups]

    return [Sentence(shown(one.names), shown(one.pairs), one.labels) for one in sentences]


@dataclass(frozen=True)
class Tagger:
    """Quantised weights: for each block a row of integers, one a label but "outside"; `moves` has all labels."""

    rows: Mapping[Block, Sequence[int]]
    moves: list[list[int]]
    fields: int
    tables: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", tagging.tables(self.rows, self.moves))

    @property
    def size(self) -> int:
        """How many labels there are beside "outside"."""
        return 2 * self.fields

    def tag(self, text: str) -> tuple[dict[int, list[str]], float]:
        return tagging.tagged(text, self.tables)


def rounds_for(count: int) -> tuple[int, ...]:
    """How often to go through so many sentences: where labels are noisy, few rounds are better."""
    return (8,) if count <= 150 else (10, 2)


def orders_for(count: int) -> int:
    """How many orders of the sentences to average: more are better, and many sentences need fewer."""
    return 5 if count <= 2500 else 2


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
    """The strongest blocks, as leads over "outside", in steps that make the largest weight LARGEST."""
    blocks = {block: [weight - row[0] for weight in row[1:]] for block, row in blocks.items()}
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
        self.still = [0] * size
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
                path = _best_path(self._scores(one), self.moves[-1], self.moves, self.still, REACH)
                if path != one.labels:
                    self._learn(one, path)
                self.time += 1

    def _scores(self, one: Sentence) -> list[tuple[int, ...]]:
        get = self.now.get
        spoken = [sum([get(name, 0) for name in group]) for group in one.names]
        paired = [sum([get(name, 0) for name in group]) for group in one.pairs]
        totals = _totals(spoken, paired, get("^", 0), get("$", 0), self.size)
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
            if " " in name:
                out.append(((PLACES + "<>=".index(name[0]), name[1:]), weights[:size]))
                continue
            for place in range(PLACES):
                row = weights[size * place : size * (place + 1)]
                if any(row):
                    out.append(((place, name), row))
        return out

    def averaged_moves(self) -> list[list[float]]:
        return [
            [now - then / self.time if now > NEVER // 2 else NEVER for now, then in zip(a, b, strict=True)]
            for a, b in zip(self.moves, self.moves_then, strict=True)
        ]


def _best_path(
    scores: list[Any], before: list[int], moves: list[list[int]], after: list[int], reach: int
) -> list[int]:
    """The labels whose scores and moves add up to most (Viterbi 1967).

    From each word the search goes on only from labels that are less than `reach` behind the best one.
    """
    column = [score + move for score, move in zip(scores[0], before, strict=True)]
    back = []
    for row in scores[1:]:
        least = max(column) - reach
        tops = [label for label, total in enumerate(column) if total > least]
        ways = [[column[top] + move for move in moves[top]] for top in tops]
        best = list(map(max, *ways)) if len(ways) > 1 else ways[0]
        back.append((tops, ways, best))
        column = [score + total for score, total in zip(row, best, strict=True)]
    column = [total + move for total, move in zip(column, after, strict=True)]
    label = column.index(max(column))
    path = [label]
    for tops, ways, best in reversed(back):
        label = [top for top, way in zip(tops, ways, strict=True) if way[label] == best[label]][0]  # noqa: RUF015
        path.append(label)
    return path[::-1]


def _totals(spoken: Sequence[int], paired: Sequence[int], first: int, last: int, size: int) -> list[int]:
    """For each word the packed scores of its labels: what the words around it and its pairs say together."""
    width = 32 * size
    lanes = sum(LIFT << 32 * lane for lane in range(size))
    every = sum(lanes << width * place for place in range(PLACES))
    mask = (1 << width) - 1
    around = [total + every for total in [first, first, *spoken, last, last]]
    return [
        (around[at] >> 4 * width & mask)
        + (around[at + 1] >> 3 * width & mask)
        + (around[at + 2] >> 2 * width & mask)
        + (around[at + 3] >> width & mask)
        + (around[at + 4] & mask)
        + pair
        for at, pair in enumerate(paired)
    ]


def _lanes(total: int, bits: int, count: int) -> list[int]:
    """The signed numbers that are packed in an integer."""
    half = 1 << bits - 1
    total += sum(half << bits * lane for lane in range(count))
    return [(total >> bits * lane & (1 << bits) - 1) - half for lane in range(count)]
