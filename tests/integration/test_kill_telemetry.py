"""kill -9 while telemetry is reported: every execution arrives once, no number has two meanings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.executions import execution

from loopai_runtime.config import Config
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.flows import report
from loopai_runtime.layout import Layout
from loopai_runtime.telemetry.wire import Answer

from .test_kill_between_writes import visits

FLAGS = {"cloud.api_url": "https://platform.example", "cloud.api_key": "k", "telemetry.batch_size": 40}
PRELOAD = "import loopai_runtime.flows.report, loopai_runtime.config, loopai_runtime.events"
REPORT = f"""
from loopai_runtime.config import Config
from loopai_runtime.flows import report
from loopai_runtime.layout import Layout
from tests.integration.test_kill_telemetry import received
report.flush(Layout(data_dir), Config.load(flags={FLAGS!r}, environ={{}}), send=received(data_dir))
"""


def received(data_dir: Path) -> Any:
    """A platform beside the data: it keeps what it is sent, and only then answers."""

    def send(body: bytes, headers: Any) -> Answer:
        count = len(json.loads(gzip.decompress(body))["records"])
        with (Path(data_dir) / "received.jsonl").open("ab", buffering=0) as file:
            file.write(gzip.decompress(body) + b"\n")
        return Answer(202, json.dumps({"accepted": count, "duplicates": 0}).encode())

    return send


def check(data_dir: Path, expected: set[str]) -> None:
    """All of what arrived: by number, as the platform tells repetitions by it."""
    records: dict[tuple[str, int], Any] = {}
    for line in (data_dir / "received.jsonl").read_bytes().splitlines():
        for record in json.loads(line)["records"]:
            number = (record["boot"], record["seq"])
            assert records.setdefault(number, record) == record, "one number, two records"
    data = [record["data"] for record in records.values()]
    counted = sum(group["count"] for one in data for group in one.get("by_version", {}).values())
    assert counted == len(expected)
    assert sorted(one["execution_id"] for one in data if "execution_id" in one) == sorted(expected)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A log of which a part was reported."""
    layout = Layout(tmp_path / "base")
    for start in (0, 30):
        ExecutionLog(layout).append([execution(n, sampled=True) for n in range(start, start + 30)])
        if not start:
            report.flush(layout, Config.load(flags=FLAGS, environ={}), send=received(layout.root))
    return layout.root


def test_a_report_killed_anywhere_counts_every_execution_once(base: Path, tmp_path: Path) -> None:
    lines = (base / "datasets" / "spam" / "executions").glob("*.jsonl")
    expected = {json.loads(line)["execution_id"] for path in lines for line in path.read_bytes().splitlines()}
    for data_dir in visits(tmp_path, base, PRELOAD, REPORT):
        for _ in range(2):
            report.flush(Layout(data_dir), Config.load(flags=FLAGS, environ={}), send=received(data_dir))
        check(data_dir, expected)
