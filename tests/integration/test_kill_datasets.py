"""kill -9 in append, rollup and retention: no acknowledged record is lost, none is counted twice, all goes on."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import time
import traceback
from pathlib import Path

import pytest
from tests.bars import SOAK
from tests.executions import DAY, execution

from loopai_runtime import jsonl
from loopai_runtime.config import Config
from loopai_runtime.crypto import Vault
from loopai_runtime.datasets import queue, raw, retention, stats
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.files import TEMPORARY
from loopai_runtime.layout import Layout

from .test_kill_between_writes import visits

PRELOAD = "import loopai_runtime.datasets.retention, loopai_runtime.datasets.execution_log, loopai_runtime.config"


def compress_all() -> Config:
    flags = {"retention.executions.compress_after": 0, "retention.executions.keep_days": 36_500}
    return Config.load(flags=flags, environ={})


def logged(layout: Layout) -> list[str]:
    """The ids of all records, in whatever part they are; every line but a torn last one is whole."""
    found = []
    for part in raw.days(layout, "spam").get(DAY, []):
        with part.open() as file:
            for lines, size in raw.blocks(file):
                found += [json.loads(line)["execution_id"] for line in lines if size and line]
    return found


def check(layout: Layout, expected: set[str]) -> None:
    ids = logged(layout)
    assert len(ids) == len(set(ids)), "a record is there twice"
    assert expected <= set(ids), "a record is lost"
    day = stats.daily(layout, "spam", DAY)
    assert (day.counts.total().count, day.damaged) == (len(ids), 0)
    assert sum(part.total().count for part in stats.minutes(layout, "spam", DAY).values()) == len(ids)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A day of which a part is compressed and rolled up, and another was appended since."""
    layout = Layout(tmp_path / "base")
    for start in (0, 40):
        ExecutionLog(layout).append([execution(n) for n in range(start, start + 40)])
        if not start:
            list(retention.keep(layout, compress_all()))
    return layout.root


def test_a_rollup_killed_anywhere_counts_every_record_once(base: Path, tmp_path: Path) -> None:
    expected = set(logged(Layout(base)))
    action = (
        "from loopai_runtime.layout import Layout\nfrom loopai_runtime.datasets import stats\n"
        f"stats.daily(Layout(data_dir), 'spam', '{DAY}')"
    )
    for data_dir in visits(tmp_path, base, PRELOAD, action):
        check(Layout(data_dir), expected)


def test_a_rollup_from_the_start_killed_anywhere_can_be_done_again(base: Path, tmp_path: Path) -> None:
    expected = set(logged(Layout(base)))
    action = (
        "from loopai_runtime.layout import Layout\nfrom loopai_runtime.datasets import stats\n"
        f"stats.forget(Layout(data_dir), 'spam', '{DAY}')\nstats.daily(Layout(data_dir), 'spam', '{DAY}')"
    )
    for data_dir in visits(tmp_path, base, PRELOAD, action):
        check(Layout(data_dir), expected)


def test_retention_killed_anywhere_keeps_every_record_once(base: Path, tmp_path: Path) -> None:
    expected = set(logged(Layout(base)))
    action = """
from loopai_runtime.config import Config
from loopai_runtime.datasets import retention
from loopai_runtime.layout import Layout
flags = {"retention.executions.compress_after": 0, "retention.executions.keep_days": 36_500}
list(retention.keep(Layout(data_dir), Config.load(flags=flags, environ={})))
"""
    for data_dir in visits(tmp_path, base, PRELOAD, action):
        layout = Layout(data_dir)
        check(layout, expected)
        late = execution(99)
        ExecutionLog(layout).append([late])
        list(retention.keep(layout, compress_all()))
        check(layout, expected | {late["execution_id"]})
        left = sorted(path.name for path in layout.executions("spam").iterdir())
        assert left == [f"{DAY}.01.jsonl.gz", f"{DAY}.jsonl.gz"] or left[-1] == f"{DAY}.jsonl.gz"
        assert [name for name in left if name.startswith(TEMPORARY) or not name.endswith(".gz")] == []


