"""How commands read inputs, and open the version that answers them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from loopai_runtime.cli.options import Settings
    from loopai_runtime.errors import InputError
    from loopai_runtime.flows.execute import Executor, Request
    from loopai_runtime.flows.remote import Remote


def open_executor(
    stack: ExitStack,
    settings: Settings,
    ref: str,
    *,
    workers: int | None = None,
    record: bool = True,
) -> Executor:
    """The version that `ref` names, loaded into a sandbox pool that lives as long as `stack`."""
    from loopai_runtime.artifacts.store import ArtifactStore
    from loopai_runtime.cli.render import say
    from loopai_runtime.datasets.execution_log import ExecutionLog
    from loopai_runtime.flows.defer import deferral_of
    from loopai_runtime.flows.execute import Executor
    from loopai_runtime.flows.measure import open_pool
    from loopai_runtime.flows.sample import sampling_of

    stored = ArtifactStore(settings.layout).read(ref)
    return Executor(
        stack.enter_context(open_pool(settings.config, workers)),
        stored,
        settings.config,
        # Asked for only when recording: it may have to be written, and a read-only directory can still answer.
        deployment_id=settings.layout.deployment_id(settings.config) if record else "",
        sampling=sampling_of(stored.artifact, settings.config, settings.layout) if record else None,
        log=ExecutionLog(settings.layout) if record else None,
        deferral=deferral_of(stored.artifact, settings.layout, settings.config, say) if record else None,
    )


def open_remote(stack: ExitStack, settings: Settings, ref: str, *, own_limits: bool) -> Remote | None:
    """The platform's task where the platform executes (`runtime.mode: central`); else None.

    Raises UsageError where the call asks for what only an execution here can do, NotFound, AuthError.
    """
    from loopai_runtime.models import RuntimeMode

    if settings.config.runtime.mode is not RuntimeMode.CENTRAL:
        return None
    from loopai_runtime.errors import UsageError
    from loopai_runtime.flows.platform import PlatformClient
    from loopai_runtime.flows.remote import Remote

    if own_limits:
        raise UsageError(
            "with runtime.mode: central the platform executes: --no-record and --timeout-ms have no place there",
            hint="LOOPAI_RUNTIME_MODE=edge executes here",
        )
    return Remote(stack.enter_context(PlatformClient(settings.config)), ref)


def argument(text: str, input_schema: dict[str, Any] | None = None) -> Any:
    """An INPUT of the command line: JSON, `-` for stdin; a task whose input is a text takes it bare too.

    Raises InputError.
    """
    from loopai_runtime.errors import InputError
    from loopai_runtime.jsonl import loads

    raw: str | bytes = sys.stdin.buffer.read() if text == "-" else text
    try:
        return loads(raw, "INPUT")
    except InputError as exc:
        if input_schema and input_schema.get("type") == "string" and isinstance(raw, str):
            return raw
        exc.hint = 'an input is one JSON value, such as \'{"text": "hi"}\''
        raise


def open_lines(stack: ExitStack, file: str) -> tuple[IO[bytes], int | None]:
    """The batch file (`-` is stdin) and its size in bytes where that is known. Raises NotFound."""
    from loopai_runtime.errors import NotFound

    if file == "-":
        return sys.stdin.buffer, None
    path = Path(file)
    try:
        return stack.enter_context(path.open("rb")), path.stat().st_size
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound("no such file", where=file) from None


def requests(stream: IO[bytes], read: Callable[[Any], Request]) -> Iterator[Request | InputError]:
    """Each line as a request, or as the error that says why it is none."""
    from loopai_runtime.errors import InputError
    from loopai_runtime.jsonl import lines, loads

    for line in lines(stream):
        try:
            yield read(loads(line.raw))
        except InputError as exc:
            yield exc
