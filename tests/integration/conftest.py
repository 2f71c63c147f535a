"""The command line as its users have it: a process, a data directory, a specification on disk."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from tests import nursery

from loopai_runtime.cli.main import run_line

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.split("\n") if line]


class Loopai:
    """Runs `loopai` with one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LOOPAI_")}
        return kept | {"LOOPAI_DATA_DIR": str(self.data_dir)} | extra

    def __call__(self, *args: object, stdin: str | bytes = b"", env: dict[str, str] | None = None) -> Done:
        raw = stdin.encode() if isinstance(stdin, str) else stdin
        line, environment = list(map(str, args)), self.environment(**(env or {}))
        if any(name.startswith("PYTHON") for name in env or {}):  # an interpreter reads these when it starts
            typed = [sys.executable, "-m", "loopai_runtime", *line]
            done = subprocess.run(typed, input=raw, capture_output=True, env=environment, timeout=300)
        else:
            done = nursery.run(line, environment, raw)
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *args: object) -> nursery.Started:
        return nursery.Started(list(map(str, args)), self.environment())


def in_process(data_dir: Path, *args: object, **env: str) -> Done:
    """A command in this process: most of what is tested takes less than an interpreter to start."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name, value in {"LOOPAI_DATA_DIR": str(data_dir), **env}.items():
            patch.setenv(name, value)
        code = run_line([*map(str, args)])
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture
def loopai(tmp_path: Path) -> Loopai:
    """A `loopai` with an empty data directory."""
    return Loopai(tmp_path / "data")


@pytest.fixture(scope="session")
def spam_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which examples/spam has been generated, once for all workers; copy it, do not change it."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "spam-made"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            done = Loopai(making := place.with_name("spam-making"))("generate", EXAMPLES / "spam" / "spec.yaml")
            assert done.code == 0, done.err
            making.rename(place)
    return place


@pytest.fixture
def spam(spam_made: Path, tmp_path: Path) -> Loopai:
    """A `loopai` whose data directory holds an active spam-detection@1."""
    data_dir = tmp_path / "data"
    shutil.copytree(spam_made, data_dir, symlinks=True)
    return Loopai(data_dir)


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small two-label specification; keywords replace its keys."""

    def write(name: str = "spec.yaml", **changes: Any) -> Path:
        spec: dict[str, Any] = {
            "name": "tiny",
            "description": "praise or complaint",
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
            "output_schema": {"type": "string", "enum": ["good", "bad"]},
            "examples": [
                {"input": {"text": f"{word} {thing} number {n}"}, "output": label}
                for n, thing in enumerate(("lamp", "chair", "phone", "table", "delivery", "shop", "help", "price"))
                for word, label in (("great lovely", "good"), ("broken awful", "bad"))
            ],
            "accuracy_target": 0.6,
        }
        path = tmp_path / name
        path.write_text(json.dumps({k: v for k, v in (spec | changes).items() if v is not None}), encoding="utf-8")
        return path

    return write
