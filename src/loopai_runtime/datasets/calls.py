"""Past calls of a language model, read from the files that people have of them.

A line is one call with its answer, in any of these forms: a request and a response of the Chat Completions or
Responses API (`{"request": …, "response": …}`, or both in one object), the input and output lines of a batch
(joined by `custom_id`), a conversation that ends in the assistant's answer (`{"messages": […]}`), or a plain
`{"prompt": …, "completion": …}`. What is no call is counted with its line and skipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, NotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_REQUEST = ("request", "body", "params", "kwargs")
_ANSWER = ("response", "output", "completion", "answer", "result", "choices")
_TIME = ("timestamp", "created_at", "createdAt", "start_time", "startTime", "time", "ts", "date", "created")
_COST = ("cost", "cost_usd", "response_cost", "total_cost", "spend", "usd")


class Message(NamedTuple):
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what was asked, what came back, and what is known of it. `at` is in seconds since 1970, UTC."""

    messages: tuple[Message, ...]
    answer: str
    line: int
    model: str | None = None
    at: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usd: float | None = None


@dataclass(slots=True)
class Log:
    """The calls of some files, and the lines that were none: `file:line: why`."""

    calls: list[Call] = field(default_factory=list)
    skipped: int = 0
    first_skipped: list[str] = field(default_factory=list)

    def skip(self, where: str, why: str) -> None:
        self.skipped += 1
        if len(self.first_skipped) < 3:
            self.first_skipped.append(f"{where}: {why}")


def read_calls(paths: Iterable[Path]) -> Log:
    """All calls of JSONL files, in order. Raises NotFound, UsageError where a file cannot be read as lines."""
    log = Log()
    asked: dict[str, tuple[str, int, dict[str, Any]]] = {}
    answered: dict[str, tuple[str, int, dict[str, Any]]] = {}
    for path in paths:
        for where, line, row in _rows(path, log):
            if not isinstance(row, dict):
                log.skip(where, "not an object")
            elif _half_of_batch(row):
                (answered if "response" in row else asked)[str(row["custom_id"])] = (where, line, row)
            else:
                _add(log, where, line, row)
    for custom_id, (where, line, row) in asked.items():
        if custom_id in answered:
            _add(log, where, line, {**row, "response": answered.pop(custom_id)[2]["response"]})
        else:
            log.skip(where, f"no answer to the batch request {custom_id!r}")
    for custom_id, (where, _, _) in answered.items():
        log.skip(where, f"no request for the batch answer {custom_id!r}")
    return log


def _rows(path: Path, log: Log) -> Iterator[tuple[str, int, Any]]:
    try:
        with path.open("rb") as file:
            for line in jsonl.lines(file):
                try:
                    yield f"{path}:{line.number}", line.number, jsonl.loads(line.raw)
                except InputError as error:
                    log.skip(f"{path}:{line.number}", error.message)
    except FileNotFoundError:
        raise NotFound("there is no such file", where=str(path)) from None
    except IsADirectoryError:
        raise UsageError("is a directory; a file of calls is needed", where=str(path)) from None
    except InputError as error:
        raise UsageError(error.message, where=str(path)) from None
    except OSError as error:
        raise UsageError(error.strerror or "cannot be read", where=str(path)) from None


def _half_of_batch(row: Mapping[str, Any]) -> bool:
    return "custom_id" in row and ("body" in row) != ("response" in row)


def _add(log: Log, where: str, line: int, row: dict[str, Any]) -> None:
    try:
        log.calls.append(call_of(row, line))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        why = str(error) if type(error) is ValueError else "not a call in a form that is known"
        log.skip(where, why)


def call_of(row: dict[str, Any], line: int) -> Call:
    """The call that a row is. Raises ValueError, or what its odd shape raises."""
    request = next((row[name] for name in _REQUEST if isinstance(row.get(name), dict)), row)
    response = next((row[name] for name in _ANSWER if row.get(name) is not None), None)
    if isinstance(response, dict) and isinstance(response.get("body"), dict):
        response = response["body"]
    messages = _messages(request)
    if response is None and messages and messages[-1].role == "assistant":
        answer, messages = messages[-1].text, messages[:-1]
    else:
        answer = _answer(response)
    if not messages:
        raise ValueError("nothing was asked")
    if not answer.strip():
        raise ValueError("nothing was answered")
    details = response if isinstance(response, dict) else row
    usage = details.get("usage") or row.get("usage") or {}
    return Call(
        messages=tuple(messages),
        answer=answer,
        line=line,
        model=_text(request.get("model") or details.get("model")),
        at=_time(row, details),
        prompt_tokens=_count(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=_count(usage, "completion_tokens", "output_tokens"),
        usd=next((float(row[name]) for name in _COST if _is_number(row.get(name))), None),
    )


def _messages(request: Mapping[str, Any]) -> list[Message]:
    found = []
    if request.get("instructions"):
        found.append(Message("system", _content(request["instructions"])))
    asked = request.get("messages", request.get("input", request.get("prompt")))
    if isinstance(asked, str):
        return [*found, Message("user", asked)]
    for message in asked or []:
        role = "system" if message["role"] in ("system", "developer") else str(message["role"])
        found.append(Message(role, _content(message.get("content"))))
    return found


def _content(content: Any) -> str:
    """Text, or the texts of parts. Raises ValueError for pictures and sound."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, dict):
        content = [content]
    texts = []
    for part in content:
        text = part if isinstance(part, str) else part.get("text")
        if not isinstance(text, str):
            raise ValueError(f"a message holds {part.get('type', 'something')!r}, which is no text")
        texts.append(text)
    return "\n".join(texts)


def _answer(response: Any) -> str:
    """The text of a response, or the arguments of the one function that it calls."""
    if isinstance(response, str):
        return response
    if isinstance(response, list):  # `choices`, or the items of the Responses API
        response = {"choices": response} if response and "message" in response[0] else {"output": response}
    if not isinstance(response, dict):
        raise ValueError("there is no answer")
    if "choices" in response:
        choice = response["choices"][0]
        return _of_message(choice["message"]) if "message" in choice else str(choice["text"])
    if isinstance(response.get("output_text"), str):
        return str(response["output_text"])
    if "output" in response:
        items = [item for item in response["output"] if item.get("type") == "message"]
        return "".join(_content(item["content"]) for item in items)
    if "content" in response:
        return _of_message(response)
    if "error" in response:
        raise ValueError("the call failed")
    return jsonl.dumps(response)  # an answer that was logged as the object it is


def _of_message(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls") or []
    if len(calls) == 1 and not message.get("content"):
        return str(calls[0]["function"]["arguments"])
    return _content(message.get("content"))


def _time(row: Mapping[str, Any], details: Mapping[str, Any]) -> float | None:
    for source in (row, details):
        for name in _TIME:
            value = source.get(name)
            if _is_number(value):
                return float(value) / (1000 if value > 1e11 else 1)  # milliseconds
            if isinstance(value, str):
                try:
                    moment = datetime.fromisoformat(value)
                except ValueError:
                    continue
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((int(usage[name]) for name in names if _is_number(usage.get(name))), None)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
