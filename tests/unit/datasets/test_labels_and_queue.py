"""labels.jsonl, queue.jsonl and validations: appended by many, read by all."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime import jsonl
from loopai_runtime.datasets import labels, queue, validations
from loopai_runtime.errors import StorageError
from loopai_runtime.files import make_dir
from loopai_runtime.layout import Layout
from loopai_runtime.models import ComparisonMethod, ValidationRecord


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_a_persons_label_wins_and_then_the_newest(layout: Layout) -> None:
    for output, source in (("a", "oracle"), ("b", "synthetic"), ("c", "oracle")):
        labels.append(layout, "t", [labels.label({"x": 1}, output, source)])
    assert [one.output for one in labels.known(layout, "t").values()] == ["c"]
    labels.append(layout, "t", [labels.label({"x": 1.0}, "d", "person", execution_id="e1")])
    labels.append(layout, "t", [labels.label({"x": 1}, "e", "oracle", oracle="llm m")])
    (one,) = labels.known(layout, "t").values()
    assert (one.output, one.execution_id) == ("d", "e1")
    labels.append(layout, "t", [labels.label({"x": 1}, None, "reviewed")])
    assert labels.known(layout, "t")[b'{"x":1}'].output is None
    assert len(list(labels.read(layout, "t"))) == 6
    assert {one.source for one in labels.known(layout, "t", labels.BY_PERSONS).values()} == {"reviewed"}


def test_taking_back_removes_one_line_and_disturbs_no_other(layout: Layout) -> None:
    first, second, third = (labels.label(i, "x", "person", execution_id=f"e{i}") for i in range(3))
    labels.append(layout, "t", [first, second, third])
    assert labels.take_back(layout, "t", third)
    assert [one.input for one in labels.read(layout, "t")] == [0, 1]
    assert labels.take_back(layout, "t", first)
    assert [one.input for one in labels.read(layout, "t")] == [1]
    assert not labels.take_back(layout, "t", first)
    nested = labels.label(json.dumps(second.line()), "x", "person")
    labels.append(layout, "t", [nested])
    assert labels.take_back(layout, "t", second)
    assert [one.input for one in labels.read(layout, "t")] == [nested.input]


def test_a_damaged_file_is_named(layout: Layout) -> None:
    make_dir(layout.task("t"))
    for content in (b"nonsense\n", b"[]\n", b'{"input": 1}\n'):
        layout.labels("t").write_bytes(content)
        with pytest.raises(StorageError, match=r"labels\.jsonl: is damaged"):
            list(labels.read(layout, "t"))
        layout.queue("t").write_bytes(b"{}\n")
        with pytest.raises(StorageError, match=r"queue\.jsonl:1: is damaged"):
            queue.read(layout, "t")
    layout.labels("t").write_bytes(b'{"input": 1, "output": 2}\n{"input": 2, "outp')  # torn by a crash
    assert [(one.input, one.source) for one in labels.read(layout, "t")] == [(1, "person")]
    layout.labels("t").write_bytes(b'{"input": 1, "output": 2}')  # an editor's
    assert [one.input for one in labels.read(layout, "t")] == [1]
    assert list(labels.read(layout, "other")) == []
    assert queue.read(layout, "other") == []


def test_what_is_appended_while_the_queue_is_emptied_is_kept(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that holds the file open, as a server does, and looks from time to time whether it is still there."""
    queue.append(layout, "t", [{"input": n} for n in range(50)])
    held = jsonl.open_to_append(layout.queue("t"))
    written = threading.Event()

    def write_late(seconds: float) -> None:
        """In the moment between the new file and the last look at the old one."""
        jsonl.append_more(held, b'{"input": "late"}\n')
        written.set()

    monkeypatch.setattr(queue.time, "sleep", write_late)
    assert queue.take_out(layout, "t", lambda item: item["input"] != 7) == 2
    assert written.is_set()
    assert [item["input"] for item in queue.read(layout, "t")] == [7, "late"]
    assert queue.take_out(layout, "t", lambda item: False) == 2
    assert queue.take_out(layout, "none", lambda item: True) == 0


def record(execution_id: str, match: bool = True, **more: Any) -> ValidationRecord:
    return ValidationRecord(
        validation_id="v",
        execution_id=execution_id,
        task_id="t",
        version=1,
        output="a",
        oracle_output=None,
        match=match,
        similarity_score=1.0,
        comparison_method=ComparisonMethod.EXACT,
        timestamp="2026-01-02T00:00:00Z",
        **more,
    )


def test_an_execution_counts_once_whatever_the_file_holds(layout: Layout) -> None:
    validations.append(layout, "t", "2026-01-01", [record("e1"), record("e2", match=False, fields={"a": 0.5})])
    validations.append(layout, "t", "2026-01-02", [record("e3")])
    validations.append(layout, "t", "2026-01-01", [record("e1", match=False)])
    with layout.validations("t", "2026-01-01").open("ab") as file:
        file.write(b'garbage\n{"schema": 1}\n{"torn')
    found = [(one.day, one.record.execution_id, one.record.match) for one in validations.read(layout, "t")]
    assert found == [("2026-01-01", "e1", True), ("2026-01-01", "e2", False), ("2026-01-02", "e3", True)]
    assert [one.day for one in validations.read(layout, "t", ["2026-01-02"])] == ["2026-01-02"]
    line = json.loads(layout.validations("t", "2026-01-02").read_text())
    assert line["oracle_output"] is None
    assert "pi" not in line
    assert "fields" not in line


def test_sampled_executions_are_found_gzipped_or_not_newest_first(layout: Layout) -> None:
    folder = make_dir(layout.executions("t"))

    def line(number: int, sampled: bool) -> bytes:
        return (
            jsonl.compact({"execution_id": f"e{number}", "input": {"sampled": True}, "sampled": sampled}) + b"\n"
        )

    with gzip.open(folder / "2026-01-01.jsonl.gz", "wb") as file:
        file.write(line(1, True) + line(2, False))
    (folder / "2026-01-01.jsonl").write_bytes(line(3, True) + b'{"sampled": true, "torn')
    (folder / "2026-01-03.jsonl").write_bytes(b'{"execution_id": "e4", "sampled": true}\n')
    (folder / "notes.txt").write_bytes(b"")
    assert validations.days(layout, "t") == ["2026-01-03", "2026-01-01"]
    assert [one["execution_id"] for one in validations.sampled(layout, "t", "2026-01-01")] == ["e3", "e1"]
    assert [one["execution_id"] for one in validations.sampled(layout, "t", "2026-01-03")] == ["e4"]
    assert validations.days(layout, "none") == []
