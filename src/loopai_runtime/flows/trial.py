"""A candidate beside the incumbent in a running server: whose answer leaves, and what the other would have said.

Whichever version answers a request, the other one runs on the same input afterwards, when there is room: at most
half of the executors at a time, and of a long queue only a share, drawn by a keyed hash. Nobody waits for one.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import jsonl
from loopai_runtime.datasets.shadow import Pair
from loopai_runtime.errors import InputError, LoopaiError
from loopai_runtime.flows.execute import Request, Service
from loopai_runtime.rollout import Evidence, Failures, decide
from loopai_runtime.rollouts import Seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from loopai_runtime.datasets.shadow import Arm
    from loopai_runtime.flows.execute import Result
    from loopai_runtime.models import ProgramArtifact
    from loopai_runtime.rollouts import Rollout
    from loopai_runtime.sandbox import Outcome

MOST_WAITING = 1000
MOST_WAITING_BYTES = 32 * 2**20
MOST_PAIRS = 100
"""Kept in full between two looks; all are counted."""
_PAIRS_A_LABEL = 4  # that may be paid for: kept in full in all
_LEAST_CHANCE = 1 / 64
_RECOVERY = 1 / 256
_SIDE = ("output", "status", "latency_ms", "confidence", "abstained")


def drawn(rollout_id: str, key: bytes) -> float:
    """Where a request stands between 0 and 100: the candidate answers those below its share.

    So what 10 % saw is among what 50 % sees, in every process and after every restart.
    """
    digest = blake2b(rollout_id.encode() + b"|" + key, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * 100


class _Waiting(NamedTuple):
    """An answered request that the other version has not seen yet."""

    arm: Arm
    request: Request
    payload: bytes
    side: dict[str, Any]
    execution_id: str
    timestamp: str


class Trial:
    """One rollout in one server. Belongs to the loop that serves.

    `submit` starts a call in the sandbox where there `has_room`; `at_once` is how many shadows may run together;
    `broken` hears, once, why the candidate must not answer any more.
    """

    def __init__(
        self,
        rollout: Rollout,
        artifacts: dict[Arm, ProgramArtifact],
        submit: Callable[[str, bytes, Callable[[Outcome], None]], None],
        has_room: Callable[[], bool],
        broken: Callable[[str], None],
        *,
        at_once: int = 1,
    ) -> None:
        self.rollout_id = rollout.rollout_id
        self.stage = rollout.stage
        self.is_broken = False
        self._state = rollout.decision_state()
        self._target_ms = artifacts["candidate"].latency_target_ms
        # without a sampler: a shadow run is no execution, and nobody checks it
        self._shadows = {arm: Service(artifact, "") for arm, artifact in artifacts.items()}
        self._submit = submit
        self._has_room = has_room
        self._broken = broken
        self._at_once = at_once
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._running = 0
        self._chance = 1.0
        self._all = Seen(0.0, rollout.shadowed, rollout.differed, 0, rollout.errors, rollout.over_latency)
        self._new = Seen()
        self._pairs: list[Pair] = []
        self._pairs_left = _PAIRS_A_LABEL * rollout.max_labels
        self._drained_at = time.monotonic()

    def arm_of(self, request: Request) -> Arm:
        """Who answers: the same for the same key, or the same input where a request has none."""
        if self.is_broken or self.stage <= 0:
            return "incumbent"
        if self.stage >= 100:
            return "candidate"
        value = request.input if request.key is None else request.key
        return "candidate" if drawn(self.rollout_id, jsonl.canonical(value)) < self.stage else "incumbent"

    def answered(self, arm: Arm, request: Request, payload: bytes, side: dict[str, Any], result: Result) -> None:
        """`arm` has answered, as `side_of` its result says; the other one is to see the request as well."""
        record = result.record
        if self.is_broken or record is None:
            return
        waiting = _Waiting(arm, request, payload, side, record["execution_id"], record["timestamp"])
        if not self._may_wait(waiting):
            self._count(Seen(dropped=1))
            return
        self._waiting.append(waiting)
        self._waiting_bytes += len(payload)
        self._go_on()

    def drain(self) -> tuple[Seen, list[Pair]]:
        """What was seen since the last call, and pairs that differ."""
        now = time.monotonic()
        new, pairs = self._new, self._pairs
        self._new, self._pairs = Seen(), []
        passed, self._drained_at = now - self._drained_at, now
        self._go_on()  # where the pool was full when the last one came
        return _sum(new, Seen(seconds=passed)), pairs

    def _may_wait(self, waiting: _Waiting) -> bool:
        full = len(self._waiting) >= MOST_WAITING
        if full or self._waiting_bytes + len(waiting.payload) > MOST_WAITING_BYTES:
            self._chance = max(self._chance / 2, _LEAST_CHANCE)
            return False
        if self._chance >= 1:
            return True
        return drawn(self.rollout_id + "|shadow", waiting.execution_id.encode()) < self._chance * 100

    def _go_on(self) -> None:
        while self._waiting and self._running < self._at_once and self._has_room():
            one = self._waiting.popleft()
            self._waiting_bytes -= len(one.payload)
            service = self._shadows[other_arm(one.arm)]
            try:
                service.check(one.request.input)
            except InputError:
                self._saw(one, {"output": None, "status": "error", "latency_ms": 0.0, "cpu_ms": 0.0})
                continue
            self._running += 1
            try:
                self._submit(service.key, one.payload, partial(self._ran, one, service))
            except LoopaiError:  # the version was unloaded meanwhile, or the pool has no room after all
                self._running -= 1
                self._count(Seen(dropped=1))

    def _ran(self, one: _Waiting, service: Service, outcome: Outcome) -> None:
        self._running -= 1
        self._chance = min(1.0, self._chance + _RECOVERY)
        if not self.is_broken:
            self._saw(one, side_of(service.finish(one.request, outcome), outcome))
        self._go_on()

    def _saw(self, one: _Waiting, other: dict[str, Any]) -> None:
        sides: dict[Arm, dict[str, Any]] = {one.arm: one.side, other_arm(one.arm): other}
        incumbent, candidate = sides["incumbent"], sides["candidate"]
        failed = {arm: side["status"] != "success" for arm, side in sides.items()}
        errors = Failures(
            int(failed["incumbent"] and not failed["candidate"]),
            int(failed["candidate"] and not failed["incumbent"]),
        )
        # Where both are late, or it has waited more than it has worked, it is the machine and not the candidate.
        late = candidate["latency_ms"] > self._target_ms >= incumbent["latency_ms"]
        late = late and candidate["cpu_ms"] > self._target_ms / 2
        differs = failed["incumbent"] != failed["candidate"] or not _equal(incumbent, candidate)
        seen = Seen(shadowed=1, differed=int(differs), errors=errors, over_latency=int(late))
        self._count(seen)
        if differs and self._pairs_left and len(self._pairs) < MOST_PAIRS:
            self._pairs_left -= 1
            pair = (one.execution_id, one.timestamp, one.request.input, one.arm, incumbent, candidate)
            self._pairs.append(Pair(*pair))
        if late or errors.candidate:
            self._look()

    def _count(self, seen: Seen) -> None:
        self._new = _sum(self._new, seen)
        self._all = _sum(self._all, seen)

    def _look(self) -> None:
        """The fuse: what no oracle has to be asked about ends the trial here and now."""
        seen = self._all
        evidence = Evidence(0.0, seen.shadowed, seen.differed, (), seen.errors, seen.over_latency)
        decision = decide(self._state, evidence)
        if decision.action == "roll_back" and not self.is_broken:
            self.is_broken = True
            self._waiting.clear()
            self._waiting_bytes = 0
            self._broken(decision.reason)


def side_of(result: Result, outcome: Outcome) -> dict[str, Any]:
    """What of a result its sender would see, and the time that its program has worked."""
    record = result.record or {}
    seen = {name: record[name] for name in _SIDE if name in record}
    return seen | {"cpu_ms": round(outcome.cpu_ms, 4)}


def _equal(incumbent: dict[str, Any], candidate: dict[str, Any]) -> bool:
    return jsonl.canonical(incumbent["output"]) == jsonl.canonical(candidate["output"])


def other_arm(arm: Arm) -> Arm:
    return "incumbent" if arm == "candidate" else "candidate"


def _sum(a: Seen, b: Seen) -> Seen:
    errors = Failures(a.errors.incumbent + b.errors.incumbent, a.errors.candidate + b.errors.candidate)
    return Seen(
        a.seconds + b.seconds,
        a.shadowed + b.shadowed,
        a.differed + b.differed,
        a.dropped + b.dropped,
        errors,
        a.over_latency + b.over_latency,
    )
