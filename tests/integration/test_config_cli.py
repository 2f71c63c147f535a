"""`loopai config show|get|set|check` as processes on real files."""

from __future__ import annotations

import csv
import io
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import yaml

from loopai_runtime.config.root import known_keys

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Loopai

SECRET = "sk-" + "q7" * 12


@pytest.fixture
def deployment(loopai: Loopai) -> Path:
    """Where deployment.yaml belongs; its directory is there, the file is not."""
    path = loopai.data_dir / "config" / "deployment.yaml"
    path.parent.mkdir(parents=True)
    return path


# --- show and get


def test_show_lists_every_key_with_its_origin(loopai: Loopai, deployment: Path) -> None:
    deployment.write_text("runtime:\n  mode: hybrid\n", encoding="utf-8")
    done = loopai("config", "show", "--origin", "-o", "csv", env={"LOOPAI_SAMPLING__RATE": "0.1"})
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(done.out))}
    assert set(rows) == set(known_keys())
    assert (rows["runtime.mode"]["value"], rows["runtime.mode"]["origin"]) == ("hybrid", f"{deployment}:2")
    assert rows["sampling.rate"]["origin"] == "environment LOOPAI_SAMPLING__RATE"
    assert rows["storage.data_dir"]["origin"] == "environment LOOPAI_DATA_DIR"
    assert rows["server.port"]["origin"] == "default"
    assert (done.code, done.err) == (0, "")


def test_show_as_json_has_the_shape_of_the_file(loopai: Loopai) -> None:
    shown = loopai("config", "show", "-o", "json").json
    assert shown["telemetry"]["privacy_mode"] == "balanced"
    assert shown["retention"]["executions"] == {"keep_days": 7, "compress_after": 1}
    cloud = {"api_url": None, "api_key": None, "pinned_key": None, "signalr_enabled": True}
    assert shown["cloud"] == cloud | {"poll_interval_sec": 60}
    with_origin = loopai("config", "show", "--origin", "-o", "jsonl").json
    assert with_origin["server"]["port"] == {"value": 8080, "origin": "default"}


def test_a_table_shows_values_as_the_file_would_have_them(loopai: Loopai) -> None:
    done = loopai("config", "show")
    cells = {tuple(line.split()) for line in done.out.splitlines() if line.strip()}
    assert {("telemetry.enabled", "true"), ("sampling.rate", "0.05"), ("cloud.api_url",)} <= cells


@pytest.mark.parametrize("output", ["table", "json", "jsonl", "csv"])
def test_a_secret_is_never_shown_in_part_or_whole(loopai: Loopai, deployment: Path, output: str) -> None:
    deployment.write_text("cloud:\n  api_key: ${MY_KEY}\n", encoding="utf-8")
    env = {"MY_KEY": SECRET}
    for command in (["show", "--origin"], ["show"], ["get", "cloud.api_key"]):
        done = loopai("config", *command, "-o", output, env=env)
        assert done.code == 0
        assert "q7" not in done.out + done.err
        assert "set (from environment)" in done.out


def test_get_prints_the_value_alone(loopai: Loopai) -> None:
    assert loopai("config", "get", "sampling.rate").out == "0.05\n"
    assert loopai("config", "get", "telemetry.enabled").out == "true\n"
    assert loopai("config", "get", "cloud.api_url").out == "\n"
    assert loopai("config", "get", "cloud.api_url", "-o", "json").out == "null\n"
    assert loopai("config", "get", "runtime.mode", "-o", "json").out == '"edge"\n'
    assert loopai("config", "get", "cloud.api_key", env={"LOOPAI_API_KEY": SECRET}).out == (
        "set (from environment)\n"
    )


def test_get_of_an_unknown_key_names_the_nearest(loopai: Loopai) -> None:
    done = loopai("config", "get", "telemetry.privacy_mod")
    assert (done.code, done.out) == (2, "")
    assert "did you mean telemetry.privacy_mode?" in done.err


