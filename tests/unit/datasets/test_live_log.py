"""The log of a server: one write a tick, nobody told too early, trouble said and survived."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.datasets.live_log import LiveLog
from loopai_runtime.errors import StorageError
from loopai_runtime.files import make_dir
from loopai_runtime.layout import Layout

DAY = "2026-11-24"
Answers = list[StorageError | None]


def run(
    root: Path, work: Callable[[LiveLog, Answers], Awaitable[Any]], **settings: Any
) -> tuple[LiveLog, Answers]:
    """What a log was asked to do in `work`, and what it told; it is closed at the end."""
    told: Answers = []

    async def main() -> LiveLog:
        log = LiveLog(Layout(root), **({"fsync": "never", "on_full": "reject"} | settings))
        try:
            await work(log, told)
        finally:
            log.close()
        return log

    return asyncio.run(main()), told


def kept(root: Path, day: str = DAY) -> list[bytes]:
    return Layout(root).executions("spam", day).read_bytes().splitlines()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("fsync", ["never", "interval", "always"])
def test_each_caller_is_told_when_its_record_is_kept(tmp_path: Path, fsync: str) -> None:
    async def work(log: LiveLog, told: Answers) -> None:
        for n in range(50):
            log.append("spam", DAY, b"%d" % n, told.append)
        assert told == []
        await until(lambda: len(told) == 50)
        assert kept(tmp_path) == [b"%d" % n for n in range(50)]

    assert run(tmp_path, work, fsync=fsync)[1] == [None] * 50


def test_records_of_a_tick_are_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))

    async def work(log: LiveLog, told: Answers) -> None:
        log.append("spam", DAY, b"first", told.append)
        await until(lambda: len(told) == 1)
        writes.clear()
        for n in range(20):
            log.append("spam", DAY, b"%d" % n, told.append)
        await until(lambda: len(told) == 21)
        assert [n for n in writes if n > 1] == [50]

    run(tmp_path, work)


def test_each_day_has_its_own_file_also_when_the_clock_goes_back(tmp_path: Path) -> None:
    async def work(log: LiveLog, told: Answers) -> None:
        for day, line in ((DAY, b"1"), ("2026-11-25", b"2"), (DAY, b"3")):
            log.append("spam", day, line, told.append)
            await until(lambda: log._waiting == {})

    run(tmp_path, work)
    assert (kept(tmp_path), kept(tmp_path, "2026-11-25")) == ([b"1", b"3"], [b"2"])


def test_what_a_crash_tore_is_cut_off_and_counted(tmp_path: Path) -> None:
    path = Layout(tmp_path).executions("spam", DAY)
    make_dir(path.parent)
    path.write_bytes(b'{"n": 1}\n{"n": ')

    async def work(log: LiveLog, told: Answers) -> None:
        log.append("spam", DAY, b'{"n": 2}', told.append)
        await until(lambda: len(told) == 1)

    log, _ = run(tmp_path, work)
    assert kept(tmp_path) == [b'{"n": 1}', b'{"n": 2}']
    assert log.torn_bytes == 6


def failing(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Make a system call fail so many times, as on a full disk."""
    real, left = getattr(os, name), [times]

    def call(descriptor: int, *rest: Any) -> Any:
        if left[0] and (name == "fsync" or len(rest[0]) > 1):
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, *rest)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("on_full", ["reject", "serve"])
def test_a_full_disk_is_told_or_counted_and_gets_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_full: str
) -> None:
    failing(monkeypatch, "write", 1)

    async def work(log: LiveLog, told: Answers) -> None:
        log.append("spam", DAY, b"lost", told.append)
        log.append("spam", DAY, b"lost too", told.append)
        await until(lambda: len(told) == 2)
        assert log.trouble is not None
        log.append("spam", DAY, b"kept", told.append)
        await until(lambda: len(told) == 3)
        assert log.trouble is None

    log, told = run(tmp_path, work, on_full=on_full)
    assert [error is None for error in told] == ([False, False, True] if on_full == "reject" else [True] * 3)
    assert log.dropped == (0 if on_full == "reject" else 2)
    assert kept(tmp_path) == [b"kept"]


def test_always_never_tells_of_a_record_that_fsync_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "fsync", 1)

    async def work(log: LiveLog, told: Answers) -> None:
        log.append("spam", DAY, b"unsafe", told.append)
        await until(lambda: len(told) == 1)
        log.append("spam", DAY, b"safe", told.append)
        await until(lambda: len(told) == 2)

    _, told = run(tmp_path, work, fsync="always")
    assert isinstance(told[0], StorageError)
    assert told[1] is None


def test_a_removed_file_is_started_again(tmp_path: Path) -> None:
    async def work(log: LiveLog, told: Answers) -> None:
        log.append("spam", DAY, b"1", told.append)
        await until(lambda: len(told) == 1)
        Layout(tmp_path).executions("spam", DAY).unlink()
        await asyncio.sleep(0.3)
        log.append("spam", DAY, b"2", told.append)
        await until(lambda: len(told) == 2)

    run(tmp_path, work)
    assert kept(tmp_path) == [b"2"]


def test_closing_keeps_what_waits(tmp_path: Path) -> None:
    async def work(log: LiveLog, told: Answers) -> None:
        log.append("spam", DAY, b"last", told.append)

    _, told = run(tmp_path, work, fsync="interval")
    assert (told, kept(tmp_path)) == ([None], [b"last"])
