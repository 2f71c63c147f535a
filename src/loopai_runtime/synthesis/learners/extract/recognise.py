"""Things that look the same in every text: addresses, numbers, dates, amounts, identifiers."""

from __future__ import annotations

import re

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_DATE = (
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)|(?<!\d)\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}(?!\d)"
    rf"|(?<!\d)\d{{1,2}}(?:st|nd|rd|th)?(?: of)?[ -]{_MONTH},?[ -]\d{{2,4}}(?!\d)"
    rf"|(?<![A-Za-z]){_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}(?!\d)"
)
_TIME = r"(?<!\d)\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp]\.?[Mm]\b\.?)?"
_NUMBER = (
    r"(?<![\w.,])[-−]?\d{1,3}(?:[,.' ]\d{3}){1,9}(?:[.,]\d+)?(?!\d)|(?<![\w])[-−]?\d+(?:[.,]\d+)?(?!\d)|(?<!\d)\d+"
)

RECOGNISERS: dict[str, str] = {
    "e-mail address": r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "web address": r"https?://[^\s<>\"')]*[^\s<>\"').,;:!?]",
    "UUID": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
    "date and time": r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?",
    "date": _DATE,
    "time": _TIME,
    "IP address": r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])",
    "amount of money": (
        r"(?:[$€£¥]|\b(?:USD|EUR|GBP|CHF)) ?\d[\d.,]*\d|(?:[$€£¥]) ?\d"
        r"|\d[\d.,]{0,30} ?(?:[$€£¥]|(?:USD|EUR|GBP|CHF)\b)"
    ),
    "phone number": r"(?<![\w.])\+?\(?\d[\d ()./-]{6,}\d(?!\w)",
    "percentage": r"(?<!\d)\d+(?:[.,]\d+)? ?%",
    "hashtag or mention": r"(?<!\w)[#@]\w+",
    "identifier": r"\b[A-Z]{1,6}[-_]?\d[\dA-Z-]*\b",
    "number": _NUMBER,
    "word in quotes": r"(?<=[\"“'])[^\"“”']+(?=[\"”'])",
}
"""By name, the most specific first."""


def literal(text: str) -> str:
    """A pattern for a text as it stands, without escapes that are not needed."""
    return re.sub(r"\\([ #&~-])", r"\1", re.escape(text))


DATE = re.compile(_DATE)
NUMBER = re.compile(_NUMBER + r"|(?i:\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b)")
PHONE = re.compile(RECOGNISERS["phone number"])
