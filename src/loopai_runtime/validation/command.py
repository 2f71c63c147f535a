"""Answers of a command: one input a line on its stdin, one answer a line on its stdout."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.errors import InputError, OracleError
from loopai_runtime.validation.oracle import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loopai_runtime.schemas import Schema
    from loopai_runtime.validation.oracle import Answer
    from loopai_runtime.validation.paid import Fee

MAX_OUTPUT = 16 * 2**20
_COMPLAINT = 300  # characters of stderr that are shown
_LOOK_S = 0.05


class Command:
    """Runs `arguments` for each batch, in `folder`, with no shell; it and its children are killed after
    `timeout_s`.

    An answer is the output itself, or `{"output": …}` where that is no output of the task.
    """

    def __init__(
        self, arguments: Sequence[str], folder: Path, *, timeout_s: float, batch: int, outputs: Schema, fee: Fee
    ) -> None:
        self.batch = batch
        self._arguments = list(arguments)
        self._folder = folder
        self._timeout_s = timeout_s
        self._outputs = outputs
        self._fee = fee

    def ask(self, inputs: Sequence[Any]) -> list[Answer]:
        """Raises OracleError where the command fails."""
        started = time.monotonic()
        with self._fee.paid() as usd:
            stdout = self._run(b"".join(jsonl.compact(value) + b"\n" for value in inputs))
        took_ms = (time.monotonic() - started) * 1000
        lines = [line for line in stdout.split(b"\n") if line.strip()]
        if len(inputs) == 1 and lines:
            lines = [stdout]  # one answer may stand on several lines
        if len(lines) != len(inputs):
            raise OracleError(f"{self._name} printed {len(lines)} answers to {len(inputs)} inputs", why="answer")
        share = len(inputs)
        return [self._answer(line, usd / share, took_ms / share) for line in lines]

    @property
    def _name(self) -> str:
        return f"the command {self._arguments[0]}"

    def _answer(self, line: bytes, usd: float, took_ms: float) -> Answer:
        try:
            value = jsonl.loads(line)
        except InputError as error:
            return OracleError(f"{self._name} printed what is {error.message}", why="answer")
        wrapped = isinstance(value, dict) and value.keys() == {"output"} and not self._outputs.accepts(value)
        return Verdict(value["output"] if wrapped else value, usd, took_ms)

    def _run(self, stdin: bytes) -> bytes:
        with tempfile.TemporaryFile() as given:  # a file: a command that does not read cannot block us
            given.write(stdin)
            given.seek(0)
            try:
                process = subprocess.Popen(
                    self._arguments,
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=self._folder,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise OracleError(f"{self._name} does not start: {reason}") from None
        with process:
            try:
                stdout, stderr = _read(process, time.monotonic() + self._timeout_s)
            except TimeoutError:
                raise OracleError(f"{self._name} took more than {self._timeout_s:g} s") from None
            except OverflowError:
                raise OracleError(
                    f"{self._name} printed more than {MAX_OUTPUT // 2**20} MiB", why="answer"
                ) from None
            finally:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            said = stderr.decode("utf-8", "replace").strip()[-_COMPLAINT:]
            raise OracleError(
                f"{self._name} failed with {_code(process.returncode)}" + (f": {said}" if said else "")
            )
        return stdout


def _code(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """stdout, and the end of stderr, until the process itself has ended; what it left running is not waited for.

    Raises TimeoutError, OverflowError.
    """
    stdout, stderr = bytearray(), bytearray()
    with selectors.DefaultSelector() as ready:
        for pipe, kept in ((process.stdout, stdout), (process.stderr, stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            ready.register(pipe, selectors.EVENT_READ, kept)
        while ready.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ended = process.poll() is not None  # before the look: what it wrote last is there by then
            events = ready.select(0 if ended else min(left, _LOOK_S))
            if ended and not events:
                break
            for key, _ in events:
                if not _drain(key.fd, key.data):
                    ready.unregister(key.fileobj)
            if len(stdout) > MAX_OUTPUT:
                raise OverflowError
            del stderr[: max(0, len(stderr) - 4 * _COMPLAINT)]
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(stdout), bytes(stderr)


def _drain(descriptor: int, kept: bytearray) -> bool:
    """Read what is there; False at the end."""
    try:
        chunk = os.read(descriptor, 65536)
    except BlockingIOError:
        return True
    kept += chunk
    return bool(chunk)
