"""Personal data in what a version is made of: the texts of its program, and its metadata."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts.bundle import METADATA, PROGRAM
from loopai_runtime.redaction import Finding, find, find_in_number
from loopai_runtime.synthesis.privacy import constants, spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopai_runtime.artifacts.bundle import Bundle

_DIGESTS = frozenset({"files", "rows", "id", "created_at", "origin"})
"""Members of metadata that are hashes, times and numbers of our own making."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Where personal data stands, of which kind, and what it looks like, masked."""

    name: str
    place: str
    kind: str
    masked: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def leaks(name: str, bundle: Bundle) -> list[Leak]:
    """All personal data in a bundle's program and metadata."""
    program, metadata = bundle.files[PROGRAM].decode("utf-8"), jsonl.loads(bundle.files[METADATA])
    return [
        Leak(name, place, finding.kind, mask(str(constant)[finding.start : finding.end]))
        for place, constant in [*_in_program(program), *_in_json(metadata, "$")]
        for finding in _find(constant)
    ]


def _find(constant: str | int) -> list[Finding]:
    return find(constant) if isinstance(constant, str) else find_in_number(constant)


def mask(text: str) -> str:
    """The first and last character of a text, and how long it is."""
    return f"{text[0]}…{text[-1]} ({len(text)} characters)"


def _in_program(source: str) -> Iterator[tuple[str, str | int]]:
    """Each text and number of a program with its place."""
    for line, constant in constants(source):
        for text in dict.fromkeys((constant, spelled(constant))):
            yield f"{PROGRAM}:{line}", text


def _in_json(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in _DIGESTS:
                yield f"{METADATA}: {path}.{key}", key
                yield from _in_json(item, f"{path}.{key}")
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _in_json(item, f"{path}[{at}]")
    elif isinstance(value, str):
        yield f"{METADATA}: {path}", value
