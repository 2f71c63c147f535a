"""Every table of the platform. Times are RFC 3339 in UTC, as everywhere; JSON is what the API shows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

_NAMES = {  # the same on every database, so that a migration can name what it changes
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}
metadata = MetaData(naming_convention=_NAMES)

schema_version = Table(
    "schema_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="schema_version_pkc"),
)
"""Which of the migrations' revisions the tables are: Alembic's own table."""


def _tenant(*, key: bool = True) -> Column[Any]:
    return Column("tenant_id", String(63), ForeignKey("tenants.id"), primary_key=key, nullable=False)


tenants = Table(
    "tenants",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created_at", String(32), nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    _tenant(key=False),
    Column("deployment_id", String(63)),
    Column("name", String(200), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("rate_per_minute", Float),
    Column("created_at", String(32), nullable=False),
    Column("revoked_at", String(32)),
    Column("last_used_at", String(32)),
)

tasks = Table(
    "tasks",
    metadata,
    _tenant(),
    Column("task_id", String(63), primary_key=True),
    Column("description", String, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("active_version", Integer),
    Column("created_at", String(32), nullable=False),
    Column("updated_at", String(32), nullable=False),
    Column("deleted_at", String(32)),
)

deployments = Table(
    "deployments",
    metadata,
    _tenant(),
    Column("deployment_id", String(63), primary_key=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("created_at", String(32), nullable=False),
    Column("last_seen_at", String(32)),
    Column("status", JSON(none_as_null=True)),
    Column("versions", JSON(none_as_null=True)),
    Column("clock_skew_ms", Float),
)

deployment_tasks = Table(
    "deployment_tasks",
    metadata,
    Column("tenant_id", String(63), primary_key=True),
    Column("deployment_id", String(63), primary_key=True),
    Column("task_id", String(63), primary_key=True),
    ForeignKeyConstraint(["tenant_id", "deployment_id"], ["deployments.tenant_id", "deployments.deployment_id"]),
    ForeignKeyConstraint(["tenant_id", "task_id"], ["tasks.tenant_id", "tasks.task_id"]),
)

artifacts = Table(
    "artifacts",
    metadata,
    _tenant(),
    Column("task_id", String(63), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("signature", String),
    Column("created_at", String(32), nullable=False),
    Column("created_by", String(63), nullable=False),
    Column("deprecated_at", String(32)),
    Column("deprecated_reason", String),
    UniqueConstraint("tenant_id", "task_id", "digest"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _tenant(key=False),
    Column("task_id", String(63), nullable=False),
    Column("deployment_id", String(63), nullable=False),
    Column("at", String(32), nullable=False),
    Column("payload", JSON, nullable=False),
    Index("metrics_at", "at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(key=False),
    Column("at", String(32), nullable=False),
    Column("who", String(63), nullable=False),
    Column("what", String(100), nullable=False),
    Column("facts", JSON, nullable=False),
    Index("audit_of_tenant", "tenant_id", "at"),
)

# --- what deployments report


def _deployment() -> Column[Any]:
    return Column("deployment_id", String(63), primary_key=True)


telemetry_batches = Table(
    "telemetry_batches",
    metadata,
    _tenant(),
    _deployment(),
    Column("idempotency_key", String(255), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("received_at", String(32), nullable=False),
)

telemetry_boots = Table(
    "telemetry_boots",
    metadata,
    _tenant(),
    _deployment(),
    Column("boot", String(32), primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("forgotten", BigInteger, nullable=False),
)
"""`forgotten`: up to which number records were deleted since; one that comes again counts no second time."""

telemetry_records = Table(
    "telemetry_records",
    metadata,
    _tenant(),
    _deployment(),
    Column("boot", String(32), primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("task_id", String(63)),
    Column("version", Integer),
    Column("execution_id", String(64)),
    Column("at", String(32), nullable=False),
    Column("received_at", String(32), nullable=False),
    Column("payload", JSON, nullable=False),
    Index("telemetry_records_of_task", "tenant_id", "task_id", "kind", "execution_id"),
)

telemetry_days = Table(
    "telemetry_days",
    metadata,
    _tenant(),
    Column("task_id", String(63), primary_key=True),
    _deployment(),
    Column("day", String(10), primary_key=True),
    Column("counts", JSON, nullable=False),
    Column("checked", JSON, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    _tenant(),
    _deployment(),
    Column("task_id", String(63), primary_key=True),
    Column("rollout_id", String(64), primary_key=True),
    Column("version", Integer),
    Column("state", String(32), nullable=False),
    Column("boot", String(32), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("body", JSON, nullable=False),
    Column("updated_at", String(32), nullable=False),
    Column("abort_requested_at", String(32)),
    Column("abort_reason", String(500)),
    Index("rollouts_of_task", "tenant_id", "task_id", "updated_at"),
)

# --- programs that are being written

generations = Table(
    "generations",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(key=False),
    Column("task_id", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("version", Integer),
    Column("status", String(16)),
    Column("error", String),
    Column("created_by", String(63), nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("started_at", String(32)),
    Column("ended_at", String(32)),
)

# --- tasks that fail too often

improvements = Table(
    "improvements",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(key=False),
    Column("task_id", String(63), nullable=False),
    Column("base", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String, nullable=False),
    Column("spec_digest", String(64), nullable=False),
    Column("generation_id", String(36)),
    Column("version", Integer),
    Column("body", JSON, nullable=False),
    Column("started_at", String(32), nullable=False),
    Column("ended_at", String(32)),
    Index("improvements_of_task", "tenant_id", "task_id", "started_at"),
)

tickets = Table(
    "tickets",
    metadata,
    Column("id", String(36), primary_key=True),
    _tenant(key=False),
    Column("task_id", String(63), nullable=False),
    Column("title", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("resolution", String),
    Column("body", JSON, nullable=False),
    Column("created_at", String(32), nullable=False),
    Column("updated_at", String(32), nullable=False),
    Index("tickets_of_task", "tenant_id", "task_id"),
)
