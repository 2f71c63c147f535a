"""examples/loop plays the whole loop with real processes; here it is played, and looked at afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime import rollouts
from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.datasets import logged, shadow_labels
from loopai_runtime.events import verify
from loopai_runtime.layout import Layout

from .conftest import EXAMPLES

SOAK = float(os.environ.get("LOOPAI_SOAK", "0.05"))
TASK = "shop-mail"
PATIENCE_S = 1500


def play(root: Path, *options: str) -> list[dict[str, Any]]:
    """Play the story; what was told."""
    command = [sys.executable, str(EXAMPLES / "loop" / "story.py"), "--keep", str(root), *options]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPAI_")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=kept, start_new_session=True
    )
    try:
        said, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with every server that it has started
            process.wait()
    assert process.returncode == 0, said[-4000:]
    told: list[dict[str, Any]] = json.loads((root / "story.json").read_text("utf-8"))
    return told


def audited(layout: Layout, version: int) -> list[str]:
    """What the audit tells of the rollout of a version, in order."""
    lines = [
        json.loads(line)
        for path in sorted(layout.audit.glob("*.jsonl"))
        for line in path.read_text("utf-8").splitlines()
    ]
    return [
        f"{line['kind'].removeprefix('rollout.')} {line['stage']}"
        for line in lines
        if line["kind"].startswith("rollout.") and line["version"] == version
    ]


PROMOTED = ["started 0", "advanced 10", "advanced 50", "advanced 100", "promoted 100"]


def assert_the_better_one_serves_and_the_bad_one_is_out(layout: Layout) -> None:
    assert verify(layout) == []
    assert audited(layout, 2) == PROMOTED
    assert ArtifactStore(layout).active_version(TASK) == 2
    bad = audited(layout, 3)
    assert (bad[0], bad[-1].split()[0]) == ("started 0", "rolled_back")
    last = rollouts.require(layout, TASK)
    assert (last.candidate, last.state, last.share) == (3, "rolled_back", 0.0)
    assert [change.event for change in last.history] == [line.split()[0] for line in bad]
    said = shadow_labels.read(layout, TASK, last.rollout_id)
    assert last.labelled == tuple(one.label for one in said[: len(last.labelled)])
    assert sum(last.labelled) < 0
    arms = {(record["arm"], record["version"]) for record in logged.records(layout, TASK) if "arm" in record}
    assert {("incumbent", 1), ("candidate", 2)} <= arms


@pytest.mark.slow
def test_an_edge_on_its_own_improves_and_only_a_better_version_gets_through(tmp_path: Path) -> None:
    told = play(tmp_path / "story")
    said = [line["what"] for line in told]
    assert "rollout status says that v2 is watching" in said
    assert "rollout status says that v3 is rolled_back" in said
    assert said[-1] == "v2 goes on serving"
    assert_the_better_one_serves_and_the_bad_one_is_out(Layout(tmp_path / "story" / "shop"))


@pytest.mark.slow
@pytest.mark.skipif(SOAK < 1, reason="the full story takes minutes: LOOPAI_SOAK=1")
def test_a_platform_and_three_edges_through_a_kill_and_an_absence(tmp_path: Path) -> None:
    told = play(tmp_path / "story", "--full")
    assert told[-1]["what"] == "the story is over"
    (tried,) = [line["candidates"] for line in told if "candidates" in line]
    assert "written" in tried  # by the language model, whichever of them won
    assert len(tried) > 2
    (bill,) = [line for line in told if "usd" in line]
    assert bill["calls"] >= 7  # six programs, and signs for the linear model
    assert bill["usd"] == bill["generation_cost"] > 0
    for name in ("shop-1", "shop-2"):
        assert_the_better_one_serves_and_the_bad_one_is_out(Layout(tmp_path / "story" / name))
    late = Layout(tmp_path / "story" / "shop-3")
    assert verify(late) == []
    assert audited(late, 2) == PROMOTED
    assert audited(late, 3) == []
    assert ArtifactStore(late).active_version(TASK) == 2
