"""The form of an answer: how a model is held to a JSON Schema, or asked to keep to it, and how it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.llm.answer import json_of

if TYPE_CHECKING:
    from loopai_runtime.schemas import Schema

_ASK = "Answer with one JSON value and nothing else. It must be valid against this JSON Schema:\n"


class Form:
    """`request` asks for the form in words, as a message; `response_format` holds a model to it, where it can."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        raw = schema.schema
        self.request = {"role": "user", "content": _ASK + jsonl.dumps(raw)}
        # Models are held to objects alone, so another value is put into one. References would then lead nowhere.
        self._wrapped = raw.get("type") != "object"
        self.response_format: dict[str, Any] | None = None
        if not self._wrapped or '"$ref"' not in jsonl.dumps(raw):
            named = {"name": "answer", "schema": _inside(raw) if self._wrapped else raw, "strict": False}
            self.response_format = {"type": "json_schema", "json_schema": named}

    def read(self, text: str) -> Any:
        """The value in what the model wrote. Raises ValueError saying what is wrong with it."""
        return json_of(text, self.schema, wrapped=self._wrapped)


def _inside(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"answer": schema},
        "required": ["answer"],
        "additionalProperties": False,
    }
