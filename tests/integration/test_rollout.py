"""Rollouts in running servers: a better version takes over, a worse one is thrown out, nobody's request suffers."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from tests.integration.test_server import Server, add, serving

from loopai_runtime import rollouts
from loopai_runtime.config import Config
from loopai_runtime.datasets import shadow, shadow_labels
from loopai_runtime.flows import roll_out
from loopai_runtime.layout import Layout
from loopai_runtime.rollouts import Rollout
from loopai_runtime.testing import ScriptedOracle

pytestmark = pytest.mark.slow

TASK = "spam"
PATIENCE_S = 180.0
PROGRAM = """
def run(x):
    n = int(x['text'].split()[0])
    if BREAKS:
        n = [][0]
    return 'spam' if (n % 2 == 1) != (WRONG) else 'ham'
"""


def program(wrong: str = "False", breaks: str = "False") -> str:
    """Right about every number but those for which `wrong` holds; fails where `breaks` does."""
    return PROGRAM.replace("WRONG", wrong).replace("BREAKS", breaks)


def right(text: str) -> str:
    return "spam" if int(text.split()[0]) % 2 else "ham"


class Senders:
    """Somebody who sends numbers all the time, and says `also` with each; `refused` is what came back instead of
    answers, `away` how often nobody was there."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.also = ""
        self.versions: Counter[int] = Counter()
        self.refused: list[Any] = []
        self.away = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _send(self) -> None:
        numbers = itertools.count()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self._over.wait(0.003):
            body = json.dumps({"input": {"text": f"{next(numbers)} {self.also}"}})
            try:
                connection.request("POST", f"/v1/execute/{TASK}", body)
                response = connection.getresponse()
                said = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                self.away += 1
                connection.close()
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                continue
            if response.status == 200:
                self.versions[said["version"]] += 1
            else:
                self.refused.append(said)


class World:
    """A data directory whose task has an oracle, and rollouts that take seconds."""

    def __init__(self, root: Path, oracle: ScriptedOracle, **rollout: Any) -> None:
        self.layout = Layout(root)
        self.oracle = oracle
        limits = {"min_dwell_sec": 0.5, "min_labels": 10, "watch_hours": 0.0003} | rollout
        settings = {
            "oracle": {"kind": "http", "url": oracle.url},
            "rollout": limits,
            "sampling": {"rate": 0.01},
            "runtime": {"upkeep_interval_sec": 3600},
            "improvement": {"auto": False},
            "execution": {"worker_count": 1},
        }
        self.layout.config_file.parent.mkdir(parents=True, mode=0o700)
        self.layout.config_file.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        self.config = Config.load(data_dir=root, environ={})

    def start(self, candidate: str, **artifact: Any) -> Rollout:
        version = add(self.layout, TASK, candidate, activate=False, **artifact)
        return roll_out.start(self.layout, self.config, f"{TASK}@{version}")

    @property
    def rollout(self) -> Rollout:
        return roll_out.status(self.layout, TASK)

    def until(self, holds: Callable[[Rollout], Any]) -> Rollout:
        deadline = time.monotonic() + PATIENCE_S
        while not holds(found := self.rollout):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found

    def events(self) -> list[tuple[str, int]]:
        """What the audit says of rollouts: event and stage."""
        lines = [json.loads(line) for path in sorted(self.layout.audit.glob("*.jsonl")) for line in path.open()]
        return [(line["kind"], line["stage"]) for line in lines if line["kind"].startswith("rollout.")]


@pytest.fixture
def oracle() -> Iterator[ScriptedOracle]:
    with ScriptedOracle(lambda asked: (200, {"output": right(asked["input"]["text"])})) as found:
        yield found


@pytest.fixture
def world(tmp_path: Path, oracle: ScriptedOracle) -> World:
    return World(tmp_path / "data", oracle)


@contextlib.contextmanager
def under_way(world: World) -> Iterator[tuple[Server, Senders]]:
    with serving(world.layout.root) as server, Senders(server.port) as senders:
        yield server, senders


