"""Answers of an HTTP service: POST {"input": …} -> {"output": …}.

With `batch` above 1, {"inputs": […]} -> {"outputs": […]}.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import OracleError
from loopai_runtime.validation.oracle import Verdict
from loopai_runtime.validation.post import patiently

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loopai_runtime.validation.oracle import Answer
    from loopai_runtime.validation.paid import Fee
    from loopai_runtime.validation.post import Post


class Service:
    """A service that answers within `timeout_s`, all attempts together."""

    def __init__(self, post: Post, *, timeout_s: float, batch: int, fee: Fee) -> None:
        self.batch = batch
        self._post = post
        self._timeout_s = timeout_s
        self._fee = fee

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        """Raises OracleError, CapReached."""
        started = time.monotonic()
        body = {"input": inputs[0]} if self.batch == 1 else {"inputs": list(inputs)}
        usd, reply = patiently(lambda seconds: self._attempt(body, seconds), self._timeout_s)
        took_ms = (time.monotonic() - started) * 1000
        name = "output" if self.batch == 1 else "outputs"
        if not isinstance(reply, dict) or name not in reply:
            raise OracleError(f'the oracle answers no {{"{name}": …}}', why="answer")
        outputs = [reply[name]] if self.batch == 1 else reply[name]
        if not isinstance(outputs, list) or len(outputs) != len(inputs):
            raise OracleError(
                f"the oracle does not answer {len(inputs)} inputs with as many outputs", why="answer"
            )
        share = len(inputs)
        return [Verdict(output, usd / share, took_ms / share) for output in outputs]

    def _attempt(self, body: Any, seconds: float) -> tuple[float, Any]:
        with self._fee.paid() as usd:
            return usd, self._post.send(body, seconds)
