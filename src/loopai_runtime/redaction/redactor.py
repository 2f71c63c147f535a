"""Replacing what was found, all over a JSON value; rules for fields first."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.errors import UsageError
from loopai_runtime.redaction.find import find

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH = re.compile(r"\$((?:\.[^.\[\]]+|\[\*\]|\[\d+\])*)")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\*|\d+)\]")
DROPPED = "[DROPPED]"


class Rule(NamedTuple):
    """What to do with the field at a JSON path (`$.customer.email`, `$.items[*].note`): `drop` it, replace it by a
    keyed `hash`, or `keep` it as it is."""

    path: str
    action: Literal["drop", "hash", "keep"]


class Redactor:
    """Redacts JSON values. `key` is for keyed hashes (HMAC-SHA256), which without it nobody can guess.

    Raises UsageError for a path that is none, or a `hash` rule without a key.
    """

    def __init__(self, rules: Iterable[Rule] = (), key: bytes | None = None) -> None:
        self._key = key
        self._rules = {_steps(rule.path): rule.action for rule in rules}
        if key is None and "hash" in self._rules.values():
            raise UsageError("a rule that hashes needs a key")

    def redact(self, value: Any) -> Any:
        """The value with placeholders such as `[EMAIL]` for what was found: in texts, in keys, in numbers as
        texts."""
        return self._walk(value, ())

    def text(self, text: str) -> str:
        """A text with placeholders."""
        parts, at = [], 0
        for kind, start, end in find(text):
            parts += [text[at:start], f"[{kind}]"]
            at = end
        return "".join([*parts, text[at:]]) if parts else text

    def hash(self, value: Any) -> str:
        """The keyed hash of a value: the same for the same value and key."""
        if self._key is None:
            raise UsageError("hashing needs a key")
        return "hmac:" + hmac.digest(self._key, jsonl.canonical(value), "sha256").hex()[:32]

    def _walk(self, value: Any, path: tuple[str, ...]) -> Any:
        action = self._rules.get(path) if self._rules else None
        if action == "keep":
            return value
        if action == "drop":
            return DROPPED
        if action == "hash":
            return self.hash(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._walk(item, (*path, "*")) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            shown = str(value)
            redacted = self.text(shown)
            return value if redacted == shown else redacted
        return value


def _steps(path: str) -> tuple[str, ...]:
    """The keys of a path; every index stands for all."""
    if _PATH.fullmatch(path) is None:
        raise UsageError(f"not a JSON path: {path!r}", hint="such as $.customer.email or $.items[*].note")
    return tuple("*" if index else name for name, index in _STEP.findall(path))
