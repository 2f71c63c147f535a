"""The tagger as a table of weights: a line for each property of a word at a place, with a character a label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopai_runtime.synthesis.learners.extract import tagging
from loopai_runtime.synthesis.learners.extract.writing.names import regex

if TYPE_CHECKING:
    from loopai_runtime.synthesis.learners.extract.tagger import Tagger

FUNCTIONS = [
    tagging.properties,
    tagging.tables,
    tagging.said,
    tagging.scored,
    tagging.best_path,
    tagging.hopes,
    tagging.labelled,
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
        moves="\n".join(f"    {row!r}," for row in model.moves),
        rows="\n".join(lines),
        places=tagging.PLACES,
        needed=tagging.NEEDED,
        behind=tagging.BEHIND,
        bias=tagging.BIAS,
        reach=tagging.REACH,
        most=tagging.MOST_WORDS,
    )


def unpacking(model: Tagger) -> str:
    return _UNPACK.format(size=model.size)


def _escaped(text: str) -> str:
    """Text as it stands between three quotes: itself where it prints."""
    return "".join(c if c.isprintable() and c not in '"\\' else repr(c)[1:-1].replace('"', '\\"') for c in text)


_TABLE = '''# The tagger: weights, and a search for the best labels. Label 0 is outside of every field,
# 2f+1 begins field f, 2f+2 goes on with it.
WORD = re.compile({word})
PLACES = {places}  # from two words before to two after
MOST_WORDS = {most}
REACH = {reach}  # how far behind the best a label may be for the search to go on from it
NEEDED = {needed}  # the lead over "outside" that the beginning of a value must have, or it with the next word
BEHIND = {behind}  # how far behind "outside" a word inside of a value may be
BIAS = {bias}  # keeps above zero each of the eight numbers that add up to a score
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
    {size},
)
"""
