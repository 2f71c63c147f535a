"""loopai completion: the script, where it is installed, and that a shell completes with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from .conftest import Loopai

SCRIPTS = sysconfig.get_path("scripts")
NAMES = ("loopai", "loopai-runtime")


def completed(script: str, name: str, *words: str) -> list[str]:
    """What bash offers for the last of `words` after `name`."""
    function = f"_{name.replace('-', '_')}_completion"
    line = " ".join((name, *words))
    code = f'{script}\nCOMP_WORDS=({line}""); COMP_CWORD={len(words)}\n{function} {name}\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PATH": f"{SCRIPTS}:{os.environ['PATH']}"},
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("name", NAMES)
def test_bash_completes_commands_options_and_choices_of_both_names(loopai: Loopai, name: str) -> None:
    script = loopai("completion", "bash").out
    assert completed(script, name, "ge") == ["generate"]
    assert "--strategy" in completed(script, name, "generate", "--s")
    assert completed(script, name, "export", "--format", "k") == ["k8s"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_for_both_names(loopai: Loopai, shell: str) -> None:
    done = loopai("completion", shell)
    assert (done.code, done.err) == (0, "")
    for name, variable in zip(NAMES, ("_LOOPAI_COMPLETE", "_LOOPAI_RUNTIME_COMPLETE"), strict=True):
        assert f"{variable}=complete_{shell}" in done.out
        asked = {variable: f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        asked |= {"_TYPER_COMPLETE_ARGS": f"{name} ge", "COMP_WORDS": f"{name} ge", "COMP_CWORD": "1"}
        answer = subprocess.run([Path(SCRIPTS, name)], capture_output=True, text=True, env=os.environ | asked)
        assert "generate" in answer.stdout
        assert "Traceback" not in answer.stderr


def test_the_users_shell_is_meant_where_none_is_named(loopai: Loopai) -> None:
    assert loopai("completion", env={"SHELL": "/usr/bin/zsh"}).out == loopai("completion", "zsh").out
    done = loopai("completion", env={"SHELL": "/bin/tcsh"})
    assert done.code == 2
    assert "bash, zsh or fish" in done.err


@pytest.mark.parametrize(
    ("shell", "places"),
    [
        ("bash", [f".local/share/bash-completion/completions/{name}" for name in NAMES]),
        ("zsh", [f".zfunc/_{name}" for name in NAMES]),
        ("fish", [f".config/fish/completions/{name}.fish" for name in NAMES]),
    ],
)
def test_install_writes_where_the_shell_looks_and_says_where(
    loopai: Loopai, tmp_path: Path, shell: str, places: list[str]
) -> None:
    unset = dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR", "BASH_COMPLETION_USER_DIR"), "")
    for _ in range(2):
        done = loopai("completion", shell, "--install", env=unset | {"HOME": str(tmp_path)})
        assert done.code == 0, done.err
        assert done.out.splitlines() == [str(tmp_path / place) for place in places]
        assert "takes effect" in done.err
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert files == sorted(tmp_path / place for place in places)
    printed = loopai("completion", shell).out
    assert "".join((tmp_path / place).read_text() for place in places) == printed


def test_install_honours_the_places_that_the_user_chose(loopai: Loopai, tmp_path: Path) -> None:
    done = loopai("completion", "fish", "--install", env={"XDG_CONFIG_HOME": str(tmp_path / "c")})
    assert done.out.splitlines()[0] == str(tmp_path / "c" / "fish" / "completions" / "loopai.fish")


def test_completion_imports_no_heavy_library() -> None:
    heavy = ("litellm", "sklearn", "numpy", "httpx", "uvicorn", "starlette", "duckdb", "yaml", "rich")
    code = (
        "import sys, json; from loopai_runtime.cli.main import run_line; run_line(['completion', 'bash']); "
        f"print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
