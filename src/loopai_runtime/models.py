"""The records that cross the wire or lie on disk, under the field names of the formats' contract.

Where the original description used other names, `ORIGINAL_NAMES` maps them:

    record           original                  here
    ---------------  ------------------------  -----------------------------------
    ExecutionRecord  id                        execution_id
                     program_id                version (with task_id)
                     input_data, output_data   input, output
                     executed_at               timestamp
                     sampled_for_validation    sampled
    ValidationRecord id                        validation_id
                     program_id                version (with task_id)
                     validated_at              timestamp
    ProgramArtifact  code                      program.py beside metadata.json
                     status                    state.json
    TelemetryRecord  program_version           version
    DeploymentConfig program_version           version

A task is named by its slug everywhere (`task_id`); the UUID of every stored object is its `id`, or for records
their `execution_id` / `validation_id`. Times are RFC 3339 in UTC ending in `Z`.
"""

from __future__ import annotations

import os
import re
import time
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

ORIGINAL_NAMES: dict[str, dict[str, str]] = {
    "ExecutionRecord": {
        "id": "execution_id",
        "program_id": "version",
        "input_data": "input",
        "output_data": "output",
        "executed_at": "timestamp",
        "sampled_for_validation": "sampled",
    },
    "ValidationRecord": {"id": "validation_id", "program_id": "version", "validated_at": "timestamp"},
    "TelemetryRecord": {"program_version": "version"},
    "DeploymentConfig": {"program_version": "version"},
}

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def is_slug(text: str) -> bool:
    return SLUG.fullmatch(text) is not None


def _slug(text: str) -> str:
    if not is_slug(text):
        raise ValueError(
            "must be a slug: lower-case letters, digits and hyphens, at most 63, not starting with a hyphen"
        )
    return text


Slug = Annotated[str, AfterValidator(_slug)]


def utc_now() -> str:
    """The time now as every record writes it: `2025-10-26T10:00:00.123456Z`."""
    second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{_to_the_second(second)}.{nanoseconds // 1000:06}Z"


@lru_cache(maxsize=2)
def _to_the_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


_random = bytearray()  # asked of the kernel for many ids at once
os.register_at_fork(after_in_child=_random.clear)


def new_id() -> str:
    """A random UUID (version 4)."""
    if not _random:
        _random.extend(os.urandom(4096))
    digits = _random[-16:].hex()
    del _random[-16:]
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


class Record(BaseModel):
    """Strict about names: an unknown field is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class SynthesisStrategy(StrEnum):
    RULE = "rule"
    ML = "ml"
    HYBRID = "hybrid"
    DSL = "dsl"
    EXTRACT = "extract"
    LLM = "llm"


class VersionStatus(StrEnum):
    DRAFT = "draft"
    VALIDATED = "validated"
    ACTIVE = "active"
    DEPRECATED = "deprecated"


class ExecutionStatus(StrEnum):
    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"


class RuntimeMode(StrEnum):
    EDGE = "edge"
    CENTRAL = "central"
    HYBRID = "hybrid"


class PrivacyMode(StrEnum):
    STRICT = "strict"
    BALANCED = "balanced"
    PERMISSIVE = "permissive"


class ComparisonMethod(StrEnum):
    EXACT = "exact"
    SEMANTIC = "semantic"
    FUZZY = "fuzzy"


# --- the specification ------------------------------------------------------------------------------------


class InlineExample(Record):
    input: Any
    output: Any


class ExampleSource(Record):
    """A file of examples. `input` maps input properties to columns, or names the one column that is the input."""

    file: str = Field(min_length=1, description="CSV, JSONL or JSON; relative to the specification")
    input: dict[str, str] | str | None = Field(
        None, description="input property -> column; or the one column that is the whole input"
    )
    output: str | None = Field(None, description="the column that holds the output")
    encoding: str = Field("utf-8", description="of a CSV that is not UTF-8, such as latin-1")


class UnlabelledSource(Record):
    file: str = Field(min_length=1)
    input: dict[str, str] | str | None = None
    encoding: str = "utf-8"


class AbstainPolicy(Record):
    target_accuracy: float = Field(gt=0, lt=1, description="of the answers that are given")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="with which the target is met")
    on_abstain: Literal["defer", "queue"] | None = Field(
        None, description="null answers null; defer asks the oracle; queue waits for a person"
    )


class TokenPrices(Record):
    """US dollars for a million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)