def test_a_better_version_takes_over_stage_by_stage(world: World) -> None:
    add(world.layout, TASK, program(wrong="n % 10 < 3"))
    with under_way(world) as (server, senders):
        rollout_id = world.start(program()).rollout_id
        ended = world.until(lambda found: not found.is_under_way)
        server.wait_for(TASK, 2)
    records = server.records(TASK)
    assert (ended.state, ended.stage, ended.incumbent, ended.candidate) == ("promoted", 100, 1, 2), ended
    stages = [("started", 0), ("advanced", 10), ("advanced", 50), ("advanced", 100), ("promoted", 100)]
    assert [(change.event, change.stage) for change in ended.history] == stages
    assert world.events() == [(f"rollout.{event}", stage) for event, stage in stages]
    assert not senders.refused
    assert not senders.away
    tried = [record for record in records if record.get("rollout_id") == rollout_id]
    assert {(record["arm"], record["version"]) for record in tried} == {("incumbent", 1), ("candidate", 2)}
    assert len(records) == sum(senders.versions.values())  # a shadow run is no execution
    assert ended.shadowed <= len(tried)
    assert ended.over_latency < ended.shadowed


def test_only_where_the_versions_part_a_label_is_spent_and_once(world: World, oracle: ScriptedOracle) -> None:
    add(world.layout, TASK, program(wrong="n % 10 < 3"))
    with under_way(world):
        rollout_id = world.start(program()).rollout_id
        ended = world.until(lambda found: not found.is_under_way)
    asked = [json.dumps(one["input"]) for one in oracle.asked]
    assert all(int(one["input"]["text"].split()[0]) % 10 < 3 for one in oracle.asked)
    assert len(asked) == len(set(asked)) <= ended.max_labels
    said = shadow_labels.read(world.layout, TASK, rollout_id)
    assert {one.label for one in said} == {1}
    assert ended.labelled == (1,) * len(ended.labelled)
    pairs = shadow.Reader(world.layout, TASK, rollout_id)
    pairs.read()
    assert {one.execution_id for one in said} <= {pair.execution_id for pair in pairs.pairs}
    assert all(pair.incumbent["output"] != pair.candidate["output"] for pair in pairs.pairs)
    assert len(pairs.pairs) == ended.differed


def test_a_worse_version_is_thrown_out_before_anybody_has_its_answer(world: World) -> None:
    add(world.layout, TASK, program())
    with under_way(world) as (_, senders):
        world.start(program(wrong="n % 10 < 3"))
        ended = world.until(lambda found: not found.is_under_way)
        before = sum(senders.versions.values())
        world.until(lambda _: sum(senders.versions.values()) > before + 50)
    assert (ended.state, ended.history[-1].event, ended.history[-1].by) == ("rolled_back",) * 2 + ("evidence",)
    assert "worse" in ended.reason
    assert set(senders.versions) == {1}
    assert not senders.refused


def test_a_version_that_breaks_while_it_answers_is_out_within_twenty_of_its_requests(
    tmp_path: Path, oracle: ScriptedOracle
) -> None:
    world = World(tmp_path / "data", oracle, min_dwell_sec=3600)
    add(world.layout, TASK, program(wrong="n % 10 < 3"))
    with under_way(world) as (server, senders):
        rollout_id = world.start(program(breaks="'bell' in x['text'] and n % 4 < 2")).rollout_id
        for _ in range(2):
            roll_out.promote(world.layout, world.config, TASK, "straight to half of it")
        world.until(lambda _: senders.versions[2] > 10)
        senders.also = "bell"
        ended = world.until(lambda found: not found.is_under_way)
    records = server.records(TASK)
    assert (ended.state, ended.stage) == ("rolled_back", 50), ended
    assert "it failed" in ended.reason
    rung = [
        record
        for record in records
        if record.get("rollout_id") == rollout_id
        and record["arm"] == "candidate"
        and "bell" in record["input"]["text"]
    ]
    assert len(rung) <= 20
    assert len(senders.refused) == sum(record["status"] == "error" for record in records) <= 10


