"""Carries the snippets of the corpus out: as plain Python for the control, in the pool for the test."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.bars import TIMED
from tests.security.snippets import CANARY, MEMORY_MB, SECRET, TIMEOUT_MS, Snippet

from loopai_runtime.errors import PolicyRefused
from loopai_runtime.sandbox.compilation import TIMEOUT_S as COMPILE_TIMEOUT_S
from loopai_runtime.sandbox.pool import SyncPool
from loopai_runtime.sandbox.records import MIB, Outcome, Program
from loopai_runtime.sandbox.scheduler import LOAD_TIMEOUT_S

CONTROL = Path(__file__).with_name("control.py")
GRACE_S = 0.5 if TIMED else 30.0
SLACK_MB = 48  # an executor before its program
SPENT = ("time", "memory")  # which of the two runs out first is the machine's affair
PING = "def run(input_data):\n    return input_data\n"


class Canary:
    """A file no program has business with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = f"canary of {path.name} {time.time_ns()}"
        self.path.write_text(self.text)

    def proof(self, snippet: Snippet) -> str:
        """The text that proves that a snippet got out."""
        return self.text if snippet.reached == CANARY else snippet.reached

    def changed(self) -> bool:
        """Whether somebody wrote to it; it is whole again afterwards."""
        if self.path.exists() and self.path.read_text() == self.text:
            return False
        self.path.write_text(self.text)
        return True

    def calls(self, snippet: Snippet) -> list[tuple[str, dict[str, Any]]]:
        """Source and input of each call."""
        last = snippet.input | {"canary": str(self.path)}
        if snippet.first is None:
            return [(snippet.source, last)]
        return [(snippet.source, snippet.first | last), (snippet.then or snippet.source, last)]


class Plain:
    """Snippets as plain Python, without a wall."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(CONTROL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def run(self, snippet: Snippet, canary: Canary) -> dict[str, Any]:
        """How it ended: see control.py. What burns time gets twice what the sandbox gives."""
        limits = {
            "timeout_s": 2 * TIMEOUT_MS / 1000 if snippet.bomb in SPENT else 10,
            "memory_mb": 2 * MEMORY_MB,
            "output": 2 * MIB,
        }
        order = limits | {"calls": canary.calls(snippet)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of a snippet behind the walls: `outcome` is None if it was refused."""

    refused: PolicyRefused | None
    outcome: Outcome | None
    load_s: float
    call_s: float

    @property
    def answer(self) -> str:
        """Everything that came back."""
        if self.outcome is None:
            return ""
        error = self.outcome.error
        return self.outcome.raw.decode() + (error.message if error else "")


def attempt(pool: SyncPool, snippet: Snippet, canary: Canary) -> Attempt:
    """Load a snippet and call it as its control was."""
    started = time.monotonic()
    keys = {}
    calls = canary.calls(snippet)
    try:
        for source, _ in calls:
            if source not in keys:
                keys[source] = f"snippet {len(keys)}"
                pool.load(Program(keys[source], source, TIMEOUT_MS, MEMORY_MB))
    except PolicyRefused as refused:
        return Attempt(refused, None, time.monotonic() - started, 0)
    loaded = called = time.monotonic()
    outcome = None
    for source, value in calls:
        called = time.monotonic()
        outcome = pool.call(keys[source], value)
    return Attempt(None, outcome, loaded - started, time.monotonic() - called)


def faults(snippet: Snippet, found: Attempt, canary: Canary, pool: SyncPool) -> list[str]:
    """What is wrong with how a snippet ended behind the walls; nothing, one hopes."""
    wrong = []
    if snippet.bomb is None and canary.proof(snippet) in found.answer:
        wrong.append(f"it got out: {found.answer[:300]}")
    if canary.changed():
        wrong.append("it wrote to the canary")
    if found.refused is not None and not (found.refused.faults and all(f.message for f in found.refused.faults)):
        wrong.append("it was refused without a word")
    if snippet.bomb is None and found.refused is not None and not all(f.line for f in found.refused.faults):
        wrong.append(f"it was refused without a line: {found.refused.faults}")
    if found.load_s > COMPILE_TIMEOUT_S + GRACE_S:
        wrong.append(f"compiling took {found.load_s:.1f} s")
    allowed_s = (LOAD_TIMEOUT_S if snippet.at_load else 0) + TIMEOUT_MS / 1000 + GRACE_S
    if found.call_s > allowed_s:
        wrong.append(f"the answer took {found.call_s:.2f} s")
    if found.outcome is not None and found.outcome.peak_kb > (MEMORY_MB + SLACK_MB) * 1024:
        wrong.append(f"it took {found.outcome.peak_kb // 1024} MiB")
    if found.outcome is not None and len(found.outcome.raw) > MIB:
        wrong.append(f"it answered with {len(found.outcome.raw)} bytes")
    started = time.monotonic()
    if (after := pool.call("ping", SECRET)).output != SECRET:
        wrong.append(f"the call after it failed: {after.error}")
    if (took_s := time.monotonic() - started) > 4 * GRACE_S:
        wrong.append(f"the call after it took {took_s:.1f} s")
    return wrong
