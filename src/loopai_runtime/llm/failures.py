"""What went wrong with a call, in one line: judged by what the wire saw, since litellm words it as it likes."""

from __future__ import annotations

import json
import os
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loopai_runtime.llm.endpoint import Endpoint
    from loopai_runtime.outbound import Exchange


class CallFailed(Exception):
    """No usable answer. `billed`: whether the provider may charge for the call all the same."""

    def __init__(
        self, message: str, hint: str | None, *, retry: bool, billed: bool, after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retry = retry
        self.billed = billed
        self.after_s = after_s
        self.refused_format = False


def failure(
    endpoint: Endpoint, exc: Exception, exchange: Exchange, timeout_s: float, missing_key: str | None
) -> CallFailed:
    """What an exception means, and whether to try again. `missing_key`: the variable that holds none."""
    where, sent = endpoint.destination, exchange.sent
    if exchange.why:
        return CallFailed(f"{where} {exchange.why}", "check api_base", retry=False, billed=sent)
    if exchange.late:
        hint = "try again, or ask a faster model"
        return CallFailed(f"{where} did not answer within {timeout_s:.3g} s", hint, retry=True, billed=sent)
    if exchange.broken:
        said = "broke the connection off" if sent else "cannot be reached"
        # Where nobody listens on this machine, nobody will in a second.
        again = sent or not endpoint.loopback
        return CallFailed(f"{where} {said}", "check api_base and the network", retry=again, billed=sent)
    if exchange.status is not None and exchange.status < 400:
        hint = "is that the address of its API? check api_base"
        return CallFailed(f"{where} sent an answer that is not one of a model", hint, retry=False, billed=True)
    said = _said(endpoint, exc, exchange.body)
    # A provider with a client of its own does not use our wire.
    status = exchange.status or getattr(exc, "status_code", None)
    if isinstance(status, int) and status >= 400:
        return _of_status(endpoint, status, said, _seconds(exchange.retry_after), missing_key)
    return CallFailed(f"{where}: {said}", None, retry=False, billed=sent)


def _of_status(
    endpoint: Endpoint, status: int, said: str, after_s: float | None, missing_key: str | None
) -> CallFailed:
    where = endpoint.destination
    if status in (401, 403):
        hint = f"set {missing_key}" if missing_key else "check the key in the provider's environment variable"
        return CallFailed(f"{where} refused the key ({status}): {said}", hint, retry=False, billed=False)
    if status == 404:
        hint = "check the model's name and api_base"
        return CallFailed(f"{where} does not know {endpoint.model!r}: {said}", hint, retry=False, billed=False)
    if status == 429:
        text, hint = f"{where} is over its limit (429): {said}", "wait, or ask for a higher limit"
        again = "quota" not in said.lower()  # a bill that is not paid does not go away by waiting
        return CallFailed(text, hint, retry=again, billed=False, after_s=after_s)
    if status >= 500 or status == 408:
        text = f"{where} failed with {status}: {said}"
        # A gateway that gave up may stand before a model that went on.
        billed = status in (408, 502, 504)
        return CallFailed(text, "try again later", retry=True, billed=billed, after_s=after_s)
    failed = CallFailed(f"{where} refused the request ({status}): {said}", None, retry=False, billed=False)
    failed.refused_format = any(word in said.lower() for word in ("format", "schema", "structured", "grammar"))
    return failed


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds, or as a date. None: nothing that can be used."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _said(endpoint: Endpoint, exc: Exception, body: bytes) -> str:
    """What the provider said, on one line, short, and without any key that it or litellm repeats."""
    text = _message(body) or str(getattr(exc, "message", "") or exc)
    secrets = [endpoint.api_key.get_secret_value()] if endpoint.api_key else []
    secrets += [value for name, value in os.environ.items() if "KEY" in name and len(value) >= 8]
    for secret in secrets:
        text = text.replace(secret, "…")
    text = re.sub(r"\bsk-[\w.*-]{4,}|\bBearer\s+\S+", "…", text)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else type(exc).__name__
    return first[:200] + ("…" if len(first) > 200 else "")


def _message(body: bytes) -> str:
    """The text in an error as OpenAI, Anthropic, Google, Ollama, FastAPI and others word it; empty: none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and key in found:
            found = found[key]
    return found if isinstance(found, str) else ""
