"""litellm: the only module that imports it, and only when a model is really asked.

litellm is kept from everything it does beside its work: fetching price lists, reading `.env` files, printing,
retrying. Its HTTP goes through `outbound`, and what went wrong is judged by what the wire saw, since litellm
calls an HTML page an internal server error of the provider.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime.errors import MissingExtra, ModelError
from loopai_runtime.llm.endpoint import Prices
from loopai_runtime.outbound import Exchange, noted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loopai_runtime.llm.endpoint import Endpoint

_loading = threading.Lock()


class Answer(NamedTuple):
    """What came back, as it was reported; nothing in it can be trusted. Tokens are None where none are told."""

    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None


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


def litellm() -> Any:
    """The library, tamed. Raises MissingExtra."""
    with _loading:
        return _load()


@cache
def _load() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import downloads a price list
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # else it reads .env of whatever directory this is
    os.environ["LITELLM_LOG"] = "CRITICAL"  # at its finer levels it writes requests out, keys and all
    try:
        import litellm as library
    except ImportError:
        raise MissingExtra("a language model", "llm") from None
    import httpx

    from loopai_runtime.outbound import Outbound

    wire = Outbound()
    library.client_session = httpx.Client(transport=wire)
    library.sync_transport = wire
    library.telemetry = False
    library.suppress_debug_info = True
    library.disable_hf_tokenizer_download = True
    for name in ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router", "httpx", "openai"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # What it says of an answer's odd fields is not for people.
    warnings.filterwarnings("ignore", message="Pydantic serializer warnings")
    return library


class Resolved(NamedTuple):
    name: str  # as litellm is to be given it
    plain: str  # without its provider
    provider: str
    url: str | None


def resolve(endpoint: Endpoint) -> Resolved:
    """The provider behind a model's name. Raises ModelError, MissingExtra."""
    return _resolve(endpoint.model, endpoint.base)


@lru_cache(maxsize=64)
def _resolve(model: str, base: str | None) -> Resolved:
    library = litellm()
    try:
        plain, provider, _, url = library.get_llm_provider(model)
        return Resolved(model, plain, provider, url)
    except Exception:
        # Whatever speaks the OpenAI protocol at an address of its own may call its models as it likes.
        if base:
            return Resolved(f"openai/{model}", model, "openai", None)
        raise ModelError(
            f"the model {model!r} is unknown",
            hint="write provider/model, such as openai/gpt-4o-mini or ollama/llama3, or give its api_base",
        ) from None


def provider_of(endpoint: Endpoint) -> str:
    return resolve(endpoint).provider


def url_of(endpoint: Endpoint) -> str | None:
    """Where litellm will send a call, as far as it says. Raises ModelError, MissingExtra."""
    resolved = resolve(endpoint)
    if endpoint.api_base:
        return endpoint.api_base
    if resolved.provider in ("openai", "text-completion-openai"):
        return endpoint.base or "https://api.openai.com/v1"
    return os.environ.get(f"{resolved.provider.upper()}_API_BASE") or resolved.url


def known_prices(endpoint: Endpoint, prompt_tokens: int) -> Prices | None:
    """What litellm's map says a prompt of this size costs; None: nothing. Raises ModelError, MissingExtra.

    An upper bound: discounts for what a provider has cached are not taken off.
    """
    resolved = resolve(endpoint)
    entry = _entry(resolved)
    if entry is None:
        return None
    rates = []
    for direction in ("input", "output"):
        name = f"{direction}_cost_per_token"
        rate = entry.get(name)
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            return None
        rates.append(max([rate, *_tiers(entry, name, prompt_tokens)]))
    return Prices(rates[0] * 1e6, rates[1] * 1e6)


def prices_of(endpoint: Endpoint, prompt_tokens: int) -> Prices:
    """The endpoint's own, else litellm's, else 0 on this machine. Raises ModelError where they are not known."""
    if endpoint.prices is not None:
        return endpoint.prices
    known = known_prices(endpoint, prompt_tokens)
    if known is not None:
        return known
    if endpoint.loopback:
        return Prices(0.0, 0.0)
    raise ModelError(
        f"the price of {endpoint.model!r} at {endpoint.destination} is not known",
        hint="give prices: {input: …, output: …} in US dollars per million tokens",
    )


def longest_answer(endpoint: Endpoint) -> int | None:
    """The most tokens that the model can answer with, as far as litellm knows. Raises ModelError, MissingExtra."""
    most = (_entry(resolve(endpoint)) or {}).get("max_output_tokens")
    return most if isinstance(most, int) and most > 0 else None


def _entry(resolved: Resolved) -> Mapping[str, Any] | None:
    library = litellm()
    for key in (resolved.name, f"{resolved.provider}/{resolved.plain}", resolved.plain):
        entry = library.model_cost.get(key)
        if entry and (key != resolved.plain or entry.get("litellm_provider", "").startswith(resolved.provider)):
            found: Mapping[str, Any] = entry
            return found
    return None


def _tiers(entry: Mapping[str, Any], name: str, prompt_tokens: int) -> list[float]:
    """The higher rates that hold for long prompts: `input_cost_per_token_above_200k_tokens`."""
    rates = []
    for key, rate in entry.items():
        above = key.removeprefix(f"{name}_above_").removesuffix("k_tokens")
        if above.isdigit() and prompt_tokens > int(above) * 1000 and isinstance(rate, int | float):
            rates.append(float(rate))
    return rates


def offers_schemas(endpoint: Endpoint) -> bool:
    """Whether the model can be held to a JSON Schema. Raises ModelError, MissingExtra."""
    entry = _entry(resolve(endpoint))
    return entry is not None and bool(entry.get("supports_response_schema"))


