"""The audit: one chain, whatever writes it, and what shows when somebody touches it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loopai_runtime import events, jsonl
from loopai_runtime.events import Audit, verify
from loopai_runtime.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first of them is today."""
    given = ["2026-01-01"]
    monkeypatch.setattr(events.time, "strftime", lambda *_: given[0])
    return given


def lines(layout: Layout, day: str = "2026-01-01") -> list[bytes]:
    return (layout.audit / f"{day}.jsonl").read_bytes().splitlines()


def write(layout: Layout, kept: list[bytes], day: str = "2026-01-01") -> None:
    (layout.audit / f"{day}.jsonl").write_bytes(b"".join(line + b"\n" for line in kept))


def record(layout: Layout, *names: str) -> None:
    for name in names:
        Audit(layout).record("llm", name=name)


def test_a_line_says_when_what_and_what_came_before(layout: Layout, days: list[str]) -> None:
    record(layout, "a", "b")
    first, second = map(jsonl.loads, lines(layout))
    assert (first["schema"], first["kind"], first["name"], first["previous"]) == (1, "llm", "a", events.FIRST)
    assert second["previous"] == events._hash(lines(layout)[0])
    assert first["at"].endswith("Z")
    assert verify(layout) == []


def test_the_chain_goes_on_over_days_and_over_a_clock_set_back(layout: Layout, days: list[str]) -> None:
    record(layout, "a", "b")
    days[0] = "2026-01-03"
    record(layout, "c")
    days[0] = "2026-01-02"
    record(layout, "d")
    assert [jsonl.loads(line)["name"] for line in lines(layout, "2026-01-03")] == ["c", "d"]
    assert verify(layout) == []


def test_a_changed_line_shows_at_the_next(layout: Layout, days: list[str]) -> None:
    record(layout, "a", "b", "c")
    first, second, third = lines(layout)
    write(layout, [first, second.replace(b'"b"', b'"x"'), third])
    (fault,) = verify(layout)
    assert (fault.line, fault.file) == (3, "2026-01-01.jsonl")


def test_a_line_taken_out_put_in_or_moved_shows(layout: Layout, days: list[str]) -> None:
    record(layout, "a", "b", "c", "d")
    whole = lines(layout)
    for kept in (whole[:1] + whole[2:], whole[:2] + whole[1:], [whole[0], whole[2], whole[1], whole[3]]):
        write(layout, kept)
        assert verify(layout)
    write(layout, [whole[0], b"{}", *whole[1:]])
    assert {fault.message for fault in verify(layout)} == {
        "is not a line of the audit",
        "does not follow the line before it",
    }


def test_a_day_taken_out_of_the_middle_shows_and_the_oldest_may_go(layout: Layout, days: list[str]) -> None:
    for day in ("2026-01-01", "2026-01-02", "2026-01-03"):
        days[0] = day
        record(layout, day)
    middle = layout.audit / "2026-01-02.jsonl"
    content = middle.read_bytes()
    middle.unlink()
    assert verify(layout)
    middle.write_bytes(content)
    (layout.audit / "2026-01-01.jsonl").unlink()
    assert verify(layout) == []


@pytest.mark.parametrize("torn", [b'{"schema": 1, "kind": "ll', b'{"schema":1,"kind":"x","previous":"y"}'])
def test_a_line_that_a_crash_tore_is_mended_and_the_chain_holds(
    layout: Layout, days: list[str], torn: bytes
) -> None:
    record(layout, "a")
    whole = torn.endswith(b"}")
    if whole:
        torn = torn.replace(b'"y"', b'"' + events._hash(lines(layout)[0]).encode() + b'"')
    with (layout.audit / "2026-01-01.jsonl").open("ab") as file:
        file.write(torn)
    record(layout, "b")
    assert len(lines(layout)) == (3 if whole else 2)
    assert verify(layout) == []


def test_two_processes_keep_one_chain(layout: Layout) -> None:
    code = (
        "import sys\nfrom loopai_runtime.events import Audit\nfrom loopai_runtime.layout import Layout\n"
        "audit = Audit(Layout(sys.argv[1]))\nfor i in range(60): audit.record('llm', who=sys.argv[2], i=i)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(layout.root), who]) for who in "ab"]
    assert [process.wait(180) for process in running] == [0, 0]
    assert verify(layout) == []
    assert sum(path.read_bytes().count(b"\n") for path in layout.audit.glob("*.jsonl")) == 120


def test_the_names_of_the_audit_are_its_own(layout: Layout) -> None:
    with pytest.raises(ValueError, match="previous"):
        Audit(layout).record("llm", previous="x")


def test_nothing_recorded_is_nothing_wrong(layout: Layout) -> None:
    assert verify(layout) == []
