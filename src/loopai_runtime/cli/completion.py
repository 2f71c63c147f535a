"""`loopai completion`: what a shell needs to complete the command line."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer import completion as machinery

from loopai_runtime.cli import options

NAMES = ("loopai", "loopai-runtime")


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    # Typer knows its own scripts' requests only after this; by itself it would add two options to every help.
    machinery.completion_init()  # type: ignore[attr-defined]
    app.command("completion", rich_help_panel=options.OPERATE)(completion)


def completion(
    shell: Annotated[
        Shell | None, typer.Argument(help="The shell; else the one that SHELL names.", show_default=False)
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Write it where the shell looks for completions, and say where.")
    ] = False,
) -> None:
    """Print the script with which a shell completes loopai's commands and options.

    For this session alone: source <(loopai completion bash)
    """
    from loopai_runtime.cli.render import out, say

    chosen = shell or _users_shell()
    if not install:
        for name in NAMES:
            out(script(name, chosen))
        return
    from loopai_runtime.files import replace_users_file

    for name in NAMES:
        out(str(replace_users_file(place(name, chosen), f"{script(name, chosen)}\n".encode())))
    say(_NEXT[chosen])


def script(name: str, shell: Shell) -> str:
    """Typer's completion script for one console name."""
    variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
    text = machinery.get_completion_script(  # type: ignore[attr-defined]
        prog_name=name, complete_var=variable, shell=shell.value
    )
    return str(text)


def place(name: str, shell: Shell) -> Path:
    """Where the user's own completions of a command are looked for."""
    home = Path.home()
    if shell is Shell.FISH:
        return (
            Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / f"{name}.fish"
        )
    if shell is Shell.ZSH:
        return Path(os.environ.get("ZDOTDIR") or home) / ".zfunc" / f"_{name}"
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return Path(os.environ.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion") / "completions" / name


_NEXT = {
    Shell.BASH: "takes effect in a new shell, where the package bash-completion is installed",
    Shell.ZSH: "takes effect in a new shell, where .zshrc has these two lines:\n"
    "  fpath+=${ZDOTDIR:-~}/.zfunc\n"
    "  autoload -Uz compinit && compinit",
    Shell.FISH: "takes effect in a new shell",
}


def _users_shell() -> Shell:
    from loopai_runtime.errors import UsageError

    name = Path(os.environ.get("SHELL", "")).name
    if name in list(Shell):
        return Shell(name)
    raise UsageError("say for which shell: bash, zsh or fish", hint="loopai completion bash")
