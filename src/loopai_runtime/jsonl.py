"""JSON and JSON Lines, strictly: one reader and one writer for everything on disk and on stdin.

RFC 8259 with no extensions: NaN and Infinity, duplicate keys and lone surrogates are refused with their place.
A line ends at `\\n` alone; U+2028 and U+0085 may stand inside a record.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from loopai_runtime.errors import InputError
from loopai_runtime.files import FILE_MODE, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MAX_LINE_BYTES = 64 * 1024 * 1024


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:30]} is too large")
    return number


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} is given twice")
            seen.add(key)
    return result


_decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_duplicates)


def loads(text: str | bytes, where: str | None = None) -> Any:
    """Parse one JSON value. Raises InputError saying what is wrong and at which column."""
    try:
        if isinstance(text, bytes):
            text = text.removeprefix(b"\xef\xbb\xbf").decode()
        value = _decoder.decode(text)
        if "\\u" in text:  # only an escape can smuggle in a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except json.JSONDecodeError as exc:
        raise InputError(f"not JSON: {exc.msg} at character {exc.pos + 1}", where=where) from None
    except UnicodeDecodeError as exc:
        raise InputError(f"not UTF-8 at byte {exc.start + 1}", where=where) from None
    except UnicodeEncodeError:
        raise InputError("a lone surrogate (half of a character) in a text", where=where) from None
    except RecursionError:
        raise InputError("not JSON: nested too deeply", where=where) from None
    except ValueError as exc:
        message = str(exc)
        if "integer string conversion" in message:
            message = "an integer of more than 4300 digits"
        raise InputError(f"not JSON: {message}", where=where) from None


def dumps(value: Any) -> str:
    """One line of JSON, as people read it: no ASCII escapes, no spaces wasted. Raises ValueError for NaN."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "), allow_nan=False)


def compact(value: Any, *, sort_keys: bool = False) -> bytes:
    """One line of JSON for the disk, without its newline. Raises ValueError for NaN and lone surrogates."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys, allow_nan=False)
    return text.encode("utf-8")


# A float that is whole may hide in a text where this matches; then each token is looked at. Strings are tokens
# too, so that nothing inside them is touched.
_MAYBE_WHOLE = re.compile(r"\d\.0(?!\d)|\de\+")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?\d++(?:\.\d++)?(?:e[+-]\d++)?')


def canonical(value: Any) -> bytes:
    """The same bytes for equal values, other bytes for others; what comparisons and keyed hashes are made over.

    Sorted keys, no spaces, and every whole number in digits alone: 1.0 is 1, 1e16 is 10000000000000000, -0.0 is 0.
    Raises ValueError for NaN and lone surrogates.
    """
    text = compact(value, sort_keys=True).decode("utf-8")
    if _MAYBE_WHOLE.search(text):
        text = _TOKEN.sub(_in_digits, text)
    return text.encode("utf-8")


def _in_digits(match: re.Match[str]) -> str:
    token = match[0]
    if token[0] == '"' or not ("." in token or "e" in token):
        return token
    number = float(token)
    return str(int(number)) if number.is_integer() else token


def equal(a: Any, b: Any) -> bool:
    """Equal as JSON values: `1` and `1.0` are, `1` and `true` are not."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return (type(a) is type(b) and bool(a == b)) or (_number(a) and _number(b) and bool(a == b))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a JSONL file: its number, from 1, and its bytes without the newline."""

    number: int
    raw: bytes


def lines(file: IO[bytes]) -> Iterator[Line]:
    """The lines of a file that are not blank; a BOM is dropped. Raises InputError for one over 64 MiB."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise InputError(f"a line of more than {MAX_LINE_BYTES // 2**20} MiB", where=f"line {number}")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        raw = raw.rstrip(b"\r\n")
        if raw.strip():
            yield Line(number, raw)


def kept_lines(file: IO[bytes]) -> Iterator[Line]:
    """The same of a file that others append to: a last line that is no JSON and has no newline was torn by a
    crash, or is still being written, and nobody was told that it is kept."""
    before: Line | None = None
    for line in lines(file):
        if before is not None:
            yield before
        before = line
    if before is None:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        try:
            loads(before.raw)
        except InputError:
            return
    yield before


def encode(value: Any, *, sort_keys: bool = False) -> bytes:
    """A strict JSON value as one compact line, as fast as it goes; the spelling of some floats may differ from
    `compact`, so nothing that is compared, or hashed for good, is made of it."""
    import orjson  # here, as commands that serve nothing need not load it

    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:  # an integer beyond 64 bits
        return compact(value, sort_keys=sort_keys)


def append(path: Path, records: Iterable[bytes]) -> None:
    """Append records, each one line, as a single O_APPEND write, so that other processes' lines stay whole.

    Raises StorageError; after a partial write (a full disk) the file is cut back to where it was. Whoever renames
    or removes such a file holds its lock (`flock`) meanwhile: the records go to the file that takes its place.
    """
    block = b"".join(record + b"\n" for record in records)
    if not block:
        return
    with storage_errors(path):
        kept = False
        while not kept:
            descriptor = open_to_append(path)
            try:
                kept = append_if_at(path, descriptor, block)
            finally:
                os.close(descriptor)


def append_if_at(path: Path, descriptor: int, block: bytes) -> bool:
    """`append_block`, unless `path` names another file by the time that this one is locked. Raises OSError."""
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        still = os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        still = False
    if still:
        append_block(descriptor, block)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    return still


def open_to_append(path: Path) -> int:
    """A descriptor for `append_block`. Raises OSError."""
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


def append_block(descriptor: int, block: bytes) -> int:
    """Append whole lines, or nothing; answers how many bytes of a torn tail were cut off before. Raises OSError.

    The lock orders appenders only while one of them mends a torn tail or undoes a partial write.
    """
    import errno
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        size = os.fstat(descriptor).st_size
        torn = 0
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            size, torn, block = _mended(descriptor, size, block)
        written = os.write(descriptor, block)
        if written != len(block):
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, "short write")
        return torn
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def append_more(descriptor: int, block: bytes) -> None:
    """Append whole lines to a file that `append_block` has mended, by one system call. Raises OSError.

    Other appenders take a partial write, before it is undone here, for a torn tail, and mend it.
    """
    import errno

    written = os.write(descriptor, block)
    if written != len(block):
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if os.fstat(descriptor).st_size == end:
            os.ftruncate(descriptor, end - written)
        raise OSError(errno.ENOSPC, "short write")


def _mended(descriptor: int, size: int, block: bytes) -> tuple[int, int, bytes]:
    """A last line without its newline: completed if it is whole JSON (somebody's editor), else cut off: it was
    torn by a crash, so nobody was told that it had been kept."""
    start = size
    tail = b""
    while start and b"\n" not in tail:
        start = max(0, start - 65536)
        tail = os.pread(descriptor, size - start, start)
    line = tail.rpartition(b"\n")[2]
    try:
        loads(line)
        return size, 0, b"\n" + block
    except InputError:
        os.ftruncate(descriptor, size - len(line))
        return size - len(line), len(line), block
