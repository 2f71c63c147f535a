"""What analysis needs of validations, read fast: a week of them is counted while somebody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import at_rest
from loopai_runtime.datasets import raw, tally
from loopai_runtime.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loopai_runtime.layout import Layout


class Checked(NamedTuple):
    """An execution of `day` that the oracle judged; `pi` is the probability with which it was chosen for that."""

    day: str
    execution_id: str
    version: int
    output: Any
    right: Any
    match: bool
    pi: float | None
    confidence: float | None = None


def checked(layout: Layout, task_id: str, days: Iterable[str]) -> Iterator[Checked]:
    """The validations of some days, each execution once; lines that are none are passed over.

    Raises StorageError.
    """
    seen: set[str] = set()
    for day in days:
        for _, file in at_rest.files(layout, layout.validations(task_id, day)):
            for lines, _ in raw.blocks(file):
                for line in lines:
                    judged = _checked(day, line)
                    if judged is not None and judged.execution_id not in seen:
                        seen.add(judged.execution_id)
                        yield judged


def _checked(day: str, line: bytes) -> Checked | None:
    try:
        record = tally.read(line)
        return Checked(
            day,
            record["execution_id"],
            record["version"],
            record["output"],
            record["oracle_output"],
            bool(record["match"]),
            record.get("pi"),
            record.get("confidence"),
        )
    except (KeyError, TypeError, AttributeError, InputError):
        return None
