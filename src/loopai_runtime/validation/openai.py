"""Any OpenAI-compatible API over plain httpx: what an edge without litellm asks its oracle with."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import OracleError
from loopai_runtime.llm import Reply, Spent
from loopai_runtime.llm.answer import json_of
from loopai_runtime.schemas import Schema
from loopai_runtime.validation.post import Refusal, patiently

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.llm import Prices, Purpose, Purse
    from loopai_runtime.validation.post import Post

BASE_URL = "https://api.openai.com/v1"
_PER_MESSAGE = 16  # tokens beside the text's own, at most


def completions_url(base: str) -> str:
    """Where completions are asked for: below `…/v1`, which may be left out, or be given whole."""
    base = base.rstrip("/")
    if base.endswith("/chat/completions"):
        return base
    after_host = base.partition("://")[2].partition("/")[2]
    return f"{base}/chat/completions" if after_host else f"{base}/v1/chat/completions"


class OpenAI:
    """A model at one address. Safe to use from several threads."""

    def __init__(self, post: Post, model: str, *, prices: Prices, purse: Purse, timeout_s: float) -> None:
        self._post = post
        self._model = model
        self._prices = prices
        self._purse = purse
        self._timeout_s = timeout_s
        self._does_without: frozenset[str] = frozenset()

    def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        purpose: Purpose,
        max_tokens: int,
        temperature: float = 0.0,
        schema: dict[str, Any] | None = None,
        sample: int = 0,
    ) -> Reply:
        """One answer, as `llm.Model.ask` gives it; the messages say its form, `schema` is that of an object.

        Raises OracleError, CapReached.
        """
        started = time.monotonic()
        deadline = started + self._timeout_s
        while True:
            body = self._body(messages, max_tokens, temperature, schema)
            try:
                left = max(0.001, deadline - time.monotonic())
                reply = patiently(lambda seconds: self._attempt(body, purpose, max_tokens, seconds), left)  # noqa: B023
                break
            except Refusal as refusal:
                if (unknown := _not_taken(refusal, body)) is None:
                    raise
                self._does_without |= {unknown}
        text, spent = reply
        if schema is None:
            return Reply(text, None, spent)
        try:
            return Reply(text, json_of(text, Schema(schema)), spent)
        except ValueError as error:
            shown = " ".join(text.split())[:80]
            message = f"{self._model} did not answer in the form asked for: {error} (it began {shown!r})"
            raise OracleError(message, why="answer", hint="a larger model keeps to forms better") from None

    def _body(
        self,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int,
        temperature: float,
        schema: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """The request; models differ in which of its members they take."""
        body: dict[str, Any] = {"model": self._model, "messages": [dict(message) for message in messages]}
        limit = "max_completion_tokens" if "max_tokens" in self._does_without else "max_tokens"
        body[limit] = max_tokens
        if "temperature" not in self._does_without:
            body["temperature"] = temperature
        if schema is not None and "response_format" not in self._does_without:
            form = {"name": "answer", "schema": schema, "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def _attempt(
        self, body: dict[str, Any], purpose: Purpose, max_tokens: int, seconds: float
    ) -> tuple[str, Spent]:
        """Raises OracleError, CapReached."""
        most = self._prices.usd(_most_tokens(body), max_tokens)
        reservation = self._purse.reserve(most, purpose=purpose, model=self._model)
        started = time.monotonic()
        # Until an answer says less, or a refusal that nothing was done, all of it may have been spent.
        spent: Spent | None = Spent(self._model, 0, 0, most, False, 0.0)
        try:
            reply = self._post.send(body, seconds)
            spent = self._spent(reply, most, time.monotonic() - started)
        except OracleError as error:
            spent = spent if error.billed else None
            raise
        finally:
            self._purse.settle(reservation, spent)
        assert spent is not None
        return self._text(reply, max_tokens), spent

    def _spent(self, reply: Any, most: float, seconds: float) -> Spent:
        """What is reported, where that can be."""
        usage = reply.get("usage") if isinstance(reply, dict) else None
        told = [
            usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")
        ]
        counts = [count for count in told if isinstance(count, int) and not isinstance(count, bool) and count > 0]
        if len(counts) < 2:
            return Spent(self._model, 0, 0, most, False, seconds)
        return Spent(self._model, counts[0], counts[1], self._prices.usd(*counts), False, seconds)

    def _text(self, reply: Any, max_tokens: int) -> str:
        """The text of the answer. Raises OracleError."""
        try:
            choice = reply["choices"][0]
            text, reason = choice["message"]["content"], choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise OracleError(f"what answers for {self._model} is no OpenAI-compatible API") from None
        if reason == "length":
            message = f"the answer of {self._model} was cut off at {max_tokens} tokens"
            raise OracleError(message, why="answer", hint="raise max_tokens of the oracle")
        if not isinstance(text, str) or not text.strip():
            raise OracleError(f"{self._model} answered nothing", why="answer")
        return text


def _most_tokens(body: dict[str, Any]) -> int:
    """No tokenizer makes more tokens than bytes."""
    return len(jsonl.compact(body)) + _PER_MESSAGE * len(body["messages"])


def _not_taken(refusal: Refusal, body: dict[str, Any]) -> str | None:
    """The member of the request that the model does not take, by what it says."""
    if refusal.status not in (400, 422):
        return None
    said = refusal.said.lower()
    for name, signs in (
        ("max_tokens", ("max_completion_tokens", "max_tokens")),
        ("temperature", ("temperature",)),
        ("response_format", ("response_format", "json_schema", "structured", "grammar", "schema")),
    ):
        if name in body and any(sign in said for sign in signs):
            return name
    return None
