"""Counting lines of the execution log: the one pass that rollups are made of."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from loopai_runtime import jsonl
from loopai_runtime.datasets.counts import Group, Slice
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LABELS = 100
"""Labels of a day that are counted by name: the first ones that occur."""
LONGEST_LABEL = 64
OTHER = "(other)"
_HELD = 20_000  # executions whose numbers wait to be counted together

_MINUTE = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_NAMED = {None: "(none)", True: "true", False: "false"}

# minute, version, arm, label, status, type of error, source, abstained, sampled
Key = tuple[str, int, str | None, str | None, str, str | None, str, bool, bool]


class Tally:
    """Counts lines by minute. `labels` has those that occurred earlier in the same day; it grows."""

    def __init__(self, labels: set[str]) -> None:
        self.minutes: dict[str, Slice] = {}
        self.labels: dict[str, Group] = {}
        """The day's labels, with latencies."""
        self.damaged = 0
        """Lines that are no executions."""
        self._seen = labels
        self._held: dict[Key, tuple[list[float], list[float]]] = {}
        self._waiting = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Count whole lines; blank ones are none."""
        held, label = self._held, self._label
        for line in lines:
            if not line or line.isspace():
                continue
            try:
                record = read(line)
                get = record.get
                status, error = record["status"], get("error")
                key: Key = (
                    record["timestamp"][11:16],
                    record["version"],
                    get("arm"),
                    label(record["output"], get("abstained")) if status == "success" else None,
                    status,
                    error["type"] if error else None,
                    get("source", "program"),
                    bool(get("abstained")),
                    bool(get("sampled")),
                )
                latency, confidence = record["latency_ms"] + 0.0, get("confidence", -1.0) + 0.0
                numbers = held.get(key) or held.setdefault(key, ([], []))
            except (KeyError, TypeError, ValueError, AttributeError, InputError):
                self.damaged += 1
                continue
            numbers[0].append(latency)
            if confidence >= 0:
                numbers[1].append(confidence)
            self._waiting += 1
        if self._waiting >= _HELD:
            self.settle()

    def settle(self) -> None:
        """Bring what was added into `minutes` and `labels`."""
        for key, (latencies, confidences) in self._held.items():
            self._count(key, latencies, confidences)
        self._held.clear()
        self._waiting = 0

    def _count(self, key: Key, latencies: list[float], confidences: list[float]) -> None:
        minute, version, arm, label, status, kind, source, abstained, sampled = key
        n = len(latencies)
        group = Group(
            count=n,
            errors=n * (status == "error"),
            timeouts=n * (status == "timeout"),
            abstained=n * abstained,
            sampled=n * sampled,
            sources=Counter({str(source): n}),
        )
        group.add_confidences(confidences)
        group.latency.add(latencies)
        if not _MINUTE.fullmatch(minute):
            minute = "00:00"
        part = self.minutes.setdefault(minute, Slice())
        part.by_version.setdefault(str(version), Group()).merge(group)
        if arm is not None:
            part.by_arm.setdefault(str(arm), Group()).merge(group)
        if kind is not None:
            part.failures[str(kind)[:LONGEST_LABEL]] += n
        if label is not None:
            self.labels.setdefault(label, Group()).merge(group)
            part.by_label.setdefault(label, Group()).count += n

    def _label(self, output: Any, abstained: Any) -> str:
        name = "(abstained)" if abstained and output is None else label_of(output)
        if name not in self._seen:
            if len(self._seen) >= MAX_LABELS:
                return OTHER
            self._seen.add(name)
        return name


def label_of(output: Any) -> str:
    """What an answer is called among labels: itself where it is short, and its kind where it is not."""
    if isinstance(output, str):
        return output if len(output) <= LONGEST_LABEL else "(long text)"
    if output is None or isinstance(output, bool):
        return _NAMED[output]
    if isinstance(output, int | float):
        return str(output)[:LONGEST_LABEL]
    return "(object)" if isinstance(output, dict) else "(list)"


def read(line: bytes) -> Any:
    """One record. Raises InputError."""
    try:
        return orjson.loads(line)
    except ValueError:  # numbers beyond 64 bits, or not JSON
        return jsonl.loads(line)


def is_record(line: bytes) -> bool:
    """Whether a line that has no newline is whole all the same."""
    try:
        return isinstance(read(line), dict)
    except InputError:
        return False
