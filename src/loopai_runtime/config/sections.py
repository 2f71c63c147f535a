"""The sections of deployment.yaml: every key, its type, limits, unit and default. Nothing here reads anything."""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
import json
import os
import sys
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from loopai_runtime.config.events import EVENTS
from loopai_runtime.models import PrivacyMode, RuntimeMode, Slug

LOWEST_RATE, HIGHEST_RATE = 0.01, 0.20
STRATEGIES = ("random", "uncertainty", "stratified", "temporal", "adaptive")


def default_data_dir() -> Path:
    """The platform's user data directory for loopai."""
    from platformdirs import user_data_dir

    return Path(user_data_dir("loopai", appauthor=False))


def _cores() -> int:
    """The cores this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_path(path: Path) -> Path:
    """The path, absolute, `~` expanded. Raises ValueError."""
    if not str(path).isprintable():
        raise ValueError("has a character that no path should have")
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("names a home directory that does not exist") from None


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be a URL such as https://loopai.example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user name or password; the key belongs in api_key")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine itself: localhost, 127.0.0.0/8 or ::1."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _key(key: SecretStr) -> SecretStr:
    # Files mounted as secrets often end in a newline; anything else odd could break out of an HTTP header.
    text = key.get_secret_value().strip()
    if not text:
        raise ValueError("is empty")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("has characters that no key has (a space, a line break, a letter outside ASCII)")
    return SecretStr(text)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


FilePath = Annotated[Path, AfterValidator(usable_path)]
Url = Annotated[str, AfterValidator(_url)]
Key = Annotated[SecretStr, AfterValidator(_key)]
PublicKey = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")]
Days = Annotated[int, Field(ge=1, le=36_500)]


class Section(BaseModel):
    """Frozen, strict about names; text is read as a number or a truth value where one is wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, value: Any, info: Any) -> Any:
        # Pydantic reads `true` as 1, which in `retention_days: true` nobody meant.
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("must not be true or false")
        return value


class Runtime(Section):
    mode: RuntimeMode = Field(
        RuntimeMode.EDGE, description="edge (all of it here), central (the platform executes), hybrid"
    )
    deployment_id: Slug | None = Field(
        None, description="this deployment's name; null: generated once and kept in the data directory"
    )
    task_id: Slug | None = Field(None, description="the task that is served where a request names none")
    upkeep_interval_sec: int = Field(
        60,
        ge=1,
        le=86_400,
        description="seconds between looks at what the log of a running edge asks for: checks by the oracle, "
        "improvements, statistics",
    )


class Cloud(Section):
    api_url: Url | None = Field(None, description="the platform's address; null: there is none")
    api_key: Key | None = Field(None, description="this deployment's credential to the platform")
    pinned_key: PublicKey | None = Field(
        None, description="the key by which the platform signs, 64 hexadecimal digits; null: the one first met"
    )
    signalr_enabled: bool = Field(True, description="listen for the platform's news beside polling")
    poll_interval_sec: int = Field(
        60,
        ge=1,
        le=86_400,
        description="seconds between looks for new versions there, give or take a fifth",
    )


class Execution(Section):
    worker_count: int = Field(
        default_factory=lambda: min(_cores(), 4),
        ge=1,
        le=256,
        description="serving executors; the default is the number of cores, at most 4",
    )
    timeout_ms: int = Field(
        1000,
        ge=1,
        le=600_000,
        description="wall-clock milliseconds for one call; set here, it wins over a task's own",
    )
    memory_mb: int = Field(256, ge=32, le=65_536, description="MiB of memory for one executor")


class Sandbox(Section):
    require: Literal["full", "policy"] = Field(
        default_factory=lambda: "full" if sys.platform == "linux" else "policy",
        description="full: both walls or no execution; policy: go on where the system cannot build the cage "
        "(the default off Linux)",
    )


