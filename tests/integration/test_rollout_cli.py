"""`loopai rollout` as a user types it, on evidence that a server left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.cli.main import run_line
from loopai_runtime.datasets import shadow, shadow_labels
from loopai_runtime.layout import Layout
from loopai_runtime.models import VersionStatus, utc_now
from loopai_runtime.rollouts import load

from .conftest import Loopai
from .test_server import SPAM, add, artifact

OTHER = SPAM.replace("'win'", "'prize'")
THIRD = SPAM.replace("'win'", "'money'")


@pytest.fixture
def two(tmp_path: Path) -> Loopai:
    """v1 serves; v2 is validated, v3 a draft."""
    loopai = Loopai(tmp_path / "data")
    layout = Layout(loopai.data_dir)
    add(layout, "spam", SPAM)
    add(layout, "spam", OTHER, activate=False)
    with layout.lock("spam", 5):
        ArtifactStore(layout).add(artifact("spam"), THIRD, VersionStatus.DRAFT)
    return loopai


def see(loopai: Loopai, *, pairs: int, right: int, shadowed: int = 2000, failed: int = 0) -> None:
    """Leave evidence as the server and the labeller do: so many pairs that differ, the candidate right on some."""
    layout = Layout(loopai.data_dir)
    rollout = load(layout, "spam")
    assert rollout is not None
    counts = shadow.Counts(shadowed=shadowed, differed=pairs, candidate_failed=failed, dropped=3)
    lines: list[dict[str, Any]] = [counts.line(rollout.rollout_id, utc_now())]
    said = []
    for n in range(pairs):
        given = {"text": f"prize\x1b[2J {n}"}
        sides = ({"output": "ham", "status": "success"}, {"output": "spam", "status": "success"})
        pair = shadow.Pair(f"execution-{n}", utc_now(), given, "incumbent", *sides)
        lines.append(pair.line(rollout.rollout_id))
        is_right = (n + 1) * right // pairs > n * right // pairs
        said.append(shadow_labels.Said(pair.execution_id, 1 if is_right else -1, "spam", utc_now()))
    shadow.append(layout, "spam", utc_now()[:10], lines)
    shadow_labels.append(layout, "spam", rollout.rollout_id, said[: pairs - 1])


def test_a_rollout_from_its_start_to_its_end_by_hand(two: Loopai) -> None:
    begun = two("rollout", "start", "spam@2", "-o", "json")
    assert begun.code == 0, begun.err
    assert (begun.json["candidate"], begun.json["incumbent"], begun.json["state"]) == (2, 1, "running")
    assert "loopai rollout status spam" in begun.err
    for stage in (10, 50, 100):
        done = two("rollout", "promote", "spam", "--reason", "looks fine", "-o", "json")
        assert (done.code, done.json["stage"]) == (0, stage)
        assert f"v2 serves {stage} %" in done.err
    done = two("rollout", "promote", "spam", "--reason", "looks fine")
    assert (done.code, done.err.strip()) == (0, "spam v2 serves; loopai rollback spam goes back to v1")
    assert ArtifactStore(Layout(two.data_dir)).active_version("spam") == 2
    history = two("rollout", "status", "spam", "-o", "json").json["history"]
    assert [change["event"] for change in history] == ["started", *["advanced"] * 3, "promoted"]
    assert {change["by"] for change in history} == {"cli"}
    audit = "".join(path.read_text() for path in (two.data_dir / "audit").glob("*.jsonl"))
    assert audit.count('"rollout.') == 5


def test_status_shows_the_evidence_and_both_answers_side_by_side(two: Loopai) -> None:
    two("rollout", "start", "spam@2")
    see(two, pairs=60, right=40)
    two("rollout", "promote", "spam", "--reason", "to look at the evidence")
    shown = two("rollout", "status", "spam", "--disagreements", 3)
    assert shown.code == 0, shown.err
    assert "\x1b" not in shown.out
    for part in (
        "spam v1 -> v2: running, v2 serves 10 % of the requests",
        "shadowed   2,000; 3 were too many",
        "differed   60 (3 % of them; at most",
        "labels     59 used, 941 left: 39 for v2, 20 for v1, 0 for neither; 1 not asked yet",
        "next       hold",
        "not asked",
        "v1 says",
    ):
        assert part in shown.out, shown.out
    assert shown.out.count("prize") == 3
    found = two("rollout", "status", "spam", "-o", "json").json
    assert found["evidence"]["e_value_needed"] == 20
    assert found["evidence"]["labels"] == len(found["labelled"]) == 59
    assert found["evidence"]["better"] == 39
    assert len(found["disagreements"]) == 10
    lines = two("rollout", "status", "spam", "-o", "jsonl", "--disagreements", 60).lines
    assert [line["label"] for line in lines[:2]] == [None, lines[1]["label"]]
    assert {line["incumbent"] for line in lines} == {"ham"}
    assert {line["candidate"] for line in lines} == {"spam"}
    assert two("rollout", "status", "spam", "-o", "json", "--disagreements", 0).json["disagreements"] == []


def test_an_abort_ends_it_and_the_incumbent_serves(two: Loopai) -> None:
    two("rollout", "start", "spam@2")
    two("rollout", "promote", "spam", "--reason", "try")
    done = two("rollout", "abort", "spam", "--reason", "a customer complained")
    assert (done.code, done.err.strip()) == (0, "spam v1 serves alone")
    shown = two("rollout", "status", "spam")
    assert "spam v1 -> v2: aborted, v1 serves" in shown.out
    assert "a customer complained" in shown.out
    assert two("rollout", "start", "spam@2").code == 0


MISUSE = [
    ("start spam@9", 5, "v9"),
    ("start none@1", 5, "none"),
    ("start spam@1", 2, "serves already"),
    ("start spam", 2, "serves already"),
    ("start spam@3", 3, "draft"),
    ("start spam@x", 2, "spam@x"),
    ("status spam", 5, "no rollout of spam"),
    ("status none", 5, "none"),
    ("promote spam --reason x", 5, "no rollout of spam"),
    ("abort spam --reason x", 5, "no rollout of spam"),
    ("abort spam", 2, "--reason"),
    ("promote spam", 2, "--reason"),
    ("status ../spam", 2, "task"),
]


def test_each_misuse_has_its_line_and_its_code(
    two: Loopai, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPAI_DATA_DIR", str(two.data_dir))
    for line, code, says in MISUSE:
        assert run_line(["rollout", *line.split()]) == code, line
        printed = capsys.readouterr()
        assert says in printed.err
        assert "internal error" not in printed.err
        assert printed.out == ""


def test_only_one_rollout_of_a_task_and_none_after_its_end(two: Loopai) -> None:
    assert two("rollout", "start", "spam@3", "--force").code == 0
    again = two("rollout", "start", "spam@2")
    assert again.code == 6
    assert "loopai rollout abort spam" in again.err
    two("rollout", "abort", "spam", "--reason", "no")
    for verb in ("abort", "promote"):
        done = two("rollout", verb, "spam", "--reason", "once more")
        assert done.code == 2
        assert "aborted" in done.err


def test_a_damaged_state_is_named_and_stays_as_it_is(two: Loopai) -> None:
    two("rollout", "start", "spam@2")
    path = two.data_dir / "rollouts" / "spam.json"
    state = json.loads(path.read_text())
    for damaged in ("{", "[]", json.dumps(state | {"schema": 9}), json.dumps({"schema": 1})):
        path.write_text(damaged)
        done = two("rollout", "status", "spam")
        assert (done.code, str(path) in done.err) == (1, True), done.err
        assert "internal error" not in done.err
        assert path.read_text() == damaged
