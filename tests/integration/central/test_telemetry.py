"""An edge's reports and the real platform: through faults, an outage of days, and refused keys."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests import nursery
from tests.bars import SOAK
from tests.executions import execution

from loopai_runtime.config import Config
from loopai_runtime.datasets.execution_log import ExecutionLog
from loopai_runtime.errors import AuthError
from loopai_runtime.flows import outgoing, report
from loopai_runtime.layout import Layout
from loopai_runtime.telemetry import state as states
from loopai_runtime.telemetry.spool import Spool
from loopai_runtime.telemetry.uploader import MOST_WAIT_S, Uploader
from loopai_runtime.telemetry.wire import Answer, sender
from loopai_runtime.testing import Fault, FaultProxy, ScriptedClock

from .conftest import PlatformProcess

FAULTS: tuple[Fault, ...] = ("refuse", "lose", "reset", "error", "slow", "twice")


def edge(root: Path, url: str, key: str, deployment: str, **more: Any) -> tuple[Layout, Config]:
    flags = {"cloud.api_url": url, "cloud.api_key": key, "runtime.deployment_id": deployment}
    return Layout(root), Config.load(flags=flags | {k.replace("__", "."): v for k, v in more.items()}, environ={})


def today(n: int, **changes: Any) -> dict[str, Any]:
    from loopai_runtime.models import utc_now

    return execution(n, task_id="spam", version=1, **changes) | {"timestamp": utc_now()}


def counted(platform: PlatformProcess, deployment: str) -> int:
    status, found, _ = platform.call("GET", "/api/v1/tasks/spam/metrics")
    assert status == 200
    count: int = found["deployments"][deployment]["count"]
    return count


def complete(platform: PlatformProcess, deployment: str) -> dict[str, Any]:
    status, found, _ = platform.call("GET", f"/api/v1/deployments/{deployment}/telemetry")
    assert status == 200
    assert found["missing"] == 0, found
    result: dict[str, Any] = found
    return result


def through_faults(platform: PlatformProcess, root: Path, n: int, rng: random.Random) -> None:
    """`n` faults in random order, with executions logged all along; then the counts are exact."""
    deployment = f"faulty-{n}"
    _, key = platform.key("telemetry", deployment=deployment)
    script = [rng.choice(FAULTS) for _ in range(n)]
    with FaultProxy(platform.url, script, slow_s=0.01) as proxy:
        layout, config = edge(root, proxy.url, key, deployment, telemetry__batch_size=20)
        logged, log, clock, send = 0, ExecutionLog(layout), ScriptedClock(), sender(config, 20)
        teller = report.teller_of(layout, config)
        while len(proxy.done) <= n or states.load(layout).frozen is not None:
            some = [today(logged + i, sampled=rng.random() < 0.3) for i in range(rng.randrange(1, 60))]
            log.append(some)
            logged += len(some)
            with Spool(layout, 10**8, policy=teller.policy) as spool:
                report.report(spool, teller)
                Uploader(spool, config, teller.policy, send, clock=clock, draw=rng.random).run()
            clock.advance(MOST_WAIT_S)
        assert set(proxy.done[:n]) == set(script)
    assert counted(platform, deployment) == logged
    assert complete(platform, deployment)["received"] == states.load(layout).last


def test_through_random_faults_every_record_arrives_once(
    platform_process: PlatformProcess, tmp_path: Path
) -> None:
    through_faults(platform_process, tmp_path, 40, random.Random(1))


@pytest.mark.slow
def test_through_500_faults_every_record_arrives_once(platform_process: PlatformProcess, tmp_path: Path) -> None:
    through_faults(platform_process, tmp_path, max(50, round(500 * SOAK)), random.Random(2))


def outage(platform: PlatformProcess, root: Path, hours: int, step_s: float, rng: random.Random) -> None:
    """An edge that works on while nobody answers, looking as often as it would; then all of it arrives."""
    deployment = f"cut-off-{hours}"
    _, key = platform.key("telemetry", deployment=deployment)
    layout, config = edge(root, platform.url, key, deployment)
    clock, real, asked, logged = ScriptedClock(), sender(config), list[float](), 0
    until = clock.at + hours * 3600

    def send(body: bytes, headers: Any) -> Answer:
        if clock.at < until:
            asked.append(clock.at)
            return Answer(0, why="no route to host")
        return real(body, headers)

    teller, log = report.teller_of(layout, config), ExecutionLog(layout)
    while clock.at < until + MOST_WAIT_S + step_s:
        log.append([today(logged + i) for i in range(3)])
        logged += 3
        with Spool(layout, report.quota(config), policy=teller.policy) as spool:
            report.report(spool, teller)
            Uploader(spool, config, teller.policy, send, clock=clock, draw=rng.random).run()
        clock.advance(step_s)
    assert len(asked) >= hours * 3600 / (MOST_WAIT_S + step_s)
    assert counted(platform, deployment) == logged
    assert complete(platform, deployment)["dropped"] == {}
    assert outgoing.status(layout, config)["pending_records"] == 0


def test_after_an_outage_every_record_arrives_once(platform_process: PlatformProcess, tmp_path: Path) -> None:
    outage(platform_process, tmp_path, 2, 60.0, random.Random(3))


@pytest.mark.slow
def test_after_72_hours_every_record_arrives_once(platform_process: PlatformProcess, tmp_path: Path) -> None:
    outage(platform_process, tmp_path, 72, 60.0 if SOAK >= 1 else 600.0, random.Random(4))


def test_a_key_speaks_for_its_own_deployment_and_scope_alone(
    platform_process: PlatformProcess, tmp_path: Path
) -> None:
    platform = platform_process
    _, bound = platform.key("telemetry", deployment="berlin")
    _, reader = platform.key("read")
    body = {"schema": 1, "deployment_id": "paris", "records": [_record(1)]}
    assert platform.call("POST", "/api/v1/telemetry", body, key=bound)[0] == 403
    assert platform.call("POST", "/api/v1/telemetry", body, key=reader)[0] == 403
    assert platform.call("GET", "/api/v1/deployments/paris/telemetry")[0] == 404
    layout, config = edge(tmp_path, platform.url, reader, "berlin")
    ExecutionLog(layout).append([today(1)])
    with pytest.raises(AuthError, match="refuses the key"):
        report.checked(report.flush(layout, config))


def _record(seq: int, **changes: Any) -> dict[str, Any]:
    record = {
        "boot": "00000001-00000000",
        "seq": seq,
        "kind": "execution",
        "at": "2026-03-04T10:00:00Z",
        "data": {},
    }
    return record | changes


def test_hostile_bodies_are_refused_and_nothing_is_kept(platform_process: PlatformProcess) -> None:
    platform = platform_process
    _, key = platform.key("telemetry", deployment="hostile")
    good = json.dumps({"schema": 1, "deployment_id": "hostile", "records": [_record(1)]}).encode()

    def post(body: bytes, **headers: str) -> int:
        return platform.call("POST", "/api/v1/telemetry", body, key=key, **headers)[0]

    bomb = gzip.compress(bytes(200 * 2**20), 9)
    assert post(bomb, content_encoding="gzip") == 413
    assert post(gzip.compress(good)[:-4], content_encoding="gzip") == 400
    assert post(gzip.compress(good) * 2, content_encoding="gzip") == 400
    assert post(b"\x1f\x8b", content_encoding="gzip") == 400
    assert post(good, content_encoding="br") == 415
    assert post(b"[" * 100_000) == 400
    assert post(good.replace(b'"seq": 1', b'"seq": -1')) == 422
    assert post(good.replace(b'"seq": 1', b'"seq": 1e999')) == 400
    assert post(good, idempotency_key="x" * 300) == 422
    assert platform.call("GET", "/api/v1/deployments/hostile/telemetry")[1]["received"] == 0
    assert post(gzip.compress(good), content_encoding="gzip", idempotency_key="a") == 202
    assert post(good, idempotency_key="a") == 202
    assert post(good.replace(b'"seq": 1', b'"seq": 2'), idempotency_key="a") == 422
    assert complete(platform, "hostile")["received"] == 1


def test_the_command_shows_sends_and_tells(platform_process: PlatformProcess, tmp_path: Path) -> None:
    _, key = platform_process.key("telemetry", deployment="shown")
    layout, _ = edge(tmp_path, platform_process.url, key, "shown")
    ExecutionLog(layout).append([today(n, sampled=True) for n in range(7)])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPAI_")}
    environ = kept | {"LOOPAI_DATA_DIR": str(tmp_path), "LOOPAI_API_KEY": key}
    environ |= {"LOOPAI_CLOUD__API_URL": platform_process.url, "LOOPAI_RUNTIME__DEPLOYMENT_ID": "shown"}

    def loopai(*args: str, **more: str) -> subprocess.CompletedProcess[bytes]:
        return nursery.run(["telemetry", *args], environ | more)

    shown = loopai("preview")
    assert shown.returncode == 0, shown.stderr
    assert len(json.loads(shown.stdout)["records"]) >= 9
    assert b"redacted inputs and outputs of sampled executions" in shown.stderr
    assert gzip.decompress(loopai("preview", "--raw").stdout) + b"\n" == shown.stdout
    sent = loopai("flush")
    assert (sent.returncode, b"records in 1 uploads" in sent.stderr) == (0, True), sent.stderr
    assert b"nothing to send" in loopai("flush").stderr
    stands = json.loads(loopai("status", "-o", "json").stdout)
    assert (stands["pending_records"], stands["last_error"]) == (0, None)
    assert counted(platform_process, "shown") == 7
    ExecutionLog(layout).append([today(8)])
    refused = loopai("flush", LOOPAI_API_KEY="lp_no_key")
    assert refused.returncode == 4
    assert b"set cloud.api_key" in refused.stderr
    off = loopai("flush", LOOPAI_API_KEY="")
    assert off.returncode == 2
    assert b"telemetry is off" in off.stderr
