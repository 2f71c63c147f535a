"""What a report says of an execution, a validation or a minute's counts: no more than the policy lets leave.

Whatever is read here may have been written by anybody (`logs import` takes any file), so nothing passes because of
where it stands: texts pass as members of fixed sets, as UUIDs, or redacted where the policy lets content leave.
"""

from __future__ import annotations

import builtins
import hmac
import math
import re
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from loopai_runtime.telemetry.policy import Policy

OTHER = "(other)"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_TIME = re.compile(r"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(?:\.\d{1,9})?Z", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_KEPT_LABELS = frozenset({"true", "false", "(none)", "(abstained)", "(long text)", "(object)", "(list)", OTHER})
_STATUSES = frozenset({"success", "error", "timeout"})
_SOURCES = frozenset({"program", "oracle", "none"})
_ARMS = frozenset({"incumbent", "candidate"})
_METHODS = frozenset({"exact", "semantic", "fuzzy"})
_ORACLES = frozenset({"llm", "openai", "http", "command", "labels", "human"})
_ERRORS = frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
) | {
    *("Error", "OutputError", "Timeout", "Forbidden", "MissingEntry", "PolicyRefused", "Stopped", "SandboxBroken"),
    *("InputError", "OracleError", "ProgramError", "ProgramKilled", "ProgramTimeout"),
}
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,62}", re.ASCII)
_OF_ROLLOUTS = frozenset({"task_id", "state", "arm", "decision", "kind", "event", "rollout_id", "status"})
MAX_DEPTH = 20


