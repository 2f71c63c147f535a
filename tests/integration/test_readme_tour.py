"""The README's tour does what it says when its commands are pasted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_command_of_the_tour_runs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    tour = readme[readme.index("## Five minutes") :]
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", tour, flags=re.MULTILINE | re.DOTALL))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOPAI_")} | {
        "LOOPAI_DATA_DIR": str(tmp_path / "data"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == 10
    assert '\n"spam"\n' in done.stdout
    assert "at least" in done.stderr
    assert "Traceback" not in done.stderr
