"""What the spool keeps: through a crash, a full disk, a quota, encryption and erasure."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from typing import Any

import pytest
from tests.executions import execution
from tests.unit.telemetry.conftest import Edge

from loopai_runtime.crypto import Vault
from loopai_runtime.datasets import erasure
from loopai_runtime.errors import StorageError
from loopai_runtime.flows import outgoing, report
from loopai_runtime.flows.erase import erase
from loopai_runtime.telemetry import spool as spools
from loopai_runtime.telemetry import state as states
from loopai_runtime.telemetry.policy import Policy
from loopai_runtime.telemetry.spool import Spool
from loopai_runtime.telemetry.wire import Answer

STRICT = Policy(False, False, False, False)
MB = 1_000_000


def note(n: int, **data: Any) -> dict[str, Any]:
    return {"kind": "stats", "task_id": "spam", "at": "2026-03-04T10:00:00Z", "data": {"n": n, **data}}


def kept(edge: Edge) -> list[tuple[str, int]]:
    """The numbers of all records in the spool."""
    return [
        (block.boot, seq)
        for segment in spools.segments(edge.layout)
        for block in spools.blocks(edge.layout, segment)
        for seq in range(block.first, block.last[1] + 1)
    ]


def opened(edge: Edge, quota: int = 10 * MB) -> Spool:
    return Spool(edge.layout, quota, policy=STRICT)


def test_a_torn_block_is_not_there_and_its_number_is_given_again(edge: Edge) -> None:
    with opened(edge) as spool:
        spool.append([note(1)], "log", 10)
        boot = spool.state.boot
        spool.state.save(edge.layout)
        whole = spools.segments(edge.layout)[0].path.read_bytes()
        spool.append([note(2), note(3)], "log", 20)
    path = spools.segments(edge.layout)[0].path
    full = path.read_bytes()
    for end in range(len(whole), len(full) + 1):
        path.write_bytes(full[:end])
        with opened(edge) as spool:
            is_whole = end == len(full)
            assert (spool.state.boot, spool.state.last) == (boot, 4 if is_whole else 2)
            assert spool.state.cursors == {"log": 20 if is_whole else 10}
    path.write_bytes(full[:-1])
    with opened(edge) as spool:
        spool.append([note(4)], "log", 15)
    assert kept(edge) == [(boot, seq) for seq in (1, 2, 3)]


def test_a_damaged_block_is_counted_and_what_follows_elsewhere_arrives(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "SEGMENT_BYTES", 100)
    for n in range(3):
        with opened(edge) as spool:
            spool.append([note(n)] * 10)
            spool.state.save(edge.layout)
    middle = spools.segments(edge.layout)[1].path
    damaged = bytearray(middle.read_bytes())
    damaged[40] ^= 1
    middle.write_bytes(damaged)
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert len(edge.platform.records) == 21
    assert states.load(edge.layout).dropped == {"damaged": 10}


def test_beyond_the_quota_the_oldest_segments_go_and_are_reported(edge: Edge) -> None:
    with opened(edge, 3 * MB) as spool:
        for n in range(60):
            spool.append([note(n, text="x" * 1000)] * 100)
            spool.trim()
        spool.state.save(edge.layout)
        assert spools.used_bytes(edge.layout) < 3 * MB + 2 * spools.SEGMENT_BYTES
        lost = spool.state.dropped["quota"]
    assert lost > 1000
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert [record["data"] for record in edge.platform.of("dropped")] == [{"totals": {"quota": lost}}]
    assert len(edge.platform.records) + lost == states.load(edge.layout).last
    assert outgoing.status(edge.layout, edge.config())["pending_records"] == 0


def test_a_full_disk_loses_nothing(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    edge.log(*(execution(n) for n in range(50)))
    write = os.write

    def full(descriptor: int, block: bytes) -> int:
        if b"LOOPAIT1" in block or b'"source"' in block:
            write(descriptor, block[: len(block) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, block)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="full"):
            report.flush(edge.layout, edge.config(), send=edge.platform)
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert edge.platform.executions() == 50


def test_a_copy_of_the_directory_gives_no_number_twice(edge: Edge, tmp_path: Path) -> None:
    import shutil

    with opened(edge) as spool:
        first = spool.state.boot
    (tmp_path / "telemetry").rename(tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "telemetry")
    with opened(edge) as spool:
        assert spool.state.boot > first
        spool.append([note(1)])
    assert kept(edge)[0] == (first, 1)
    assert [seq for _, seq in kept(edge)] == [1, 1, 2]
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert [r["data"]["previous"] for r in edge.platform.of("started")] == [None, [first, 1]]


def test_where_the_log_is_encrypted_so_is_the_spool(edge: Edge) -> None:
    edge.layout.vault = Vault([bytes(32)])
    edge.platform.script = lambda n: Answer(0, why="nobody") if n == 1 else None
    secret = {"text": "a plain sentence"}
    edge.log(*(execution(n, input=secret, sampled=True) for n in range(20)))
    report.flush(edge.layout, edge.config(), send=edge.platform)
    for path in edge.layout.telemetry.rglob("*"):
        assert path.is_dir() or b"plain sentence" not in path.read_bytes()
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert edge.platform.bodies[0] == edge.platform.bodies[1]
    assert edge.platform.executions() == 20
    assert len(edge.platform.of("execution")) == 20


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("settled", [False, True])
def test_what_is_erased_does_not_leave(edge: Edge, encrypted: bool, settled: bool) -> None:
    edge.layout.vault = Vault([bytes(32)]) if encrypted else None
    edge.platform.script = lambda n: Answer(503)
    record = execution(1, input={"name": "Jane", "text": "a"}, sampled=True, status="success")
    edge.log(record, execution(2, input={"name": "Joe", "text": "b"}, sampled=True, status="success"))
    if settled:
        report.flush(edge.layout, edge.config(), send=edge.platform)
    else:
        outgoing.preview(edge.layout, edge.config())
    edge.platform.bodies, edge.platform.script = [], lambda n: None
    match = erasure.parse("input.name=Jane")
    assert erase(edge.layout, match, dry_run=True).records["telemetry"] == 1
    assert erase(edge.layout, match).records["telemetry"] == 1
    report.flush(edge.layout, edge.config(), send=edge.platform)
    assert b"Jane" not in edge.platform.plain
    assert record["execution_id"].encode() not in edge.platform.plain
    assert b"Joe" in edge.platform.plain
    assert states.load(edge.layout).dropped == {"erased": 1}


def test_anything_may_stand_in_the_logs(edge: Edge) -> None:
    rng = random.Random(5)
    good = [execution(n, sampled=True) for n in range(10)]
    edge.log(*good)
    path = edge.layout.executions("spam", good[0]["timestamp"][:10])
    odd: list[bytes] = [
        b"",
        b"[]",
        b"null",
        b'"sampled":true',
        b'{"sampled":true}',
        b'{"sampled":true,"input":',
        b"\xff\xfe",
    ]
    odd += [b'{"sampled":true,"execution_id":[],"input":{},"status":{},"version":true,"timestamp":7}']
    odd += [b'{"execution_id":1,"sampled":true,"status":"success","input":' + b"[" * 900 + b"]" * 900 + b"}"]
    odd += [rng.randbytes(40).replace(b"\n", b"") for _ in range(50)]
    with path.open("ab") as file:
        file.write(b"\n".join(odd) + b"\n")
    for mode in ("strict", "balanced", "permissive"):
        again = Edge(edge.layout.root / mode)
        again.layout.executions("spam").mkdir(parents=True)
        again.layout.executions("spam", path.stem).write_bytes(path.read_bytes())
        report.flush(again.layout, again.config(mode), send=again.platform)
        assert again.platform.executions() == 10
        assert len([r for r in again.platform.of("execution") if "latency_ms" in r["data"]]) == 10


def test_a_record_too_large_goes_without_its_content(edge: Edge) -> None:
    edge.log(execution(1, input="word " * 100_000, sampled=True))
    report.flush(edge.layout, edge.config(), send=edge.platform)
    (sent,) = edge.platform.of("execution")
    assert sent["data"]["omitted"] == "too large"
    assert "input" not in sent["data"]
