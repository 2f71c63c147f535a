"""Every error a user can meet, in one tree; each knows its exit code and its HTTP status.

    LoopaiError                     1    500
    ├── UsageError                  2    400    a flag or an argument
    │   ├── DocumentError           2    422    a document that people write, with all of its faults
    │   │   ├── ConfigError         2    500    deployment.yaml, an environment variable
    │   │   └── SpecError           2    422    a specification or the examples it names
    │   ├── InputError              2    422    an input that the task's schema refuses
    │   ├── PolicyRefused           2    422    a program the language policy does not let in
    │   └── MissingExtra            2    501    a feature whose pip extra is not installed
    ├── GateMissed                  3    409    a quality gate: accuracy, --fail-under, drift, nothing to judge on
    ├── AuthError                   4    401
    ├── NotFound                    5    404    a task, version or file; no active version
    ├── Busy                        6    503    a lock is held, a server already runs
    ├── BatchFailed                 7    207    some line of a batch failed
    ├── TamperedArtifact            1    500    an artifact that is not what its digest says
    ├── PersonalData                1    422    a version that was to leave, with personal data in it
    ├── ModelError                  1    502    a language model that cannot be asked: no key, refused, late
    │   └── UnusableAnswer          1    502    its answer was cut off, or is none
    ├── CapReached                  1    402    the call that would have passed the limit of money was not made
    ├── StorageError                1    507    the data directory: read-only, full, damaged
    │   └── StorageAway             1    503    storage elsewhere: a bucket that does not answer
    ├── Unreachable                 1    502    the platform does not answer, or not as one
    ├── OracleError                 1    502    the oracle did not answer, or not what was asked for
    ├── ProgramError                1    500    the program raised, or answered what its schema forbids
    │   ├── ProgramKilled           1    500    stopped by the cage or the memory limit
    │   └── ProgramTimeout        124    504    stopped by the clock
    └── Interrupted               130    499

An error's text is what happened; `where` is the file, line or JSON path; `hint` is what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a document, and where: `file:line: path: message`."""

    message: str
    file: str | None = None
    line: int | None = None
    path: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class LoopaiError(Exception):
    """The root. `kind` is the stable machine name that JSON output and problem+json carry."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UsageError(LoopaiError):
    exit_code = 2
    http_status = 400
    kind = "usage"


class DocumentError(UsageError):
    """A document that people write, with every fault found in it."""

    http_status = 422
    kind = "document"

    def __init__(self, faults: list[Fault], *, hint: str | None = None) -> None:
        first = str(faults[0]) if faults else "invalid document"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(first + more, hint=hint)
        self.faults = faults


class ConfigError(DocumentError):
    http_status = 500
    kind = "config"


class SpecError(DocumentError):
    """A specification, or the examples it names."""

    kind = "spec"


class InputError(UsageError):
    """An input that is not JSON or that the task's schema refuses; `path` is the JSON path of the fault."""

    http_status = 422
    kind = "input"

    def __init__(
        self, message: str, *, path: str | None = None, where: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, where=where, hint=hint)
        self.path = path

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.path, self.message) if part)


class PolicyRefused(UsageError):
    """A program that the language policy refuses; each fault has a line, the construct and what to write."""

    http_status = 422
    kind = "policy"

    def __init__(self, faults: list[Fault]) -> None:
        first = str(faults[0]) if faults else "refused"
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"refused by the sandbox policy: {first}{more}")
        self.faults = faults


class MissingExtra(UsageError):
    """A feature whose optional dependency is not installed."""

    http_status = 501
    kind = "missing_extra"

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra [{extra}]", hint=f"pip install 'loopai-runtime[{extra}]'")
        self.extra = extra


class GateMissed(LoopaiError):
    exit_code = 3
    http_status = 409
    kind = "gate_missed"


class AuthError(LoopaiError):
    exit_code = 4
    http_status = 401
    kind = "auth"


class NotFound(LoopaiError):
    exit_code = 5
    http_status = 404
    kind = "not_found"


class Busy(LoopaiError):
    exit_code = 6
    http_status = 503
    kind = "busy"


class BatchFailed(LoopaiError):
    exit_code = 7
    http_status = 207
    kind = "batch_failed"


class TamperedArtifact(LoopaiError):
    kind = "tampered"


class PersonalData(LoopaiError):
    """There is personal data in what was to leave this machine."""

    http_status = 422
    kind = "personal_data"


class ModelError(LoopaiError):
    """A language model cannot be asked, or did not give an answer that can be used."""

    http_status = 502
    kind = "model"


class UnusableAnswer(ModelError):
    """The model answered, and what it said cannot be used: another input may well get an answer."""

    kind = "unusable_answer"


class CapReached(LoopaiError):
    """The call that could have passed a limit of money was not made."""

    http_status = 402
    kind = "cap"


class StorageError(LoopaiError):
    http_status = 507
    kind = "storage"


class StorageAway(StorageError):
    """Storage on another machine; it may answer later."""

    http_status = 503
    kind = "storage_away"


class Unreachable(LoopaiError):
    """The platform: nobody answers there, or what answers is no platform."""

    http_status = 502
    kind = "unreachable"


class OracleError(LoopaiError):
    """The oracle has no answer to an input. `why` tells apart what a caller does about it:

    unreachable (ask later), answer (this input got none that is usable), pending (a person will answer), money.
    """

    http_status = 502
    kind = "oracle"

    def __init__(
        self,
        message: str,
        *,
        why: Literal["unreachable", "answer", "pending", "money"] = "unreachable",
        billed: bool = False,
        where: str | None = None,
        hint: str | None = None,
    ) -> None:
        """`billed`: the call may have to be paid for all the same."""
        super().__init__(message, where=where, hint=hint)
        self.why = why
        self.billed = billed


class ProgramError(LoopaiError):
    """The program raised; `type` is its exception's name, `line` the line of program.py."""

    kind = "program"

    def __init__(
        self, message: str, *, type: str = "Error", line: int | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.type = type
        self.line = line


class ProgramKilled(ProgramError):
    kind = "killed"


class ProgramTimeout(ProgramError):
    exit_code = 124
    http_status = 504
    kind = "timeout"


class Interrupted(LoopaiError):
    exit_code = 130
    http_status = 499
    kind = "interrupted"
