"""A fuzzer that plays the executor's side of the protocol: the front must not crash, hang, grow or answer wrongly.

The liar knows the protocol. It answers most calls well, so that the front goes on trusting it, and otherwise
changes, repeats, reorders, cuts, forges or floods. An answer is right if it echoes the input of its own call, or comes
from an executor that was given that very call: what a program answers to its own input is its own business.
"""

from __future__ import annotations

import json
import math
import random
import resource
import socket
import time
from collections.abc import Callable

import pytest
from tests.bars import SOAK

from loopai_runtime.sandbox import protocol
from loopai_runtime.sandbox.executor import Job
from loopai_runtime.sandbox.nursery import Ended, Exit
from loopai_runtime.sandbox.protocol import ANSWER, CALL, HEADER, LOADED, PROGRAM, Decoder, From, Status, To, frame
from loopai_runtime.sandbox.reactor import SmallLoop
from loopai_runtime.sandbox.records import Outcome
from loopai_runtime.sandbox.scheduler import Scheduler, Settings

FRAMES = round(1_000_000 * SOAK)


class Liar:
    """One executor's side of a socket, in the same process."""

    def __init__(self, loop: SmallLoop, sock: socket.socket, draw: random.Random, ended: Ended) -> None:
        self.loop, self.socket, self.draw, self.ended = loop, sock, draw, ended
        self.decoder = Decoder(protocol.MAX_CODE)
        self.frames = 0
        self.alive = True
        self.given: set[int] = set()
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self.read)
        self.send(frame(From.READY, b""))

    def read(self) -> None:
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.die()
            return
        for kind, body in self.decoder.feed(data):
            if not self.alive:
                return
            if kind == To.PROGRAM:
                self.send(frame(From.LOADED, LOADED.pack(PROGRAM.unpack_from(body)[0])))
            elif kind == To.CALL:
                self.answer(*CALL.unpack_from(body), body[CALL.size :])

    def forge(self, number: int) -> bytes:
        """An answer to a call that may be another's, which tells whether it was."""
        return _forged(number, json.dumps("own" if number in self.given else "another's").encode())

    def answer(self, request: int, handle: int, entry: int, payload: bytes) -> None:
        self.given.add(request)
        head = ANSWER.pack(request, Status.SUCCESS, 0.5, 0.01, 0.01, 1000)
        good = frame(From.ANSWER, head, payload)
        if self.draw.random() < 0.9:
            self.send(good)
            return
        lie = self.draw.choice(LIES)(self, request, payload, good)
        if lie:
            self.send(lie)
        if self.draw.random() < 0.1:
            self.die()

    def send(self, data: bytes) -> None:
        self.frames += 1
        try:
            self.socket.send(data)
        except OSError:
            self.die()

    def die(self) -> None:
        if self.alive:
            self.alive = False
            self.loop.remove_reader(self.socket.fileno())
            self.socket.close()
            self.loop.call_soon(self.ended, Exit(9, 1000, 1.0))


Lie = Callable[[Liar, int, bytes, bytes], bytes]


def _forged(number: int, raw: bytes, status: int = 0, confidence: float = 0.5, wall: float = 0.1) -> bytes:
    return frame(From.ANSWER, ANSWER.pack(number, status, confidence, wall, 0.1, 1), raw)


