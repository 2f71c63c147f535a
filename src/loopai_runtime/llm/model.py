"""`Model.ask`: a question to a language model, never beyond the money set aside for it."""

from __future__ import annotations

import math
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import CapReached, ModelError, UnusableAnswer
from loopai_runtime.llm import provider
from loopai_runtime.llm.bill import charge, most_tokens
from loopai_runtime.llm.cache import Kept
from loopai_runtime.llm.endpoint import Prices, Reply, Spent
from loopai_runtime.llm.failures import CallFailed
from loopai_runtime.llm.form import Form
from loopai_runtime.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from loopai_runtime.llm.bill import Messages
    from loopai_runtime.llm.cache import AnswerCache
    from loopai_runtime.llm.endpoint import Endpoint, Purpose, Purse

ATTEMPTS = 4
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0


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
        self._announcing = threading.Lock()
        self._refuses_formats = False
        self._distrusted: str | None = None

    def prices(self, messages: Messages = ()) -> Prices:
        """US dollars per million tokens: the endpoint's own, else litellm's, else 0 on this machine.

        Raises ModelError where they are not known, MissingExtra.
        """
        return provider.prices_of(self.endpoint, most_tokens(messages))

    def most_usd(self, messages: Messages, max_tokens: int, schema: Mapping[str, Any] | None = None) -> float:
        """What one call can cost at most: every byte of the prompt a token, and all of `max_tokens`.

        Raises ModelError where the price is unknown and the endpoint is not this machine, MissingExtra.
        """
        return self.prices(messages).usd(most_tokens(messages, schema), self._possible(max_tokens))

    def _possible(self, max_tokens: int) -> int:
        return min(max_tokens, provider.longest_answer(self.endpoint) or max_tokens)

    def ask(
        self,
        messages: Messages,
        *,
        purpose: Purpose,
        max_tokens: int,
        temperature: float = 0.0,
        schema: dict[str, Any] | None = None,
        sample: int = 0,
        until: float = math.inf,
    ) -> Reply:
        """The model's answer, from the cache where the same was asked before.

        Of `max_tokens` no more are asked for than the model can answer with. With a `schema`, `data` is a value
        that it accepts. `sample` tells draws of one prompt apart. `until` is when (`time.monotonic()`) it is no
        longer waited for. Raises ModelError, CapReached, MissingExtra, StorageError.
        """
        question = {
            "model": self.endpoint.model,
            "endpoint": self.endpoint.base or "",
            "messages": [dict(message) for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "schema": schema,
            "sample": sample,
        }
        form = Form(Schema(schema)) if schema is not None else None
        if (kept := self._kept(question, form)) is not None:
            return kept
        reply = self._persistently(messages, purpose, self._possible(max_tokens), temperature, form, until)
        if self._cache:
            self._cache.put(question, Kept(reply.text, reply.spent.prompt_tokens, reply.spent.completion_tokens))
        return reply

    def _kept(self, question: Mapping[str, Any], form: Form | None) -> Reply | None:
        kept = self._cache.get(question) if self._cache else None
        if kept is None:
            return None
        spent = Spent(self.endpoint.model, kept.prompt_tokens, kept.completion_tokens, 0.0, True, 0.0)
        try:
            return self._reply(kept.text, form, spent)
        except ModelError:
            return None  # kept by a version that read answers differently

    def _persistently(
        self,
        messages: Messages,
        purpose: Purpose,
        max_tokens: int,
        temperature: float,
        form: Form | None,
        until: float,
    ) -> Reply:
        """Attempts until one succeeds, all within the endpoint's time, and `until`."""
        provider.litellm()  # its import takes seconds that are not the model's
        now = time.monotonic()
        if now >= until:
            raise ModelError("the time for it is spent")
        until = min(until, now + self.endpoint.timeout_s)
        attempt = 0
        while True:
            attempt += 1
            held = form is not None and not self._refuses_formats and provider.offers_schemas(self.endpoint)
            try:
                return self._attempt(messages, purpose, max_tokens, temperature, form, held, until)
            except CallFailed as failed:
                if failed.refused_format and held:
                    self._refuses_formats = True
                    continue
                wait_s = _wait_s(attempt, failed.after_s)
                if not failed.retry or attempt >= ATTEMPTS or time.monotonic() + wait_s >= until:
                    raise ModelError(failed.message, hint=failed.hint) from None
                time.sleep(wait_s)

    def _attempt(
        self,
        messages: Messages,
        purpose: Purpose,
        max_tokens: int,
        temperature: float,
        form: Form | None,
        held: bool,
        until: float,
    ) -> Reply:
        """One call, paid for. Raises CallFailed too."""
        if form is not None and not (held and form.response_format is not None):
            messages = [*messages, form.request]
        prices = self.prices(messages)
        most = prices.usd(most_tokens(messages, form.schema.schema if form else None), max_tokens)
        if self._distrusted:
            raise CapReached(self._distrusted, hint="check the endpoint, and its prices")
        if (variable := provider.missing_key(self.endpoint)) is not None:
            raise ModelError(
                f"no key for {self.endpoint.destination}",
                hint=f"set {variable} (to anything where none is needed)",
            )
        reservation = self._purse.reserve(most, purpose=purpose, model=self.endpoint.model)
        started = time.monotonic()
        # Until more is known, all of it: after an interruption nobody can say what the provider has done.
        spent: Spent | None = Spent(self.endpoint.model, 0, 0, most, False, 0.0)
        try:
            self._announce()
            answer = provider.call(
                self.endpoint,
                messages,
                max_tokens=max_tokens,
                temperature=temperature,
                response_format=form.response_format if form and held else None,
                timeout_s=max(0.05, min(self.endpoint.attempt_s, until - time.monotonic())),
            )
            usd, told, wrote, excess = charge(answer, messages, prices, max_tokens, most)
            spent = Spent(self.endpoint.model, told, wrote, usd, False, time.monotonic() - started)
        except CallFailed as failed:
            spent = spent if failed.billed else None
            raise
        finally:
            self._purse.settle(reservation, spent)
        if excess:
            self._distrusted = f"{self.endpoint.destination} {excess}"
        return self._reply(self._whole(answer, max_tokens), form, spent)

    def _announce(self) -> None:
        with self._announcing:
            if self._leaving is not None:
                self._leaving(self.endpoint.destination)
                self._leaving = None

    def _whole(self, answer: provider.Answer, max_tokens: int) -> str:
        """The text of an answer that came to its end. Raises UnusableAnswer."""
        if answer.finish_reason == "length":
            message = f"the answer of {self.endpoint.model} was cut off at {max_tokens} tokens"
            raise UnusableAnswer(message, hint="allow it more tokens, or ask for less")
        if answer.finish_reason == "content_filter":
            raise UnusableAnswer(
                f"the answer of {self.endpoint.model} was stopped by its provider's content filter"
            )
        if not answer.text.strip():
            why = answer.finish_reason if answer.finish_reason.isidentifier() else "no reason given"
            raise UnusableAnswer(f"{self.endpoint.model} answered nothing ({why[:30]})")
        return answer.text

    def _reply(self, text: str, form: Form | None, spent: Spent) -> Reply:
        if form is None:
            return Reply(text, None, spent)
        try:
            return Reply(text, form.read(text), spent)
        except ValueError as exc:
            shown = " ".join(text[:400].split())[:80]
            raise UnusableAnswer(
                f"{self.endpoint.model} did not answer in the form asked for: {exc} (it began {shown!r})",
                hint="a larger model keeps to forms better",
            ) from None


def _wait_s(attempt: int, after_s: float | None) -> float:
    """What the provider asks for, within reason, else twice as long each time; with jitter."""
    wait = FIRST_WAIT_S * 2 ** (attempt - 1) if after_s is None else after_s
    return min(wait, LONGEST_WAIT_S) * (1 + random.random() / 4)  # noqa: S311  to spread, not to hide
