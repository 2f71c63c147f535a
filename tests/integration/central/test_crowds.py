"""The platform's bars: steady executions, a push to a crowd, and an end that keeps nobody waiting."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from tests.bars import SOAK, TIMED, within
from tests.bench.central import execute, push
from tests.integration.central.conftest import PlatformProcess, running
from tests.integration.central.listening import Listener
from tests.integration.signalr.conftest import Node
from tests.integration.test_server import SPAM

from loopai_runtime.flows.bench import percentile


@pytest.mark.slow
def test_executions_at_100_a_second_are_answered_within_100_ms(platform_process: PlatformProcess) -> None:
    load = execute(platform_process, 100 if TIMED else 20, max(5, 300 * SOAK))
    assert (load.failed, load.unanswered) == (0, 0)
    assert not TIMED or percentile(load.latencies_ms, 0.99) < 100


@pytest.mark.slow
def test_2000_clients_of_a_group_have_a_push_within_a_second(platform_process: PlatformProcess) -> None:
    measured = push(platform_process, clients=max(500, round(2000 * SOAK)), rounds=5)
    assert not TIMED or statistics.median(measured.rounds) < 1
    assert measured.kb_per_client < 100


@pytest.mark.parametrize("transport", ["WebSockets", "ServerSentEvents", "LongPolling"])
def test_sigterm_says_goodbye_to_who_listens(tmp_path: Path, node: Node, transport: str) -> None:
    with running(tmp_path / "data") as platform:
        platform.upload("spam", SPAM)
        with Listener(node, platform.url, platform.admin_key, "spam", transport=transport) as listener:
            listener.until("ready")
            with within(8):
                platform.process.terminate()
                assert listener.until("closed")
                assert platform.process.wait(60) == 0
