"""The error tree: what each error means to a shell and to an HTTP client, and how it reads."""

from __future__ import annotations

import inspect
import re

import pytest

from loopai_runtime import errors
from loopai_runtime.errors import (
    ConfigError,
    Fault,
    InputError,
    LoopaiError,
    MissingExtra,
    PolicyRefused,
    ProgramError,
)

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, LoopaiError)]
ROW = re.compile(r"^[ │├└─]*(\w+) +(\d+) +(\d{3})")


def drawn_tree() -> dict[str, tuple[int, int, str | None]]:
    """The docstring's picture: name -> (exit code, HTTP status, parent)."""
    tree: dict[str, tuple[int, int, str | None]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := ROW.match(line):
            depth = match.start(1)
            above = [(column, name) for column, name in above if column < depth]
            tree[match[1]] = (int(match[2]), int(match[3]), above[-1][1] if above else None)
            above.append((depth, match[1]))
    return tree


def test_the_docstring_draws_exactly_the_tree_that_is_there() -> None:
    real = {
        cls.__name__: (cls.exit_code, cls.http_status, cls.__base__.__name__ if cls is not LoopaiError else None)
        for cls in CLASSES
        if cls.__base__ is not None
    }
    assert drawn_tree() == real


def test_exit_codes_are_those_of_the_contract() -> None:
    codes = {cls.__name__: cls.exit_code for cls in CLASSES}
    assert (
        codes["LoopaiError"] == codes["ProgramError"] == codes["ProgramKilled"] == codes["TamperedArtifact"] == 1
    )
    assert {
        codes[name] for name in ("UsageError", "SpecError", "InputError", "PolicyRefused", "MissingExtra")
    } == {2}
    rest = ("GateMissed", "AuthError", "NotFound", "Busy", "BatchFailed", "ProgramTimeout", "Interrupted")
    assert [codes[name] for name in rest] == [3, 4, 5, 6, 7, 124, 130]


def test_every_error_has_a_machine_name_of_its_own() -> None:
    kinds = [cls.kind for cls in CLASSES]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault("is wrong"), "is wrong"),
        (Fault("is wrong", "spec.yaml"), "spec.yaml: is wrong"),
        (Fault("is wrong", "spec.yaml", 3, "$.a[0]"), "spec.yaml:3: $.a[0]: is wrong"),
        (Fault("is wrong", line=3), "line 3: is wrong"),
        (Fault("is wrong", path="$.a"), "$.a: is wrong"),
    ],
)
def test_a_fault_reads_place_first(fault: Fault, text: str) -> None:
    assert str(fault) == text


def test_a_document_error_tells_its_first_fault_and_how_many_more() -> None:
    first, second = Fault("is wrong", "c.yaml", 1), Fault("is worse", "c.yaml", 2)
    assert str(ConfigError([first])) == "c.yaml:1: is wrong"
    both = ConfigError([first, second])
    assert str(both) == "c.yaml:1: is wrong (and 1 more)"
    assert both.faults == [first, second]


def test_an_error_with_a_place_says_the_place_first() -> None:
    assert str(LoopaiError("is full", where="/data")) == "/data: is full"
    assert str(LoopaiError("is full")) == "is full"
    assert str(InputError("must be a text", path="$.text", where="line 3")) == "line 3: $.text: must be a text"


def test_a_missing_extra_says_what_to_type() -> None:
    error = MissingExtra("the strategy llm", "llm")
    assert str(error) == "the strategy llm needs the extra [llm]"
    assert error.hint == "pip install 'loopai-runtime[llm]'"


def test_a_refused_program_lists_its_faults() -> None:
    error = PolicyRefused([Fault("`eval` is not allowed", line=2)])
    assert str(error) == "refused by the sandbox policy: line 2: `eval` is not allowed"
    assert len(error.faults) == 1


def test_a_program_error_carries_the_exception_and_its_line() -> None:
    error = ProgramError("division by zero", type="ZeroDivisionError", line=7)
    assert (error.type, error.line, error.message) == ("ZeroDivisionError", 7, "division by zero")
