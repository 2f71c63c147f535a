"""Turns what a program answered into JSON bytes, within limits. Runs inside the sandbox."""

from __future__ import annotations

import json
import math
from types import MappingProxyType
from typing import Any

from loopai_runtime.sandbox.protocol import MAX_DEPTH

MAX_MESSAGE = 500

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


class BadAnswer(Exception):
    """The program answered something that is not JSON, or too much of it."""


def to_json(value: Any, limit: int) -> bytes:
    """The JSON text of a value of dicts with str keys, lists, tuples, text, finite numbers, bools and None."""
    kind = type(value)
    if kind is not str and kind is not bool and value is not None and kind is not int:
        value = _Checked(limit).value(value, 0)
    try:
        text = _encode(value).encode()
    except UnicodeEncodeError:
        raise BadAnswer("the output holds a lone surrogate, which is not text") from None
    if len(text) > limit:
        raise _too_large(limit)
    return text


def _too_large(limit: int) -> BadAnswer:
    return BadAnswer(f"the output is larger than {limit} bytes")


class _Checked:
    """Copies a value into plain JSON types, counting: shared parts may make it far larger than it looks."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    def value(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise _too_large(self.limit)
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, str):
            self.left -= len(value)
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise BadAnswer(f"the output holds {value}, which JSON cannot say")
            return value
        if depth >= MAX_DEPTH:
            raise BadAnswer(f"the output is nested deeper than {MAX_DEPTH}, or within itself")
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, dict | MappingProxyType):
            return {self.key(key): self.value(item, depth + 1) for key, item in value.items()}
        raise BadAnswer(f"the output holds a {type(value).__name__}, which is not JSON")

    def key(self, key: Any) -> str:
        if not isinstance(key, str):
            raise BadAnswer(f"the output has a key of type {type(key).__name__}; JSON keys are text")
        self.left -= len(key)
        return key


def split_score(answer: Any) -> tuple[Any, float]:
    """The output and the confidence of what `score` answered."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise BadAnswer("score must answer (output, confidence)")
    output, confidence = answer
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise BadAnswer("the confidence of score must be a number from 0 to 1")
    return output, float(confidence)


def fault(error: BaseException, filename: str) -> dict[str, Any]:
    """Type, message and line of program.py of an error; never a traceback."""
    try:
        message = str(error)
    except BaseException:
        message = "(its message cannot be shown)"
    if isinstance(error, KeyError) and message:
        message = f"no key {message}"
    line = None
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == filename:
            line = step.tb_lineno
        step = step.tb_next
    message = message[:MAX_MESSAGE].encode("utf-8", "replace").decode()
    return {"type": type(error).__name__[:100], "message": message or type(error).__name__[:100], "line": line}
