"""`loopai doctor` on installations that are well, and on ones that are broken in one place each."""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopai_runtime.events import Audit
from loopai_runtime.flows.doctor import CLOCK_SLACK_S, clock
from loopai_runtime.layout import Layout

from .conftest import Done, Loopai

SECRET = "sk-" + "q7" * 12


def checks(done: Done) -> dict[str, dict[str, str]]:
    """The last check of each name."""
    return {check["name"]: check for check in done.json}


def doctor(loopai: Loopai, *args: object, env: dict[str, str] | None = None) -> Done:
    return loopai("doctor", "-o", "json", *args, env=env)


@pytest.fixture
def made(loopai: Loopai) -> Loopai:
    """A `loopai` whose data directory is there."""
    loopai.data_dir.mkdir(mode=0o700)
    return loopai


def test_a_fresh_installation_is_usable_and_nothing_is_made(loopai: Loopai) -> None:
    done = doctor(loopai)
    found = checks(done)
    assert (done.code, done.err) == (0, "")
    assert {"python", "configuration", "data directory", "disk", "sandbox", "platform", "clock"} <= set(found)
    assert {"extra [llm]", "extra [train]", "key OPENAI_API_KEY", "console", "locks"} <= set(found)
    assert found["data directory"]["found"] == f"{loopai.data_dir} (made at first use)"
    assert found["python"]["found"].startswith(".".join(map(str, sys.version_info[:3])))
    assert all(check["status"] != "fail" for check in found.values())
    assert not loopai.data_dir.exists()


def test_the_table_is_for_people(loopai: Loopai) -> None:
    done = loopai("doctor")
    assert done.code == 0
    assert "what to do" in done.out
    assert "data directory" in done.out


def test_an_audit_that_was_touched_is_told(made: Loopai) -> None:
    audit = Audit(Layout(made.data_dir))
    for number in range(3):
        audit.record("llm", number=number)
    assert checks(doctor(made))["audit"]["status"] == "ok"
    (path,) = Layout(made.data_dir).audit.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":7'))
    done = doctor(made)
    assert done.code == 1
    assert checks(done)["audit"]["found"] == f"{path.name}:3: does not follow the line before it"


def test_a_good_data_directory_is_left_as_it_was(made: Loopai) -> None:
    found = checks(doctor(made))["data directory"]
    assert (found["status"], found["found"]) == ("ok", f"{made.data_dir} (0700, writable)")
    assert list(made.data_dir.iterdir()) == []


def test_a_data_directory_open_to_others_is_a_warning_that_says_what_to_type(made: Loopai) -> None:
    made.data_dir.chmod(0o755)
    done = doctor(made)
    found = checks(done)["data directory"]
    assert (done.code, found["status"]) == (0, "warn")
    assert found["advice"] == f"chmod 700 {made.data_dir}"


def test_a_data_directory_that_is_a_file_fails(loopai: Loopai) -> None:
    loopai.data_dir.write_text("in the way", encoding="utf-8")
    done = doctor(loopai)
    found = checks(done)["data directory"]
    assert (done.code, found["status"]) == (1, "fail")
    assert "--data-dir" in found["advice"]


def test_a_data_directory_below_a_file_fails(loopai: Loopai) -> None:
    loopai.data_dir.write_text("in the way", encoding="utf-8")
    done = doctor(loopai, "--data-dir", loopai.data_dir / "below")
    assert (done.code, checks(done)["data directory"]["status"]) == (1, "fail")