def test_encrypted_files_of_lines_killed_anywhere_keep_every_line_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "base")
    layout.vault = Vault([b"k" * 32])
    for n in range(4):
        queue.append(layout, "spam", [{"input": f"person {n}"}])
    action = """
from loopai_runtime.crypto import Vault
from loopai_runtime.datasets import queue
from loopai_runtime.datasets.erasure import parse
from loopai_runtime.flows.erase import erase
from loopai_runtime.layout import Layout
layout = Layout(data_dir)
layout.vault = Vault([b"k" * 32])
queue.append(layout, "spam", [{"input": "person 4"}])
queue.take_out(layout, "spam", lambda item: item["input"] == "person 1")
erase(layout, parse("person 2"))
"""
    states = []
    for data_dir in visits(tmp_path, layout.root, PRELOAD, action):
        found = Layout(data_dir)
        found.vault = layout.vault
        waiting = [item["input"] for item in queue.read(found, "spam")]
        assert [one for one in waiting if one not in ("person 1", "person 2", "person 4")] == [
            "person 0",
            "person 3",
        ]
        assert len(waiting) == len(set(waiting))
        states.append(waiting)
        queue.append(found, "spam", [{"input": "after"}])
        assert [item["input"] for item in queue.read(found, "spam")] == [*waiting, "after"]
        assert not any(b"person" in path.read_bytes() for path in data_dir.rglob("*") if path.is_file())
    assert states[-1] == ["person 0", "person 3", "person 4"]


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_or_there_twice(tmp_path: Path) -> None:
    layout, rng = Layout(tmp_path / "data"), random.Random(11)
    acknowledged: set[str] = set()
    for round_ in range(max(5, round(200 * SOAK))):
        if round_ % 5 == 4:  # a fresh day, so that the files stay small
            check(layout, acknowledged)
            layout, acknowledged = Layout(tmp_path / f"data{round_}"), set()
        acknowledged |= killed(layout, ("append", "append", "rollup", "retention"), rng)
        check(layout, acknowledged)
    list(retention.keep(layout, compress_all()))
    check(layout, acknowledged)


def work(layout: Layout, role: str, seed: int, told: int) -> None:
    """For ever: append, and acknowledge what was appended; or roll up; or compress."""
    rng, log, n = random.Random(seed), ExecutionLog(layout), 0
    while True:
        if role == "append":
            batch = [execution(n + i, rng=rng) for i in range(rng.choice((1, 1, 5, 50)))]
            n += len(batch)
            log.append(batch)
            os.write(told, b"".join(record["execution_id"].encode() + b"\n" for record in batch))
        elif role == "rollup":
            stats.daily(layout, "spam", DAY)
        else:
            list(retention.keep(layout, compress_all()))
            time.sleep(rng.random() / 50)


def killed(layout: Layout, roles: tuple[str, ...], rng: random.Random, begun: int = 0) -> set[str]:
    """What was acknowledged by processes that work over one data directory until each is killed at its own moment,
    after `begun` acknowledgements."""
    hears, told = os.pipe()
    lives: dict[int, float] = {}
    for role in roles:
        seed = rng.randrange(10**9)
        pid = os.fork()
        if pid == 0:
            try:
                work(layout, role, seed, told)
            finally:
                traceback.print_exc()
                os._exit(1)
        lives[pid] = rng.random() * 0.25
    os.close(told)
    heard = b""
    while heard.count(b"\n") < begun:
        heard += os.read(hears, 1 << 20)
    ends = {pid: time.monotonic() + life for pid, life in lives.items()}
    while ends:
        if select.select([hears], [], [], 0.002)[0]:
            heard += os.read(hears, 1 << 20)
        for pid in [pid for pid, end in ends.items() if time.monotonic() > end]:
            os.kill(pid, signal.SIGKILL)
            assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it ended by itself"
            del ends[pid]
    while rest := os.read(hears, 1 << 20):
        heard += rest
    os.close(hears)
    return {line.decode() for line in heard.split(b"\n") if len(line) == 36}


def test_lines_of_many_processes_are_never_mixed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    acknowledged = killed(layout, ("append",) * 4, random.Random(5), begun=10)
    assert len(acknowledged) >= 10
    for line in layout.executions("spam", DAY).read_bytes().splitlines()[:-1]:
        jsonl.loads(line)
    check(layout, acknowledged)
