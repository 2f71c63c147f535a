"""What an oracle sees of an input: personal data hidden behind placeholders, and put back in the answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime.errors import OracleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.redaction import Redactor


class Hidden(NamedTuple):
    """What is sent, and for each placeholder in it the values it stands for."""

    sent: Any
    stands_for: dict[str, set[str]]

    def restore(self, answer: Any) -> Any:
        """The answer with the values back where placeholders stand.

        Raises OracleError where one could be any of several.
        """
        if not self.stands_for:
            return answer
        if isinstance(answer, str):
            return self._restored(answer)
        if isinstance(answer, list):
            return [self.restore(item) for item in answer]
        if isinstance(answer, dict):
            return {self._restored(key): self.restore(item) for key, item in answer.items()}
        return answer

    def _restored(self, text: str) -> str:
        for placeholder, values in self.stands_for.items():
            if placeholder not in text:
                continue
            if len(values) != 1:
                raise OracleError(
                    f"the answer holds {placeholder}, and what stood there was hidden from the oracle",
                    why="answer",
                    hint="oracle.send: full lets the oracle see inputs as they are",
                )
            text = text.replace(placeholder, next(iter(values)))
        return text


class Veil:
    """Hides personal data by `redactor`; None hides nothing."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        self._redactor = redactor

    def hide(self, value: Any) -> Hidden:
        if self._redactor is None:
            return Hidden(value, {})
        sent = self._redactor.redact(value)
        if sent == value:
            return Hidden(value, {})
        stands_for: dict[str, set[str]] = {placeholder: set() for placeholder in _placeholders(sent)}
        for text, name in _texts(value, ""):
            for placeholder, hidden in self._redactor.hides(text, name):
                if placeholder in stands_for:
                    stands_for[placeholder].add(hidden)
        return Hidden(sent, stands_for)


_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z _]*\]")


def _placeholders(sent: Any) -> Iterator[str]:
    for text, _ in _texts(sent, ""):
        yield from _PLACEHOLDER.findall(text)


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every text of a value, with the name of its field."""
    if isinstance(value, str):
        yield value, name
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key, ""
            yield from _texts(item, key)
