"""What an artifact is: its files, the digests that bind them together, and the check that they are what they say.

metadata.json is the manifest. Its `files` holds the SHA-256 of every other file, signature.json excepted, and
each of those must equal a known template as rendered from the metadata, so that an artifact can carry no code
but program.py. What a manifest cannot hold is its own hash. That is the part of the digest of the artifact:

    SHA-256( bytes of program.py  ‖  canonical JSON of metadata.json )

where the metadata is without `version` and `origin`, and its `files` without any name but `program.py`; the
canonical JSON is UTF-8 with sorted keys, no spaces and numbers as the file has them (10.0 stays 10.0), and
nothing stands between the two parts. The digest is thus the same under every number and wherever the artifact
is kept; state.json in the store, a platform's signature, or a person who wrote it down holds it from outside.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopai_runtime import jsonl
from loopai_runtime.artifacts import templates
from loopai_runtime.errors import InputError, TamperedArtifact
from loopai_runtime.models import ProgramArtifact

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM = "program.py"
METADATA = "metadata.json"
SIGNATURE = "signature.json"
LISTED = (PROGRAM, *templates.NAMES)
ALLOWED = frozenset((METADATA, SIGNATURE, *LISTED))


@dataclass(frozen=True, slots=True)
class Bundle:
    """An artifact whose files have been found to agree with one another."""

    artifact: ProgramArtifact
    files: Mapping[str, bytes]
    digest: str

    @property
    def code(self) -> str:
        return self.files[PROGRAM].decode("utf-8")

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(map(len, self.files.values()))

    def __repr__(self) -> str:
        return f"Bundle({self.artifact.task_id!r}, version={self.artifact.version}, digest={self.digest!r})"


def build(artifact: ProgramArtifact, code: str) -> Bundle:
    """The bundle of a new version: renders what stands beside the program, and fills in `files`."""
    metadata = artifact.model_dump(mode="json", by_alias=True)
    if metadata["origin"] is None:
        del metadata["origin"]
    return _assemble(metadata, code.encode("utf-8"))


def adopt(bundle: Bundle, *, task_id: str, version: int, origin: dict[str, Any]) -> Bundle:
    """The same artifact under another number, and the same digest; under another task id it has a new one.

    A signature stays as long as the digest that it signs.
    """
    metadata = json.loads(bundle.files[METADATA])
    renamed = task_id != metadata["task_id"]
    metadata |= {"task_id": task_id, "version": version, "origin": origin}
    signature = None if renamed else bundle.files.get(SIGNATURE)
    return _assemble(metadata, bundle.files[PROGRAM], signature)


def _assemble(metadata: dict[str, Any], program: bytes, signature: bytes | None = None) -> Bundle:
    rendered = templates.render(ProgramArtifact.model_validate_json(json.dumps(metadata)))
    beside = {PROGRAM: program, **rendered}
    metadata = metadata | {"files": {name: sha256(content) for name, content in beside.items()}}
    text = json.dumps(metadata, ensure_ascii=False, indent=1, allow_nan=False).encode("utf-8") + b"\n"
    signed = {} if signature is None else {SIGNATURE: signature}
    return check(beside | {METADATA: text} | signed)


def check(files: Mapping[str, bytes], where: str | None = None) -> Bundle:
    """The bundle that `files` (name -> content) are. Raises TamperedArtifact naming the file and the digests."""
    for name, content in files.items():
        check_name(name, content, where)
    metadata, artifact = _manifest(files, where)
    for name in LISTED:
        _check_listed(name, files.get(name), artifact, where)
    _check_program(files[PROGRAM], where)
    known = [templates.render(artifact, which) for which in templates.SETS]
    for name in templates.NAMES:
        if all(rendered.get(name) != files[name] for rendered in known):
            raise TamperedArtifact(
                f"{name} (SHA-256 {sha256(files[name])}) equals no template that this release knows",
                where=where,
                hint=_HINT,
            )
    if SIGNATURE in files:
        _check_json(SIGNATURE, files[SIGNATURE], where)
    return Bundle(artifact, dict(files), digest(files[PROGRAM], metadata))


def check_name(name: str, content: bytes, where: str | None = None) -> None:
    """Raises TamperedArtifact for a file that an artifact cannot have."""
    if name not in ALLOWED:
        raise TamperedArtifact(
            f"{name} (SHA-256 {sha256(content)}) is no part of an artifact", where=where, hint=_HINT
        )


_HINT = "it was changed after it was made; get it again from where it came from, or serve another version"


def _manifest(files: Mapping[str, bytes], where: str | None) -> tuple[dict[str, Any], ProgramArtifact]:
    from pydantic import ValidationError

    if METADATA not in files:
        raise TamperedArtifact(f"{METADATA} is missing", where=where, hint=_HINT)
    raw = files[METADATA]
    metadata = _check_json(METADATA, raw, where)
    try:
        artifact = ProgramArtifact.model_validate_json(raw, strict=True)
    except ValidationError as exc:
        first = exc.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise TamperedArtifact(
            f"{METADATA} (SHA-256 {sha256(raw)}) is not valid: {path}: {first['msg']}", where=where, hint=_HINT
        ) from None
    if set(artifact.files) != set(LISTED):
        wrong = ", ".join(sorted(set(artifact.files) ^ set(LISTED)))
        raise TamperedArtifact(
            f"{METADATA} does not list the files of an artifact: {wrong}", where=where, hint=_HINT
        )
    return metadata, artifact


def _check_json(name: str, raw: bytes, where: str | None) -> dict[str, Any]:
    try:
        value = jsonl.loads(raw)
    except InputError as exc:
        fault = exc.message
    else:
        if isinstance(value, dict):
            return value
        fault = "not an object"
    raise TamperedArtifact(f"{name} (SHA-256 {sha256(raw)}): {fault}", where=where, hint=_HINT)


def _check_listed(name: str, content: bytes | None, artifact: ProgramArtifact, where: str | None) -> None:
    if content is None:
        raise TamperedArtifact(
            f"{name} is missing: {METADATA} lists it with SHA-256 {artifact.files[name]}", where=where, hint=_HINT
        )
    found = sha256(content)
    if found != artifact.files[name]:
        raise TamperedArtifact(
            f"{name} has SHA-256 {found}, and {METADATA} says {artifact.files[name]}", where=where, hint=_HINT
        )


def _check_program(content: bytes, where: str | None) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise TamperedArtifact(
            f"{PROGRAM} (SHA-256 {sha256(content)}) is not UTF-8 at byte {exc.start + 1}", where=where, hint=_HINT
        ) from None


def digest(program: bytes, metadata: Mapping[str, Any]) -> str:
    """The digest of an artifact (hex), as the head of this module defines it."""
    bound = {key: value for key, value in metadata.items() if key not in ("version", "origin")}
    bound["files"] = {PROGRAM: metadata["files"][PROGRAM]}
    return sha256(program + jsonl.compact(bound, sort_keys=True))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
