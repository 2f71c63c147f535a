"""How a tagger reads a text: these functions run in training, and their source is put into programs.

Every property of a word (itself, its ends, its shape) speaks for each label of the words around it, from two
before to two after. All those weights of one property are lanes of a single integer, 32 bits a lane, so that
adding a property is one addition; a lane is a label at a distance.
"""

from __future__ import annotations

import re
import struct
from typing import Any

WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_|\n")
KINDS = {
    word: kind
    for kind, words in {
        "number": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen twenty thirty forty fifty hundred",
        "month": "jan feb mar apr jun jul aug sep sept oct nov dec january february march april may june july "
        "august september october november december",
        "day": "mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday",
        "when": "today tomorrow tonight yesterday now noon midnight morning afternoon evening night",
        "unit": "second seconds minute minutes hour hours day days week weeks month months year years",
        "order": "first second third fourth fifth next last st nd rd th",
    }.items()
    for word in words.split()
}
PLACES = 5  # from two words before to two after
REACH = 120  # how far behind the best a label may be for the search to go on from it
MOST_WORDS = 2_000  # of a text; this bounds the time of a call
LIFT = 1 << 27  # keeps lanes above zero while they are added


def properties(word: str) -> list[str]:
    """What a word shows of itself."""
    small = word.lower()
    if word == "\n":
        return ["line end"]
    if word.isdigit():
        return [small, "#" + str(min(len(word), 5)), "#"]
    if not word.isalpha():
        return [small, "sign"]
    shape = "Xx" if word.istitle() else "XX" if word.isupper() else "xx"
    found = [small, shape, "-" + small[-2:], "-" + small[-3:], small[:3] + "-"]
    if small in KINDS:
        found.append("~" + KINDS[small])
    return found


def pairs(words: list[str]) -> list[list[str]]:
    """For each word: it with the one before, with the one after, and those two with each other."""
    edge = ["^", *[word.lower().strip() for word in words], "$"]
    return [
        [f"{edge[at]}_{edge[at + 1]}_", f"_{edge[at + 1]}_{edge[at + 2]}", f"{edge[at]}__{edge[at + 2]}"]
        for at in range(len(words))
    ]


def totals(spoken: list[int], paired: list[int], first: int, last: int, size: int) -> list[int]:
    """For each word the packed scores of its labels: what the words around it and its pairs say together."""
    width = 32 * size
    lanes = sum([LIFT << 32 * lane for lane in range(size)])
    every = sum([lanes << width * place for place in range(PLACES)])
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


def best_path(scores: list[Any], moves: list[list[int]], reach: int) -> list[int]:
    """The labels whose scores and moves add up to most (Viterbi 1967).

    From each word the search goes on only from labels that are less than `reach` behind the best one.
    """
    if not scores:
        return []
    column = [score + move for score, move in zip(scores[0], moves[-1])]
    back = []
    for row in scores[1:]:
        least = max(column) - reach
        tops = [label for label, total in enumerate(column) if total > least]
        ways = [[column[top] + move for move in moves[top]] for top in tops]
        best = list(map(max, *ways)) if len(ways) > 1 else ways[0]
        back.append((tops, ways, best))
        column = [score + total for score, total in zip(row, best)]
    label = column.index(max(column))
    path = [label]
    for tops, ways, best in reversed(back):
        label = [top for top, way in zip(tops, ways) if way[label] == best[label]][0]  # noqa: RUF015
        path.append(label)
    return path[::-1]


def packed(rows: Any, size: int) -> tuple[dict[str, int], dict[str, int]]:
    """Rows of weights as lanes: of properties by name, of pairs by name."""
    words: dict[str, int] = {}
    couples: dict[str, int] = {}
    for (place, name), row in rows.items():
        total = sum([weight << 32 * lane for lane, weight in enumerate(row)])
        if place == PLACES:
            couples[name] = total
        else:
            words[name] = words.get(name, 0) + (total << 32 * size * place)
    return words, couples


def tagged(text: str, tables: Any, moves: list[list[int]]) -> tuple[dict[int, list[str]], float]:
    """The values of each field, and the least lead that a word's label has over the second."""
    words, couples = tables
    size = len(moves) - 1
    spans = [found.span() for found in WORD.finditer(text)][:MOST_WORDS]
    written = [text[start:end] for start, end in spans]
    spoken = [sum([words[name] for name in properties(word) if name in words]) for word in written]
    paired = [sum([couples[name] for name in names if name in couples]) for names in pairs(written)]
    unpack = struct.Struct("<" + str(size) + "I").unpack
    both = totals(spoken, paired, words.get("^", 0), words.get("$", 0), size)
    scores = [unpack(total.to_bytes(4 * size, "little")) for total in both]
    path = best_path(scores, moves, REACH)
    found: dict[int, list[str]] = {}
    lead = 1000
    for place, label in enumerate(path):
        row = scores[place]
        lead = min(lead, row[label] - max([*row[:label], *row[label + 1 :]]))
        if label % 2:
            end = place
            while end + 1 < len(path) and path[end + 1] == label + 1:
                end += 1
            found.setdefault(label // 2, []).append(text[spans[place][0] : spans[end][1]])
    return found, lead / 44
