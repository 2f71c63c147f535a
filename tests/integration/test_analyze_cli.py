"""`loopai analyze` and `prune` as their users have them."""

from __future__ import annotations

import csv
import io
import os
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.executions import execution

from loopai_runtime import jsonl
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.files import make_dir
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now

from .conftest import EXAMPLES, Loopai

TODAY = utc_now()[:10]


def ago(days: int) -> str:
    return (date.fromisoformat(TODAY) - timedelta(days=days)).isoformat()


def some(n: int, day: str, version: int) -> list[dict[str, Any]]:
    """The first one fails; the answers are spam, ham, ham, …; the later ones are about pills."""
    records = []
    for i in range(n):
        failed = {"status": "error", "output": None, "error": {"type": "ValueError", "message": "no"}}
        fine = {"status": "success", "output": ("spam", "ham", "ham")[i % 3], "abstained": False}
        text = "cheap pills offer" if i >= 15 else "see you at the meeting"
        given = {"execution_id": f"{day}-{i}", "version": version, "input": {"text": text}}
        records.append(execution(i, day=day, latency_ms=float(i + 1), **given, **(fine if i else failed)))
    return records


def validation(execution_id: str, *, right: str, output: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "validation_id": f"v-{execution_id}",
        "execution_id": execution_id,
        "task_id": "spam",
        "version": 1,
        "output": output,
        "oracle_output": right,
        "match": right == output,
        "similarity_score": float(right == output),
        "comparison_method": "exact",
        "pi": 0.5,
        "timestamp": f"{TODAY}T12:00:00Z",
    }


@pytest.fixture
def logged(loopai: Loopai) -> Loopai:
    """Two days ago 30 executions of v1, today 20 of v2, eight days ago one; checked are 20 of v1, 15 of them right."""
    layout = Layout(loopai.data_dir)
    ExecutionLog(layout).append(some(30, ago(2), 1) + some(20, TODAY, 2) + some(1, ago(8), 1))
    checks = [validation(f"{ago(2)}-{i}", right="spam", output="spam" if i < 15 else "ham") for i in range(20)]
    make_dir(layout.validations("spam"))
    jsonl.append(layout.validations("spam", ago(2)), map(jsonl.compact, checks))
    return loopai


def test_json_has_the_shape_of_the_contract(logged: Loopai) -> None:
    done = logged("analyze", "spam", "-o", "json")
    assert done.code == 0, done.err
    found = done.json
    assert list(found) == ["task_id", "from", "to", "total", "rows"]
    assert (found["task_id"], found["from"], found["to"]) == ("spam", ago(6), TODAY)
    total = found["total"]
    assert list(total) == ["count", "errors", "timeouts", "p50_ms", "p95_ms", "p99_ms", "accuracy"]
    assert (total["count"], total["errors"], total["timeouts"]) == (50, 2, 0)
    assert total["accuracy"]["value"] == pytest.approx(0.75)
    assert 0.4 < total["accuracy"]["low"] < 0.6
    assert 0.85 < total["accuracy"]["high"] < 0.95
    assert list(total["accuracy"]) == ["value", "low", "high", "n"]
    assert total["accuracy"]["n"] == 20
    assert [(row["key"], row["count"]) for row in found["rows"]] == [(ago(2), 30), (TODAY, 20)]
    assert found["rows"][0]["p50_ms"] == pytest.approx(15.0, rel=0.01)
    assert "accuracy" not in found["rows"][1]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("version", [(1, 30), (2, 20)]),
        ("label", [("ham", 33), ("spam", 15)]),
        ("day", [(ago(2), 30), (TODAY, 20)]),
    ],
)
def test_rows_are_grouped_as_asked(logged: Loopai, by: str, keys: list[tuple[object, int]]) -> None:
    rows = logged("analyze", "spam", "--by", by, "-o", "json").json["rows"]
    assert [(row["key"], row["count"]) for row in rows] == keys


def test_hours_add_up(logged: Loopai) -> None:
    rows = logged("analyze", "spam", "--by", "hour", "-o", "jsonl").lines
    assert sum(row["count"] for row in rows) == 50
    assert {row["key"][:10] for row in rows} == {ago(2), TODAY}


def test_days_choose_the_window(logged: Loopai) -> None:
    assert logged("analyze", "--days", "1", "-o", "json").json["total"]["count"] == 20
    assert logged("analyze", "--days", "9", "-o", "json").json["total"]["count"] == 51


def test_new_records_and_late_ones_count_at_the_next_look(logged: Loopai) -> None:
    logged("analyze")
    ExecutionLog(Layout(logged.data_dir)).append(execution(day=day) for day in (TODAY, ago(2), ago(5)))
    rows = logged("analyze", "-o", "json").json["rows"]
    assert [(row["key"], row["count"]) for row in rows] == [(ago(5), 1), (ago(2), 31), (TODAY, 21)]


def test_tables_and_csv_say_the_same(logged: Loopai) -> None:
    table = logged("analyze", "spam").out
    assert "75.0% (" in table
    assert "total" in table
    rows = list(csv.DictReader(io.StringIO(logged("analyze", "spam", "-o", "csv").out)))
    assert [(row["key"], row["count"], row["n"]) for row in rows] == [(ago(2), "30", "20"), (TODAY, "20", "")]


