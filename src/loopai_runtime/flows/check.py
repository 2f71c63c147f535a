"""`check` and `init`: judge a specification with its examples; write one to start from."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from loopai_runtime.errors import Fault, NotFound, SpecError, UsageError
from loopai_runtime.files import replace_users_file
from loopai_runtime.synthesis import examples, specfile
from loopai_runtime.validation import options

if TYPE_CHECKING:
    from pathlib import Path

    from loopai_runtime.crypto import Vault
    from loopai_runtime.models import TaskSpecification
    from loopai_runtime.synthesis.examples import ExampleSet

SCHEMA_FILE = "loopai.schema.json"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a specification is worth: its faults, or what its examples are."""

    faults: list[Fault] = field(default_factory=list)
    examples: ExampleSet | None = None
    unlabelled: int = 0
    ignored: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """What `check -o json` prints."""
        found = self.examples
        return {
            "ok": not self.faults,
            "faults": [
                {"file": f.file, "line": f.line, "path": f.path, "message": f.message} for f in self.faults
            ],
            "warnings": [str(warning) for warning in found.warnings] if found else [],
            "examples": found.given if found else 0,
            "labels": found.label_counts if found else {},
            "duplicates": found.duplicates if found else 0,
            "near_duplicates": found.near_duplicates if found else 0,
            "contradictions": [c.as_dict() for c in found.contradictions] if found else [],
            "unlabelled": self.unlabelled,
        }


def check(path: str, vault: Vault | None = None) -> Checked:
    """Read a specification and all of its files, and find every fault of all of them.

    `vault` opens files that were encrypted here. Raises NotFound where `path` itself is missing, StorageError
    where it cannot be read.
    """
    examined = specfile.examine(path)
    faults = list(examined.faults)
    sound = examined.sound
    if sound is not None and sound.spec.oracle is not None:
        faults += options.faults(sound.spec.oracle, sound.document)
    found, unlabelled = None, 0
    # Without examples of its own, what is left of a faulty specification may only seem to have none.
    if sound is not None and (not faults or sound.spec.examples_from):
        try:
            found = examples.load_examples(sound, vault=vault)
        except examples.NoExamples as exc:
            if sound.spec.generate.model is None:
                faults += exc.faults
        except SpecError as exc:
            faults += exc.faults
    if sound is not None:
        try:
            unlabelled = sum(1 for _ in examples.load_unlabelled(sound, vault))
        except SpecError as exc:
            faults += exc.faults
    ignored = not_applied(sound.spec) if sound is not None and "oracle" not in sound.document.data else []
    if sound is not None and found is None and not faults:
        ignored.append(f"no examples: {sound.spec.generate.model} makes some up when generate runs")
    return Checked(faults, ignored=ignored) if faults else Checked([], found, unlabelled, ignored)


def not_applied(spec: TaskSpecification) -> list[str]:
    """What a specification asks for and does not get, in sentences."""
    if spec.abstain is None or spec.abstain.on_abstain != "defer" or spec.oracle is not None:
        return []
    return ["on_abstain: defer needs an oracle: unless the deployment names one, an abstained input gets null"]


def templates() -> list[str]:
    """The names that `init --template` takes."""
    folder = files("loopai_runtime") / "templates"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def init(path: Path, template: str, *, force: bool = False) -> Path:
    """Write a packaged specification to `path`, and the schema that editors check it with beside it.

    Raises UsageError for an unknown template or where `path` exists and `force` is not given, NotFound where its
    folder does not exist, StorageError.
    """
    if template not in templates():
        raise UsageError(f"no template {template!r}", hint=f"there are: {', '.join(templates())}")
    if path.is_dir():
        raise UsageError("is a directory", where=str(path), hint=f"loopai init {path / 'spec.yaml'}")
    if path.exists() and not force:
        raise UsageError("there is a file already", where=str(path), hint="--force overwrites it")
    if not path.parent.is_dir():
        raise NotFound("no such folder", where=str(path.parent), hint=f"mkdir -p {path.parent}")
    text = (files("loopai_runtime") / "templates" / f"{template}.yaml").read_bytes()
    schema = (files("loopai_runtime") / "data" / SCHEMA_FILE).read_bytes()
    replace_users_file(path.parent / SCHEMA_FILE, schema)
    replace_users_file(path, f"# yaml-language-server: $schema=./{SCHEMA_FILE}\n".encode() + text)
    return path
