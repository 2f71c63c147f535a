"""Keys, tokens and passwords: by the prefixes that their makers give them, and by the words before them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY|CERTIFICATE)[A-Z ]{0,10}-----")
_PREFIXED = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{4,4000}(?:\.[A-Za-z0-9_-]{0,4000})?"  # JSON web token
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{20,255}"
    r"|glpat-[A-Za-z0-9_-]{20,255}"
    r"|(?:sk|pk|rk)[-_](?:[A-Za-z0-9]{2,12}[-_]){0,3}[A-Za-z0-9_-]{20,255}"  # OpenAI, Stripe and others
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|ya29\.[A-Za-z0-9_-]{20,255}"
    r"|npm_[A-Za-z0-9]{30,60}|pypi-[A-Za-z0-9_-]{30,255}|hf_[A-Za-z0-9]{30,60}|dop_v1_[a-f0-9]{60,70}"
    r"|lp_[a-z2-7]{8}_[a-z2-7]{52}"  # our own
    r")(?![A-Za-z0-9_])"
)
_NAMED = re.compile(
    r"(?i)(?<![A-Za-z])(?:password|passwd|passphrase|passwort|pwd|secret|client_secret|api[_ -]?key"
    r"|access[_ -]?key|auth[_ -]?token|access[_ -]?token|private[_ -]?key|token)[\"']?\s{0,3}(?:[:=]|is\s)"
    r"\s{0,3}[\"']?([^\s\"',;<>]{4,200})"
)
_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s{1,3}([A-Za-z0-9+/._~-]{16,4000}={0,2})")


_PREFIXES = "eyJ KIA SIA gh github_ glpat- sk pk rk xox AIza ya29 npm_ pypi- hf_ dop_v1_ lp_".split()  # noqa: SIM905
_NAMES = ("pass", "pwd", "secret", "key", "token")


def search(text: str) -> Iterator[tuple[str, int, int]]:
    if "-----BEGIN" in text:
        for start in _PEM.finditer(text):
            end = text.find("-----END", start.end())
            close = text.find("-----", end + 8) if end >= 0 else -1
            yield "KEY", start.start(), close + 5 if close >= 0 else len(text)
            if close < 0:
                return
    if any(prefix in text for prefix in _PREFIXES):
        for match in _PREFIXED.finditer(text):
            if any(character.isdigit() for character in match[0]):  # words with hyphens have none
                yield "KEY", match.start(), match.end()
    lower = text.lower()
    if any(name in lower for name in _NAMES):
        for match in _NAMED.finditer(text):
            yield "SECRET", match.start(1), match.end(1)
    if "bearer " in lower or "basic " in lower:
        for match in _BEARER.finditer(text):
            yield "SECRET", match.start(1), match.end(1)