class OracleConfig(Record):
    """Who knows the right answer. Which options go with which kind is checked where the oracle is built."""

    kind: Literal["llm", "openai", "http", "command", "labels", "human"]
    send: Literal["redacted", "full", "none"] | None = Field(
        None, description="what llm, openai and http may see; null: redacted, but full to this machine (loopback)"
    )
    model: str | None = Field(None, min_length=1, description="llm, openai: the model's name")
    url: str | None = Field(
        None, min_length=1, description="openai, llm: the API's base URL (…/v1); http: where inputs are posted to"
    )
    api_key: str | None = Field(None, description="llm, openai, http: the key, best as ${NAME} of the environment")
    headers: dict[str, str] = Field({}, description="openai, http: further headers; ${NAME} is expanded")
    prices: TokenPrices | None = Field(None, description="llm, openai: US dollars for a million tokens")
    usd_per_call: float | None = Field(None, ge=0, description="http, command: US dollars that one call costs")
    max_usd_per_day: float = Field(1.0, ge=0, description="US dollars that this task's oracle may cost a day")
    n: int = Field(1, ge=1, le=15, description="llm, openai: how often to ask; more than half must agree")
    examples: int | None = Field(
        None,
        ge=0,
        le=50,
        description="llm, openai: how many of the task's examples to show; null: one a label, at least 8",
    )
    max_tokens: int = Field(1024, ge=1, le=65_536, description="llm, openai: of one answer")
    command: list[str] | str | None = Field(
        None, description="command: one input a line on its stdin, one answer a line on its stdout; no shell"
    )
    file: str | None = Field(
        None, min_length=1, description="labels: CSV, JSONL or JSON instead of the task's labels.jsonl"
    )
    input: dict[str, str] | str | None = Field(
        None, description="labels: which columns of the file, as examples_from"
    )
    output: str | None = Field(None, description="labels: the file's column that holds the answer")
    timeout_s: float = Field(30.0, gt=0, le=3600, description="seconds for one call")
    max_wait_s: float = Field(5.0, gt=0, le=300, description="seconds a request waits for a deferred answer")
    concurrency: int = Field(4, ge=1, le=64, description="calls at the same time")
    batch: int = Field(1, ge=1, le=1000, description="http, command: inputs in one call")
    rate: float | None = Field(None, gt=0, description="calls a second at most; null: no limit")
    cache: bool = Field(True, description="keep answers, so that an input is paid for once")


class FieldComparison(Record):
    """How one value is compared with the right one; what is left out is as for the whole output."""

    method: Literal["exact", "fuzzy", "semantic"] | None = Field(
        None,
        description="exact: equal JSON; fuzzy: nearly the same text; semantic: the oracle says they mean the same",
    )
    threshold: float | None = Field(None, ge=0, le=1, description="similarity from which texts count as the same")
    tolerance: float | None = Field(None, ge=0, description="difference up to which numbers count as the same")
    arrays: Literal["list", "set"] | None = Field(None, description="set: neither order nor repetition matter")


class CompareConfig(FieldComparison):
    """When an output counts as right. `fields` names properties, inner ones as `address.city`."""

    fields: dict[str, FieldComparison] = Field({}, description="property -> how it is compared")


class GenerateOptions(Record):
    strategy: Literal["auto", "rule", "ml", "hybrid", "dsl", "extract", "llm"] = "auto"
    model: str | None = Field(None, description="a model name for litellm; null stays offline")
    api_base: str | None = Field(None, description="where the model is, instead of its provider's own address")
    prices: TokenPrices | None = Field(None, description="of the model, instead of what litellm knows")
    max_cost_usd: float = Field(1.0, ge=0, description="what one generate may spend; 0 makes no call")
    send: Literal["redacted", "full"] | None = Field(
        None, description="examples in prompts; null: redacted, but full to this machine (loopback)"
    )
    seed: int = Field(0, ge=0, lt=2**32)