def test_a_faulty_file_stops_show_with_every_fault(loopai: Loopai, deployment: Path) -> None:
    deployment.write_text("runtime:\n  mod: edge\nserver:\n  port: x\n", encoding="utf-8")
    done = loopai("config", "show")
    assert done.code == 2
    assert f"{deployment}:2: $.runtime.mod: unknown key; did you mean runtime.mode?" in done.err
    assert f"{deployment}:4: $.server.port: must be a whole number" in done.err


def test_what_has_no_effect_is_a_warning_on_stderr(loopai: Loopai, deployment: Path) -> None:
    deployment.write_text("storage: {data_dir: /elsewhere}\n", encoding="utf-8")
    done = loopai("config", "get", "storage.data_dir")
    assert (done.code, done.out) == (0, f"{loopai.data_dir}\n")
    assert done.err.startswith(f"warning: {deployment}:1: $.storage.data_dir: has no effect in this file")


def test_a_file_given_by_config_takes_the_place_of_the_other(
    loopai: Loopai, deployment: Path, tmp_path: Path
) -> None:
    deployment.write_text("runtime: {mode: hybrid}\nserver: {port: 1}\n", encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text("runtime: {mode: central}\n", encoding="utf-8")
    assert loopai("config", "get", "runtime.mode", "--config", other).out == "central\n"
    assert loopai("config", "get", "server.port", "--config", other).out == "8080\n"
    assert loopai("config", "get", "runtime.mode", "--config", tmp_path / "none.yaml").code == 5


# --- set


def test_set_makes_the_file_for_its_owner_alone(loopai: Loopai) -> None:
    done = loopai("config", "set", "telemetry.privacy_mode", "strict")
    path = loopai.data_dir / "config" / "deployment.yaml"
    assert done.code == 0
    assert path.read_text("utf-8") == "telemetry:\n  privacy_mode: strict\n"
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent, loopai.data_dir)]
    assert modes == [0o600, 0o700, 0o700]
    assert loopai("config", "get", "telemetry.privacy_mode").out == "strict\n"


def test_set_leaves_comments_order_and_line_ends_alone(loopai: Loopai, deployment: Path) -> None:
    before = b"# ours\r\nserver:\r\n  port: 8080   # behind the proxy\r\n\r\n# the end\r\n"
    deployment.write_bytes(before)
    assert loopai("config", "set", "server.port", "9000").code == 0
    assert deployment.read_bytes() == before.replace(b"8080", b"9000")


def test_set_with_a_bad_value_or_key_writes_nothing(loopai: Loopai, deployment: Path) -> None:
    deployment.write_text("runtime: {mode: edge}\n", encoding="utf-8")
    for key, value in (
        ("sampling.rate", "0.5"),
        ("runtime.mode", "egde"),
        ("server.port", "-1"),
        ("privacy.pii_detection", "false"),
        ("telemetry.privacy_mod", "strict"),
        ("telemetry", "strict"),
        ("storage.data_dir", "/elsewhere"),
    ):
        done = loopai("config", "set", key, value)
        assert (done.code, done.out) == (2, ""), key
        assert done.err.startswith("error: ")
    assert deployment.read_text("utf-8") == "runtime: {mode: edge}\n"
    assert [entry.name for entry in deployment.parent.iterdir()] == ["deployment.yaml"]


def test_set_refuses_a_secret_but_takes_a_reference(loopai: Loopai) -> None:
    done = loopai("config", "set", "cloud.api_key", SECRET)
    assert done.code == 2
    assert "loopai config set cloud.api_key '${LOOPAI_API_KEY}'" in done.err
    assert "q7" not in done.err
    assert not loopai.data_dir.exists()
    done = loopai("config", "set", "cloud.api_key", "${LOOPAI_API_KEY}")
    assert done.code == 0
    assert "warning: " in done.err
    assert "LOOPAI_API_KEY is not set" in done.err
    assert yaml.safe_load((loopai.data_dir / "config" / "deployment.yaml").read_text()) == {
        "cloud": {"api_key": "${LOOPAI_API_KEY}"}
    }


