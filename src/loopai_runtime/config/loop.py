"""The sections of the loop: what makes it begin, how a version is let in, who is told."""

from __future__ import annotations

import base64
import fnmatch
import json
from itertools import pairwise
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from loopai_runtime.config.events import EVENTS
from loopai_runtime.config.section import FilePath, Section, is_loopback, plain_key, plain_url


class Improvement(Section):
    auto: bool = Field(True, description="a running edge improves its tasks by itself when they fail too often")
    failure_threshold: float = Field(
        0.15, gt=0, lt=1, description="improve when the failure rate's lower bound passes this share"
    )
    window_days: int = Field(7, ge=1, le=365, description="days of checked executions that decide")
    cooldown_hours: float = Field(
        6.0, ge=0, le=8760, description="hours between two improvements of one task at least"
    )
    max_per_day: int = Field(4, ge=0, description="improvements of one task a UTC day at most")
    max_usd_per_day: float = Field(
        1.0, ge=0, description="US dollars that a language model may cost a UTC day to improve one task"
    )
    max_failed: int = Field(
        3, ge=1, description="improvements in a row that came to nothing, before a ticket asks a person"
    )


def _stages(given: Any) -> Any:
    """Numbers and commas where they come from the environment, with brackets or without."""
    return [part.strip() for part in given.strip(" []()").split(",")] if isinstance(given, str) else given


class Rollout(Section):
    auto: bool = Field(
        False, description="a new version starts a rollout by itself; the default is true in hybrid mode"
    )
    stages: Annotated[tuple[int, ...], BeforeValidator(_stages)] = Field(
        (10, 50, 100), description="percent of the requests that a candidate serves, one stage after the other"
    )
    delta: float = Field(0.02, gt=0, lt=1, description="the loss of accuracy that must be ruled out")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="the risk of being wrong about that")
    min_labels: int = Field(
        20, ge=1, le=100_000, description="oracle answers, where outputs differ, before a candidate goes on"
    )
    max_labels: int = Field(
        1000, ge=1, le=100_000, description="oracle answers after which an undecided rollout is given up"
    )
    min_dwell_sec: float = Field(3600.0, ge=0, le=2_592_000, description="seconds that each stage lasts at least")
    watch_hours: float = Field(
        24.0, ge=0, le=8760, description="hours after the last stage in which a candidate can still be rolled back"
    )

    @field_validator("stages")
    @classmethod
    def _rising(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        rising = all(a < b for a, b in pairwise((0, *stages)))
        if not stages or not rising or stages[-1] != 100:
            raise ValueError("must rise, from above 0, and end at 100")
        return stages


def _webhook_url(url: str) -> str:
    parts = urlsplit(plain_url(url))
    if parts.scheme != "https" and not is_loopback(url):
        raise ValueError("must be https, so that nobody reads it on the way (http: to this machine only)")
    return url


def _signing_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if len(plain_key(key).get_secret_value()) < 16:
        raise ValueError("must have 16 characters or more")
    if text.startswith("whsec_"):
        try:
            base64.b64decode(text.removeprefix("whsec_").strip(), validate=True)
        except ValueError:
            raise ValueError("begins with whsec_ and goes on with what is no base64") from None
    return plain_key(key)


def _known_events(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        if not fnmatch.filter(EVENTS, pattern):
            raise ValueError(f"{pattern!r} is no event; the events are {', '.join(EVENTS)}")
    return patterns


class Webhook(Section):
    """A place that is told what happens."""

    url: Annotated[str, AfterValidator(_webhook_url)]
    secret: Annotated[SecretStr, AfterValidator(_signing_key)] | None = None
    """By which deliveries are signed: a text, or `whsec_` and base64."""
    secret_file: FilePath | None = None
    events: Annotated[tuple[str, ...], AfterValidator(_known_events)] = ()
    """Which events, as `ticket.opened` or `rollout.*`; none: all of them."""

    def shown(self) -> dict[str, Any]:
        """As JSON; of the secret only that there is one."""
        known: dict[str, Any] = {"url": self.url, "events": list(self.events), "secret": "set"}
        return known if self.secret_file is None else known | {"secret_file": str(self.secret_file)}

    @model_validator(mode="after")
    def _signed(self) -> Self:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("needs a secret or a secret_file, not both")
        return self


def _webhooks(given: Any) -> Any:
    if isinstance(given, str):  # from the environment
        try:
            return json.loads(given)
        except ValueError:
            raise ValueError("must be a list of objects with url and secret, as JSON") from None
    return given


Webhooks = Annotated[tuple[Webhook, ...], BeforeValidator(_webhooks)]