def test_a_slow_version_is_out_without_making_anybody_late(world: World) -> None:
    add(world.layout, TASK, program(), latency_target_ms=5.0)
    busy = (
        "def run(x):\n    t = 0\n    for i in range(400000):\n        t += i\n    return 'spam' if t else 'ham'\n"
    )
    with under_way(world) as (_, senders):
        world.start(busy, latency_target_ms=5.0)
        ended = world.until(lambda found: not found.is_under_way)
    assert ended.state == "rolled_back", ended
    assert set(senders.versions) == {1}
    assert not senders.refused


def test_a_killed_server_goes_on_where_it_was(world: World, oracle: ScriptedOracle) -> None:
    add(world.layout, TASK, program(wrong="n % 10 < 3"))
    with under_way(world) as (server, _):
        rollout_id = world.start(program()).rollout_id
        before = world.until(lambda found: found.stage >= 10 and found.labelled)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(30)
        there = world.rollout
        assert there.is_under_way
    labels = len(shadow_labels.read(world.layout, TASK, rollout_id))
    time_passed = world.rollout
    assert time_passed == there  # nothing counts while nobody serves
    with under_way(world) as (server, senders):
        ended = world.until(lambda found: not found.is_under_way)
        server.wait_for(TASK, 2)
    assert ended.state == "promoted", ended
    assert ended.rollout_id == rollout_id
    assert ended.shadowed >= there.shadowed >= before.shadowed
    assert len(ended.labelled) >= labels > 0
    assert [change.stage for change in ended.history] == [0, 10, 50, 100, 100]
    asked = Counter(json.dumps(one["input"]) for one in oracle.asked)
    assert sum(asked.values()) - len(asked) <= 16  # what was being asked when it was killed
    assert not senders.refused


def test_another_version_activated_by_hand_ends_it(world: World) -> None:
    add(world.layout, TASK, program(wrong="n % 10 < 3"))
    with under_way(world) as (server, senders):
        world.start(program())
        world.until(lambda found: found.shadowed > 0)
        add(world.layout, TASK, program(wrong="n % 10 < 2"))
        server.wait_for(TASK, 3)
        ended = world.until(lambda found: not found.is_under_way)
        before = senders.versions[3]
        world.until(lambda _: senders.versions[3] > before + 50)
    assert ended.state == "aborted"
    assert "v3 serves" in ended.reason
    assert not senders.refused


def test_a_candidate_promoted_by_hand_is_still_watched_and_rolled_back(
    tmp_path: Path, oracle: ScriptedOracle
) -> None:
    world = World(tmp_path / "data", oracle, watch_hours=24.0)
    add(world.layout, TASK, program())
    with under_way(world) as (server, senders):
        world.start(program(wrong="'bell' in x['text'] and n % 10 < 5"))
        for _ in range(4):
            roll_out.promote(world.layout, world.config, TASK, "we know it")
        watched = world.until(lambda found: found.state == "watching" and found.shadowed > 0)
        server.wait_for(TASK, 2)
        assert watched.history[-1].by == "cli"
        senders.also = "bell"
        ended = world.until(lambda found: not found.is_under_way)
        server.wait_for(TASK, 1)
        before = senders.versions[1]
        world.until(lambda _: senders.versions[1] > before + 50)
    assert ended.state == "rolled_back"
    assert not senders.refused


def test_an_abort_takes_the_candidate_out_of_a_running_server(world: World) -> None:
    add(world.layout, TASK, program(wrong="n % 10 < 3"))
    with under_way(world) as (_, senders):
        world.start(program())
        for _ in range(3):
            roll_out.promote(world.layout, world.config, TASK, "all of it")
        world.until(lambda _: senders.versions[2] > 20)
        roll_out.abort(world.layout, world.config, TASK, "not today")
        # within seconds nobody has its answers
        deadline = time.monotonic() + PATIENCE_S
        while True:
            before = Counter(senders.versions)
            world.until(lambda _, n=before[1]: senders.versions[1] > n + 30 or time.monotonic() > deadline)
            if senders.versions[2] == before[2]:
                break
            assert time.monotonic() < deadline
    assert rollouts.require(world.layout, TASK).state == "aborted"
    assert not senders.refused