def _flipped(draw: random.Random, data: bytes) -> bytes:
    """Random bits of the header and of the answer's head: never of what the answer says."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        changed[draw.randrange(HEADER.size + 9)] ^= 1 << draw.randrange(8)
    return bytes(changed)


LIES: list[Lie] = [
    lambda me, n, payload, good: me.forge(n + me.draw.choice([-1, 1, 7, 2**40])),
    lambda me, n, payload, good: good + me.forge(n),
    lambda me, n, payload, good: good + good,
    lambda me, n, payload, good: good[: me.draw.randrange(len(good))],
    lambda me, n, payload, good: _flipped(me.draw, good),
    lambda me, n, payload, good: me.draw.randbytes(me.draw.randrange(200)),
    lambda me, n, payload, good: HEADER.pack(me.draw.randrange(2**32), me.draw.randrange(256)),
    lambda me, n, payload, good: HEADER.pack(2**32 - 1, From.ANSWER) + b"x" * 1000,
    lambda me, n, payload, good: frame(me.draw.randrange(256), me.draw.randbytes(me.draw.randrange(64))),
    lambda me, n, payload, good: frame(From.READY, b"{}"),
    lambda me, n, payload, good: frame(From.LOADED, LOADED.pack(me.draw.randrange(9))),
    lambda me, n, payload, good: frame(From.COMPILED, b"code"),
    lambda me, n, payload, good: frame(From.REFUSED, b'[["no", "line"]]'),
    lambda me, n, payload, good: frame(From.BROKEN, me.draw.randbytes(600)),
    lambda me, n, payload, good: _forged(n, me.draw.choice([b"NaN", b"1e999", b"-Infinity", b"[1", b"", b"\xff", b"1 2"])),
    lambda me, n, payload, good: _forged(n, b'"\\ud800"'),
    lambda me, n, payload, good: _forged(n, b"[" * 5000 + b"]" * 5000),
    lambda me, n, payload, good: _forged(n, b"1\n2"),
    lambda me, n, payload, good: _forged(n, payload, confidence=me.draw.choice([2.0, -1.0, math.inf])),
    lambda me, n, payload, good: _forged(n, payload, wall=me.draw.choice([-1.0, math.nan, math.inf])),
    lambda me, n, payload, good: _forged(n, payload, status=me.draw.choice([3, 9, 255])),
    lambda me, n, payload, good: _forged(n, b'{"type": 1, "message": [], "line": "x"}', status=1),
    lambda me, n, payload, good: _forged(n, b"9" * 5000),
]  # fmt: skip


class Liars:
    """Births of liars, in place of the template."""

    last_words = ""

    def __init__(self, loop: SmallLoop, seed: int) -> None:
        self.loop, self.draw = loop, random.Random(seed)
        self.living: dict[int, Liar] = {}
        self.born = 0
        self.frames = 0

    def spawn(self, walls: int, ceiling_mb: int, ended: Ended) -> tuple[int, socket.socket]:
        self.born += 1
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.living[self.born] = Liar(self.loop, theirs, self.draw, ended)
        return self.born, ours

    def kill(self, executor: int) -> None:
        if liar := self.living.get(executor):
            liar.die()

    def forget(self, executor: int) -> None:
        if liar := self.living.pop(executor, None):
            self.frames += liar.frames
            liar.die()


@pytest.mark.slow
def test_the_front_survives_any_executor_and_never_answers_wrongly() -> None:
    loop = SmallLoop()
    births = Liars(loop, seed=20261124)
    scheduler = Scheduler(loop, births, Settings(4, 1, 0, 256, 10_000, 100_000))
    scheduler.start()
    job = Job(1, "p", b"code", 0.5, 64, 100_000)
    scheduler.add(job)
    sent, wrong = 0, []
    answered: dict[int, int] = {}
    memory = 0

    def receive(number: int) -> Callable[[Outcome], None]:
        def done(outcome: Outcome) -> None:
            answered[number] = answered.get(number, 0) + 1
            if outcome.status == "success" and outcome.output not in ({"n": number}, "own"):
                wrong.append((number, outcome))

        return done

    while births.frames < FRAMES:
        for _ in range(200):
            scheduler.submit(job, 0, json.dumps({"n": sent}).encode(), receive(sent))
            sent += 1
        late = time.monotonic() + 300
        loop.run_until(lambda n=sent, late=late: len(answered) == n or time.monotonic() > late)  # type: ignore[misc]
        assert len(answered) == sent, "a call was never answered"
        if births.frames > FRAMES // 4 and not memory:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if len(answered) > 100_000:
            assert set(answered.values()) == {1}
            answered.clear()
            sent = 0
    assert not wrong
    assert set(answered.values()) <= {1}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < memory * 1.2 + 20_000
    scheduler.stop()