class Sampling(Section):
    strategy: str = Field(
        "random",
        description="how executions are chosen for validation: random, uncertainty, stratified, temporal, "
        "adaptive; or several, joined by +",
    )
    rate: float = Field(
        0.05, description="share of executions, 0.01 to 0.20; set here, it wins over a task's own sampling_rate"
    )
    precision: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="half-width of the week's accuracy interval to aim for; it then chooses the rate",
    )
    max_labels_per_day: int | None = Field(None, ge=0, description="oracle answers a day at most; null: no limit")
    max_usd_per_month: float | None = Field(None, ge=0, description="US dollars a month at most; null: no limit")
    usd_per_label: float | None = Field(
        None,
        gt=0,
        description="what an oracle answer costs, by which max_usd_per_month limits the rate; null: as measured",
    )
    boost: float = Field(
        5.0, ge=1, le=100, description="temporal: times the rate just after a deployment or rollback"
    )
    half_life_hours: float = Field(
        6.0, gt=0, le=8760, description="temporal: hours until half of the boost is left"
    )

    @field_validator("rate")
    @classmethod
    def _within_range(cls, rate: float) -> float:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ValueError("must be from 0.01 to 0.20 (1 to 20 %)")
        return rate

    @field_validator("strategy")
    @classmethod
    def _known(cls, strategy: str) -> str:
        names = [name.strip() for name in strategy.split("+")]
        for name in names:
            if name not in STRATEGIES:
                raise ValueError(f"{name!r} is not one of {', '.join(STRATEGIES)} (several are joined by +)")
        return "+".join(dict.fromkeys(names))

    @property
    def strategies(self) -> tuple[str, ...]:
        return tuple(self.strategy.split("+"))

    @property
    def has_budget(self) -> bool:
        """Whether the rate follows a number of labels a day."""
        budgets = (self.max_usd_per_month, self.max_labels_per_day, self.precision)
        return any(budget is not None for budget in budgets)


class Telemetry(Section):
    enabled: bool = Field(
        True,
        description="report to the platform; nothing leaves until cloud.api_url and cloud.api_key are both set",
    )
    upload_interval_sec: int = Field(60, ge=1, le=86_400, description="seconds between uploads")
    batch_size: int = Field(1000, ge=1, le=100_000, description="records in one upload at most")
    privacy_mode: PrivacyMode = Field(
        PrivacyMode.BALANCED,
        description="strict: aggregates and keyed hashes; balanced: also redacted samples; permissive: everything",
    )
    max_spool_mb: int = Field(
        256, ge=1, le=1_000_000, description="MB (10^6 bytes) that wait to be sent at most; the oldest go first"
    )


class Storage(Section):
    data_dir: FilePath = Field(
        default_factory=default_data_dir,
        description="where everything is kept; only a file given by --config may say it",
    )
    retention_days: Days = Field(
        30, description="days that everything is kept which `retention` has no days of its own for"
    )
    max_size_gb: float = Field(
        100, gt=0, description="GB (10^9 bytes) over all; the oldest raw executions go first"
    )
    fsync: Literal["never", "interval", "always"] = Field(
        "interval", description="when the execution log reaches the disk itself"
    )
    on_full: Literal["reject", "serve"] = Field(
        "reject", description="a full disk: refuse requests, or serve them unlogged"
    )
    encryption_key: Key | None = Field(
        None, description="32 bytes, hexadecimal or base64: what holds inputs or outputs is encrypted from now on"
    )
    encryption_key_file: FilePath | None = Field(None, description="the file that has this key instead")
    encryption_key_before: Key | None = Field(
        None,
        description="the key that was used before: prune then lets the new one open the old files;"
        " without a new one, they are read, and nothing is encrypted from now on",
    )

    @property
    def has_key(self) -> bool:
        """Whether any key is given, to encrypt or to read."""
        keys = (self.encryption_key, self.encryption_key_file, self.encryption_key_before)
        return any(key is not None for key in keys)


