"""A platform that plays a script, and an edge's logs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.config import Config
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.layout import Layout
from loopai_runtime.telemetry.wire import Answer

URL, KEY = "https://platform.example", "lp_secret"


class Platform:
    """What it was sent, in order; answers by `script`, or takes everything it has not got yet."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.keys: list[str] = []
        self.records: dict[tuple[str, int], dict[str, Any]] = {}
        self.script: Callable[[int], Answer | None] = lambda n: None

    def __call__(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        self.bodies.append(body)
        self.keys.append(headers["Idempotency-Key"])
        answer = self.script(len(self.bodies))
        if answer is not None and answer.status:
            return answer
        new = 0
        for record in json.loads(gzip.decompress(body))["records"]:
            number = (record["boot"], record["seq"])
            assert self.records.setdefault(number, record) == record, "one number, two records"
            new += 1
        return answer or Answer(202, json.dumps({"accepted": new, "duplicates": 0}).encode())

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for _, record in sorted(self.records.items()) if record["kind"] == kind]

    def executions(self) -> int:
        return sum(
            group["count"]
            for record in self.of("stats")
            for group in record["data"].get("by_version", {}).values()
        )

    @property
    def plain(self) -> bytes:
        return b"\n".join(map(gzip.decompress, self.bodies))


class Edge:
    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.platform = Platform()

    def config(self, mode: str = "balanced", **flags: Any) -> Config:
        given = {"cloud.api_url": URL, "cloud.api_key": KEY, "telemetry.privacy_mode": mode}
        return Config.load(flags=given | {name.replace("__", "."): v for name, v in flags.items()}, environ={})

    def log(self, *records: dict[str, Any]) -> None:
        ExecutionLog(self.layout).append(records)


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge(tmp_path)