def test_a_data_directory_that_takes_no_more_bytes_fails(made: Loopai) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loopai_runtime", "doctor", "-o", "json"],
        capture_output=True,
        text=True,
        env=made.environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    found = checks(Done(done.returncode, done.stdout, done.stderr))["data directory"]
    assert (done.returncode, found["status"]) == (1, "fail")
    assert "the file size limit is reached" in found["found"]
    assert list(made.data_dir.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_may_not_be_written_fails(made: Loopai) -> None:
    made.data_dir.chmod(0o500)
    done = doctor(made)
    assert (done.code, checks(done)["data directory"]["status"]) == (1, "fail")


def test_each_fault_of_the_configuration_is_told_and_the_rest_still_examined(made: Loopai) -> None:
    file = made.data_dir / "config" / "deployment.yaml"
    file.parent.mkdir()
    file.write_text("runtime:\n  mod: edge\nserver:\n  port: x\n", encoding="utf-8")
    done = doctor(made)
    faults = [check["found"] for check in done.json if check["name"] == "configuration"]
    assert done.code == 1
    assert faults == [
        f"{file}:2: $.runtime.mod: unknown key; did you mean runtime.mode?",
        f"{file}:4: $.server.port: must be a whole number",
    ]
    assert checks(done)["data directory"]["status"] == "ok"


def test_a_key_written_into_a_file_that_others_may_read_is_a_warning(made: Loopai) -> None:
    file = made.data_dir / "config" / "deployment.yaml"
    file.parent.mkdir()
    file.write_text(f"cloud:\n  api_key: {SECRET}\n", encoding="utf-8")
    file.chmod(0o644)
    warned = [
        check for check in doctor(made).json if check["name"] == "configuration" and check["status"] == "warn"
    ]
    assert [check["advice"] for check in warned] == [f"chmod 600 {file}"]
    file.chmod(0o600)
    assert checks(doctor(made))["configuration"]["status"] == "ok"


def test_keys_are_said_to_be_there_and_never_shown(made: Loopai) -> None:
    env = {"LOOPAI_API_KEY": SECRET, "OPENAI_API_KEY": SECRET, "LOOPAI_CLOUD__API_URL": "https://a.example"}
    done = doctor(made, env=env)
    found = checks(done)
    assert found["platform"]["found"] == "https://a.example, key set (from environment), telemetry balanced"
    assert found["key OPENAI_API_KEY"]["found"] == "set"
    assert "q7" not in done.out + done.err


@pytest.mark.parametrize(
    ("env", "status", "found"),
    [
        ({"LOOPAI_API_KEY": "k"}, "ok", "a key but no address"),
        ({"LOOPAI_CLOUD__API_URL": "https://a.example"}, "warn", "https://a.example without a key"),
        (
            {
                "LOOPAI_API_KEY": "k",
                "LOOPAI_CLOUD__API_URL": "https://a.example",
                "LOOPAI_TELEMETRY__PRIVACY_MODE": "permissive",
            },
            "warn",
            "telemetry permissive",
        ),
        (
            {
                "LOOPAI_API_KEY": "k",
                "LOOPAI_CLOUD__API_URL": "https://a.example",
                "LOOPAI_TELEMETRY__ENABLED": "false",
            },
            "ok",
            "telemetry off",
        ),
    ],
)
def test_what_leaves_for_the_platform_is_said(made: Loopai, env: dict[str, str], status: str, found: str) -> None:
    platform = checks(doctor(made, env=env))["platform"]
    assert platform["status"] == status
    assert found in platform["found"]


def test_extras_are_told_by_version_without_importing_them(made: Loopai) -> None:
    code = (
        "import sys; from loopai_runtime.cli.main import run_line; code = run_line(['doctor', '-o', 'json']); "
        "loaded = {'sklearn', 'numpy', 'litellm', 'duckdb', 'sqlalchemy', 'matplotlib', 'httpx'} & set(sys.modules); "
        "print(sorted(loaded), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=made.environment())
    assert (done.returncode, done.stderr) == (0, "[]\n")
    train = next(check for check in json.loads(done.stdout) if check["name"] == "extra [train]")
    try:
        assert train["found"] == f"scikit-learn {importlib.metadata.version('scikit-learn')}"
    except importlib.metadata.PackageNotFoundError:
        assert train["found"] == "not installed"
        assert "pip install 'loopai-runtime[train]'" in train["advice"]


def test_a_lock_that_is_held_is_named(made: Loopai) -> None:
    with Layout(made.data_dir).lock("spam-detection"):
        held = checks(doctor(made))["locks"]
    assert held["status"] == "warn"
    assert held["found"].startswith("spam-detection: ")
    assert checks(doctor(made))["locks"]["found"] == "none held"


def test_a_clock_behind_the_newest_file_fails(made: Loopai) -> None:
    file = made.data_dir / "config" / "deployment.yaml"
    file.parent.mkdir()
    file.write_text("", encoding="utf-8")
    os.utime(file, (time.time() + 86_400,) * 2)
    done = doctor(made)
    found = checks(done)["clock"]
    assert (done.code, found["status"]) == (1, "fail")
    assert "before the newest file here" in found["found"]


def test_a_clock_may_be_a_little_behind() -> None:
    assert clock(1_800_000_000, 1_800_000_000 - CLOCK_SLACK_S).status == "ok"
    behind = clock(1_800_000_000, 1_800_000_000 - CLOCK_SLACK_S - 60)
    assert (behind.status, behind.found) == ("fail", "2027-01-15 07:54 UTC, 6 minutes before the newest file here")


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_console_that_is_not_utf8_is_a_warning_and_can_still_be_read(made: Loopai, output: str) -> None:
    done = made("doctor", "-o", output, env={"PYTHONIOENCODING": "latin-1"})
    assert (done.code, done.err) == (0, "")
    assert "PYTHONUTF8=1" in done.out


def test_the_sandbox_is_tried_by_running_a_program(made: Loopai) -> None:
    found = checks(doctor(made))["sandbox"]
    assert found["status"] == "ok"
    assert found["found"].startswith("a program ran in ")


def test_what_the_kernel_offers_is_told(made: Loopai) -> None:
    found = {name: check for name, check in checks(doctor(made)).items() if name.startswith("kernel ")}
    assert set(found) == {"kernel seccomp", "kernel landlock", "kernel no_new_privs"}
    assert all(check["status"] == "ok" or check["advice"] for check in found.values())


def test_a_missing_config_file_is_a_failure_of_the_configuration(made: Loopai, tmp_path: Path) -> None:
    done = doctor(made, "--config", tmp_path / "none.yaml")
    assert done.code == 1
    assert "no such file" in checks(done)["configuration"]["found"]
