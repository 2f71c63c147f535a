"""Ways to go about a task, so that programs for it differ by design: what one overlooks another was asked to"
" see."""

from __future__ import annotations

from typing import NamedTuple


class Angle(NamedTuple):
    """A way: its name, as it stands in programs, and what the prompt asks for."""

    name: str
    text: str


ANGLES: dict[str, list[Angle]] = {
    "classify": [
        Angle(
            "weighed words",
            "Weigh evidence: for each label a large dict of words and phrases with weights (strong 3, medium 2,"
            " weak 1; negative where they speak against it), summed over the input; the highest sum wins, and"
            " the margin gives the confidence. Write the dicts from your knowledge of the subject: 40 to 100"
            " entries for each label where there are few labels, 10 to 25 where there are many.",
        ),
        Angle(
            "ordered rules",
            "Write ordered rules from the most specific to the most general, each a compiled regular expression"
            " over the lower-cased text with its label and its confidence: whole constructions, such as verb +"
            " object or the way a request opens, before single words; then a default.",
        ),
        Angle(
            "structure",
            "Look at structure before vocabulary: how the text begins and ends, its length, question words and"
            " what follows them, digits, amounts, dates, links, capitals, punctuation, word order, negation,"
            " person and tense. Combine such signs with a broad vocabulary for each label.",
        ),
        Angle(
            "close calls",
            "Think of the pairs of labels that are most easily confused and of what tells each pair apart;"
            " first narrow the input down to a few labels by broad vocabulary, then decide between them by"
            " tests written for that pair.",
        ),
        Angle(
            "stems and synonyms",
            "Normalise first: lower-case, split into words, expand contractions and abbreviations, undo frequent"
            " misspellings, strip inflections by simple rules. Then count hits in concept sets of stems and"
            " synonyms, and let concepts, alone and in pairs, decide the label.",
        ),
        Angle(
            "what a person would notice",
            "Ask what somebody who does this all day notices first in each label's inputs: intent, topic, named"
            " things (list as many as you know), tone, register, typical phrases of this field. Test for those,"
            " the surest first, and add up weaker hints where no sure one is there.",
        ),
    ],
    "extract": [
        Angle(
            "grammar",
            "Describe the input's format as one anchored regular expression with named groups, then"
            " alternatives of it for other layouts; where none matches, find each field by itself.",
        ),
        Angle(
            "fields apart",
            "Write one function for each field: patterns for what its values look like and for the words around"
            " them, several candidates with a score, and the best one wins; resolve overlaps between fields at"
            " the end.",
        ),
        Angle(
            "walk",
            "Walk over tokens with their positions: recognise value types (numbers, dates, names, codes, quoted"
            " text) and the cue words before and after them, and assign spans to fields; slice values out of"
            " the original text.",
        ),
        Angle(
            "landmarks",
            "For each field find the landmarks that its values stand between (labels, delimiters, brackets,"
            " prepositions, line ends), with many variants of each landmark, and fall back to the value's own"
            " shape.",
        ),
    ],
    "transform": [
        Angle(
            "parse and print",
            "Parse the input into its parts, whatever its format among the plausible ones; then print the parts"
            " in the output format.",
        ),
        Angle(
            "shortest rule",
            "Find the simplest rule that explains every example, write it with as few cases as possible, and"
            " make sure that it does something sensible where its assumption fails.",
        ),
        Angle(
            "cases",
            "List the kinds of input that real data of this sort contains (missing parts, extra spaces, other"
            " separators, mixed case, accents, abbreviations, several formats), and handle each kind"
            " explicitly; then a general rule.",
        ),
        Angle(
            "patterns",
            "Work with regular expressions: find the pieces that the output is made of wherever they stand,"
            " normalise them, and put them together.",
        ),
    ],
}
"""For each kind of task, the most useful first."""


def angles(kind: str, count: int) -> list[Angle]:
    """So many ways, in turn."""
    known = ANGLES[kind]
    return [known[at % len(known)] for at in range(count)]
