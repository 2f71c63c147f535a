"""Answers that are there already (a file of labels), or will be given by a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import OracleError
from loopai_runtime.validation.oracle import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.validation.oracle import Answer

Lookup = Callable[[], Mapping[bytes, Any]]
"""The right outputs that are known now, by the canonical JSON of their inputs."""


class Labels:
    """Right answers from a file; it knows none but those."""

    kind = "labels"

    def __init__(self, name: str, lookup: Lookup) -> None:
        self.name = name
        self._lookup = lookup

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        known = self._lookup()
        return [self._answer(known, value) for value in inputs]

    def _answer(self, known: Mapping[bytes, Any], value: Any) -> Answer:
        key = jsonl.canonical(value)
        return Verdict(known[key]) if key in known else OracleError("no label for this input", why="answer")


class Human:
    """A person: an input without a label joins the queue, once, and is answered by `loopai label`."""

    kind = "human"
    name = "human"

    def __init__(self, lookup: Lookup, enqueue: Callable[[list[Any]], None] | None) -> None:
        """`enqueue=None`: whoever asks queues the inputs itself."""
        self._lookup = lookup
        self._enqueue = enqueue

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        known = self._lookup()
        keys = list(map(jsonl.canonical, inputs))
        missing = {key: value for key, value in zip(keys, inputs, strict=True) if key not in known}
        if missing and self._enqueue is not None:
            self._enqueue(list(missing.values()))
        return [self._answer(known, key) for key in keys]

    @staticmethod
    def _answer(known: Mapping[bytes, Any], key: bytes) -> Answer:
        if key in known:
            return Verdict(known[key])
        return OracleError("waits for a person", why="pending", hint="loopai label answers it")