class TaskSpecification(Record):
    """What `spec.yaml` says."""

    name: Slug = Field(description="the task's id: lower-case letters, digits, hyphens")
    description: str = Field(min_length=1, description="the task, as you would explain it to a new colleague")
    input_schema: dict[str, Any] = Field(description="JSON Schema of every input")
    output_schema: dict[str, Any] = Field(description="JSON Schema of every output; an enum of labels to classify")
    examples: list[InlineExample] = Field([], description="right answers, written here")
    examples_from: list[ExampleSource] = Field([], description="right answers in CSV, JSONL or JSON files")
    unlabelled_from: list[UnlabelledSource] = Field([], description="files of inputs without answers")
    accuracy_target: float = Field(0.9, gt=0, le=1, description="share of right answers on unseen inputs")
    latency_target_ms: float = Field(10, gt=0, description="slowest acceptable call, 99th percentile")
    timeout_ms: int = Field(1000, gt=0, le=600_000, description="a call that takes longer is stopped")
    sampling_rate: float = Field(
        0.05, ge=0.01, le=0.2, description="share of executions that the oracle checks, 0.01 to 0.20"
    )
    abstain: AbstainPolicy | None = Field(None, description="when to say nothing rather than guess; null: never")
    oracle: OracleConfig | None = Field(None, description="who knows the right answer")
    compare: CompareConfig = Field(CompareConfig(), description="when an output counts as right; exact by default")
    generate: GenerateOptions = Field(GenerateOptions(), description="how the program is written")
    id: str | None = Field(None, description="a UUID; given by the platform")
    created_at: str | None = Field(None, description="given by the platform")
    updated_at: str | None = Field(None, description="given by the platform")

    @model_validator(mode="before")
    @classmethod
    def _short_names(cls, data: Any) -> Any:
        """`input` and `output` are aliases of the schema keys."""
        if isinstance(data, dict):
            data = dict(data)
            for short in ("input", "output"):
                if short in data and f"{short}_schema" not in data:
                    data[f"{short}_schema"] = data.pop(short)
        return data

    @property
    def task_id(self) -> str:
        return self.name


# --- artifacts --------------------------------------------------------------------------------------------


class Complexity(Record):
    """How large a program is: source lines, branch points, features it looks at, bytes of source."""

    lines: int = Field(ge=0)
    branches: int = Field(ge=0)
    features: int = Field(ge=0)
    bytes: int = Field(ge=0)


class AbstainThreshold(Record):
    """The runtime abstains when `score` is below `threshold`; null abstains on every input."""

    threshold: float | None
    target_accuracy: float
    confidence: float
    on_abstain: Literal["defer", "queue"] | None = None


class ProgramArtifact(Record):
    """`metadata.json`: what a version is, how it was judged, and the digest of every file beside it."""

    schema_version: Literal[1] = Field(1, alias="schema")
    id: str
    task_id: Slug
    version: int = Field(ge=1)
    language: Literal["python"] = "python"
    description: str = ""
    synthesis_strategy: SynthesisStrategy
    learner: str
    confidence_score: float = Field(ge=0, le=1)
    confidence_kind: Literal["accuracy_bound", "all_correct"]
    accuracy: dict[str, Any] | None = Field(
        None, description="out-of-fold accuracy, bias-corrected: value, standard_error, n"
    )
    latency_ms: dict[str, float] = Field(default_factory=dict, description="p50 and p99 in the sandbox")
    accuracy_target: float
    latency_target_ms: float
    timeout_ms: int
    memory_mb: int
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    sampling_rate: float | None = None
    complexity_metrics: Complexity
    llm_provider: str | None = None
    llm_model: str | None = None
    generation_cost: float = 0.0
    generation_time_sec: float = 0.0
    judged: dict[str, Any] = Field(
        default_factory=dict, description="folds, repeats, seed, example counts, keyed hashes of the rows"
    )
    candidates: list[dict[str, Any]] = []
    abstain: AbstainThreshold | None = None
    origin: dict[str, Any] | None = None
    created_at: str
    files: dict[str, str] = Field(default_factory=dict, description="file name -> SHA-256, program.py first")


# --- executions and validations -----------------------------------------------------------------------------


