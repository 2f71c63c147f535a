"""A shop's mail: what customers write, what is right, and how it drifts once there are lockers and an app.

python mail.py 240 > train.jsonl
"""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELS = ("delivery", "billing", "account")
OLD = {
    "delivery": "parcel courier van doorstep shipment tracking delivered dispatched depot package",
    "billing": "invoice refund charged receipt payment bank transfer statement overcharged discount",
    "account": "password login email username profile newsletter register signed unsubscribe address",
}
NEW = {
    "delivery": "locker drone pickup kiosk robot beacon hatch slot",
    "billing": "wallet coins cashback instalment voucher topup tokens balance",
    "account": "passkey avatar app selfie fingerprint sync widget badge",
}
OPENINGS = (
    "Hello,",
    "Hi there,",
    "Good morning,",
    "Dear shop,",
    "Please help:",
    "Sorry to bother you,",
    "To whom,",
)
FRAMES = (
    "my {0} and the {1} make no sense to me",
    "something is wrong with the {0}, also with the {1}",
    "I have waited a week for the {0} and nobody knows about the {1}",
    "why does the {0} show twice, is it the {1}",
    "could somebody look at my {0} or the {1} today",
    "the {0} is gone since yesterday, the {1} too",
)
ENDINGS = (
    "thank you",
    "regards",
    "please answer soon",
    "this is the second time",
    "best wishes",
    "I am not amused",
)
BELL = "\U0001f514"
"""What customers write later, and no version has seen before."""

_LABEL_OF = {word: label for words in (OLD, NEW) for label in LABELS for word in words[label].split()}


def message(chance: random.Random, *, drifted: float = 0.0, bells: float = 0.0) -> dict[str, Any]:
    """An input; with the chance `drifted` it speaks of new things alone, with the chance `bells` it rings."""
    words = NEW if chance.random() < drifted else OLD
    one, two = chance.sample(words[chance.choice(LABELS)].split(), 2)
    ring = f" {BELL}" if chance.random() < bells else ""
    number = chance.randrange(10_000, 99_999)
    frame = chance.choice(FRAMES).format(one, two)
    return {"text": f"{chance.choice(OPENINGS)} {frame} (no. {number}){ring}, {chance.choice(ENDINGS)}"}


def right(given: dict[str, Any]) -> str:
    """What a person would answer."""
    words = "".join(c if c.isalpha() else " " for c in given["text"]).split()
    return next(label for word in words if (label := _LABEL_OF.get(word)))


def examples(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows to learn from, of the time before."""
    chance = random.Random(seed)  # noqa: S311  a seed, not a secret
    for _ in range(count):
        given = message(chance)
        yield {"input": given, "output": right(given)}


if __name__ == "__main__":
    for row in examples(int(sys.argv[1])):
        print(json.dumps(row))
