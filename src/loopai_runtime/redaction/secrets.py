"""Keys, tokens and passwords: by how their issuers write them, by PEM's armour, or by the name they are given.

A digest looks like a key and is none, so that a text is long and random is no reason by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each issuer's prefix, then the rest of its tokens.
_ISSUED = {
    "AKIA": "[A-Z0-9]{16}(?![A-Za-z0-9])",  # AWS, here and below
    "ASIA": "[A-Z0-9]{16}(?![A-Za-z0-9])",
    "ghp_": "[A-Za-z0-9]{20,255}",  # GitHub
    "gho_": "[A-Za-z0-9]{20,255}",
    "ghu_": "[A-Za-z0-9]{20,255}",
    "ghs_": "[A-Za-z0-9]{20,255}",
    "ghr_": "[A-Za-z0-9]{20,255}",
    "github_pat_": r"\w{20,255}",
    "glpat-": r"[\w-]{20,255}",  # GitLab
    "xox": r"[abeoprs]-[\w-]{10,255}",  # Slack
    "sk_": r"(?:live|test)_\w{10,255}",  # Stripe
    "rk_": r"(?:live|test)_\w{10,255}",
    "sk-": r"[\w-]{20,255}",  # OpenAI, Anthropic and others
    "AIza": r"[\w-]{35}(?![\w-])",  # Google
    "npm_": r"\w{36}(?!\w)",
    "pypi-": r"[\w-]{40,255}",
    "hf_": "[A-Za-z0-9]{30,255}",  # Hugging Face
    "SG.": r"[\w-]{16,64}\.[\w-]{16,64}",  # SendGrid
    "lp_": r"[a-z2-7]{8}_[a-z2-7]{52}(?!\w)",  # ours
    "eyJ": r"[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # JSON Web Token, RFC 7519: `{"` in base64
}
# A token never starts inside a longer one: without this, text made of prefixes would take quadratic time.
_TOKEN = re.compile(
    r"(?<![\w.\-])(?:" + "|".join(re.escape(prefix) + rest for prefix, rest in _ISSUED.items()) + ")", re.ASCII
)
_ARMOUR = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

_NAMED = ("pass", "pwd", "secret", "token", "key", "bearer", "basic ")
_PHRASE = r"pass(?:word|wd|phrase|code)|pwd"
_KEY = (
    r"secret|token"
    r"|(?:api|access|private|auth|signing|encryption|client|account|shared|license)[_ -]?(?:key|token|secret)"
)
# What follows a name: an operator, then a value in quotes or to the next space. A placeholder is no value.
_OPERATOR = r"[\"']?[ \t]{0,2}(?:=>|:=|=|:)[ \t]{0,2}"


def _value(fewest: int) -> str:
    some = f"{{{fewest},256}}"
    kinds = rf"\"[^\"\n]{some}\"", rf"'[^'\n]{some}'", rf"[^\s\"'<>,;&\[\]{{}}()]{some}"
    return rf"(?![\"']?\[[A-Z]+\])(?:{'|'.join(kinds)})"


_ASSIGNED = re.compile(
    rf"(?:{_PHRASE})(?:{_OPERATOR}| is (?=[^\s\d]{{0,64}}\d))(?P<password>{_value(4)})"
    rf"|(?:{_KEY}){_OPERATOR}(?P<key>(?=[^\n\d]{{0,64}}\d){_value(8)})"
    r"|(?<![a-z])(?:bearer|basic) {1,2}(?P<header>(?=[^\s\d]{0,64}\d)[\w.~+/=-]{16,})",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(rf"(?:^|[ _.\-])(?:{_PHRASE}|{_KEY}|authorization)$", re.IGNORECASE)
_DIGIT = re.compile(r"\d")


def search(text: str) -> Iterator[tuple[str, int, int]]:
    """Where the credentials of a text are: KEY as its issuer writes it, SECRET the value behind a name."""
    if "-----BEGIN " in text:
        for span in _armoured(text):
            yield "KEY", *span
    if any(prefix in text for prefix in _ISSUED):
        for match in _TOKEN.finditer(text):
            if _DIGIT.search(match[0]):  # words with hyphens have none
                yield "KEY", *match.span()
    lower = text.lower()
    if any(name in lower for name in _NAMED):
        for match in _ASSIGNED.finditer(text):
            yield "SECRET", *match.span(match.lastgroup or 0)


def _armoured(text: str) -> Iterator[tuple[int, int]]:
    end = 0
    for match in _ARMOUR.finditer(text):
        if match.start() < end:
            continue
        footer = text.find("-----END ", match.end())
        closed = text.find("-----", footer + 9) if footer >= 0 else -1
        end = closed + 5 if closed >= 0 else len(text)  # cut off: what is left is key material
        yield match.start(), end


def is_secret_name(name: str) -> bool:
    """Whether a field of this name (`db_password`, `api key`) holds a credential whatever it looks like."""
    return len(name) <= 64 and bool(_SECRET_NAME.search(name)) and not name.lower().endswith("token")