class KeepExecutions(Section):
    keep_days: Days = Field(7, description="days that raw executions are kept")
    compress_after: int = Field(1, ge=0, le=36_500, description="days after which they are gzipped")


class KeepValidations(Section):
    keep_days: Days = Field(30, description="days that validations are kept")


class KeepArtifacts(Section):
    keep_versions: int = Field(
        10, ge=1, description="latest versions of a task that are kept, beside the active and the previous one"
    )


class Retention(Section):
    executions: KeepExecutions = KeepExecutions()
    validations: KeepValidations = KeepValidations()
    artifacts: KeepArtifacts = KeepArtifacts()


class Privacy(Section):
    pii_detection: bool = Field(
        True,
        description="redact personal data before anything leaves; false only with privacy_mode permissive, "
        "whose default it is",
    )
    hash_inputs: bool = Field(False, description="inputs leave as keyed hashes (HMAC) in any mode")
    sample_only: bool = Field(
        True,
        description="only sampled records leave; false only with privacy_mode permissive, whose default it is",
    )
    min_support: int = Field(
        2,
        ge=1,
        description="distinct examples a feature must occur in to stand in a program, from 200 examples on",
    )


class Server(Section):
    host: str = Field("127.0.0.1", min_length=1, description="the address the server listens on")
    port: int = Field(8080, ge=0, le=65_535, description="its port; 0: a free one, which is printed")
    keys_file: FilePath | None = Field(None, description="the file of the server's own keys (hashes)")
    rate_limit: float | None = Field(
        None, gt=0, description="executions a second for each key, beyond which it gets 429; null: no limit"
    )


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
    parts = urlsplit(_url(url))
    if parts.scheme != "https" and not is_loopback(url):
        raise ValueError("must be https, so that nobody reads it on the way (http: to this machine only)")
    return url


def _signing_key(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if len(_key(key).get_secret_value()) < 16:
        raise ValueError("must have 16 characters or more")
    if text.startswith("whsec_"):
        try:
            base64.b64decode(text.removeprefix("whsec_").strip(), validate=True)
        except ValueError:
            raise ValueError("begins with whsec_ and goes on with what is no base64") from None
    return _key(key)


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


class Oracle(Section):
    """What is set here wins over the specification's oracle; with `kind`, there need be none."""

    kind: Literal["llm", "openai", "http", "command", "labels", "human"] | None = Field(
        None, description="who knows the right answer, for every task; null: as each specification says"
    )
    model: str | None = Field(None, min_length=1, description="the model of an oracle of kind llm or openai")
    url: Url | None = Field(None, description="where an oracle of kind llm, openai or http is")
    api_key: Key | None = Field(None, description="its key")
    max_usd_per_day: float | None = Field(None, ge=0, description="US dollars a day for each task's oracle")
    send: Literal["redacted", "full", "none"] | None = Field(
        None, description="what an LLM or HTTP oracle may see; null: redacted, but full to this machine (loopback)"
    )


class Central(Section):
    database_url: Key | None = Field(
        None,
        description="the platform's database, such as postgresql+psycopg://user:password@host/name; null: SQLite "
        "in the data directory",
    )
    blobs: str | None = Field(
        None,
        min_length=1,
        description="where the platform keeps bundles: s3://bucket/prefix or a folder; null: the data directory",
    )
    telemetry_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="days for which the platform keeps single records of telemetry; sums by day stay",
    )


class Llm(Section):
    model: str | None = Field(
        None,
        min_length=1,
        description="the platform: a model, by its name for litellm, that writes programs too; null: none",
    )
    api_base: Url | None = Field(None, description="the platform: where it is; null: its provider's own address")
    max_usd_per_day: float | None = Field(
        10.0, ge=0, description="US dollars a UTC day for all calls to language models; null: no limit"
    )
    timeout_sec: float = Field(
        120.0,
        gt=0,
        le=600,
        description="seconds that one call for a program may take; one that takes longer is made once more",
    )


class Logging(Section):
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="the least severe message that is logged"
    )
