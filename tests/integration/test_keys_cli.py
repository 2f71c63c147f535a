"""`loopai keys create|list|revoke` as processes on real files."""

from __future__ import annotations

import csv
import io
import re
import shlex
import stat
from typing import TYPE_CHECKING

from loopai_runtime.http.keys import KeysFile

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Loopai


def test_create_prints_the_key_alone_and_once(loopai: Loopai) -> None:
    done = loopai("keys", "create", "--name", "mobile app")
    path = loopai.data_dir / "config" / "keys.json"
    assert (done.code, len(done.out.splitlines())) == (0, 1)
    text = done.out.strip()
    assert re.fullmatch(r"lp_[a-z2-7]{8}_[a-z2-7]{52}", text)
    secret = text.rpartition("_")[2]
    assert str(path) in done.err
    assert "only now" in done.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    listed = loopai("keys", "list")
    for shown in (done.err, path.read_text(), listed.out, listed.err):
        assert secret not in shown
    file = KeysFile(path)
    file.load()
    key = file.check(text)
    assert key is not None
    assert key.name == "mobile app"


def test_the_line_that_create_gives_sets_the_configuration(loopai: Loopai, tmp_path: Path) -> None:
    place = tmp_path / "with a blank" / "keys.json"
    first = loopai("keys", "create", "--keys-file", place)
    line = first.err.strip().splitlines()[-1].partition("ask for it: ")[2]
    assert shlex.split(line) == ["loopai", "config", "set", "server.keys_file", str(place)]
    assert loopai(*shlex.split(line)[1:]).code == 0
    second = loopai("keys", "create")
    assert "config set" not in second.err
    assert len(loopai("keys", "list", "-o", "jsonl").lines) == 2
    assert len(KeysFile(place).list()) == 2


def test_the_flag_wins_and_says_that_the_server_reads_another_file(loopai: Loopai, tmp_path: Path) -> None:
    env = {"LOOPAI_SERVER__KEYS_FILE": str(tmp_path / "configured.json")}
    done = loopai("keys", "create", "--keys-file", tmp_path / "flag.json", env=env)
    assert f"server.keys_file names another file: {tmp_path / 'configured.json'}" in done.err
    assert (tmp_path / "flag.json").exists()
    assert not (tmp_path / "configured.json").exists()
    assert loopai("keys", "create", env=env).code == 0
    assert (tmp_path / "configured.json").exists()


def test_list_in_every_format_and_revoke(loopai: Loopai) -> None:
    empty = loopai("keys", "list")
    assert (empty.code, empty.out) == (0, "")
    assert "loopai keys create" in empty.err
    assert loopai("keys", "list", "-o", "json").json == []
    assert loopai("keys", "list", "-o", "csv").out == "id,name,created_at,revoked_at\n"
    loopai("keys", "create", "--name", "first")
    loopai("keys", "create")
    first, second = loopai("keys", "list", "-o", "json").json
    assert set(first) == {"id", "name", "created_at", "revoked_at"}
    assert (first["name"], first["revoked_at"], second["name"]) == ("first", None, "")
    done = loopai("keys", "revoke", first["id"])
    assert (done.code, done.out) == (0, "")
    assert f"key {first['id']} (first) revoked at " in done.err
    row = next(csv.DictReader(io.StringIO(loopai("keys", "list", "-o", "csv").out)))
    assert row["revoked_at"] in done.err
    assert loopai("keys", "revoke", first["id"]).err == done.err
    assert first["id"] in loopai("keys", "list").out


def test_an_unknown_id_exits_5(loopai: Loopai) -> None:
    missing = loopai("keys", "revoke", "aaaaaaaa")
    assert missing.code == 5
    assert not loopai.data_dir.exists()
    text = loopai("keys", "create").out.strip()
    wrong = loopai("keys", "revoke", text[3:10] + "0")
    assert wrong.code == 5
    assert f"did you mean {text[3:11]!r}?" in wrong.err


def test_a_damaged_file_is_an_error_and_stays_as_it_is(loopai: Loopai) -> None:
    loopai("keys", "create")
    path = loopai.data_dir / "config" / "keys.json"
    path.write_text('{"schema": 1')
    for command in (["create"], ["list"], ["revoke", "aaaaaaaa"]):
        done = loopai("keys", *command)
        assert (done.code, done.out) == (1, "")
        assert f"error: {path}: is no file of keys, or damaged: not JSON" in done.err
    assert path.read_text() == '{"schema": 1'


def test_the_group_stands_in_its_panel(loopai: Loopai) -> None:
    panel = loopai("--help").out.partition("Operate:")[2]
    names = re.findall(r"^  ([a-z]+)  ", panel, re.MULTILINE)
    assert names == [
        name for name in ("telemetry", "central", "keys", "config", "doctor", "completion") if name in names
    ]
    assert "keys" in names
    assert re.findall(r"^  ([a-z]+)  ", loopai("keys", "--help").out, re.MULTILINE) == [
        "create",
        "list",
        "revoke",
        "rotate",
    ]
