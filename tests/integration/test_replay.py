"""`loopai replay`: a version over the log, in the sandbox, against what was answered and what oracles said."""

from __future__ import annotations

import csv
import io
import os
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import loopai_runtime
from loopai_runtime import jsonl
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.config import Config
from loopai_runtime.datasets import retention, validations
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.errors import GateMissed
from loopai_runtime.flows.changes import Change, Replayed
from loopai_runtime.flows.replay import replay
from loopai_runtime.layout import Layout
from loopai_runtime.models import AbstainThreshold, ValidationRecord, new_id
from loopai_runtime.sandbox import SyncPool

from .conftest import Loopai
from .test_server import add

SOAK = float(os.environ.get("LOOPAI_SOAK", "0.05"))
DAY_S = 86_400.0
V1 = "def run(x):\n    return 'spam' if 'win' in x['text'] else 'ham'\n"
V2 = """
def run(x):
    if 'crash' in x['text']:
        return {}['crash']
    return 'spam' if 'prize' in x['text'] else 'ham'
"""


def at(days_ago: float = 0.0) -> str:
    moment = datetime.now(UTC) - timedelta(days=days_ago, seconds=60)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def record(text: str, output: Any, *, days_ago: float = 0.0, **changes: Any) -> dict[str, Any]:
    line: dict[str, Any] = {
        "schema": 1, "execution_id": new_id(), "task_id": "mail", "version": 1, "input": {"text": text},
        "output": output, "source": "program", "status": "success", "latency_ms": 0.2,
        "timestamp": at(days_ago), "sampled": False, "deployment_id": "edge-1",
    }  # fmt: skip
    return line | changes


def judge(layout: Layout, line: dict[str, Any], right: Any) -> None:
    said = ValidationRecord(
        validation_id=new_id(), execution_id=line["execution_id"], task_id="mail", version=1,
        output=line["output"], oracle_output=right, match=right == line["output"], similarity_score=0.0,
        comparison_method="exact", timestamp=line["timestamp"],
    )  # fmt: skip
    validations.append(layout, "mail", line["timestamp"][:10], [said])


