"""Mode `central`: the platform executes. Answers as `execute.Executor` does, and nothing is kept here."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from loopai_runtime.artifacts import references
from loopai_runtime.errors import InputError, ProgramError, ProgramKilled, ProgramTimeout, UsageError
from loopai_runtime.flows.execute import Request, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loopai_runtime.flows.platform import PlatformClient

_AT_ONCE = 200
"""Lines of a batch in one request."""


class Remote:
    """A task of the platform, as `loopai run` uses a version that is here."""

    def __init__(self, platform: PlatformClient, reference: str) -> None:
        wanted = references.parse(reference)
        if wanted.selector != "active":
            raise UsageError(
                f"{reference}: the platform executes the version that is active there",
                hint=f"loopai run {wanted.task_id}, or runtime.mode: edge to execute here",
            )
        self.task_id = wanted.task_id
        self._platform = platform
        self.input_schema: dict[str, Any] = platform.get(f"/api/v1/tasks/{self.task_id}/active")["input_schema"]

    def run(self, request: Request) -> Result:
        """Raises InputError where the schema refuses the input, NotFound, AuthError, Unreachable."""
        result = self._send([request])[0]
        if result.refused is not None:
            raise result.refused
        return result

    def run_all(self, requests: Iterable[Request | InputError]) -> Iterator[Result]:
        """Results in the order of the requests; one that could not even be read comes out as its InputError."""
        waiting = iter(requests)
        while some := list(islice(waiting, _AT_ONCE)):
            sent = iter(self._send([each for each in some if isinstance(each, Request)]))
            yield from (
                next(sent) if isinstance(each, Request) else Result(0, Request(None), refused=each)
                for each in some
            )

    def _send(self, requests: list[Request]) -> list[Result]:
        if not requests:
            return []
        items = [{"input": each.input} for each in requests]
        answer = self._platform.post(f"/api/v1/tasks/{self.task_id}/batch", {"items": items})
        return [_result(each, line) for each, line in zip(requests, answer["results"], strict=True)]


def _result(request: Request, line: dict[str, Any]) -> Result:
    """A line of the platform's answer as the result it is."""
    version = int(line["version"])
    error = line.get("error")
    if error is not None and error["type"] == "InputError":
        return Result(version, request, refused=InputError(error["message"], path=error.get("path")))
    record = {"source": "program"} | line
    if error is None:
        return Result(version, request, record)
    kind = {"timeout": ProgramTimeout, "killed": ProgramKilled}.get(line["status"], ProgramError)
    return Result(version, request, record, failure=kind(error["message"], type=error["type"]))
