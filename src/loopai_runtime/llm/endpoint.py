"""What a model is to this package: where it is, what it costs, what it answered, and whose money that was."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from pydantic import SecretStr

Purpose = Literal[
    "write", "features", "lexicon", "repair", "invent", "label", "validate", "defer", "audit", "judge"
]


class Prices(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float

    def usd(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


class Spent(NamedTuple):
    """What one answer took. `usd` is 0 for a cached one."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    usd: float
    cached: bool
    seconds: float


class Reply(NamedTuple):
    """`data` is the JSON value that the schema accepts, where a schema was given."""

    text: str
    data: Any
    spent: Spent


class Purse(Protocol):
    """Whoever pays: money is set aside before a call is made, and given back as far as it was not spent."""

    def reserve(self, most_usd: float, *, purpose: str, model: str) -> str:
        """Set `most_usd` aside and name the reservation. Raises CapReached; then no call may be made."""

    def settle(self, reservation: str, spent: Spent | None) -> None:
        """What the call really took; None: nothing."""


@dataclass(frozen=True)
class Endpoint:
    """A model by its name for litellm, at its provider's own address or at `api_base`.

    `prices` win over what litellm knows. `timeout_s` bounds one `ask` as a whole: retries, waiting and all;
    `attempt_s` each call of it, so that one that hangs is made again.
    """

    model: str
    api_base: str | None = None
    api_key: SecretStr | None = None
    prices: Prices | None = None
    timeout_s: float = 60.0
    attempt_s: float = math.inf

    @property
    def base(self) -> str | None:
        """The address that is given, here or in the environment; None: the provider's own."""
        return self.api_base or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or None

    @property
    def url(self) -> str | None:
        """The address that calls go to; None where only litellm knows it. Raises ModelError, MissingExtra."""
        if self.api_base:
            return self.api_base
        from loopai_runtime.llm.provider import url_of

        return url_of(self)

    @property
    def loopback(self) -> bool:
        """Whether it is on this machine, so that nothing leaves it. Raises ModelError, MissingExtra."""
        from loopai_runtime.outbound import is_loopback

        return self.url is not None and is_loopback(self.url)

    @property
    def destination(self) -> str:
        """`host:port`, or the provider's name; what the audit says. Raises ModelError, MissingExtra."""
        from loopai_runtime.llm.provider import provider_of
        from loopai_runtime.outbound import place_of

        return place_of(self.url) if self.url else provider_of(self)
