"""How a tagger reads a text: shortcuts must give what the plain definitions give, in bounded work."""

from __future__ import annotations

import itertools
import random

import pytest

from loopai_runtime.synthesis.learners.extract import tagging
from loopai_runtime.synthesis.learners.extract.locate import Span
from loopai_runtime.synthesis.learners.extract.tagger import Tagger, sentence, train

CITIES = ["Oslo", "New York", "Lima", "San Juan"]
COUNTS = ["two", "7", "SIX", "Second"]


@pytest.fixture(scope="module")
def model() -> Tagger:
    """Field 0 is a city, field 1 a number of people; values stand side by side, first, last and alone."""
    sentences = []
    for city, count, form in itertools.product(
        CITIES, COUNTS, ["book {0} for {1}", "{1} {0}", "{0}", "- at {1} ~ ok"]
    ):
        text = form.format(city, count)
        fields = [
            [[Span(text.index(value), text.index(value) + len(value))]] if value in text else []
            for value in (city, count)
        ]
        sentences.append(sentence(text, fields))
    return train(sentences, 2, 8, 2, 0)


WORDS = [
    "Oslo",
    "York",
    "yorkshire",
    "SIX",
    "Six",
    "two",
    "in",
    "a",
    "To",
    "II",
    "7",
    "2026",
    "-",
    "~",
    "_",
    "\n",
    "\x00",
    "\x1c",
    "xx",
    "Xx",
    "sign",
    "ß",
    "İzmir",
    "ſix",
    "東京",
    "ñandú",
    "a1",
    "Friday",
]


def leads(model: Tagger, words: list[str]) -> list[list[int]]:
    """By definition: for each word and label, the weights of what is shown around it."""
    names = [["^"], ["^"], *map(tagging.properties, words), ["$"], ["$"]]
    small = ["^", *[word.lower().replace("\n", "line-end") for word in words], "$"]
    out = []
    for at in range(len(words)):
        blocks = [(4 - place, name) for place in range(5) for name in names[at + place]]
        blocks += [(5, f"{small[at]} {small[at + 1]}"), (6, f"{small[at + 1]} {small[at + 2]}")]
        blocks.append((7, f"{small[at]} {small[at + 2]}"))
        rows = [model.rows[block] for block in blocks if block in model.rows]
        out.append([sum(row[label] for row in rows) for label in range(model.size)])
    return out


def numbers(packed: bytes, size: int) -> list[list[int]]:
    lanes = [int.from_bytes(packed[at : at + 2], "little") for at in range(0, len(packed), 2)]
    return [[lane - 8 * tagging.BIAS for lane in lanes[at : at + size]] for at in range(0, len(lanes), size)]


def test_what_labels_gain_is_the_sum_of_what_words_show_around_them(model: Tagger) -> None:
    draw = random.Random(0)
    anywhere, first, last, *_ = tagging.gains(model.moves)
    for _ in range(50):
        words = draw.choices([*WORDS, *CITIES[0].split(), "for", "book", "at"], k=draw.randrange(1, 12))
        gained, _ = tagging.gained(words, model.tables, model.size)
        wanted = [[a + b for a, b in zip(row, anywhere, strict=True)] for row in leads(model, words)]
        wanted[0] = [a + b for a, b in zip(wanted[0], first, strict=True)]
        wanted[-1] = [a + b for a, b in zip(wanted[-1], last, strict=True)]
        assert numbers(gained, model.size) == wanted


def best_by_trying_all(model: Tagger, words: list[str]) -> int:
    """The best sum of leads and moves over all labellings, beside that of staying outside."""
    scores = leads(model, words)

    def worth(labels: tuple[int, ...]) -> int:
        found = sum(scores[at][label - 1] for at, label in enumerate(labels) if label)
        return found + sum(model.moves[was][label] for was, label in zip((-1, *labels[:-1]), labels, strict=True))

    ways = itertools.product(range(model.size + 1), repeat=len(words))
    return max(map(worth, ways)) - worth((0,) * len(words))


def test_the_values_chosen_gain_as_much_as_the_best_of_all_labellings(
    model: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("NEEDED", -1000), ("LOSS", 1000), ("BEHIND", 5000)):  # nothing is left out early
        monkeypatch.setattr(tagging, name, value)
    eager = Tagger(model.rows, model.moves, model.fields)
    draw = random.Random(1)
    for _ in range(40):
        words = draw.choices(["Oslo", "New", "York", "two", "7", "for", "book", "hm"], k=draw.randrange(1, 6))
        gained, begins = tagging.gained(words, eager.tables, eager.size)
        values = tagging.possible(gained, begins, eager.tables[-1])
        path = tagging.chosen(values, eager.tables[-1][2])
        behind = eager.tables[-1][2]
        together = sum(value[3] for value in path)
        for before, after in itertools.pairwise(path):
            assert before[1] <= after[0]
            if before[1] == after[0]:
                together += behind[2 * before[2] + (before[1] > before[0] + 1)][after[2]]
        assert together == best_by_trying_all(eager, words)


def test_a_word_of_ascii_is_the_same_by_both_patterns() -> None:
    text = "".join(map(chr, range(128))) * 2 + " don't a_b 3rd\r\n\t$5.00\x1f\x0b"
    assert tagging.ASCII_WORD.split(text) == tagging.WORD.split(text)


def test_of_a_thousand_characters_of_free_text_most_is_not_searched(model: Tagger) -> None:
    words = tagging.WORD.findall("the quick brown fox jumps over a lazy dog while nobody looks at the moon " * 14)
    gained, begins = tagging.gained(words, model.tables, model.size)
    assert len(tagging.possible(gained, begins, model.tables[-1])) < len(words) / 5


def test_a_text_made_of_values_alone_takes_bounded_work(model: Tagger) -> None:
    words = ["York", "Oslo", "two"] * 10_000
    values = []
    for repeated in (["York"], ["New", "York"], words):
        pieces = tagging.WORD.split(" ".join(repeated * (30_000 // len(repeated))), tagging.MOST_WORDS)
        gained, begins = tagging.gained(pieces[1::2], model.tables, model.size)
        values.append(len(tagging.possible(gained, begins, model.tables[-1])))
    assert max(values) <= tagging.MOST_WORDS * tagging.LONGEST * model.fields
