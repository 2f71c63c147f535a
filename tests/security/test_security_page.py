"""docs/security.md gives a reason for everything that programs may use, and lists no more than the code."""

from __future__ import annotations

import re
from pathlib import Path

from loopai_runtime.sandbox import language, seccomp
from loopai_runtime.sandbox.facades import FACADES

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")


def named_in(header: str, column: int = 1) -> set[str]:
    """The names in backticks in a column of the table under `header`."""
    rows = PAGE[PAGE.index(header) :].split("\n\n", 1)[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[column])}


def test_every_builtin_has_its_reason() -> None:
    assert named_in("| builtins | why |") == set(language.BUILTINS)


def test_every_attribute_has_its_reason() -> None:
    assert named_in("| attributes | of | why |") == language.METHODS


def test_every_import_has_its_reason() -> None:
    assert named_in("| imports | left out, and why |") == set(FACADES)


def test_every_allowed_system_call_has_its_reason() -> None:
    assert named_in("| allowed call | on condition that | for |") == set(seccomp.ALLOWED)