def test_set_can_mend_a_faulty_file_one_key_at_a_time(loopai: Loopai, deployment: Path) -> None:
    deployment.write_text("runtime:\n  mode: egde\nserver:\n  port: x\n", encoding="utf-8")
    assert loopai("config", "set", "server.port", "1").code == 0
    assert loopai("config", "set", "runtime.mode", "edge").code == 0
    assert loopai("config", "check").code == 0


def test_set_edits_a_file_given_by_config_and_keeps_its_mode(loopai: Loopai, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("server: {port: 1}\n", encoding="utf-8")
    real.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(real)
    assert loopai("config", "set", "server.port", "2", "--config", link).code == 0
    assert real.read_text("utf-8") == "server: {port: 2}\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert not loopai.data_dir.exists()
    assert loopai("config", "set", "server.port", "2", "--config", tmp_path / "none.yaml").code == 5


def test_changes_at_the_same_time_all_arrive(loopai: Loopai) -> None:
    changes = {"server.port": "1", "sampling.rate": "0.1", "runtime.mode": "hybrid", "storage.fsync": "always"}
    with ThreadPoolExecutor(4) as threads:
        codes = list(threads.map(lambda item: loopai("config", "set", *item).code, changes.items()))
    assert codes == [0] * 4
    shown = {key: loopai("config", "get", key).out.strip() for key in changes}
    assert shown == changes


def test_a_data_directory_that_cannot_be_made_is_an_error_of_storage(loopai: Loopai) -> None:
    loopai.data_dir.write_text("in the way", encoding="utf-8")
    done = loopai("config", "set", "server.port", "1")
    assert done.code == 1
    assert "a file stands where a directory is needed" in done.err


# --- check


def test_check_tells_all_faults_of_a_file_with_their_lines(loopai: Loopai, tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text("telemtry: {}\nsampling:\n  rate: 0.5\ncloud:\n  api_key: ${NO_SUCH}\n", encoding="utf-8")
    done = loopai("config", "check", file)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        f"error: {file}:1: $.telemtry: unknown key; did you mean telemetry?",
        f"error: {file}:5: $.cloud.api_key: the environment variable NO_SUCH is not set",
        f"error: {file}:3: $.sampling.rate: must be from 0.01 to 0.20 (1 to 20 %)",
    ]


def test_check_of_a_file_is_not_misled_by_the_environment(loopai: Loopai, tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text("server: {port: x}\n", encoding="utf-8")
    env = {"LOOPAI_SERVER__PORT": "1", "LOOPAI_NO__SUCH": "x"}
    done = loopai("config", "check", file, env=env)
    assert done.err.splitlines() == [f"error: {file}:1: $.server.port: must be a whole number"]
    both = loopai("config", "check", "--config", file, env=env)
    assert both.code == 2
    assert "LOOPAI_NO__SUCH" in both.err
    assert f"{file}:1" in both.err


def test_check_without_a_file_says_that_there_is_none(loopai: Loopai) -> None:
    done = loopai("config", "check")
    assert done.code == 0
    assert "defaults and environment: no faults" in done.err
    assert not loopai.data_dir.exists()


def test_check_of_a_missing_file_exits_five(loopai: Loopai, tmp_path: Path) -> None:
    assert loopai("config", "check", tmp_path / "none.yaml").code == 5


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error_of_storage(loopai: Loopai, deployment: Path) -> None:
    deployment.write_text("runtime: {mode: edge}\n", encoding="utf-8")
    deployment.chmod(0)
    assert loopai("config", "show").code == 1


@pytest.mark.parametrize(
    "command",
    [("list",), ("show", "spam-detection"), ("run", "spam-detection", '{"text": "hi"}'), ("config", "show")],
)
def test_every_command_says_once_what_has_no_effect(spam: Loopai, command: tuple[str, ...]) -> None:
    done = spam(*command, env={"LOOPAI_SAMPLING_RATE": "0.1"})
    assert done.code == 0, done.err
    warning = "LOOPAI_SAMPLING_RATE: has no effect; did you mean LOOPAI_SAMPLING__RATE?"
    assert done.err.count(warning) == 1
    assert warning not in done.out
