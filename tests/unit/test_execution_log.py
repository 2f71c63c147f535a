"""The execution log: the contract's line, whole lines under many writers, torn tails mended."""

from __future__ import annotations

import json
import multiprocessing
import resource
from pathlib import Path

import pytest

from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.errors import StorageError
from loopai_runtime.layout import Layout
from loopai_runtime.models import ErrorInfo, ExecutionRecord


def record(n: int = 0, day: str = "2026-11-22", **changes: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "execution_id": f"id-{n}",
        "task_id": "spam",
        "version": 2,
        "input": {"text": "Buy now!"},
        "output": "spam",
        "status": "success",
        "latency_ms": 0.25,
        "timestamp": f"{day}T10:00:00.000000Z",
        "deployment_id": "edge-1",
    }
    return ExecutionRecord.model_validate(fields | changes).line()


def test_a_line_has_the_contracts_names_in_order_and_leaves_absent_ones_out() -> None:
    assert list(record()) == [
        "schema", "execution_id", "task_id", "version", "input", "output", "source", "status",
        "latency_ms", "timestamp", "sampled", "deployment_id",
    ]  # fmt: skip
    assert record()["schema"] == 1
    full = record(confidence=0.9, abstained=False, pi=0.05, error=ErrorInfo(type="KeyError", message="x"))
    assert full["confidence"] == 0.9
    assert full["abstained"] is False
    assert full["error"] == {"type": "KeyError", "message": "x"}


def test_each_record_lands_in_its_own_day(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ExecutionLog(layout).append([record(1), record(2, "2026-11-23"), record(3)])
    first = layout.executions("spam", "2026-11-22").read_text().splitlines()
    assert [json.loads(line)["execution_id"] for line in first] == ["id-1", "id-3"]
    assert len(layout.executions("spam", "2026-11-23").read_text().splitlines()) == 1


def test_line_separators_inside_a_record_stay_inside(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ExecutionLog(layout).append([record(input={"text": "a\u2028b\u0085c\x00\n"})])
    raw = layout.executions("spam", "2026-11-22").read_bytes()
    assert raw.count(b"\n") == 1
    assert json.loads(raw)["input"] == {"text": "a\u2028b\u0085c\x00\n"}


def test_the_log_is_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    ExecutionLog(layout).append([record()])
    path = layout.executions("spam", "2026-11-22")
    assert path.stat().st_mode & 0o777 == 0o600
    assert {parent.stat().st_mode & 0o777 for parent in (path.parent, path.parent.parent, layout.root)} == {0o700}


def _write_many(root: str, writer: int) -> None:
    log = ExecutionLog(Layout(root))
    for n in range(50):
        log.append([record(writer * 1000 + n, input={"text": "x" * 5000}), record(writer * 1000 + 500 + n)])


def test_lines_of_many_processes_never_interleave(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(tmp_path), n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = Layout(tmp_path).executions("spam", "2026-11-22").read_text().splitlines()
    assert len({json.loads(line)["execution_id"] for line in lines}) == len(lines) == 400


def test_what_a_crash_tore_is_cut_off_before_the_next_record(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    log = ExecutionLog(layout)
    log.append([record(1)])
    path = layout.executions("spam", "2026-11-22")
    with path.open("ab") as file:
        file.write(b'{"execution_id": "torn')
    log.append([record(2)])
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["execution_id"] for line in lines] == ["id-1", "id-2"]


def _append_under_a_size_limit(root: str, limit: int, results: object) -> None:
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        ExecutionLog(Layout(root)).append([record(2, input={"text": "x" * 10_000})])
        results.put("kept")  # type: ignore[attr-defined]
    except StorageError as exc:
        results.put(str(exc))  # type: ignore[attr-defined]


def test_a_write_that_does_not_fit_is_refused_and_leaves_whole_lines(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ExecutionLog(layout).append([record(1)])
    path = layout.executions("spam", "2026-11-22")
    before = path.read_bytes()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    child = context.Process(target=_append_under_a_size_limit, args=(str(tmp_path), len(before) + 100, results))
    child.start()
    assert "full" in (said := results.get(timeout=120)) or "limit" in said
    child.join()
    assert path.read_bytes() == before


def test_a_task_id_cannot_leave_the_directory(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="slug"):
        record(task_id="../../etc")
