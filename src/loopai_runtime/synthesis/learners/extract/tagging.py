"""How a tagger reads a text: these functions run in training, and their source is put into programs.

Every property of a word (itself, its ends, its shape) speaks for each label of the words around it, from two
before to two after, and so does each pair of neighbours. All that one word says is a string of bytes, two a label
at a distance, so that the scores of a whole text are a few sums of long integers. Only where they show a label
that may be right is the best sequence of labels searched.
"""

from __future__ import annotations

import re
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
REACH = 60  # how far behind the best a label may be for the search to go on from it
MOST_WORDS = 2_000  # of a text; this bounds the time of a call
NEEDED = 3  # the lead over "outside" that the beginning of a value must have, or it with the next word
BEHIND = 30  # how far behind "outside" a word inside of a value may be
BIAS = 4_096  # keeps above zero each of the eight numbers that add up to a score


def properties(word: str) -> list[str]:
    """What a word shows of itself."""
    small = word.lower()
    if word.isalpha():
        shape = "Xx" if word.istitle() else "XX" if word.isupper() else "xx"
        found = [small, shape, "-" + small[-2:], "-" + small[-3:], small[:3] + "-"]
        if small in KINDS:
            found.append("~" + KINDS[small])
        return found
    if word == "\n":
        return ["line-end"]
    return [small, "#" + str(min(len(word), 5)), "#"] if word.isdigit() else [small, "sign"]


def tables(rows: Any, size: int) -> Any:
    """Weights by place and name, ready for use: what whole words say, properties, pairs, what says nothing."""
    shown: dict[str, int] = {}
    couples: list[dict[tuple[str, ...], bytes]] = [{}, {}, {}]
    blank = [int.from_bytes(BIAS.to_bytes(2, "little") * lanes, "little") for lanes in (size, PLACES * size)]
    for (place, name), row in rows.items():
        total = sum([weight << 16 * lane for lane, weight in enumerate(row)])
        if place < PLACES:
            shown[name] = shown.get(name, 0) + (total << 16 * size * place)
        else:
            pair = tuple(name.split(" "))
            couples[place - PLACES][pair] = (blank[0] + total).to_bytes(2 * size, "little")
    words = {name: said(name, shown, blank[1], size) for name in shown if WORD.fullmatch(name)}
    return words, shown, couples, blank


def said(word: str, shown: Any, blank: int, size: int) -> bytes:
    """What a word says of the labels around it."""
    total: int = sum([shown[name] for name in properties(word) if name in shown], blank)
    return total.to_bytes(2 * PLACES * size, "little")


