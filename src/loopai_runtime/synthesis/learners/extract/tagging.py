"""How a tagger reads a text: these functions run in training, and their source is put into programs.

Every property of a word (itself, its ends, its shape) speaks for each label of the words around it, from two
before to two after, and so does each pair of neighbours. All that one word says is a string of bytes, two a label
at a distance, so that what all labels of a whole text gain is a few sums of long integers. Only where these show
that a value may begin are values read off, and of them the best are chosen.
"""

from __future__ import annotations

import re
from typing import Any

WORD = re.compile(r"([^\W\d_]+|\d+|[^\w\s]|_|\n)")
ASCII_WORD = re.compile(r"([A-Za-z]+|[0-9]+|[^\sA-Za-z0-9]|\n)")  # the same, for ASCII alone: it is faster
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
MOST_WORDS = 2_000  # of a text; and of a value: these bound the time of a call
LONGEST = 64
NEEDED = 3  # the lead over "outside" that the first word of a value must have, or its first two or three
LOSS = 30  # of a value at most: next to another it may gain what it loses alone
BEHIND = 60  # what a value may lose with further words before it gains by them
SURE = 60  # the least lead in a text where nothing speaks for another label
BIAS = 4_096  # keeps above zero each of the eight numbers that add up to a gain


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


def gains(moves: list[list[int]]) -> Any:
    """What moves alone give a label more than "outside" has: to a word anywhere, to the first, to the last; for
    each field, to a value of one word besides, and what its first one, two and three words must gain; for each
    label and field, what a value gains right behind a word of that label.

    A first word pays for coming from outside and for going back there, as a value of several words does.
    """
    gain = [[move - moves[0][0] for move in row] for row in moves]
    anywhere, first, last, alone, needed = [], [], [], [], []
    for begin in range(1, len(moves) - 2, 2):
        inside = begin + 1
        longer = gain[inside][inside]
        enter = gain[0][begin] + gain[begin][inside] - longer + gain[inside][0]
        single = gain[begin][0] - gain[inside][0] - gain[begin][inside] + longer
        anywhere += [enter, longer]
        first += [moves[-1][begin] - moves[-1][0] - gain[0][begin], 0]
        last += [-gain[begin][0], -gain[inside][0]]
        alone.append(single)
        lost = -LOSS - single, -LOSS, -LOSS
        needed.append([max(lost[more], enter + more * longer + NEEDED) for more in range(3)])
    behind = [[row[begin] - row[0] - gain[0][begin] for begin in range(1, len(row), 2)] for row in gain[1:-1]]
    return anywhere, first, last, alone, needed, behind


def packed(row: list[int]) -> int:
    """Numbers side by side, two bytes each."""
    return sum([number << 16 * lane for lane, number in enumerate(row)])


