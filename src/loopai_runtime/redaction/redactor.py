"""Replacing what was found, all over a JSON value; rules for fields first."""

from __future__ import annotations

import hmac
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.errors import UsageError
from loopai_runtime.redaction.find import Finding, find, find_in_number
from loopai_runtime.redaction.secrets import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH = re.compile(r"\$((?:\.[^.\[\]]+|\[\*\]|\[\d+\])*)")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\*|\d+)\]")
DROPPED, SECRET, TOO_DEEP = "[DROPPED]", "[SECRET]", "[TOO DEEP]"
MAX_DEPTH = 200
"""Deeper than anybody nests; what is deeper is replaced whole, so that no value can exhaust the stack."""
_ROUNDS = 8


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
        texts. Redacting the result once more changes nothing, but for what a rule hashes."""
        return self._walk(value, (), "")

    def text(self, text: str, name: str = "") -> str:
        """A text with placeholders; `name` is that of its field."""
        # What stood beside a finding may have hidden another one, so that once is not always enough.
        for _ in range(_ROUNDS):
            found = find(text, name)
            if not found:
                break
            text = _replaced(text, found)
        return text

    def hides(self, text: str, name: str = "") -> list[tuple[str, str]]:
        """The placeholders by which a text is redacted, each with what it stands for; what is found only once its
        neighbour is hidden is not among them."""
        if is_secret_name(name):
            return [(SECRET, text)]
        return [(f"[{kind}]", text[start:end]) for kind, start, end in find(text, name)]

    def hash(self, value: Any) -> str:
        """The keyed hash of a value: the same for the same value and key."""
        if self._key is None:
            raise UsageError("hashing needs a key")
        return "hmac:" + hmac.digest(self._key, jsonl.canonical(value), "sha256").hex()[:32]

    def _walk(self, value: Any, path: tuple[str, ...], name: str) -> Any:
        action = self._rules.get(path) if self._rules else None
        if action == "keep":
            return value
        if action == "drop":
            return DROPPED
        if action == "hash":
            return self.hash(value)
        if len(path) > MAX_DEPTH:
            return TOO_DEEP
        if isinstance(value, dict):
            return self._members(value, path)
        if isinstance(value, list):
            return [self._walk(item, (*path, "*"), name) for item in value]
        if value in (None, "") or isinstance(value, bool):
            return value
        if is_secret_name(name):
            return SECRET
        if isinstance(value, str):
            return self.text(value, name)
        found = find_in_number(value, name)
        return f"[{found[0].kind}]" if found else value

    def _members(self, value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        """An object; keys that become equal are counted, so that none is lost."""
        result: dict[str, Any] = {}
        seen: Counter[str] = Counter()
        for key, item in value.items():
            shown = unique = self.text(key)
            while unique in result or (unique != key and unique in value):
                seen[shown] += 1
                unique = f"{shown} {seen[shown] + 1}"
            result[unique] = self._walk(item, (*path, key), key)
        return result


def _replaced(text: str, found: list[Finding]) -> str:
    parts, at = [], 0
    for kind, start, end in found:
        parts += [text[at:start], f"[{kind}]"]
        at = end
    return "".join([*parts, text[at:]])


def _steps(path: str) -> tuple[str, ...]:
    """The keys of a path; every index stands for all."""
    if _PATH.fullmatch(path) is None:
        raise UsageError(f"not a JSON path: {path!r}", hint="such as $.customer.email or $.items[*].note")
    return tuple("*" if index else name for name, index in _STEP.findall(path))
