"""Taking records out of files: overwritten with spaces where they stand, so that whoever appends is not disturbed.

Readers skip a blank line. A gzip is written anew beside itself and takes its own place. Killed anywhere, what is
left is whole, and the same command finishes the work.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

from loopai_runtime import at_rest, jsonl
from loopai_runtime.datasets import raw, tally
from loopai_runtime.datasets.encrypted import EncryptedFile
from loopai_runtime.datasets.queue import LINGER_S
from loopai_runtime.errors import InputError, UsageError
from loopai_runtime.files import only_one, replace_file, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from loopai_runtime.layout import Layout

_FIELD = re.compile(r"([A-Za-z_][\w-]*(?:\.[\w-]+)*)=(.*)", re.ASCII | re.DOTALL)
_CONTENT = ("input", "output", "oracle_output", "right", "error", "expected")
"""What of a record can hold what somebody sent; a regular expression looks there."""


class Match(NamedTuple):
    """Which records are meant: those whose `field` is `value`, or in which `pattern` is found."""

    field: tuple[str, ...]
    value: str
    pattern: re.Pattern[str] | None

    def record(self, record: Any) -> bool:
        """Whether a record (an object with an input, an output, …) is meant."""
        if not isinstance(record, dict):
            return False
        if self.pattern is not None:
            return any(self.text(text) for name in _CONTENT for text in texts(record.get(name)))
        places = [record] if self.field[0] in record else [record.get("input"), record.get("output")]
        return any(self._is(found) for place in places for found in _at(place, self.field))

    def text(self, text: str) -> bool:
        """Whether a text by itself, such as a label or a program, has what is looked for."""
        return self.pattern.search(text) is not None if self.pattern is not None else self.value in text

    def label(self, label: str) -> bool:
        """Whether a label as statistics name it is meant: the value itself, or a text with the pattern."""
        return self.pattern.search(label) is not None if self.pattern is not None else label == self.value

    def _is(self, found: Any) -> bool:
        if isinstance(found, str):
            return found == self.value
        return not isinstance(found, dict | list) and jsonl.dumps(found) == self.value

    def line(self, line: bytes) -> bool:
        """Whether a line is meant; of a damaged one whether its text has what is looked for."""
        try:
            return self.record(tally.read(line))
        except InputError:
            return self.text(line.decode("utf-8", "replace"))


def parse(text: str) -> Match:
    """`FIELD=VALUE` (`email=a@b.example`, `input.customer.id=7`, `execution_id=…`), else a regular expression.

    An expression that looks like the first is written `(?:…)`. Raises UsageError.
    """
    if match := _FIELD.fullmatch(text):
        if not match[2]:
            raise UsageError(f"--match {text!r} names no value", hint="--match email=jane@example.com")
        return Match(tuple(match[1].split(".")), match[2], None)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"--match {text!r} is no regular expression: {error}") from None
    if pattern.search("") is not None:
        raise UsageError(f"--match {text!r} would match everything")
    return Match((), "", pattern)


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names too, and every number as a text."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield jsonl.dumps(value)


def _at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """What stands at a path below a value; a list stands for each of its items."""
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def erase_lines(
    layout: Layout, path: Path, is_meant: Callable[[bytes], bool], *, dry_run: bool = False
) -> list[bytes]:
    """Overwrite the lines that are meant, and return them; none where there is no file. Raises StorageError.

    In an encrypted file that takes another one in its place, with spaces in its text, so that offsets stay right.
    """
    found: list[tuple[int, bytes]] = []
    with suppress(FileNotFoundError):
        with at_rest.opened(layout, path) as file:
            is_encrypted = at_rest.is_encrypted(file)
            found = _meant(file, is_meant)
        if found and not dry_run and is_encrypted:
            at_rest.rewrite(layout, path, lambda text: _blanked(text, is_meant))
        elif found and not dry_run:
            _overwrite(path, found)
    return [text for _, text in found]


def _meant(lines: Iterable[bytes], is_meant: Callable[[bytes], bool]) -> list[tuple[int, bytes]]:
    """The lines that are meant, without their newlines, and at which byte each begins."""
    found, at = [], 0
    for line in lines:
        text = line.rstrip(b"\n")
        if not text.isspace() and text and is_meant(text):
            found.append((at, text))
        at += len(line)
    return found


def _blanked(text: bytes, is_meant: Callable[[bytes], bool]) -> bytes:
    kept = bytearray(text)
    for at, line in _meant(BytesIO(text), is_meant):
        kept[at : at + len(line)] = b" " * len(line)
    return bytes(kept)


def _overwrite(path: Path, found: Sequence[tuple[int, bytes]]) -> None:
    with storage_errors(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for at, text in found:
                os.pwrite(descriptor, b" " * len(text), at)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def erase_day(
    layout: Layout, task_id: str, day: str, is_meant: Callable[[bytes], bool], *, dry_run: bool = False
) -> list[bytes]:
    """Take the raw executions that are meant out of all parts of a day, and return them. Raises StorageError."""
    found: list[bytes] = []
    with only_one(layout.executions(task_id)):
        for part in raw.days(layout, task_id).get(day, []):
            if part.kind == "gzip":
                found += _erase_packed(part, is_meant, dry_run)
            elif part.kind == "encrypted":
                found += _erase_encrypted(layout, part, is_meant, dry_run)
            else:
                found += erase_lines(layout, part.path, is_meant, dry_run=dry_run)
    return found


def _erase_packed(part: raw.Part, is_meant: Callable[[bytes], bool], dry_run: bool) -> list[bytes]:
    """A gzip is replaced by one without the lines that are meant, if it has any."""
    with part.open() as file:
        found = [line for lines, _ in raw.blocks(file) for line in lines if line.strip() and is_meant(line)]
    if found and not dry_run:
        with part.open() as file:
            kept = (
                line + b"\n"
                for lines, _ in raw.blocks(file)
                for line in lines
                if line.strip() and not is_meant(line)
            )
            raw.write_packed(part.path, kept)
    return found


def _erase_encrypted(
    layout: Layout, part: raw.Part, is_meant: Callable[[bytes], bool], dry_run: bool
) -> list[bytes]:
    """An encrypted file is replaced by one under another data key; its writer starts a new one when it notices.

    What it still appends to the old file until then is carried over.
    """
    with part.open() as file:
        lines = [line for block, _ in raw.blocks(file) for line in block if line.strip()]
        found = [line for line in lines if is_meant(line)]
        if not found or dry_run:
            return found
        read_to = file.position  # type: ignore[attr-defined]  # a `crypto.Plain`
        kept = b"".join(line + b"\n" for line in lines if not is_meant(line))
        replace_file(part.path, layout.vault.writer().whole(kept))
        time.sleep(LINGER_S)
        file.seek(read_to)
        if late := file.read(-1):
            rest = EncryptedFile(layout, part.path.parent.parent.name, part.path.name[:10])
            rest.append(late)
            rest.mark()
            os.close(rest.descriptor)
    return found