def tables(rows: Any, moves: list[list[int]]) -> Any:
    """Weights by place and name, and moves, ready for use: what words say that have a name; what properties do;
    two words side by side; two around another; an unknown pair; what the first and the last word add; what makes
    enough of the gains of one, two and three words; and what depends on the field alone.
    """
    anywhere, first, last, alone, needed, behind = gains(moves)
    size = len(anywhere)
    shown: dict[str, int] = {}
    pairs: dict[tuple[str, ...], int] = {}
    around: dict[tuple[str, ...], int] = {}
    blank, two, one = [packed([BIAS] * size * count) for count in (PLACES, 2, 1)]
    one += packed(anywhere)
    for (place, name), row in rows.items():
        if place < PLACES:
            shown[name] = shown.get(name, 0) + (packed(row) << 16 * size * place)
            continue
        pair = tuple(name.split(" "))
        if place == PLACES + 2:
            around[pair] = one + packed(row)
        else:
            pairs[pair] = pairs.get(pair, two) + (packed(row) << 16 * size * (PLACES + 1 - place))
    own = dict(shown)
    for word, kind in KINDS.items():
        own[word] = shown.get(word, 0) + shown.get("~" + kind, 0)
    shapes = {shape: blank + shown.get(shape, 0) for shape in ("xx", "Xx", "XX")}
    heads = {name[:-1]: total for name, total in shown.items() if len(name) > 1 and name[-1] == "-"}
    tails = {name[1:]: total for name, total in shown.items() if len(name) > 1 and name[0] == "-"}
    tails = {tail: total + (tails.get(tail[1:], 0) if len(tail) == 3 else 0) for tail, total in tails.items()}
    names = blank, shown, own, shapes, heads, tails
    words = said([word for word in own if WORD.fullmatch(word)], names, size)
    near = {pair: total.to_bytes(4 * size, "little") for pair, total in pairs.items()}
    across = {pair: total.to_bytes(2 * size, "little") for pair, total in around.items()}
    nothing = two.to_bytes(4 * size, "little"), one.to_bytes(2 * size, "little")
    # What makes 32 times BIAS, a power of two, of what one, two and three words must gain.
    lifts = [
        b"".join([(8 * BIAS * (3 - more) - least[more]).to_bytes(4, "little") for least in needed])
        for more in range(3)
    ]
    return (
        words,
        names,
        near,
        across,
        nothing,
        (packed(first), packed(last)),
        lifts,
        (anywhere[::2], alone, behind),
    )


def said(words: list[str], names: Any, size: int) -> dict[str, bytes]:
    """What words say of the labels around them: what their properties do, most of which is summed up before."""
    blank, shown, own, shapes, heads, tails = names
    says = {}
    for word in words:
        if len(word) > 2 and word.isalpha():
            small = word.lower()
            total = shapes["Xx" if word.istitle() else "XX" if word.isupper() else "xx"]
            if small in own:
                total += own[small]
            if small[:3] in heads:
                total += heads[small[:3]]
            if small[-3:] in tails:
                total += tails[small[-3:]]
            elif small[-2:] in tails:
                total += tails[small[-2:]]
        else:
            total = sum([shown[name] for name in properties(word) if name in shown], blank)
        says[word] = total.to_bytes(2 * size * PLACES, "little")
    return says


def gained(words: list[str], weights: Any, size: int) -> tuple[bytes, bytes]:
    """For each word what each label gains over "outside", two bytes each, biased; and a like string, 128 where a
    value may begin: where its first word, or two, or three gain what they must.
    """
    known, names, near, across, (two, one), (first, last), lifts, _ = weights
    says = said([word for word in set(words) if word not in known], names, size)
    edges = [(names[0] + names[1].get(edge, 0)).to_bytes(2 * size * PLACES, "little") for edge in "^^$$"]
    parts = [known[word] if word in known else says[word] for word in words]
    parts = [*edges[:2], *parts, *edges[2:]]
    # A word's bytes reach over five words: those of every fifth stand side by side, and five such rows add up.
    rows = [b"\0" * (2 * size * row) + b"".join(parts[row::PLACES]) for row in range(PLACES)]
    total = sum([int.from_bytes(row, "little") for row in rows]) >> 16 * size * (PLACES - 1)
    small = ["^", *" ".join(words).replace("\n", "line-end").lower().split(" "), "$"]
    # Each is for two words; most pairs are unknown, for which `in` is faster than `get`.
    parts = [near[pair] if pair in near else two for pair in zip(small, small[1:])]  # noqa: SIM401
    total += int.from_bytes(b"".join(parts[::2]), "little") >> 16 * size
    total += int.from_bytes(b"".join(parts[1::2]), "little")
    parts = [across[pair] if pair in across else one for pair in zip(small, small[2:])]  # noqa: SIM401
    total += int.from_bytes(b"".join(parts), "little") + first + (last << 16 * size * (len(words) - 1))
    length = 2 * size * len(words)
    total &= (1 << 8 * length) - 1
    fields = size // 2 * len(words)
    every = int.from_bytes(b"\xff\xff\0\0" * fields, "little")
    begins, goes_on = total & every, total >> 16 * (size + 1) & every
    both = begins + goes_on
    alone, two_words, three_words = [int.from_bytes(lift * len(words), "little") for lift in lifts]
    enough = begins + alone | both + two_words | both + (goes_on >> 16 * size) + three_words
    enough = enough >> 2 & int.from_bytes(b"\0\x80\0\0" * fields, "little")
    return total.to_bytes(length, "little"), enough.to_bytes(length, "little")


