"""How people name a version: `task`, `task@3`, `task@v3`, `task@active`, `task@previous`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from loopai_runtime.errors import UsageError
from loopai_runtime.layout import checked_task

_SELECTOR = re.compile(r"v?([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Reference:
    """A task and which of its versions is meant: a number, or the active or previous one."""

    task_id: str
    selector: int | Literal["active", "previous"] = "active"

    def __str__(self) -> str:
        if isinstance(self.selector, int):
            return f"{self.task_id}@v{self.selector}"
        return f"{self.task_id}@{self.selector}"


def parse(text: str) -> Reference:
    """Raises UsageError where `text` is no reference."""
    task_id, at, selector = text.partition("@")
    checked_task(task_id)
    if not at or selector == "active":
        return Reference(task_id)
    if selector == "previous":
        return Reference(task_id, "previous")
    if number := _SELECTOR.fullmatch(selector):
        return Reference(task_id, int(number[1]))
    raise UsageError(
        f"{text!r} names no version",
        hint="write task, task@3, task@v3, task@active or task@previous",
    )
