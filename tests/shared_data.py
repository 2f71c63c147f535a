"""Benchmark data beside the checkout, for those who have it; tests that need it skip elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2] / "shared" / "data"


def rows(name: str, part: str) -> list[dict[str, Any]]:
    """The rows of `train` or `test` of a set."""
    return _records(ROOT / name / f"{part}.jsonl")


def tasks(name: str) -> list[dict[str, Any]]:
    """The tasks of a set of transformations."""
    return _records(ROOT / name / "tasks.jsonl")


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        pytest.skip(f"no benchmark data at {path.parent}")
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


def card(name: str) -> dict[str, Any]:
    """What is said of a set: its schemas, source and licence."""
    path = ROOT / name / "card.json"
    if not path.exists():
        pytest.skip(f"no benchmark data at {path.parent}")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
