"""The executor: a confined process that loads programs and answers calls. Runs inside the sandbox.

It reads frames from its one descriptor and answers each in turn, sending every answer before it starts the
next request, as the next may never end. Nothing in it is trusted by the front.
"""

from __future__ import annotations

import builtins
import json
import marshal
import math
import os
import resource
import sys
import time
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from loopai_runtime.sandbox import policy
from loopai_runtime.sandbox.answer import BadAnswer, fault, split_score, to_json
from loopai_runtime.sandbox.facades import facade_import
from loopai_runtime.sandbox.freeze import Unfreezable, freeze
from loopai_runtime.sandbox.language import BUILTINS
from loopai_runtime.sandbox.protocol import (
    ANSWER,
    CALL,
    LOADED,
    MAX_CODE,
    PROGRAM,
    Decoder,
    Entry,
    From,
    Status,
    To,
    frame,
)  # fmt: skip

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

FILENAME = "program.py"
_READ = 256 * 1024
_MIB = 1024 * 1024


@dataclass(slots=True)
class Loaded:
    """A program in this process: its entry points and its limits."""

    run: Callable[[Any], Any]
    score: Callable[[Any], Any] | None
    explain: Callable[[Any], Any] | None
    memory_mb: int
    max_output: int


class Worker:
    """Serves one socket until it ends."""

    def __init__(self, connection: socket.socket, *, under_policy: bool, base_kb: int) -> None:
        self.connection = connection
        self.under_policy = under_policy
        self.base_kb = base_kb
        self.programs: dict[int, Loaded] = {}
        self.unloadable: dict[int, bytes] = {}
        self.memory_mb = 0
        self.reserve: bytes | None = None
        self.namespace_builtins = {**BUILTINS, "__import__": facade_import}

    def serve(self) -> None:
        decoder = Decoder(MAX_CODE)
        handle = {
            To.CALL: self.call,
            To.PROGRAM: self.load,
            To.FORGET: self.forget,
            To.COMPILE: self.compile,
        }
        while data := self.connection.recv(_READ):
            for kind, body in decoder.feed(data):
                answer = handle[To(kind)](body)
                if answer:
                    self.connection.sendall(answer)

    # -- compiling: in a process of its own, which does nothing else ------------------------------------------

    def compile(self, body: bytes) -> bytes:
        """Source to code; the front keeps the code as bytes and never looks into it."""
        try:
            source = body[1:].decode()
            if body[0]:
                compiled = policy.compile_restricted(source, FILENAME)
                parts = (compiled.code, sorted(compiled.read_only), compiled.lines)
            else:
                parts = (policy.to_code(policy.parse(source, FILENAME), FILENAME), [], {})
        except policy.Refused as refused:
            faults = [[refusal.message, refusal.line] for refusal in refused.refusals]
            return frame(From.REFUSED, json.dumps(faults).encode())
        return frame(From.COMPILED, marshal.dumps(parts))

    # -- loading ----------------------------------------------------------------------------------------------

    def load(self, body: bytes) -> bytes:
        """Run a program's module body and freeze what it bound."""
        handle, memory_mb, max_output = PROGRAM.unpack_from(body)
        self._limit_memory(memory_mb)
        try:
            code, read_only, lines = marshal.loads(memoryview(body)[PROGRAM.size :])  # noqa: S302
            self.programs[handle] = self._load(code, frozenset(read_only), lines, memory_mb, max_output)
            self.unloadable.pop(handle, None)
            return frame(From.LOADED, LOADED.pack(handle))
        except Unloadable as error:
            self.unloadable[handle] = json.dumps(error.fault).encode()
        except BaseException as error:
            self.unloadable[handle] = self._fault(error)
        return frame(From.LOADED, LOADED.pack(handle), self.unloadable[handle])

    def _load(
        self, code: CodeType, read_only: frozenset[str], lines: dict[str, int], memory_mb: int, max_output: int
    ) -> Loaded:
        namespace: dict[str, Any] = {"__name__": "program"}
        namespace["__builtins__"] = self.namespace_builtins if self.under_policy else builtins
        exec(code, namespace)  # noqa: S102
        if self.under_policy:
            try:
                freeze(namespace, read_only)
            except Unfreezable as error:
                raise Unloadable("PolicyRefused", str(error), lines.get(error.name)) from None
        entries = {}
        for name in ("run", "score", "explain"):
            entry = namespace.get(name)
            entries[name] = entry if isinstance(entry, FunctionType) else None
        run = entries["run"]
        if run is None:
            raise Unloadable("PolicyRefused", "there is no function run(input_data)", None)
        return Loaded(run, entries["score"], entries["explain"], memory_mb, max_output)

    def forget(self, body: bytes) -> bytes:
        (handle,) = LOADED.unpack(body)
        self.programs.pop(handle, None)
        self.unloadable.pop(handle, None)
        return b""

    # -- calling ----------------------------------------------------------------------------------------------

    def call(self, body: bytes) -> bytes:
        request, handle, entry = CALL.unpack_from(body)
        program = self.programs.get(handle)
        if program is None:
            head = ANSWER.pack(request, Status.ERROR, math.nan, 0.0, 0.0, 0)
            return frame(From.ANSWER, head, self.unloadable[handle])
        if program.memory_mb != self.memory_mb:
            self._limit_memory(program.memory_mb)
        if self.reserve is None:
            self.reserve = bytes(_MIB)
        confidence = math.nan
        cpu = time.process_time_ns()
        wall = time.perf_counter_ns()
        try:
            value = json.loads(str(memoryview(body)[CALL.size :], "utf-8"))
            if entry == Entry.SCORE and program.score is not None:
                output, confidence = split_score(program.score(value))
            else:
                output = self._entry(program, entry)(value)
            answer = to_json(output, program.max_output)
            status = Status.SUCCESS
        except MemoryError as error:
            self.reserve = None  # room to say so
            status, answer = Status.MEMORY, self._fault(error)
        except BaseException as error:
            status, answer = Status.ERROR, self._fault(error)
        wall = time.perf_counter_ns() - wall
        cpu = time.process_time_ns() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        head = ANSWER.pack(request, status, confidence, wall / 1e6, cpu / 1e6, peak)
        return frame(From.ANSWER, head, answer)

    def _entry(self, program: Loaded, entry: int) -> Callable[[Any], Any]:
        if entry != Entry.EXPLAIN:
            return program.run
        if program.explain is None:
            raise BadAnswer("the program has no function explain(input_data)")
        return program.explain

    def _fault(self, error: BaseException) -> bytes:
        return json.dumps(fault(error, FILENAME)).encode()

    def _limit_memory(self, memory_mb: int) -> None:
        """The soft limit of the address space: what the bare process has, and the program's share."""
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = self.base_kb * 1024 + memory_mb * _MIB
        resource.setrlimit(resource.RLIMIT_AS, (soft if hard < 0 else min(soft, hard), hard))
        self.memory_mb = memory_mb


class Unloadable(Exception):
    """The program compiled, but what it defines cannot serve."""

    def __init__(self, kind: str, message: str, line: int | None) -> None:
        super().__init__(message)
        self.fault = {"type": kind, "message": message, "line": line}


class Nowhere:
    """Where a program's print goes."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is kept."""


def silence() -> None:
    """Standard streams that go nowhere, and no report of an error that a destructor met (it would read files)."""
    sys.stdin = None
    sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = Nowhere()  # type: ignore[assignment,misc]
    sys.unraisablehook = lambda _unraisable: None


def no_more_imports() -> None:
    """From here on only what has been imported can be; a search for more would touch the file system."""
    from importlib.machinery import PathFinder

    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder]
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


def base_kb() -> int:
    """Address space of this process in KiB, 0 where the kernel does not say."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return 0
    try:
        return int(os.read(descriptor, 100).split()[0]) * (resource.getpagesize() // 1024)
    finally:
        os.close(descriptor)
