"""`check` and `init`: judge a specification with its examples; write one to start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import DocumentError, Fault, NotFound, StorageError, UsageError
from loopai_runtime.layout import replace_file
from loopai_runtime.synthesis import examples, specfile

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.synthesis.examples import ExampleSet

SCHEMA_FILE = "loopai.schema.json"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a specification is worth: its faults, or what its examples are."""

    faults: list[Fault] = field(default_factory=list)
    examples: ExampleSet | None = None

    def as_dict(self) -> dict[str, Any]:
        found = self.examples
        return {
            "ok": not self.faults,
            "faults": [
                {"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in self.faults
            ],
            "warnings": [str(warning) for warning in found.warnings] if found else [],
            "examples": len(found.examples) if found else 0,
            "labels": found.label_counts if found else {},
            "duplicates": found.duplicates if found else 0,
            "near_duplicates": found.near_duplicates if found else 0,
            "contradictions": [c.as_dict() for c in found.contradictions] if found else [],
        }


def check(path: str) -> Checked:
    """Read a specification and all of its examples. Raises NotFound where `path` itself is missing."""
    try:
        loaded = specfile.load(path)
    except DocumentError as exc:
        return Checked(exc.faults)
    try:
        found = examples.load_examples(loaded)
        for _ in examples.load_unlabelled(loaded):
            pass
    except DocumentError as exc:
        return Checked(exc.faults)
    except (NotFound, StorageError) as exc:
        return Checked([Fault(exc.message, exc.where)])
    return Checked(examples=found)


def templates() -> list[str]:
    """The names that `init --template` takes."""
    folder = files("loopai_runtime") / "templates"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def init(path: Path, template: str, *, force: bool = False) -> Path:
    """Write a packaged specification to `path`, and the schema that editors check it with beside it.

    Raises UsageError for an unknown template or where `path` exists and `force` is not given, StorageError.
    """
    if template not in templates():
        raise UsageError(f"no template {template!r}", hint=f"there are: {', '.join(templates())}")
    if path.exists() and not force:
        raise UsageError("there is a file already", where=str(path), hint="--force overwrites it")
    if not path.parent.is_dir():
        raise NotFound("no such folder", where=str(path.parent))
    text = (files("loopai_runtime") / "templates" / f"{template}.yaml").read_bytes()
    replace_file(path.parent / SCHEMA_FILE, (files("loopai_runtime") / "data" / SCHEMA_FILE).read_bytes())
    replace_file(path, f"# yaml-language-server: $schema=./{SCHEMA_FILE}\n".encode() + text)
    return path
