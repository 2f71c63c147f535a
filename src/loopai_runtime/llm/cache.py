"""Answers kept, so that the same question is paid for once. Names are keyed hashes: a listing tells nothing."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError, StorageError
from loopai_runtime.files import make_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loopai_runtime.layout import Layout


class Kept(NamedTuple):
    text: str
    prompt_tokens: int
    completion_tokens: int


class AnswerCache:
    """Below one data directory, mode 0600. What is damaged is as if it were not there."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._place = layout.cache("llm")
        self._key = layout.secret("cache")

    def path(self, question: Mapping[str, Any]) -> Path:
        digest = hmac.digest(self._key, jsonl.canonical(question), "sha256").hex()[:40]
        return self._place / digest[:2] / f"{digest}.json"

    def get(self, question: Mapping[str, Any]) -> Kept | None:
        path = self.path(question)
        try:
            entry = jsonl.loads(at_rest.read(self._layout, path))
        except (OSError, InputError, StorageError):
            return None
        if not isinstance(entry, dict) or entry.get("name") != path.stem:
            return None
        text, told, wrote = (entry.get(name) for name in Kept._fields)
        if isinstance(text, str) and isinstance(told, int) and isinstance(wrote, int):
            return Kept(text, told, wrote)
        return None

    def put(self, question: Mapping[str, Any], kept: Kept) -> None:
        """Raises nothing: an answer that cannot be kept has still been given."""
        path = self.path(question)
        try:
            make_dir(path.parent)
            at_rest.replace(self._layout, path, jsonl.compact({"name": path.stem, **kept._asdict()}))
        except (OSError, StorageError, ValueError):
            return
