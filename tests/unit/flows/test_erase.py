"""Erasing: nothing that was meant stays anywhere, nothing else goes, appenders are not disturbed."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from tests.executions import DAY, execution

from loopai_runtime import jsonl
from loopai_runtime.config import Config
from loopai_runtime.datasets import raw, retention, shadow, shadow_labels, stats
from loopai_runtime.datasets.erasure import parse
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.datasets.shadow_labels import Said
from loopai_runtime.errors import UsageError
from loopai_runtime.events import verify
from loopai_runtime.files import make_dir
from loopai_runtime.flows.erase import erase
from loopai_runtime.layout import Layout

JANE = "jane.doe@example.com"
DAYS = ("2026-03-03", DAY)


def put(path: Path, *records: dict[str, Any]) -> None:
    make_dir(path.parent)
    jsonl.append(path, [jsonl.compact(record) for record in records])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two days of executions, the first one compressed; of 40 each, every tenth is Jane's."""
    layout = Layout(tmp_path)
    for day in DAYS:
        records = [
            execution(
                n,
                day=day,
                input={"email": JANE if n % 10 == 0 else f"p{n}@example.com"},
                execution_id=f"{day}-{n}",
            )
            for n in range(40)
        ]
        ExecutionLog(layout).append(records)
        put(
            layout.validations("spam", day),
            *({"execution_id": r["execution_id"], "output": "x"} for r in records[:15]),
        )
        if day == DAYS[0]:
            flags = {"retention.executions.compress_after": 0, "retention.executions.keep_days": 36_500}
            flags |= {"retention.validations.keep_days": 36_500}
            list(retention.keep(layout, Config.load(flags=flags, environ={})))
    for path in (layout.labels("spam"), layout.queue("spam"), layout.examples("spam"), layout.calls("spam")):
        put(
            path, {"input": {"email": JANE}, "output": "a"}, {"input": {"email": "bob@example.com"}, "output": "b"}
        )
    make_dir(layout.root / "cache" / "llm" / "ab")
    (layout.root / "cache" / "llm" / "ab" / "answer").write_text(JANE)
    return layout


def everything(layout: Layout) -> bytes:
    content = b""
    for path in layout.root.rglob("*"):
        if path.is_file():
            content += gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return content


@pytest.mark.parametrize("match", [f"email={JANE}", f"input.email={JANE}", r"jane\.doe@", r"(?i)JANE\.DOE"])
def test_nothing_that_was_meant_stays_and_nothing_else_goes(layout: Layout, match: str) -> None:
    done = erase(layout, parse(match))
    assert done.records == {
        "executions": 8,
        "validations": 4,
        "labels": 1,
        "queue": 1,
        "calls": 1,
        "examples": 1,
        "cache": 1,
    }
    assert JANE.encode() not in everything(layout)
    left = [json.loads(line) for line in raw.lines(layout, "spam", DAYS) if line.strip()]
    assert b"".join(raw.whole(layout, "spam", DAYS, print)).count(b"\n") == len(left)
    assert {r["execution_id"] for r in left} == {f"{day}-{n}" for day in DAYS for n in range(40) if n % 10}
    for day in stats.window(layout, "spam", DAYS):
        assert (day.counts.total().count, day.damaged) == (36, 0)
    assert [line.raw for line in jsonl.lines(layout.labels("spam").open("rb"))] == [
        b'{"input":{"email":"bob@example.com"},"output":"b"}'
    ]
    assert erase(layout, parse(match)).records == {}


def test_the_audit_tells_of_it_and_not_of_whom(layout: Layout) -> None:
    erase(layout, parse(f"email={JANE}"))
    lines = [json.loads(line) for path in layout.audit.iterdir() for line in path.read_bytes().splitlines()]
    assert [(line["kind"], line["state"]) for line in lines] == [("erase", "started"), ("erase", "done")]
    assert lines[1]["records"]["executions"] == 8
    assert verify(layout) == []


def test_a_dry_run_changes_nothing(layout: Layout) -> None:
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    done = erase(layout, parse(f"email={JANE}"), dry_run=True)
    assert done.records["executions"] == 8
    after = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    assert {p for p in after if p not in before} <= {
        layout.root / "run" / "spam.lock",
        layout.secrets / "rows.key",
    }
    assert {p: after[p] for p in before} == before