@pytest.fixture(scope="module")
def pool() -> Iterator[SyncPool]:
    with SyncPool(workers=1) as pool:
        yield pool


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A data directory with mail@1, active, and mail@2."""
    layout = Layout(tmp_path / "data")
    add(layout, "mail", V1)
    add(layout, "mail", V2, activate=False)
    return layout


def log(layout: Layout, *records: dict[str, Any]) -> None:
    ExecutionLog(layout).append(records)


def run(pool: SyncPool, layout: Layout, ref: str = "mail@2", days: float = 7.0, **options: Any) -> Replayed:
    stored = ArtifactStore(layout).read(ref)
    config = Config.load(flags={}, environ={})
    return replay(pool, stored, layout, config, since_s=days * DAY_S, **options)


def changes(replayed: Replayed) -> dict[tuple[str, str], int]:
    text = [group.as_dict() for group in replayed.groups]
    return {(str(one["old"]), str(one["new"])): one["count"] for one in text}


def test_every_answer_that_would_change_is_grouped_and_counted(pool: SyncPool, layout: Layout) -> None:
    log(
        layout,
        *[record(f"win {n}", "spam") for n in range(3)],
        *[record(f"a prize {n}", "ham") for n in range(2)],
        record("win a prize", "spam"),
        record("crash", "ham"),
        record("slow", None, status="timeout", error={"type": "Timeout", "message": "no"}),
    )
    found = run(pool, layout)
    assert changes(found) == {
        ("{'output': 'spam'}", "{'output': 'ham'}"): 3,
        ("{'output': 'ham'}", "{'output': 'spam'}"): 2,
        ("{'output': 'ham'}", "{'error': 'KeyError'}"): 1,
        ("{'error': 'Timeout'}", "{'output': 'ham'}"): 1,
    }
    assert (found.executions, found.changed, found.checked) == (8, 7, 0)


def test_what_oracles_said_decides_who_is_right(pool: SyncPool, layout: Layout) -> None:
    right = {
        "win it": "ham",
        "prize": "ham",
        "win now": "spam",
        "win crash": "spam",
        "fine": "ham",
        "win odd": "odd",
    }
    lines = [record(text, "spam" if "win" in text else "ham") for text in right]
    log(layout, *lines)
    for line in lines:
        judge(layout, line, right[line["input"]["text"]])
    seen: list[Change] = []
    found = run(pool, layout, changed=seen.append)
    assert {change.input["text"]: change.verdict for change in seen} == {
        "win it": "fixed",
        "prize": "broken",
        "win now": "broken",
        "win crash": "broken",
        "win odd": "both_wrong",
    }
    assert found.verdicts == {"broken": 3, "fixed": 1, "both_wrong": 1, "both_right": 0}
    assert found.checked == 6


def test_an_oracle_that_answered_for_the_program_has_judged_it(pool: SyncPool, layout: Layout) -> None:
    log(
        layout,
        record("prize", "spam", source="oracle", abstained=True),
        record("hello", "spam", source="oracle", abstained=True),
        record("odd", None, source="none", abstained=True),
    )
    found = run(pool, layout)
    assert (found.verdicts["fixed"], found.verdicts["broken"], found.checked) == (1, 1, 2)
    assert changes(found)[("{'abstained': True}", "{'output': 'ham'}")] == 2


def test_a_version_that_withholds_is_neither_right_nor_wrong(pool: SyncPool, layout: Layout) -> None:
    policy = AbstainThreshold(target_accuracy=0.9, confidence=0.95, threshold=0.9, on_abstain=None)
    unsure = "def run(x):\n    return 'ham'\n\ndef score(x):\n    return 'ham', 0.5\n"
    add(layout, "mail", unsure, activate=False, abstain=policy)
    lines = [record("win", "spam"), record("hello", "ham")]
    log(layout, *lines)
    judge(layout, lines[0], "ham")
    judge(layout, lines[1], "ham")
    found = run(pool, layout, "mail@3")
    assert found.verdicts == {"broken": 1, "fixed": 0, "both_wrong": 1, "both_right": 0}


def test_the_same_input_runs_once(pool: SyncPool, layout: Layout) -> None:
    log(layout, *[record(f"win {n % 5}", "spam", days_ago=n % 2) for n in range(2500)])
    found = run(pool, layout)
    assert (found.executions, found.executed, found.changed) == (2500, 5, 2500)


def test_only_the_time_asked_for_is_looked_at_and_the_latest_day_first(pool: SyncPool, layout: Layout) -> None:
    lines = [record("win", "spam", days_ago=days) for days in (0, 1, 3, 3, 20)]
    log(layout, *lines)
    assert run(pool, layout, days=2).executions == 2
    assert run(pool, layout, days=4).executions == 4
    assert run(pool, layout, days=1e9).executions == 5
    seen: list[Change] = []
    run(pool, layout, limit=2, changed=seen.append)
    assert [change.timestamp for change in seen] == [lines[0]["timestamp"], lines[1]["timestamp"]]


def test_nothing_logged_and_inputs_that_were_not_kept_are_said(pool: SyncPool, layout: Layout) -> None:
    with pytest.raises(GateMissed, match="nothing is in the log of what mail was asked"):
        run(pool, layout)
    bare = record("win", "spam")
    del bare["input"]
    log(layout, bare)
    with pytest.raises(GateMissed, match="the inputs are not in the log"):
        run(pool, layout)
    log(layout, record("win", "spam"))
    assert run(pool, layout).without_input == 1


def test_compressed_days_and_torn_lines_are_read(pool: SyncPool, layout: Layout) -> None:
    log(layout, *[record("win", "spam", days_ago=2) for _ in range(3)])
    flags: dict[str, Any] = {"retention.executions.compress_after": 0, "retention.executions.keep_days": 30}
    list(retention.keep(layout, Config.load(flags=flags, environ={})))
    (packed,) = layout.executions("mail").iterdir()
    assert packed.name.endswith(".gz")
    log(layout, record("win", "spam"))
    with layout.executions("mail", at()[:10]).open("ab") as file:
        file.write(b'{"input": {"text": "wi')
    assert run(pool, layout).executions == 4


def test_nothing_is_recorded(pool: SyncPool, layout: Layout) -> None:
    def files() -> dict[str, bytes]:
        paths = [path for path in layout.root.rglob("*") if path.is_file()]
        return {str(path.relative_to(layout.root)): path.read_bytes() for path in paths}

    log(layout, *[record(f"win {n}", "spam") for n in range(50)])
    before = files()
    run(pool, layout)
    assert files() == before


def test_vast_outputs_and_as_many_groups_stay_bounded(
    pool: SyncPool, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopai_runtime.flows.changes._EXAMPLES_BYTES", 1_000_000)
    vast = "def run(x):\n    return 'x' * 300000 + x['text']\n"
    add(layout, "mail", vast, activate=False)
    log(layout, *[record(f"win {n}", f"spam {n}") for n in range(30)])
    found = run(pool, layout, "mail@3")
    (group,) = found.groups
    assert (found.changed, group.count, group.old, len(group.examples)) == (30, 30, None, 3)
    log(layout, *[record(f"{n} {'lorem ' * 1000}", f"long {n}") for n in range(230)])
    found = run(pool, layout, "mail@2")
    assert len(found.groups) == found.changed == 260
    assert 800_000 < len(jsonl.compact(found.as_dict())) < 1_100_000


def test_latencies_are_compared(pool: SyncPool, layout: Layout) -> None:
    log(layout, *[record(f"win {n}", "spam", latency_ms=900.0) for n in range(20)])
    sides = run(pool, layout).latency_ms()
    assert sides["logged"]["p50"] == pytest.approx(900.0, rel=0.02)
    assert 0 < (sides["replayed"]["p50"] or 0) < 900.0


@pytest.mark.slow
def test_memory_is_bounded_whatever_the_size_of_the_log(pool: SyncPool, layout: Layout) -> None:
    """Twice as many executions, all different, take no more memory than half of them."""
    many = max(4000, int(50_000 * SOAK))
    for start in range(0, 2 * many, 1000):
        log(layout, *[record(f"win {n} {'lorem ' * 40}", "spam") for n in range(start, start + 1000)])
    peaks = []
    for limit in (many, 2 * many):
        tracemalloc.start()
        assert run(pool, layout, limit=limit).changed == limit
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    per_execution = 700  # bytes: a digest, a short answer, an entry in a table; the input alone has 250
    assert peaks[1] - peaks[0] < many * per_execution
    assert peaks[1] < 80 << 20


def test_python_users_call_it_by_name(layout: Layout) -> None:
    log(layout, record("win", "spam"))
    found = loopai_runtime.replay("mail@2", days=1, data_dir=layout.root)
    assert (found.executions, found.changed) == (1, 1)


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def mail(loopai: Loopai, layout: Layout) -> Loopai:
    lines = [record(f"win {n}", "spam", days_ago=n) for n in range(4)] + [record("\x1b[31mprize", "ham")]
    log(layout, *lines)
    judge(layout, lines[0], "ham")
    judge(layout, lines[4], "ham")
    return loopai


def test_a_table_says_what_would_change_and_who_is_right(mail: Loopai) -> None:
    done = mail("replay", "mail@2", "--since", "7d")
    assert done.code == 0, done.err
    assert "5 of 5 answers would change (100.0%)" in done.out
    assert "of the 2 that an oracle judged, 1 would be fixed and 1 broken" in done.out
    assert '"ham" -> "spam" [broken; right is "ham"]' in done.out
    assert "\x1b" not in done.out
    assert done.out.index('"ham" -> "spam"') < done.out.index('"spam" -> "ham"')


def test_json_jsonl_and_csv_say_the_same(mail: Loopai) -> None:
    found = mail("replay", "mail@2", "-o", "json").json
    counts = {name: found[name] for name in ("task_id", "version", "executions", "changed", "checked", "broken")}
    assert counts == {"task_id": "mail", "version": 2, "executions": 5, "changed": 5, "checked": 2, "broken": 1}
    lines = mail("replay", "mail@2", "-o", "jsonl").lines
    assert len(lines) == 5
    assert [line["verdict"] for line in lines if "verdict" in line] == ["fixed", "broken"]
    rows = list(csv.DictReader(io.StringIO(mail("replay", "mail@2", "-o", "csv").out)))
    assert [(row["old"], row["new"], row["count"]) for row in rows] == [
        ('"ham"', '"spam"', "1"),
        ('"spam"', '"ham"', "4"),
    ]


def test_the_gate_ends_with_3_once_too_many_break(mail: Loopai) -> None:
    assert mail("replay", "mail@2", "--fail-on-broken", "2").code == 0
    done = mail("replay", "mail@2", "--fail-on-broken", "1")
    assert (done.code, done.err.strip()) == (3, "error: v2 breaks 1 of 2 that were judged")
    done = mail("replay", "mail@1", "--since", "30m", "--fail-on-broken", "1")
    assert done.code == 0, done.err


def test_faults_are_one_line_with_their_code(mail: Loopai) -> None:
    assert mail("replay", "nobody").code == 5
    assert mail("replay", "mail@9").code == 5
    done = mail("replay", "mail@2", "--since", "soon")
    assert (done.code, "'soon' is no time" in done.err) == (2, True)
    assert mail("replay", "mail@2", "--limit", "0").code == 2


def test_an_encrypted_log_is_replayed_with_its_key_alone(loopai: Loopai, layout: Layout) -> None:
    key = {"LOOPAI_STORAGE__ENCRYPTION_KEY": "11" * 32}
    for n in range(3):
        done = loopai("run", "mail", f'{{"text": "win {n}"}}', env=key)
        assert done.code == 0, done.err
    assert loopai("replay", "mail@2", "-o", "json", env=key).json["changed"] == 3
    done = loopai("replay", "mail@2")
    assert (done.code, "encrypted" in done.err) == (1, True)
