"""What a program sees in its input. These functions run in training, and their source is put into programs.

Whatever is written here must therefore run on Python 3.9, use the standard library alone, and pass the sandbox
policy: plain functions without state. A feature is a string:

    free                a word, lower-case; a sign; one character of a script that has no spaces
    buy now             two neighbours; `^ what` is the first word
    #0000-00  ^CAPS     the shape of a word with digits; some word stands in capitals
    _fre  ree_  ~re     letters at a word's start, at its end, within it (2 to `longest` characters); runs of 3
                        and 4 characters in scripts without spaces are written as within a word
    subject:free        a word of a text that is not the main one
    size>=3.5  kind=2   facts: numbers against cuts, integers, booleans, null, missing fields
"""

from __future__ import annotations

import re
from typing import Any

# Later characters of a text are not read: this bounds the time of a call.
MAX_CHARACTERS = 20_000
# Of so many different words the letters are read: a long text has words enough to go by.
MAX_SPELLED = 200

# Signs and spaces of all scripts, by block: what a word cannot contain.
SIGNS = (
    "\\s!-/:-@\\[-`{-~\\x00-\\x1f\\x7f-\\xa9\\xab-\\xb4\\xb6-\\xb9\\xbb-\\xbf\\xd7\\xf7\\u2000-\\u2bff\\u2e00-\\u303f"
    "\\ufe10-\\ufe6f\\uff00-\\uff0f\\uff1a-\\uff20\\uff3b-\\uff40\\uff5b-\\uff65\\U0001f000-\\U0001faff"
)
# Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese have no spaces between words: each character is a word.
SPACELESS = (
    "\\u0e00-\\u0eff\\u0f00-\\u0fff\\u1000-\\u109f\\u1780-\\u17ff\\u3005-\\u3007\\u3040-\\u30ff\\u31f0-\\u31ff"
    "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\uff66-\\uff9f\\U00020000-\\U0003ffff"
)
INVISIBLE = "\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u200b-\\u200f\\u2028-\\u202f\\u2060-\\u206f\\ufe00-\\ufe0f\\ufeff"
TOKEN = re.compile(
    f"[^{SIGNS}{SPACELESS}{INVISIBLE}]+(?:['’][^{SIGNS}{SPACELESS}{INVISIBLE}]+)*|[^\\s_{INVISIBLE}]"
)
RUN = re.compile(f"[{SPACELESS}]{{3,}}")
DIGIT = re.compile("[0-9]")


def tokens(text: str) -> list[str]:
    """The words and signs of a text, as they are written."""
    return TOKEN.findall(text[:MAX_CHARACTERS])


def word_features(written: list[str]) -> list[str]:
    """Words, neighbours, shapes of words with digits, capitals."""
    words = [token.lower() for token in written]
    found = words + [f"{left} {right}" for left, right in zip(["^", *words], words)]  # noqa: B905  Python 3.9
    found += ["#" + DIGIT.sub("0", word) for word in words if DIGIT.search(word)]
    if any(len(token) > 1 and token.isupper() for token in written):
        found.append("^CAPS")
    return found


def letter_features(words: list[str], longest: int) -> list[str]:
    """The runs of 2 to `longest` characters in words, the two ends of a word counting as characters."""
    edges = []
    within = []
    for word in words:
        size = len(word)
        if size > 1:
            for length in range(2, min(longest, size + 1) + 1):
                edges.append("_" + word[: length - 1])
                edges.append(word[1 - length :] + "_")
                within += [word[at : at + length] for at in range(size - length + 1)]
    return edges + ["~" + run for run in dict.fromkeys(within)]


def run_features(text: str) -> list[str]:
    """Three and four neighbours in a script without spaces: its words are about as long."""
    found = []
    for run in RUN.findall(text[:MAX_CHARACTERS]):
        found += [f"~{run[at : at + 3]}" for at in range(len(run) - 2)]
        found += [f"~{run[at : at + 4]}" for at in range(len(run) - 3)]
    return found


def text_features(text: str, longest: int) -> list[str]:
    """What a text says; letters are looked at where `longest` is above 0."""
    written = tokens(text)
    found = word_features(written)
    if longest:
        found += letter_features(list(dict.fromkeys([token.lower() for token in written]))[:MAX_SPELLED], longest)
        if not text.isascii():
            found += run_features(text)
    return found


def leaves(value: Any) -> list[tuple[str, Any]]:
    """Every value in a JSON value with its path: {"a": {"b": [1, 2]}} has a.b[] = 1, a.b[] = 2, a.b.size = 2."""
    found = []
    stack = [("", value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict):
            dot = f"{path}." if path else ""
            stack += [(dot + " ".join(str(key).split()), item[key]) for key in sorted(item, reverse=True)]
        elif isinstance(item, (list, tuple)):
            found.append((f"{path}.size", len(item)))
            stack += [(f"{path}[]", child) for child in reversed(item)]
        else:
            found.append((path, item))
    return found


def facts(items: list[tuple[str, Any]], cuts: Any, expected: Any) -> list[str]:
    """What is known of an input besides its texts; `expected` are paths of which the absence says something."""
    found = []
    for path, item in items:
        if item is None or isinstance(item, bool):
            found.append(f"{path}={item}")
        elif isinstance(item, (int, float)):
            found += [f"{path}>={cut}" for cut in cuts.get(path, ()) if item >= cut]
            if abs(item) < 1_000_000 and item % 1 == 0:
                found.append(f"{path}={int(item)}")
    present = {path for path, item in items}
    return found + [f"{path}=missing" for path in expected if path not in present]


def found(value: Any, longest: int, main: str, cuts: Any, expected: Any) -> list[str]:
    """The distinct features of an input, in the order they come; those of the text `main` have no prefix."""
    items = leaves(value)
    names = facts(items, cuts, expected)
    for path, item in items:
        if isinstance(item, str):
            own = text_features(item, longest)
            names += own if path == main else [f"{path}:{name}" for name in own]
    return list(dict.fromkeys(names))
