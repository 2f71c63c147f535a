"""The official client of npm, over every transport it has and both protocols."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache

import pytest
from tests.integration.signalr.arena import Arena
from tests.integration.signalr.conftest import SCRIPTS, Node

WAYS = [
    ("WebSockets", "json"),
    ("WebSockets", "messagepack"),
    ("ServerSentEvents", "json"),
    ("LongPolling", "json"),
    ("LongPolling", "messagepack"),
]
FAST = [WAYS[0], WAYS[4]]
CHECKS = re.findall(r"^checks\.(\w+) =", (SCRIPTS / "checks.mjs").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def results(server: Arena, node: Node) -> Callable[[str, str], dict[str, dict[str, object]]]:
    """Every check's result by name; one process of Node.js for each way."""

    @cache
    def run(transport: str, protocol: str) -> dict[str, dict[str, object]]:
        lines = [json.loads(line) for line in node.run("checks.mjs", server.url, transport, protocol)]
        return {line["name"]: line for line in lines}

    return run


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [way if way in FAST else pytest.param(*way, marks=pytest.mark.slow) for way in WAYS],
)
@pytest.mark.parametrize("check", CHECKS)
def test_check(
    check: str,
    transport: str,
    protocol: str,
    results: Callable[[str, str], dict[str, dict[str, object]]],
) -> None:
    found = results(transport, protocol)[check]
    assert found["ok"], found["why"]


def test_there_are_enough_checks() -> None:
    assert len(CHECKS) * len(WAYS) >= 60
