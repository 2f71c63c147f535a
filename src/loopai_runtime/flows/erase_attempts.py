"""What improving kept of inputs, taken out: attempts and tickets quote those that a version got wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopai_runtime import at_rest, jsonl
from loopai_runtime.errors import InputError
from loopai_runtime.files import only_one
from loopai_runtime.tickets import Tickets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loopai_runtime.layout import Layout


def erase_attempts(layout: Layout, task_id: str, is_meant: Callable[[bytes], bool], *, dry_run: bool) -> int:
    """Take what is meant out of a task's improvements and tickets; answers how many quoted inputs that were.

    Where one is taken out, the words that inputs had in common go too. Raises StorageError.
    """
    paths = [layout.improvements(task_id), *Tickets(layout).paths(task_id)]
    return sum(_erase_file(layout, path, is_meant, dry_run) for path in paths if path.exists())


def _erase_file(layout: Layout, path: Path, is_meant: Callable[[bytes], bool], dry_run: bool) -> int:
    with only_one(path.parent):
        try:
            before = jsonl.loads(at_rest.read(layout, path))
        except (FileNotFoundError, InputError):
            return 0
        after, n = _without(before, is_meant)
        if n and not dry_run:
            at_rest.replace(layout, path, jsonl.compact(_wordless(after)))
        return n


def _without(value: Any, is_meant: Callable[[bytes], bool]) -> tuple[Any, int]:
    """`value` without the objects with an `input` that are meant, and how many that were."""
    if isinstance(value, dict):
        parts = {name: _without(item, is_meant) for name, item in value.items()}
        return {name: part for name, (part, _) in parts.items()}, sum(n for _, n in parts.values())
    if not isinstance(value, list):
        return value, 0
    meant = [isinstance(item, dict) and "input" in item and is_meant(jsonl.encode(item)) for item in value]
    kept = [_without(item, is_meant) for item, gone in zip(value, meant, strict=True) if not gone]
    return [part for part, _ in kept], sum(meant) + sum(n for _, n in kept)


def _wordless(value: Any) -> Any:
    if isinstance(value, dict):
        emptied: dict[str, Any] = {"words": [], "hypothesis": ""}
        return {name: emptied[name] if name in emptied else _wordless(item) for name, item in value.items()}
    return [_wordless(item) for item in value] if isinstance(value, list) else value
