"""The command line as a whole: its tree, its start-up, and how errors leave it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import typer
from typer.main import get_command

from loopai_runtime.cli import main as cli
from loopai_runtime.errors import Fault, GateMissed, InputError, SpecError

HEAVY = ("litellm", "sklearn", "numpy", "scipy", "httpx", "uvicorn", "starlette", "duckdb", "pydantic", "yaml")


def test_both_console_names_are_the_same_application() -> None:
    scripts = {e.name: e.value for e in entry_points(group="console_scripts") if e.name.startswith("loopai")}
    assert scripts == dict.fromkeys(("loopai", "loopai-runtime"), "loopai_runtime.cli.main:main")


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys, json; from loopai_runtime.cli.main import run_line; run_line(['--help']); "
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_commands_are_grouped_in_the_panels_of_the_contract() -> None:
    tree = get_command(cli.app)
    panels: dict[str, list[str]] = {}
    for name, command in tree.commands.items():  # type: ignore[attr-defined]
        panels.setdefault(command.rich_help_panel, []).append(name)
    assert set(panels) <= {"Author", "Use", "Watch", "Improve", "Operate"}
    assert {"init", "check", "generate", "evaluate", "list", "show", "why", "demo"} <= set(panels["Author"])
    assert {"run", "activate", "rollback"} <= set(panels["Use"])
    assert {"config", "doctor"} <= set(panels["Operate"])


def test_every_command_says_what_it_does() -> None:
    def walk(command: object) -> list[object]:
        children = getattr(command, "commands", {})
        return [command, *(c for child in children.values() for c in walk(child))]

    assert [c.name for c in walk(get_command(cli.app)) if not (c.help or "").strip()] == []  # type: ignore[attr-defined]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> object:
    """An application of one command, `boom`, that raises what it is given."""

    def build(error: BaseException) -> None:
        app = typer.Typer()

        @app.callback()
        def root() -> None: ...

        @app.command()
        def boom() -> None:
            raise error

        monkeypatch.setattr(cli, "app", app)

    return build


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (GateMissed("below target"), 3, "error: below target\n"),
        (
            InputError("3 is not a text", path="$.text", hint="send a text"),
            2,
            "error: $.text: 3 is not a text\n  send a text\n",
        ),
        (SpecError([Fault("a", "s.yaml", 3, "$.x"), Fault("b")]), 2, "error: s.yaml:3: $.x: a\nerror: b\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_an_error_is_a_line_or_two_and_an_exit_code(
    failing: object, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, text: str
) -> None:
    failing(error)  # type: ignore[operator]
    assert cli.run_line(["boom"]) == code
    assert capsys.readouterr().err == text


def test_a_fault_of_ours_is_one_line_unless_debug_is_asked_for(
    failing: object, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ZeroDivisionError("division by zero"))  # type: ignore[operator]
    assert cli.run_line(["boom"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: internal error: ZeroDivisionError: division by zero\n")
    assert "Traceback" not in error
    with pytest.raises(ZeroDivisionError):
        cli.run_line(["boom", "--debug"])


def test_debug_after_two_dashes_is_an_argument() -> None:
    assert cli._take_debug(["run", "--", "--debug"]) == (["run", "--", "--debug"], False)


def test_an_unknown_command_or_option_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_line(["nope"]) == 2
    assert "No such command 'nope'" in capsys.readouterr().err
    assert cli.run_line(["generate", "--nope"]) == 2
    assert "--nope" in capsys.readouterr().err


def test_messages_cannot_drive_the_terminal(failing: object, capsys: pytest.CaptureFixture[str]) -> None:
    failing(GateMissed("\x1b[2Jcleared\x07"))  # type: ignore[operator]
    cli.run_line(["boom"])
    assert capsys.readouterr().err == "error: \\x1b[2Jcleared\\x07\n"
