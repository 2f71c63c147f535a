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
from loopai_runtime.llm.failures import failure
from loopai_runtime.outbound import noted

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
    # What is said of an answer's odd fields, and of its own classes when it loads them late, is not for people.
    for said in ("Pydantic serializer warnings", "Items? .* using the `ReadOnly` qualifier"):
        warnings.filterwarnings("ignore", message=said)
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
            raise failure(endpoint, exc, exchange, timeout_s, missing_key(endpoint)) from None


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