def missing_key(endpoint: Endpoint) -> str | None:
    """The environment variable that holds the provider's key and is not set. Raises ModelError, MissingExtra."""
    if endpoint.api_key is not None or endpoint.loopback:
        return None
    found = litellm().validate_environment(resolve(endpoint).name)
    return None if found["keys_in_environment"] or not found["missing_keys"] else str(found["missing_keys"][0])


def call(
    endpoint: Endpoint,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    temperature: float,
    response_format: Mapping[str, Any] | None,
    timeout_s: float,
) -> Answer:
    """One attempt. Raises CallFailed, MissingExtra, ModelError."""
    library = litellm()
    options: dict[str, Any] = {"response_format": response_format} if response_format else {}
    if endpoint.api_base:
        options["api_base"] = endpoint.api_base
    key = _key(endpoint)
    if key:
        options["api_key"] = key
    with noted() as exchange:
        try:
            response = library.completion(
                model=resolve(endpoint).name,
                messages=[dict(message) for message in messages],
                max_tokens=max_tokens,
                temperature=temperature,
                timeout=timeout_s,
                max_retries=0,
                num_retries=0,
                drop_params=True,
                **options,
            )
            return _answer(response)
        except Exception as exc:
            raise failure(endpoint, exc, exchange, timeout_s) from None


def _key(endpoint: Endpoint) -> str | None:
    if endpoint.api_key is not None:
        return endpoint.api_key.get_secret_value()
    # A server on this machine wants none, but the client does.
    if endpoint.loopback and resolve(endpoint).provider == "openai" and not os.environ.get("OPENAI_API_KEY"):
        return "none"
    return None


def _answer(response: Any) -> Answer:
    choice = response.choices[0]
    text = choice.message.content
    if not isinstance(text, str):
        raise TypeError("no text in the answer")
    usage = getattr(response, "usage", None)
    return Answer(
        text,
        str(choice.finish_reason or ""),
        _tokens(getattr(usage, "prompt_tokens", None)),
        _tokens(getattr(usage, "completion_tokens", None)),
    )


def _tokens(reported: Any) -> int | None:
    whole = isinstance(reported, int) and not isinstance(reported, bool)
    return reported if whole and reported > 0 else None


def failure(endpoint: Endpoint, exc: Exception, exchange: Exchange, timeout_s: float) -> CallFailed:
    """What an exception means, in one line, and whether to try again."""
    where = endpoint.destination
    status = exchange.status or (None if exchange.sent else getattr(exc, "status_code", None))
    if exchange.why:
        return CallFailed(f"{where} {exchange.why}", "check api_base", retry=False, billed=exchange.sent)
    if exchange.late:
        hint = "try again, or ask a faster model"
        return CallFailed(
            f"{where} did not answer within {timeout_s:.3g} s", hint, retry=False, billed=exchange.sent
        )
    if exchange.status is None and (exchange.sent or _is_connection(exc)):
        said = "broke the connection off" if exchange.sent else "cannot be reached"
        # Where nobody listens on this machine, nobody will in a second.
        again = exchange.sent or not endpoint.loopback
        return CallFailed(f"{where} {said}", "check api_base and the network", retry=again, billed=exchange.sent)
    if status is not None and status >= 400 and not (exchange.status and exchange.status < 400):
        return _of_status(endpoint, status, exc, exchange.retry_after)
    if exchange.status is not None and exchange.status < 400:
        hint = "is that the address of an OpenAI-compatible API?"
        return CallFailed(f"{where} sent an answer that is not one of a model", hint, retry=False, billed=True)
    said = _first_line(exc, endpoint)
    return CallFailed(f"{where}: {said}", None, retry=False, billed=exchange.sent)


def _is_connection(exc: Exception) -> bool:
    import httpx
    import openai

    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, httpx.TransportError | openai.APIConnectionError):
            return True
        cause = cause.__cause__ or cause.__context__
    return "Connection error" in str(exc)


def _of_status(endpoint: Endpoint, status: int, exc: Exception, retry_after: str | None) -> CallFailed:
    where, said = endpoint.destination, _first_line(exc, endpoint)
    if status in (401, 403):
        variable = missing_key(endpoint)
        hint = f"set {variable}" if variable else "check the key that the provider's environment variable holds"
        return CallFailed(f"{where} refused the key ({status}): {said}", hint, retry=False, billed=False)
    if status == 404:
        hint = "check the model's name and api_base"
        return CallFailed(f"{where} does not know {endpoint.model!r}: {said}", hint, retry=False, billed=False)
    if status == 429:
        text = f"{where} is over its limit (429): {said}"
        again = "quota" not in said.lower()  # a bill that is not paid does not go away by waiting
        hint = "wait, or ask for a higher limit"
        return CallFailed(text, hint, retry=again, billed=False, after_s=_seconds(retry_after))
    if status >= 500 or status == 408:
        text = f"{where} failed with {status}: {said}"
        # A gateway that gave up may stand before a model that went on.
        billed = status in (408, 502, 504)
        return CallFailed(text, "try again later", retry=True, billed=billed, after_s=_seconds(retry_after))
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
    import time
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _first_line(exc: Exception, endpoint: Endpoint) -> str:
    """What the provider said, short, and without any key that it or litellm repeats."""
    import re

    text = str(getattr(exc, "message", "") or exc)
    text = text.rpartition("Exception - ")[2] or text
    secrets = [endpoint.api_key.get_secret_value()] if endpoint.api_key else []
    secrets += [value for name, value in os.environ.items() if "KEY" in name and len(value) >= 8]
    for secret in secrets:
        text = text.replace(secret, "…")
    text = re.sub(r"\bsk-[\w.*-]{4,}|\bBearer\s+\S+", "…", text)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else type(exc).__name__
    return first[:200] + ("…" if len(first) > 200 else "")
