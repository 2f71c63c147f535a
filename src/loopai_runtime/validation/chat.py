"""Answers of a language model: asked n times at temperature 0, and right is what more than half of them say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from loopai_runtime import jsonl
from loopai_runtime.errors import CapReached, ModelError, OracleError
from loopai_runtime.llm.answer import json_of
from loopai_runtime.validation import prompt
from loopai_runtime.validation.oracle import Verdict, as_oracle_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from loopai_runtime.llm import Purpose, Reply
    from loopai_runtime.schemas import Schema
    from loopai_runtime.validation.oracle import Answer
    from loopai_runtime.validation.veil import Veil


class Talks(Protocol):
    """A model that is asked: `llm.Model`, or `openai.OpenAI` without litellm."""

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
        """Raises ModelError, CapReached, OracleError."""


class Chat:
    """A task put to a model, input by input."""

    batch = 1

    def __init__(
        self,
        model: Talks,
        *,
        description: str,
        inputs: Schema,
        outputs: Schema,
        examples: Sequence[prompt.Example],
        purpose: Purpose,
        n: int,
        max_tokens: int,
    ) -> None:
        """`examples` are shown as they are: what must not leave has to be hidden in them before."""
        self._model = model
        self._description = description
        self._inputs = inputs.schema
        self._outputs = outputs
        # An API holds models to objects alone; the form of other outputs is told, and read here.
        self._form = outputs.schema if outputs.schema.get("type") == "object" else None
        self._examples = examples
        self._purpose = purpose
        self._n = n
        self._max_tokens = max_tokens

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        return [self._one(value) for value in inputs]

    def _one(self, value: Any) -> Answer:
        """Ask until more than half of n agree, or no answer can have so many any more."""
        said = prompt.messages(self._description, self._inputs, self._outputs.schema, self._examples, value)
        votes: dict[bytes, list[Any]] = {}
        usd = seconds = 0.0
        trouble: OracleError | None = None
        for sample in range(self._n):
            try:
                reply = self._model.ask(
                    said, purpose=self._purpose, max_tokens=self._max_tokens, schema=self._form, sample=sample
                )
                usd += reply.spent.usd
                seconds += reply.spent.seconds
                output = reply.data if self._form is not None else self._read(reply.text)
                votes.setdefault(jsonl.canonical(output), []).append(output)
            except (ModelError, CapReached, OracleError) as error:
                trouble = as_oracle_error(error)
                if trouble.why != "answer":
                    break
            most = max(votes.values(), key=len, default=[])
            if len(most) * 2 > self._n:
                return Verdict(most[0], usd, seconds * 1000, len(most) / sum(map(len, votes.values())))
            if (len(most) + self._n - sample - 1) * 2 <= self._n:
                break
        if trouble is not None:
            return trouble
        counted = ", ".join(f"{len(same)} x {jsonl.dumps(same[0])[:60]}" for same in votes.values())
        return OracleError(f"no answer has more than half of {self._n} votes: {counted}", why="answer")

    def _read(self, text: str) -> Any:
        """Raises OracleError."""
        try:
            return json_of(text, self._outputs)
        except ValueError as error:
            shown = " ".join(text.split())[:80]
            message = f"the model did not answer in the form asked for: {error} (it began {shown!r})"
            raise OracleError(message, why="answer", hint="a larger model keeps to forms better") from None


class SameMeaning:
    """A judge for `compare`: whether a model says that two outputs mean the same, each pair asked once."""

    def __init__(
        self, model: Talks, description: str, veil: Veil, before_first: Callable[[Any], None] = lambda _pair: None
    ) -> None:
        self._model = model
        self._before_first = before_first
        self._description = description
        self._veil = veil
        self._known: dict[bytes, float] = {}

    def __call__(self, output: Any, right: Any) -> float:
        """1.0 or 0.0. Raises OracleError."""
        pair = jsonl.canonical([output, right])
        if pair not in self._known:
            self._known[pair] = self._ask(output, right)
        return self._known[pair]

    def _ask(self, output: Any, right: Any) -> float:
        mine, other = self._veil.hide(output).sent, self._veil.hide(right).sent
        if jsonl.equal(mine, other):  # they differ in what must not leave
            return 0.0
        said = prompt.judging(self._description, mine, other)
        self._before_first([mine, other])
        try:
            reply = self._model.ask(said, purpose="judge", max_tokens=256, schema=prompt.SAME_SCHEMA)
        except (ModelError, CapReached) as error:
            raise as_oracle_error(error) from None
        return 1.0 if reply.data["same"] else 0.0