def scored(words: list[str], weights: Any, size: int) -> tuple[bytes, bytes]:
    """For each word its labels' leads over "outside", two bytes each, biased; and a like string, 128 where a value
    may begin: where its label, alone or with the next one of the value, leads by NEEDED.
    """
    known, shown, couples, (pair_blank, blank) = weights
    says = {word: known[word] if word in known else said(word, shown, blank, size) for word in set(words)}
    first, last = [(blank + shown.get(edge, 0)).to_bytes(2 * PLACES * size, "little") for edge in "^$"]
    parts = [first, first, *[says[word] for word in words], last, last]
    # A word's bytes reach over five words: those of every fifth stand side by side, and five such rows add up.
    rows = [b"\0" * (2 * size * row) + b"".join(parts[row::PLACES]) for row in range(PLACES)]
    total = sum([int.from_bytes(row, "little") for row in rows]) >> 16 * size * (PLACES - 1)
    nothing = pair_blank.to_bytes(2 * size, "little")
    small = ["^", *"\0".join(words).replace("\n", "line-end").lower().split("\0"), "$"]
    for pairs, near in zip(couples, [zip(small, small[1:-1]), zip(small[1:-1], small[2:]), zip(small, small[2:])]):
        total += int.from_bytes(b"".join([pairs.get(pair, nothing) for pair in near]), "little")
    length = 2 * size * len(words)
    total &= (1 << 8 * length) - 1
    ones = int.from_bytes(b"\1\0\0\0" * (size // 2 * len(words)), "little")
    begins, goes_on = total & 0xFFFF * ones, total >> 16 * (size + 1) & 0xFFFF * ones
    alone, both = begins - NEEDED * ones, begins + goes_on - (8 * BIAS + NEEDED) * ones
    return total.to_bytes(length, "little"), ((alone | both) & ones << 15).to_bytes(length, "little")


def best_path(
    rows: list[dict[int, int]], before: list[int], moves: list[list[int]], after: list[int]
) -> list[int]:
    """The labels whose scores and moves add up to most (Viterbi 1967); rows have those that may be.

    From each word the search goes on only from labels that are less than REACH behind the best one.
    """
    column = {label: score + before[label] for label, score in rows[0].items()}
    back = []
    for row in rows[1:]:
        least = max(column.values()) - REACH
        tops = [(total, was, moves[was]) for was, total in column.items() if total > least]
        ways, now = {}, {}
        for label, score in row.items():
            best, way = tops[0][0] + tops[0][2][label], tops[0][1]
            for total, was, move in tops:
                if total + move[label] > best:
                    best, way = total + move[label], was
            ways[label], now[label] = way, best + score
        column = now
        back.append(ways)
    path = [max([(total + after[label], label) for label, total in column.items()])[1]]
    for ways in reversed(back):
        path.append(ways[path[-1]])
    return path[::-1]


def hopes(scores: bytes, begins: bytes, size: int) -> dict[int, dict[int, int]]:
    """For each word that may be part of a value, its labels with their leads over "outside"."""
    rows: dict[int, dict[int, int]] = {}
    place = begins.find(128)
    while place >= 0:
        at, label = place // (2 * size), place % (2 * size) // 2 + 1
        lead = scores[place - 1] + 256 * scores[place] - 8 * BIAS
        while lead > -BEHIND:  # from where a value may begin to where it can go on no longer
            row = rows.get(at)
            if row is None:
                row = rows[at] = {0: 0}
            elif label in row:
                break
            row[label] = lead
            at, label = at + 1, label + label % 2
            low = 2 * (size * at + label - 1)
            if low >= len(scores):
                break
            lead = scores[low] + 256 * scores[low + 1] - 8 * BIAS
        place = begins.find(128, place + 1)
    return rows


def labelled(rows: dict[int, dict[int, int]], count: int, moves: list[list[int]]) -> dict[int, int]:
    """The best label of each word in `rows`: each run of such words is searched by itself."""
    labels: dict[int, int] = {}
    size = len(moves) - 1
    out = [move[0] for move in moves]
    for first in sorted(rows):
        if first in labels:
            continue
        end = first + 1
        while end in rows:
            end += 1
        run = [rows[at] for at in range(first, end)]
        path = best_path(run, moves[0 if first else -1], moves, out if end < count else [0] * size)
        labels.update(zip(range(first, end), path))
    return labels


def tagged(text: str, weights: Any, moves: list[list[int]]) -> tuple[dict[int, list[str]], float]:
    """The values of each field, and the least lead that a word's label has over the second."""
    size = len(moves) - 2
    places = list(WORD.finditer(text))[:MOST_WORDS]
    rows = hopes(*scored([place[0] for place in places], weights, size), size)
    labels = labelled(rows, len(places), moves)
    found: dict[int, list[str]] = {}
    least = 2 * BEHIND
    for at, label in labels.items():
        second, best = sorted(rows[at].values())[-2:]
        least = min(least, rows[at][label] - (second if rows[at][label] == best else best))
        if label % 2:
            end = at
            while labels.get(end + 1) == label + 1:
                end += 1
            found.setdefault(label // 2, []).append(text[places[at].start() : places[end].end()])
    return found, least / 44