def test_who_has_the_log_open_goes_on_appending(layout: Layout) -> None:
    path = layout.executions("spam", DAY)
    descriptor = jsonl.open_to_append(path)
    erase(layout, parse(f"email={JANE}"))
    jsonl.append_more(descriptor, jsonl.compact(execution(input={"email": "late"}, execution_id="late")) + b"\n")
    os.close(descriptor)
    assert b'"late"' in path.read_bytes()
    assert stats.daily(layout, "spam", DAY).counts.total().count == 37


def test_labels_named_in_statistics_lose_their_names(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    names = [JANE, "Jane", "spam", "spam"]
    ExecutionLog(layout).append(execution(n, status="success", output=name) for n, name in enumerate(names))
    stats.daily(layout, "spam", DAY)
    layout.executions("spam", DAY).unlink()
    assert erase(layout, parse("(?i)jane")).records == {"statistics": 2}
    labels = stats.daily(layout, "spam", DAY).counts.by_label
    assert {label: group.count for label, group in labels.items()} == {"(erased)": 2, "spam": 2}
    assert b"ane" not in layout.minutes("spam", DAY).read_bytes()
    assert sum(part.total().count for part in stats.minutes(layout, "spam", DAY).values()) == 4


def test_a_damaged_line_is_judged_by_its_text(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ExecutionLog(layout).append([execution()])
    with layout.executions("spam", DAY).open("ab") as file:
        file.write(b'{"input": {"email": "jane.doe@example.com"\n')
    assert erase(layout, parse(f"email={JANE}")).records == {"executions": 1}
    assert JANE.encode() not in everything(layout)


@pytest.mark.parametrize(
    ("match", "record", "meant"),
    [
        ("email=a", {"input": {"email": "a"}}, True),
        ("email=a", {"input": {"email": "ab"}}, False),
        ("email=a", {"input": {"to": {"email": "a"}}}, False),
        ("to.email=a", {"input": {"to": [{"email": "b"}, {"email": "a"}]}}, True),
        ("age=42", {"input": {"age": 42}}, True),
        ("vip=true", {"input": {"vip": True}}, True),
        ("name=x", {"input": "text", "output": {"name": "x"}}, True),
        ("execution_id=e1", {"execution_id": "e1", "input": 1}, True),
        ("note=a=b", {"input": {"note": "a=b"}}, True),
        (r"\d{3}-\d{2}", {"input": {"deep": [{"ssn": "123-45"}]}}, True),
        (r"\d{3}-\d{2}", {"execution_id": "123-45", "input": ""}, False),
        ("4711", {"input": {"id": 4711}}, True),
        ("Jürgen", {"input": "Hallo Jürgen"}, True),
        ("(?:a=b)", {"input": "a=b"}, True),
        ("anna", {"input": "", "error": {"message": "no such name: anna"}}, True),
    ],
)
def test_what_is_meant(match: str, record: dict[str, Any], meant: bool) -> None:
    assert parse(match).line(jsonl.compact(record)) is meant


@pytest.mark.parametrize("wrong", ["email=", "(", "", ".*", "x?"])
def test_what_would_erase_everything_or_nothing_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError, match=re.escape("--match")):
        parse(wrong)


def test_what_a_rollout_saw_goes_with_what_was_said_of_it(layout: Layout) -> None:
    emails = {f"{DAY}-0": JANE, f"{DAY}-1": "p1@example.com", "gone-already": JANE}
    pairs = [
        shadow.Pair(execution_id, f"{DAY}T00:00:00Z", {"email": email}, "incumbent", {}, {})
        for execution_id, email in emails.items()
    ]
    shadow.append(layout, "spam", "r-1", pairs)
    shadow_labels.append(
        layout, "spam", "r-1", [Said(pair.execution_id, 1, "x", pair.timestamp) for pair in pairs]
    )
    assert erase(layout, parse(f"email={JANE}")).records["shadow"] == 3
    seen = shadow.Reader(layout, "spam", "r-1")
    seen.read()
    assert [pair.execution_id for pair in seen.pairs] == [f"{DAY}-1"]
    said = shadow_labels.read(layout, "spam", "r-1")
    assert [one.execution_id for one in said] == [f"{DAY}-1", "gone-already"]  # its right answer alone is nobody's
