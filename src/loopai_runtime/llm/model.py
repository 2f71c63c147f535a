"""`Model.ask`: a question to a language model, never beyond the money set aside for it."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import CapReached, ModelError
from loopai_runtime.llm import provider
from loopai_runtime.llm.answer import json_of
from loopai_runtime.llm.cache import Kept
from loopai_runtime.llm.endpoint import Prices, Reply, Spent
from loopai_runtime.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loopai_runtime.llm.cache import AnswerCache
    from loopai_runtime.llm.endpoint import Endpoint, Purpose, Purse

    Messages = Sequence[Mapping[str, Any]]

ATTEMPTS = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
# Beyond the bytes of the texts themselves: roles and separators of each message, and of the template around all.
PER_MESSAGE, PER_PROMPT = 16, 64
# A report of more than this many times what was set aside is not a bill but nonsense.
IMPLAUSIBLE = 10

_ONLY_JSON = "Answer with one JSON value and nothing else. It must be valid against this JSON Schema:\n"


class Model:
    """One model, paid from one purse. Safe to be asked by several threads at once.

    `leaving(destination)` is called once, before the first call that is really made: who prints and audits what
    leaves does it there.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        purse: Purse,
        cache: AnswerCache | None = None,
        *,
        leaving: Callable[[str], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._purse = purse
        self._cache = cache
        self._leaving = leaving
        self._takes_schemas = True
        self._distrusted: str | None = None

    # --- what it could cost

    def prices(self, messages: Messages = ()) -> Prices:
        """US dollars per million tokens: the endpoint's own, else litellm's, else 0 on this machine.

        Raises ModelError where they are not known.
        """
        if self.endpoint.prices is not None:
            return self.endpoint.prices
        known = provider.known_prices(self.endpoint, most_tokens(messages))
        if known is not None:
            return known
        if self.endpoint.loopback:
            return Prices(0.0, 0.0)
        raise ModelError(
            f"the price of {self.endpoint.model!r} at {self.endpoint.destination} is not known, so no limit holds",
            hint="give prices: {input: …, output: …} in US dollars per million tokens",
        )

    def most_usd(self, messages: Messages, max_tokens: int, schema: Mapping[str, Any] | None = None) -> float:
        """What one call can cost at most: every byte of the prompt a token, and all of `max_tokens`.

        Raises ModelError where the price is unknown and the endpoint is not this machine.
        """
        extra = len(jsonl.compact(schema)) + len(_ONLY_JSON) if schema else 0
        return self.prices(messages).usd(most_tokens(messages) + extra, max_tokens)

    # --- asking

    def ask(
        self,
        messages: Messages,
        *,
        purpose: Purpose,
        max_tokens: int,
        temperature: float = 0.0,
        schema: dict[str, Any] | None = None,
        sample: int = 0,
    ) -> Reply:
        """The model's answer, from the cache where the same was asked before.

        Of `max_tokens` no more are asked for than the model can answer with. With a `schema`, `data` is a value
        that it accepts. `sample` tells draws of one prompt apart. Raises
        ModelError, CapReached, MissingExtra.
        """
        question = {
            "model": self.endpoint.model,
            "endpoint": self.endpoint.api_base or "",
            "messages": [dict(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "schema": schema,
            "sample": sample,
        }
        compiled = Schema(schema) if schema is not None else None
        kept = self._cache.get(question) if self._cache else None
        if kept is not None:
            try:
                spent = Spent(self.endpoint.model, kept.prompt_tokens, kept.completion_tokens, 0.0, True, 0.0)
                return self._reply(kept.text, compiled, spent)
            except ModelError:
                pass  # kept by a version that read answers differently
        most = min(max_tokens, provider.longest_answer(self.endpoint) or max_tokens)
        reply = self._called(messages, purpose, most, temperature, compiled)
        if self._cache:
            self._cache.put(question, Kept(reply.text, reply.spent.prompt_tokens, reply.spent.completion_tokens))
        return reply

    def _reply(self, text: str, schema: Schema | None, spent: Spent) -> Reply:
        if schema is None:
            return Reply(text, None, spent)
        try:
            return Reply(text, json_of(text, schema), spent)
        except ValueError as exc:
            shown = " ".join(text.split())[:80]
            raise ModelError(
                f"{self.endpoint.model} did not answer in the form asked for: {exc} (it began {shown!r})",
                hint="a larger model keeps to forms better",
            ) from None

    def _called(
        self, messages: Messages, purpose: Purpose, max_tokens: int, temperature: float, schema: Schema | None
    ) -> Reply:
        """Attempts until one succeeds, all within the endpoint's time."""
        provider.litellm()  # its import takes seconds that are not the model's
        until = time.monotonic() + self.endpoint.timeout_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._attempt(messages, purpose, max_tokens, temperature, schema, until)
            except provider.CallFailed as exc:
                if exc.refused_format and schema is not None and self._takes_schemas:
                    self._takes_schemas = False
                    continue
                wait_s = _wait_s(attempt, exc.after_s)
                if not exc.retry or attempt == ATTEMPTS or time.monotonic() + wait_s >= until:
                    raise ModelError(exc.message, hint=exc.hint) from None
                time.sleep(wait_s)

    def _attempt(
        self,
        messages: Messages,
        purpose: Purpose,
        max_tokens: int,
        temperature: float,
        schema: Schema | None,
        until: float,
    ) -> Reply:
        raw = schema.schema if schema is not None else None
        held = self._format(raw)
        if raw is not None and held is None:
            messages = [*messages, {"role": "user", "content": _ONLY_JSON + jsonl.dumps(raw)}]
        most = self.most_usd(messages, max_tokens, raw)
        if self._distrusted:
            raise CapReached(self._distrusted, hint="check the endpoint, and its prices")
        if (variable := provider.missing_key(self.endpoint)) is not None:
            raise ModelError(f"no key for {self.endpoint.destination}", hint=f"set {variable}")
        reservation = self._purse.reserve(most, purpose=purpose, model=self.endpoint.model)
        spent: Spent | None = None
        started = time.monotonic()
        try:
            self._announce()
            answer = provider.call(
                self.endpoint,
                messages,
                max_tokens=max_tokens,
                temperature=temperature,
                response_format=held,
                timeout_s=max(0.05, until - started),
            )
            spent = self._spent(answer, messages, max_tokens, most, time.monotonic() - started)
        except provider.CallFailed as exc:
            if exc.billed:
                spent = Spent(self.endpoint.model, 0, 0, most, False, time.monotonic() - started)
            raise
        except BaseException:
            # Interrupted in the middle: nobody knows what the provider has done by now.
            spent = Spent(self.endpoint.model, 0, 0, most, False, time.monotonic() - started)
            raise
        finally:
            self._purse.settle(reservation, spent)
        if answer.finish_reason == "length":
            raise ModelError(
                f"the answer of {self.endpoint.model} was cut off at {max_tokens} tokens",
                hint="allow it more tokens, or ask for less",
            )
        if not answer.text.strip():
            raise ModelError(
                f"{self.endpoint.model} answered nothing ({answer.finish_reason or 'no reason given'})"
            )
        return self._reply(answer.text, schema, spent)

    def _announce(self) -> None:
        if self._leaving is not None:
            leaving, self._leaving = self._leaving, None
            leaving(self.endpoint.destination)

    def _format(self, schema: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """`response_format` where the model can be held to a schema; such a schema must be an object's."""
        if schema is None or not self._takes_schemas or not provider.offers_schemas(self.endpoint):
            return None
        if schema.get("type") != "object":
            return None
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema), "strict": False}}

    def _spent(
        self, answer: provider.Answer, messages: Messages, max_tokens: int, most: float, seconds: float
    ) -> Spent:
        """What to charge: what is reported, or everything set aside where nothing credible is.

        More than was set aside cannot be right, as the prompt has no more tokens than bytes: the larger of both is
        charged, unless it is nonsense, and this model is not asked again.
        """
        told, wrote = answer.prompt_tokens, answer.completion_tokens
        if told is None or wrote is None:
            return Spent(self.endpoint.model, told or 0, wrote or 0, most, False, seconds)
        reported = self.prices(messages).usd(told, wrote)
        if reported > most or wrote > IMPLAUSIBLE * max_tokens:
            self._distrusted = (
                f"{self.endpoint.destination} reports {told:,} + {wrote:,} tokens, more than it can have used"
            )
            usd = reported if reported <= IMPLAUSIBLE * most else most
            return Spent(self.endpoint.model, told, wrote, max(usd, most), False, seconds)
        return Spent(self.endpoint.model, told, wrote, reported, False, seconds)


def most_tokens(messages: Messages) -> int:
    """An upper bound on a prompt's tokens: no tokenizer makes more tokens than bytes."""
    texts = sum(len(str(message.get("content", "")).encode("utf-8", "replace")) for message in messages)
    return texts + PER_MESSAGE * len(messages) + PER_PROMPT


def _wait_s(attempt: int, after_s: float | None) -> float:
    """What the provider asks for, within reason, else twice as long each time; with jitter."""
    wait = FIRST_WAIT_S * 2 ** (attempt - 1) if after_s is None else after_s
    return min(wait, LONGEST_WAIT_S) * (1 + random.random() / 4)  # noqa: S311  to spread, not to hide