class Teller:
    """Makes records of one policy. `key` is of keyed hashes, and never leaves."""

    def __init__(self, policy: Policy, key: bytes) -> None:
        self.policy = policy
        self._key = key
        self._redactor = Redactor(key=key)

    def hash(self, value: Any) -> str | None:
        """The keyed hash of a value: the same for the same value and key; None for what has none."""
        try:
            return "hmac:" + hmac.digest(self._key, jsonl.canonical(value), "sha256").hex()[:32]
        except (ValueError, RecursionError):
            return None

    # --- counts

    def stats(self, counts: Mapping[str, Any], labels: Collection[str]) -> dict[str, Any]:
        """A `Slice` as it may leave: of labels those of the output schema alone, each counted."""
        told: dict[str, Any] = {}
        for name, keep in (
            ("by_version", lambda key: _VERSION.fullmatch(key) is not None),
            ("by_arm", _ARMS.__contains__),
        ):
            if groups := counts.get(name):
                told[name] = _added({key: self._group(group) for key, group in groups.items()}, keep)
        if groups := counts.get("by_label"):
            wanted = {label for label in labels if self._redactor.text(label) == label} | _KEPT_LABELS
            plain = {label: {"count": group.get("count", 0)} for label, group in groups.items()}
            told["by_label"] = _added(plain, wanted.__contains__)
        if failures := counts.get("failures"):
            told["failures"] = dict(sorted(_summed(failures, _ERRORS).items()))
        return told

    def _group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        told = dict(group)
        if "source" in told:
            told["source"] = _summed(told["source"], _SOURCES)
        return told

    # --- single ones

    def execution(self, record: Mapping[str, Any], task_id: str, day: str) -> dict[str, Any]:
        """A record of an execution. Raises KeyError, TypeError for what is none."""
        error = record.get("error")
        data = {
            "execution_id": self._id(record["execution_id"]),
            "input_hash": self.hash(record["input"]),
            "status": _one_of(record["status"], _STATUSES),
            "latency_ms": _number(record.get("latency_ms")),
            "source": _one_of(record.get("source", "program"), _SOURCES),
            "sampled": record.get("sampled") is True,
            "pi": _share(record.get("pi")),
            "confidence": _share(record.get("confidence")),
            "abstained": True if record.get("abstained") is True else None,
            "arm": _one_of(record["arm"], _ARMS) if record.get("arm") else None,
            "rollout_id": self._id(record["rollout_id"]) if record.get("rollout_id") else None,
            "error": self._error(error) if isinstance(error, dict) else None,
        }
        told = {name: value for name, value in data.items() if value is not None}
        if self.policy.inputs:
            told["input"] = self._shown(record["input"])
        if self.policy.outputs:
            told["output"] = self._shown(record.get("output"))
        return self._record("execution", record, task_id, day, told)

    def validation(self, record: Mapping[str, Any], task_id: str, day: str) -> dict[str, Any]:
        """A record of a validation, a `failure` where the program was wrong. Raises KeyError, TypeError."""
        match = record["match"] is True
        data = {
            "execution_id": self._id(record["execution_id"]),
            "match": match,
            "similarity_score": _share(record.get("similarity_score")),
            "comparison_method": _one_of(record.get("comparison_method"), _METHODS),
            "pi": _share(record.get("pi")),
            "confidence": _share(record.get("confidence")),
            "oracle_cost": _number(record.get("oracle_cost")),
            "oracle_latency_ms": _number(record.get("oracle_latency_ms")),
            "oracle": _one_of(str(record.get("oracle") or "").split(" ")[0].split(":")[0], _ORACLES),
        }
        told = {name: value for name, value in data.items() if value is not None}
        if self.policy.outputs:
            told |= {name: self._shown(record.get(name)) for name in ("output", "oracle_output")}
        else:
            told |= {f"{name}_hash": self.hash(record.get(name)) or OTHER for name in ("output", "oracle_output")}
        return self._record("validation" if match else "failure", record, task_id, day, told)

    def rollout(self, record: Mapping[str, Any], task_id: str, day: str) -> dict[str, Any]:
        """How a rollout stands: numbers, and of texts the words that rollouts are made of."""
        return self._record("rollout", record, task_id, day, self._counts(record, 0))

    def _counts(self, value: Any, depth: int, name: str = "") -> Any:
        if isinstance(value, dict) and depth < MAX_DEPTH:
            return {key: self._counts(item, depth + 1, key) for key, item in value.items() if _WORD.fullmatch(key)}
        if isinstance(value, list) and depth < MAX_DEPTH:
            return [self._counts(item, depth + 1, name) for item in value]
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, str) and (_UUID.fullmatch(value) or _TIME.fullmatch(value)):
            return value
        if isinstance(value, str) and name in _OF_ROLLOUTS and _WORD.fullmatch(value):
            return value
        return OTHER

    def _record(
        self, kind: str, record: Mapping[str, Any], task_id: str, day: str, data: dict[str, Any]
    ) -> dict[str, Any]:
        version, at = record.get("version"), record.get("timestamp")
        told: dict[str, Any] = {"kind": kind, "task_id": task_id}
        if type(version) is int and 0 < version < 1_000_000:
            told["version"] = version
        told["at"] = at if isinstance(at, str) and _TIME.fullmatch(at) else f"{day}T00:00:00Z"
        return told | {"data": data}

    def _shown(self, value: Any) -> Any:
        return value if self.policy.raw else self._redactor.redact(value)

    def _id(self, value: Any) -> str | None:
        return value if isinstance(value, str) and _UUID.fullmatch(value) else self.hash(value)

    def _error(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """The type and the line: a message can quote the input, and leaves where that leaves as it is."""
        told: dict[str, Any] = {"type": _one_of(error.get("type"), _ERRORS)}
        if type(line := error.get("line")) is int and 0 < line < 1_000_000:
            told["line"] = line
        if self.policy.raw and self.policy.inputs and isinstance(message := error.get("message"), str):
            told["message"] = message
        return told


def labels_of(schema: Any) -> frozenset[str]:
    """The labels that an output schema names."""
    if not isinstance(schema, dict):
        return frozenset()
    named = [*(schema.get("enum") or []), *([schema["const"]] if "const" in schema else [])]
    return frozenset(
        str(label) for label in named if isinstance(label, str | int | float) and type(label) is not bool
    )


def _added(groups: Mapping[str, dict[str, Any]], keep: Callable[[str], bool]) -> dict[str, Any]:
    """Groups that may be named, and what the others count together."""
    named = {key: group for key, group in groups.items() if keep(key)}
    if rest := sum(int(group.get("count", 0)) for key, group in groups.items() if not keep(key)):
        named[OTHER] = {"count": rest + int(named.get(OTHER, {}).get("count", 0))}
    return named


def _summed(counts: Mapping[str, int], wanted: Collection[str]) -> dict[str, int]:
    told: dict[str, int] = {}
    for name, n in counts.items():
        told[_one_of(name, wanted)] = told.get(_one_of(name, wanted), 0) + n
    return told


def _one_of(value: Any, wanted: Collection[str]) -> str:
    return value if isinstance(value, str) and value in wanted else OTHER


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) and abs(value) < 2**53 else None


def _share(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None
