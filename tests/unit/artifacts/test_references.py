from __future__ import annotations

import pytest

from loopai_runtime.artifacts.references import Reference, parse
from loopai_runtime.errors import UsageError


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("spam", Reference("spam", "active")),
        ("spam@active", Reference("spam", "active")),
        ("spam@previous", Reference("spam", "previous")),
        ("spam@3", Reference("spam", 3)),
        ("spam@v12", Reference("spam", 12)),
    ],
)
def test_every_way_to_name_a_version_is_understood(text: str, meant: Reference) -> None:
    assert parse(text) == meant
    assert parse(str(meant)) == meant


@pytest.mark.parametrize(
    "text",
    ["", "@3", "spam@", "spam@0", "spam@v0", "spam@-1", "spam@03", "spam@latest", "spam@1@2", "../x", "a/b@1",
     "Spam", "spam@٣", "spam@" + "9" * 30, "spam@v1\n", "spam\n"],
)  # fmt: skip
def test_anything_else_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)
