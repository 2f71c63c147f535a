"""The sections of deployment.yaml: every key, its type, limits, unit and default. Nothing here reads anything."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
)

from loopai_runtime.config.section import Days, FilePath, Key, PublicKey, Section, Url, lower
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
    level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)] = Field(
        "info", description="the least severe message that is logged"
    )