def possible(gain: bytes, begins: bytes, by_field: Any) -> list[tuple[int, int, int, int, int]]:
    """What may be values: first word, word after the last, field, gain over "outside", and lead of the first word.

    Of those of a field that begin with the same word, each longer one gains more.
    """
    enter, alone, _ = by_field
    width, base = 4 * len(alone), 8 * BIAS
    values = []
    place = begins.find(128)
    while place >= 0:
        start, field = place // width, place % width // 4
        total = gain[place - 1] + 256 * gain[place] - base
        lead, best = total - enter[field], total + alone[field]
        if best >= -LOSS:
            values.append((start, start + 1, field, best, lead))
        else:
            best = -LOSS - 1
        end, place_on = start + 1, place + width + 2
        while place_on < len(gain) and end < start + LONGEST:
            total += gain[place_on - 1] + 256 * gain[place_on] - base
            end += 1
            if total > best:
                best = total
                values.append((start, end, field, best, lead))
            elif total < best - BEHIND:
                break
            place_on += width
        place = begins.find(128, place + 1)
    return values


def chosen(values: list[tuple[int, int, int, int, int]], behind: Any) -> list[tuple[int, int, int, int, int]]:
    """Those that do not overlap and gain most together (Viterbi 1967, over values instead of words)."""
    # By where they end, and by the label of the last word: gain, last value, chain before it.
    chains: dict[int, dict[int, Any]] = {}
    best: Any = (0, None, None)  # of the chains that end where a word is left before the next value
    at = 0
    for value in values:
        start, end, field, gain, _ = value
        while at < start - 1:
            at += 1
            if at in chains:
                for chain in chains[at].values():
                    if chain[0] >= best[0]:
                        best = chain
        total, before = best[0], best
        if start in chains:
            for label, chain in chains[start].items():
                joined = chain[0] + behind[label][field]
                if joined > total:
                    total, before = joined, chain
        total, label = total + gain, 2 * field + (end > start + 1)
        ending = chains.get(end)
        if ending is None:
            chains[end] = {label: (total, value, before)}
        elif label not in ending or total > ending[label][0]:
            ending[label] = total, value, before
    for ending in chains.values():
        for chain in ending.values():
            if chain[0] >= best[0]:
                best = chain
    path = []
    while best[1]:
        path.append(best[1])
        best = best[2]
    return path[::-1]


def tagged(text: str, weights: Any) -> tuple[dict[int, list[str]], float]:
    """The values of each field; and the least lead that a label has over another where a value may begin."""
    pieces = (ASCII_WORD if text.isascii() else WORD).split(text, MOST_WORDS)  # every other is a word
    if len(pieces) == 1:
        return {}, SURE / 44
    by_field = weights[-1]
    values = possible(*gained(pieces[1::2], weights, 2 * len(by_field[0])), by_field)
    found: dict[int, list[str]] = {}
    leads: dict[int, tuple[int, int]] = {}
    least = SURE
    for start, end, field, _, lead in chosen(values, by_field[2]):
        found.setdefault(field, []).append("".join(pieces[2 * start + 1 : 2 * end]))
        least = min(least, lead)
        for at in range(start + 1, end):
            leads[at] = field, 2 * SURE
        leads[start] = field, lead
    for start, _, field, _, lead in values:
        label, own = leads.get(start, (-1, 0))
        if own - lead < least and label != field:
            least = own - lead
    return found, least / 44