def test_failures_are_grouped_with_what_they_have_in_common(logged: Loopai) -> None:
    found = logged("analyze", "spam", "--failures", "-o", "json").json["failures"]
    assert [(one["pattern"], one["count"]) for one in found] == [
        ('"ham" instead of "spam"', 5),
        ("error ValueError", 2),
    ]
    assert {"cheap", "pills", "offer"} >= set(found[0]["words"]) != set()
    assert found[0]["examples"][0]["input"] == {"text": "cheap pills offer"}
    assert found[1]["examples"][0]["error"] == "no"
    assert "cheap" in logged("analyze", "spam", "--failures").out


def test_sql_reads_plain_and_compressed_days_and_validations(logged: Loopai) -> None:
    pytest.importorskip("duckdb")
    sql = "SELECT version, count(*) AS n, max(latency_ms) AS most FROM executions GROUP BY 1 ORDER BY 1"
    before = logged("analyze", "spam", "--sql", sql, "-o", "json").json
    assert before == [{"version": 1, "n": 30, "most": 30.0}, {"version": 2, "n": 20, "most": 20.0}]
    assert logged("prune").code == 0
    assert list(Layout(logged.data_dir).executions("spam").glob("*.gz"))
    assert logged("analyze", "spam", "--sql", sql, "-o", "json").json == before
    joined = (
        "SELECT count(*) AS n FROM executions e JOIN validations v USING (execution_id) "
        "WHERE NOT v.match AND e.input->>'text' LIKE 'cheap%'"
    )
    assert logged("analyze", "--sql", joined, "-o", "json").json == [{"n": 5}]
    inputs = logged("analyze", "--sql", "SELECT input FROM executions LIMIT 1", "-o", "json").json
    assert list(inputs[0]["input"]) == ["text"]


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT * FROM nowhere",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/loopai-stolen.csv'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
    ],
)
def test_sql_that_fails_or_reaches_elsewhere_is_one_clear_error(logged: Loopai, sql: str) -> None:
    pytest.importorskip("duckdb")
    done = logged("analyze", "spam", "--sql", sql)
    assert done.code == 2
    assert done.err.startswith("error: --sql: ")
    assert "Traceback" not in done.err
    assert not Path("/tmp/loopai-stolen.csv").exists()


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_is_drawn(logged: Loopai, tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / f"week{suffix}"
    done = logged("analyze", "spam", "--plot", picture)
    assert done.code == 0, done.err
    assert picture.stat().st_size > 5000


def test_what_is_not_there_is_said(logged: Loopai, tmp_path: Path) -> None:
    done = logged("analyze", "spamm")
    assert (done.code, done.out) == (5, "")
    done = Loopai(tmp_path / "empty")("analyze")
    assert (done.code, done.out) == (0, "")
    assert "no executions" in done.err
    assert logged("analyze", "--by", "colour").code == 2
    assert logged("analyze", "--plot", "week.txt").code == 2


def test_without_a_task_all_of_them_are_rows(logged: Loopai) -> None:
    ExecutionLog(Layout(logged.data_dir)).append([execution(day=TODAY, task_id="other")])
    found = logged("analyze", "-o", "json").json
    assert found["task_id"] is None
    assert [(row["key"], row["count"]) for row in found["rows"]] == [("other", 1), ("spam", 50)]
    assert logged("analyze", "--by", "version").code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_directory_that_cannot_be_written_is_analyzed_all_the_same(logged: Loopai) -> None:
    place = Layout(logged.data_dir).executions("spam").parent
    place.chmod(0o500)
    try:
        assert logged("analyze", "-o", "json").json["total"]["count"] == 50
    finally:
        place.chmod(0o700)


def test_prune_says_what_it_does(logged: Loopai) -> None:
    dry = logged("prune", "--dry-run", "-o", "json").json
    assert [(step["action"], Path(step["path"]).name) for step in dry] == [
        ("delete", f"{ago(8)}.jsonl"),
        ("compress", f"{ago(2)}.jsonl"),
    ]
    done = logged("prune")
    assert done.code == 0
    assert "freed" in done.err
    assert logged("prune").err == "there is nothing to do\n"


def test_prune_keeps_the_versions_that_are_wanted(spam: Loopai) -> None:
    for seed in (1, 2, 3):
        made = spam("generate", EXAMPLES / "spam" / "spec.yaml", "--seed", seed, "--strategy", "rule")
        assert made.code in (0, 3), made.err
    (spam.data_dir / "config").mkdir(exist_ok=True)
    (spam.data_dir / "config" / "deployment.yaml").write_text("retention: {artifacts: {keep_versions: 1}}\n")
    before = [row["version"] for row in spam("versions", "spam-detection", "-o", "json").json]
    assert len(before) == 4
    done = spam("prune", "-o", "json")
    assert done.code == 0, done.err
    assert [row["version"] for row in spam("versions", "spam-detection", "-o", "json").json] == [1, 4]
    assert [Path(step["path"]).name for step in done.json] == ["v2", "v3"]
    assert spam("verify", "spam-detection").code == 0
