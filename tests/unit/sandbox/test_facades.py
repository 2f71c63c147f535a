"""What programs get from their imports, where the interpreter's own code imports on their behalf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from loopai_runtime.errors import PolicyRefused
from loopai_runtime.sandbox.pool import SyncPool
from loopai_runtime.sandbox.records import Program


@pytest.fixture(scope="module")
def pool() -> Iterator[SyncPool]:
    with SyncPool(1) as pool:
        yield pool


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("datetime.date(2026, 1, 2).strftime('%d %B %Y')", "02 January 2026"),
        ("f'{datetime.date(2026, 1, 2):%A}'", "Friday"),
        ("datetime.datetime.strptime('2 Jan 2026', '%d %b %Y').isoformat()", "2026-01-02T00:00:00"),
        (
            "datetime.datetime(2026, 1, 2).astimezone(datetime.timezone.utc).isoformat()",
            "2026-01-02T00:00:00+00:00",
        ),
        ("f'{decimal.Decimal(12345):,.2f}'", "12,345.00"),
        ("str(fractions.Fraction(6, 4))", "3/2"),
        ("collections.Counter('aab').most_common(1)", [["a", 2]]),
        ("json.loads(json.dumps({'a': [1]}))", {"a": [1]}),
        ("hashlib.sha256(b'').hexdigest()[:8]", "e3b0c442"),
    ],
)
def test_a_facade_works_in_the_sandbox(pool: SyncPool, expression: str, answer: Any) -> None:
    modules = ("collections", "datetime", "decimal", "fractions", "hashlib", "json")
    used = "".join(f"import {name}\n" for name in modules if f"{name}." in expression)
    pool.load(Program("p", f"{used}def run(x):\n    return {expression}\n"))
    outcome = pool.call("p", None)
    assert (outcome.output, outcome.error) == (answer, None)


def test_a_program_itself_cannot_import_what_the_interpreter_may(pool: SyncPool) -> None:
    with pytest.raises(PolicyRefused, match="no clock"):
        pool.check("import time\ndef run(x):\n    return time.time()\n")
