"""Tables on a pipe and on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

CODE = (
    "import sys; from loopai_runtime.cli.options import Output; from loopai_runtime.cli import render\n"
    "render.rows([{'name': 'a', 'text': 'wide ' * 100 + '|', 'n': 1}, {'name': 'b', 'text': 'x', 'n': 22}],"
    " Output.TABLE, title='title ' * 60 + '|')\n"
    "render.record({'key': 'y' * 1000 + '|'}, Output.TABLE)"
)


@pytest.mark.parametrize("environment", [{}, {"COLUMNS": "40"}, {"TERM": "dumb", "FORCE_COLOR": "1"}])
def test_a_piped_table_neither_folds_nor_cuts(environment: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "TERM")}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=kept | environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum("title" in line for line in lines) == 1
    assert [line for line in lines if "wide " * 100 + "|" in line]
    assert [line for line in lines if "y" * 1000 + "|" in line]
    assert not [line for line in lines if "…" in line]
    assert max(map(len, lines)) < 1200


def test_a_table_on_a_terminal_folds_to_its_width() -> None:
    leader, follower = pty.openpty()
    environment = os.environ | {"COLUMNS": "60", "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        try:
            while block := os.read(leader, 4096):
                shown += block
        except OSError:  # how a terminal on Linux says that the other end is closed
            pass
        assert process.wait() == 0
    os.close(leader)
    text = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    assert text.count("wide") == 100
    assert all(len(line) <= 60 for line in text.splitlines())
