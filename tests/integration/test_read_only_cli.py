"""A data directory that may only be read: what reads it works, what would write says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import EXAMPLES, Loopai

TASK = "spam-detection"
TEXT = '{"text": "hi"}'
# Root writes wherever it likes, unless it gives that up.
AS_A_USER = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []


@pytest.fixture
def read_only(spam: Loopai) -> Iterator[Loopai]:
    if AS_A_USER and not shutil.which("setpriv"):
        pytest.skip("root needs setpriv to be refused")
    everything = [spam.data_dir, *spam.data_dir.rglob("*")]
    modes = {path: path.stat().st_mode for path in everything if not path.is_symlink()}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    yield spam
    for path, mode in modes.items():
        path.chmod(mode)


def ran(loopai: Loopai, *args: object) -> subprocess.CompletedProcess[str]:
    command = [*AS_A_USER, sys.executable, "-m", "loopai_runtime", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=loopai.environment(), timeout=300)


@pytest.mark.parametrize(
    "args",
    [
        ("list",),
        ("versions", TASK),
        ("show", TASK),
        ("verify", TASK),
        ("run", TASK, TEXT, "--no-record"),
        ("evaluate", TASK, EXAMPLES / "spam" / "gold.csv"),
        ("why", TASK, TEXT),
        ("config", "show"),
    ],
    ids=lambda args: args[0],
)
def test_what_only_reads_works(read_only: Loopai, args: tuple[object, ...]) -> None:
    done = ran(read_only, *args)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_what_would_write_says_where_and_what_to_do(read_only: Loopai, tmp_path: Path) -> None:
    done = ran(read_only, "run", TASK, TEXT)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "permission denied" in done.stderr
    assert "--data-dir" in done.stderr
    assert ran(read_only, "export", TASK, "--out", tmp_path / "x.zip").returncode == 0
