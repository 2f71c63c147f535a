"""The tagger as a table of weights: a line for each property of a word at a place, with a character a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract import tagging
from loopai_runtime.synthesis.learners.extract.writing.names import regex

if TYPE_CHECKING:
    from loopai_runtime.synthesis.learners.extract.tagger import Tagger

FUNCTIONS = [
    tagging.properties,
    tagging.gains,
    tagging.packed,
    tagging.tables,
    tagging.said,
    tagging.gained,
    tagging.possible,
    tagging.chosen,
    tagging.tagged,
]


def constants(model: Tagger) -> str:
    """The table, and what its functions need to know. A weight w is chr(79 + w)."""
    lines = []
    for (place, name), row in sorted(model.rows.items(), key=lambda item: (-max(map(abs, item[1])), item[0])):
        lines.append(_escaped(f"{place}{''.join(chr(79 + weight) for weight in row)}{name}"))
    kinds: dict[str, list[str]] = {}
    for word, kind in tagging.KINDS.items():
        kinds.setdefault(kind, []).append(word)
    listed = "\n".join(f"        {kind!r}: {' '.join(words)!r}," for kind, words in kinds.items())
    return _TABLE.format(
        kinds=listed,
        word=regex(tagging.WORD.pattern),
        ascii_word=regex(tagging.ASCII_WORD.pattern),
        moves="\n".join(f"    {row!r}," for row in model.moves),
        rows="\n".join(lines),
        places=tagging.PLACES,
        most=tagging.MOST_WORDS,
        longest=tagging.LONGEST,
        needed=tagging.NEEDED,
        loss=tagging.LOSS,
        behind=tagging.BEHIND,
        sure=tagging.SURE,
        bias=tagging.BIAS,
    )


def unpacking(model: Tagger) -> str:
    return _UNPACK.format(size=model.size)


def _escaped(text: str) -> str:
    """Text as it stands between three quotes: itself where it prints."""
    return "".join(c if c.isprintable() and c not in '"\\' else repr(c)[1:-1].replace('"', '\\"') for c in text)


_TABLE = '''# The tagger: weights, and a search for the best values. Label 0 is outside of every field,
# 2f+1 begins a value of field f, 2f+2 goes on with it.
WORD = re.compile({word})
ASCII_WORD = re.compile({ascii_word})  # the same, for ASCII alone: it is faster
PLACES = {places}  # from two words before to two after
MOST_WORDS = {most}  # of a text; and of a value: these bound the time of a call
LONGEST = {longest}
NEEDED = {needed}  # the lead over "outside" that the first word of a value must have, or its first two or three
LOSS = {loss}  # of a value at most: next to another it may gain what it loses alone
BEHIND = {behind}  # what a value may lose with further words before it gains by them
SURE = {sure}  # the least lead in a text where nothing speaks for another label
BIAS = {bias}  # keeps above zero each of the eight numbers that add up to a gain
KINDS = {{
    word: kind
    for kind, words in {{
{kinds}
    }}.items()
    for word in words.split()
}}
# How well each label follows each; the last row is for the first word.
MOVES = [
{moves}
]
# A line: a place (2: the word itself, 3 and 4: a word before, 1 and 0: a word after; 5: a word and the one before,
# 6: and the one after, 7: the two around it), a character for each label but 0 (its code less 79 is the lead over
# "outside" that this gives it), and what the words show. The strongest first.
ROWS = """
{rows}
"""
'''

_UNPACK = """
TABLES = tables(
    {{
        (int(row[0]), row[1 + {size} :]): [ord(sign) - 79 for sign in row[1 : 1 + {size}]]
        for row in ROWS[1:-1].split("\\n")
    }},
    MOVES,
)
"""
