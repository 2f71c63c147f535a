"""What goes into the sandbox and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Status = Literal["success", "error", "timeout"]
StoppedBy = Literal["policy", "cage", "timeout", "memory"]
Entry = Literal["score", "run", "explain"]
Wall = Literal["full", "policy", "cage"]
Require = Literal["full", "policy"]

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """One program and its limits: wall-clock milliseconds a call, memory in MiB, output in bytes."""

    key: str
    source: str
    timeout_ms: int = 1000
    memory_mb: int = 256
    max_output_bytes: int = MIB


@dataclass(frozen=True, slots=True)
class ProgramFault:
    """Why a call failed: the exception's type and message, and the line of program.py, where there is one."""

    type: str
    message: str
    line: int | None = None


class Outcome(NamedTuple):
    """How one call ended.

    `output` is the answer as a JSON value and `raw` its JSON text; `confidence` is None unless the program has
    `score`. `stopped_by` names what ended a call that did not end by itself. `wall_ms` and `cpu_ms` are the
    call's own, measured where it ran; `peak_kb` is the highest memory use of the executor so far.
    """

    status: Status
    output: Any = None
    confidence: float | None = None
    error: ProgramFault | None = None
    stopped_by: StoppedBy | None = None
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    peak_kb: int = 0
    raw: bytes = b""