class ErrorInfo(Record):
    type: str
    message: str
    path: str | None = None
    line: int | None = None


class ExecutionRecord(Record):
    """One execution, as one line of `executions/DATE.jsonl`; absent fields are left out of the line."""

    schema_version: Literal[1] = Field(1, alias="schema")
    execution_id: str
    task_id: Slug
    version: int
    input: Any
    output: Any
    confidence: float | None = None
    abstained: bool | None = None
    source: Literal["program", "oracle", "none"] = "program"
    status: ExecutionStatus
    error: ErrorInfo | None = None
    latency_ms: float = Field(ge=0)
    timestamp: str
    sampled: bool = False
    pi: float | None = Field(None, ge=0, le=1)
    rollout_id: str | None = None
    arm: Literal["incumbent", "candidate"] | None = None
    deployment_id: str

    def line(self) -> dict[str, Any]:
        """The record as its line in the log: the contract's names and order, absent fields left out."""
        line = self.model_dump(mode="json", by_alias=True)
        for name in ("confidence", "abstained", "error", "pi", "rollout_id", "arm"):
            if line[name] is None:
                del line[name]
        if "error" in line:
            line["error"] = {key: value for key, value in line["error"].items() if value is not None}
        return line


class ValidationRecord(Record):
    schema_version: Literal[1] = Field(1, alias="schema")
    validation_id: str
    execution_id: str
    task_id: Slug
    version: int
    output: Any
    oracle_output: Any
    oracle_cost: float = Field(0.0, ge=0)
    oracle_latency_ms: float = Field(0.0, ge=0)
    match: bool
    similarity_score: float = Field(ge=0, le=1)
    comparison_method: ComparisonMethod
    pi: float | None = Field(None, ge=0, le=1)
    confidence: float | None = Field(
        None, ge=0, le=1, description="the program's, by which estimates get narrower"
    )
    timestamp: str
    oracle: str | None = Field(None, description="who said so: kind, and its model")
    fields: dict[str, float] | None = Field(None, description="of an object: property -> how similar")

    def line(self) -> dict[str, Any]:
        """The record as its line in the file: the contract's names, absent fields left out."""
        line = self.model_dump(mode="json", by_alias=True)
        return {name: value for name, value in line.items() if value is not None or name in _MAY_BE_NULL}


_MAY_BE_NULL = frozenset({"output", "oracle_output"})


# --- what an edge reports -----------------------------------------------------------------------------------


BOOT = r"[0-9]{8}-[0-9a-f]{8}"
"""Of a boot's name: in order as texts, and never given twice."""


class TelemetryRecord(Record):
    """One thing that an edge reports. (boot, seq) names it for ever, and is the order in which things happened.

    `stats` counts a minute of a task's executions, `execution` is one of them, `validation` what the oracle said
    of one that was right and `failure` of one that was wrong, `rollout` how a rollout stands, `started` begins a
    boot, and `dropped` tells what the edge could not keep until it was sent. What `data` holds of inputs and
    outputs the privacy mode decides; hashes are HMACs with a key of the edge.
    """

    boot: str = Field(pattern=f"^{BOOT}$")
    seq: int = Field(ge=1, lt=2**53)
    kind: Literal["stats", "execution", "validation", "failure", "rollout", "started", "dropped"]
    task_id: Slug | None = None
    version: int | None = Field(None, ge=1, lt=2**31)
    at: str = Field(pattern=r"^20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d{1,9})?Z$")
    data: dict[str, Any]


class TelemetryBatch(Record):
    """What one upload holds."""

    schema_version: Literal[1] = Field(1, alias="schema")
    deployment_id: Slug
    records: list[TelemetryRecord] = Field(min_length=1, max_length=100_000)


class DeploymentConfig(Record):
    """What a deployment runs, as the platform keeps it."""

    deployment_id: Slug
    task_id: Slug
    version: int
    mode: RuntimeMode
    privacy_mode: PrivacyMode
    sampling_config: dict[str, Any] = Field(default_factory=dict)
    telemetry_config: dict[str, Any] = Field(default_factory=dict)
    storage_config: dict[str, Any] = Field(default_factory=dict)
