"""The execution log encrypted: everything that reads and keeps it goes on as with plain files."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.executions import DAY, execution

from loopai_runtime import jsonl
from loopai_runtime.config import Config
from loopai_runtime.crypto import Vault
from loopai_runtime.datasets import raw, retention, stats
from loopai_runtime.datasets.erasure import parse
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.datasets.tail import Follower, latest
from loopai_runtime.errors import StorageError
from loopai_runtime.flows.erase import erase
from loopai_runtime.layout import Layout
from loopai_runtime.models import utc_now

OLD, NEW = b"a" * 32, b"b" * 32
TODAY = utc_now()[:10]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.vault = Vault([OLD])
    return layout


def log(layout: Layout, n: int, **changes: Any) -> None:
    """As a command that starts, appends twice and ends."""
    writer = ExecutionLog(layout)
    writer.append(execution(i, **changes) for i in range(n))
    writer.append([execution(n, **changes)])


def names(layout: Layout) -> list[str]:
    return sorted(path.name for path in layout.executions("spam").iterdir())


def test_each_start_writes_a_file_of_its_own(layout: Layout) -> None:
    log(layout, 3)
    log(layout, 3)
    assert names(layout) == [f"{DAY}.00.jsonl.enc", f"{DAY}.01.jsonl.enc"]
    assert b"Unicode" not in b"".join(path.read_bytes() for path in layout.executions("spam").iterdir())
    told: list[Path] = []
    lines = b"".join(raw.whole(layout, "spam", [DAY], told.append)).splitlines()
    assert len([json.loads(line) for line in lines]) == 8
    assert told == []


def test_statistics_follow_it_bit_by_bit(layout: Layout) -> None:
    writer = ExecutionLog(layout)
    for n in range(1, 6):
        writer.append([execution(n), execution(n + 100)])
        assert stats.daily(layout, "spam", DAY).counts.total().count == 2 * n
    log(layout, 4)
    assert stats.daily(layout, "spam", DAY).counts.total().count == 15
    assert sum(part.total().count for part in stats.minutes(layout, "spam", DAY).values()) == 15


def test_a_server_writes_it_and_ends_it(layout: Layout) -> None:
    async def main() -> None:
        live = LiveLog(layout, fsync="interval", on_full="reject")
        told: list[object] = []
        for n in range(30):
            live.append("spam", TODAY, jsonl.encode(execution(n, day=TODAY)), told.append)
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            while len(told) < 30:
                await asyncio.sleep(0.001)
        assert told == [None] * 30
        open_files: list[Path] = []
        assert b"".join(raw.whole(layout, "spam", [TODAY], open_files.append)).count(b"\n") == 30
        assert len(open_files) == 1
        live.close()

    asyncio.run(main())
    open_files: list[Path] = []
    assert b"".join(raw.whole(layout, "spam", [TODAY], open_files.append)).count(b"\n") == 30
    assert open_files == []


def test_tail_reads_and_follows_it(layout: Layout) -> None:
    log(layout, 20, day=TODAY)
    assert len(latest(layout, ["spam"], 5, lambda _record: True)) == 5
    follower = Follower(layout, lambda: ["spam"])
    assert list(follower.look()) == []
    log(layout, 2, day=TODAY)
    assert len(list(follower.look())) == 3


def test_without_the_key_it_is_a_clear_error(layout: Layout) -> None:
    log(layout, 3)
    layout.vault = None
    with pytest.raises(StorageError, match="is encrypted, and no key is given"):
        stats.daily(layout, "spam", DAY)
    layout.vault = Vault([NEW])
    with pytest.raises(StorageError, match="another key"):
        stats.daily(layout, "spam", DAY)


def test_rotation_lets_the_new_key_alone_open_old_files(layout: Layout) -> None:
    log(layout, 3)
    before = stats.daily(layout, "spam", DAY).counts
    layout.vault = Vault([NEW, OLD])
    config = Config.load(flags={"retention.executions.keep_days": 36_500}, environ={})
    steps = list(retention.keep(layout, config))
    assert {(step.action, step.trouble) for step in steps} == {("rewrap", None)}
    assert [step.path.parent.name for step in steps] == ["analytics", "analytics", "executions"]
    assert list(retention.keep(layout, config)) == []
    layout.vault = Vault([NEW])
    stats.forget(layout, "spam", DAY)
    assert stats.daily(layout, "spam", DAY).counts == before


def test_old_files_are_deleted_like_plain_ones(layout: Layout) -> None:
    log(layout, 3)
    assert [step.action for step in retention.keep(layout, Config())] == ["delete"]
    assert names(layout) == []


def test_erasing_leaves_the_others_and_what_comes_meanwhile(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ExecutionLog(layout)
    writer.append(execution(n, input={"email": "jane" if n % 2 else "bob"}) for n in range(10))
    late = execution(99, input={"email": "late"})
    monkeypatch.setattr("time.sleep", lambda _s: writer.append([late]))  # by a server that has not noticed yet
    done = erase(layout, parse("email=jane"))
    assert done.records == {"executions": 5}
    left = [json.loads(line)["input"]["email"] for line in raw.lines(layout, "spam", [DAY]) if line]
    assert sorted(left) == ["bob"] * 5 + ["late"]
    assert stats.daily(layout, "spam", DAY).counts.total().count == 6


def test_what_was_plain_before_stays_readable(layout: Layout) -> None:
    vault, layout.vault = layout.vault, None
    log(layout, 5)
    layout.vault = vault
    stats.daily(layout, "spam", DAY)
    log(layout, 5)
    assert stats.daily(layout, "spam", DAY).counts.total().count == 12
