"""What a running edge makes of the rollouts on its disk."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from loopai_runtime import rollouts
from loopai_runtime.config import Config
from loopai_runtime.edge import trials
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now
from loopai_runtime.rollouts import Rollout

NOW = utc_now()


def there(layout: Layout, task_id: str) -> Rollout:
    made = Rollout(f"r-{task_id}", task_id, 2, 1, NOW, NOW, NOW)
    with rollouts.only_change(layout, task_id) as keep:
        keep(made)
    return made


class Lanes:
    """Tasks that are served: the part of a `Traffic` that is looked at."""

    def __init__(self, *tasks: str) -> None:
        self.lanes = {task_id: task_id for task_id in tasks}


def test_a_damaged_rollout_keeps_no_other_waiting_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    layout = Layout(tmp_path)
    good, _ = there(layout, "mail"), there(layout, "bad")
    layout.rollout("bad").write_text("{torn")
    looked: list[tuple[str, Rollout | None]] = []
    enough = asyncio.Event()

    async def look(config: object, layout: object, traffic: Lanes, lane: str, found: Rollout | None) -> None:
        looked.append((lane, found))
        if len(looked) >= 6:
            enough.set()
        if lane == "odd":
            raise RuntimeError("a fault of ours")

    traffic = Lanes("bad", "odd", "mail")
    monkeypatch.setattr(trials, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(trials, "_look", look)

    async def watch() -> None:
        observing = trials.observing(Config.load(environ={}), layout, traffic)  # type: ignore[arg-type]
        watching = asyncio.create_task(observing)
        async with asyncio.timeout(60):
            await enough.wait()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching

    asyncio.run(watch())
    assert looked[:3] == [("bad", None), ("odd", None), ("mail", good)] == looked[3:6]
    told = [record.getMessage() for record in caplog.records if "rollout of" in record.getMessage()]
    assert sorted(line.split(":")[0] for line in told) == ["the rollout of bad", "the rollout of odd"]
