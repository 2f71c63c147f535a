"""The keys of the server's own door."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.bars import TIMED

from loopai_runtime.errors import LoopaiError, NotFound, StorageError, UsageError
from loopai_runtime.http import keys as keys_module
from loopai_runtime.http.keys import KeysFile
from loopai_runtime.layout import Layout


@pytest.fixture
def file(tmp_path: Path) -> KeysFile:
    return KeysFile(tmp_path / "config" / "keys.json")


def server(file: KeysFile) -> KeysFile:
    """Another process's view of the file, loaded."""
    other = KeysFile(file.path)
    other.load()
    return other


def rewrite(file: KeysFile, **changes: Any) -> None:
    """Change the first key by hand, or with `schema` the document."""
    document = json.loads(file.path.read_text())
    for name, value in changes.items():
        (document if name in ("schema", "keys") else document["keys"][0])[name] = value
    file.path.write_text(json.dumps(document))


# --- create


def test_a_key_opens_the_door(file: KeysFile) -> None:
    key, text = file.create("mobile app")
    found = server(file).check(text)
    assert found == key
    assert (key.name, key.revoked_at) == ("mobile app", None)
    assert text.startswith(f"lp_{key.id}_")
    assert len(text) == 64
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz234567_")


def test_the_file_holds_a_hash_and_not_the_secret(file: KeysFile, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key, text = file.create("a")
    secret = text.rpartition("_")[2]
    stored = file.path.read_text()
    assert json.loads(stored)["schema"] == 1
    assert hashlib.sha256(secret.encode()).hexdigest() in stored
    loaded = server(file)
    loaded.check(text)
    loaded.check(text[:-1] + "x")
    for shown in (stored, caplog.text, repr(key), repr(file), repr(vars(loaded)), str(key)):
        assert secret not in shown
        assert secret.upper() not in shown
    assert key.sha256 not in repr(key)


def test_only_the_owner_may_read_the_file(file: KeysFile) -> None:
    old = os.umask(0)
    try:
        file.create()
    finally:
        os.umask(old)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert list(file.path.parent.iterdir()) == [file.path]


@pytest.mark.parametrize(("before", "after"), [(0o640, 0o640), (0o666, 0o640), (0o400, 0o600)])
def test_a_file_opened_to_the_servers_group_stays_so(file: KeysFile, before: int, after: int) -> None:
    file.create()
    file.path.chmod(before)
    file.create()
    assert stat.S_IMODE(file.path.stat().st_mode) == after


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_changes_stays_its_owners(file: KeysFile) -> None:
    file.create()
    os.chown(file.path, 65534, 65534)
    file.create()
    seen = file.path.stat()
    assert (seen.st_uid, seen.st_gid, stat.S_IMODE(seen.st_mode)) == (65534, 65534, 0o600)


def test_a_link_to_the_file_stays_a_link(file: KeysFile, tmp_path: Path) -> None:
    file.create("one")
    link = tmp_path / "link.json"
    link.symlink_to(file.path)
    linked = KeysFile(link)
    linked.create("two")
    assert link.is_symlink()
    assert [key.name for key in file.list()] == ["one", "two"]


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 101])
def test_a_name_that_cannot_be_shown_is_refused(file: KeysFile, name: str) -> None:
    with pytest.raises(UsageError, match="a key's name"):
        file.create(name)
    assert not file.path.exists()


def test_processes_that_create_at_once_lose_nothing(file: KeysFile) -> None:
    code = (
        "import sys; from loopai_runtime.http.keys import KeysFile; f = KeysFile(sys.argv[1])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "for n in range(20): print(f.create(f'{sys.argv[2]}-{n}')[1])"
    )
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, file.path, who], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for who in ("a", "b")
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("\n")
        maker.stdin.flush()
    made = [text for maker in makers for text in maker.communicate(timeout=180)[0].split()]
    loaded = server(file)
    assert {key.name for text in made if (key := loaded.check(text))} == {
        f"{w}-{n}" for w in "ab" for n in range(20)
    }


def test_a_write_that_fails_leaves_the_file_as_it_was(file: KeysFile, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = file.create()
    before = file.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x")

    monkeypatch.setattr("loopai_runtime.files.os.fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        file.create()
    assert file.path.read_bytes() == before
    assert list(file.path.parent.iterdir()) == [file.path]
    assert len(file) == 1
    assert file.check(text)


# --- check


def test_a_header_or_the_key_alone_as_text_or_bytes(file: KeysFile) -> None:
    key, text = file.create()
    for given in (text, f"Bearer {text}", f"bearer  {text}", f"BEARER {text} "):
        assert file.check(given) == key
        assert file.check(given.encode()) == key


def test_anything_else_is_nobody(file: KeysFile) -> None:
    key, text = file.create()
    other, _ = file.create()
    secret = text.rpartition("_")[2]
    swapped = "a" if secret[-1] != "a" else "b"
    nobody: list[Any] = [
        None,
        "",
        "Bearer",
        "Bearer ",
        "lp_",
        text[:-1],
        text + "a",
        text[:-1] + swapped,
        text.upper(),
    ]
    nobody += [
        f"lp_{other.id}_{secret}",
        f"lp_aaaaaaaa_{secret}",
        f"Basic {text}",
        f"xx_{key.id}_{secret}",
        secret,
    ]
    nobody += [
        f"lp_{key.id}-{secret}",
        f"Bearer Bearer {text}",
        "é" * 64,
        text[:-1] + "é",
        "\ud800" * 64,
        b"\xff" * 64,
    ]
    nobody += [f"lp_{key.id}_{key.sha256[:52]}", "x" * 1_000_000]
    assert [given for given in nobody if file.check(given)] == []


def test_nobody_gets_in_before_the_file_is_loaded(file: KeysFile) -> None:
    _, text = file.create()
    unloaded = KeysFile(file.path)
    assert unloaded.check(text) is None
    assert unloaded.reload_if_changed()
    assert unloaded.check(text)


def test_an_unknown_id_is_compared_like_a_known_one(file: KeysFile, monkeypatch: pytest.MonkeyPatch) -> None:
    key, text = file.create()
    revoked, _ = file.create()
    file.revoke(revoked.id)
    compared: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return a == b

    monkeypatch.setattr(keys_module, "compare_digest", compare)
    secret = text.rpartition("_")[2]
    for key_id, opens in ((key.id, True), (revoked.id, False), ("aaaaaaaa", False)):
        assert (file.check(f"lp_{key_id}_{secret}") is not None) is opens
    assert compared == [(32, 32)] * 3


def test_a_check_is_fast(file: KeysFile) -> None:
    _, text = file.create()
    header = f"Bearer {text}".encode()

    def once() -> float:
        start = time.perf_counter()
        for _ in range(2000):
            file.check(header)
        return (time.perf_counter() - start) / 2000

    # About 2 µs; beside an idle machine's there is a bound that only a hash made slow on purpose misses.
    assert min(once() for _ in range(10)) < (50e-6 if TIMED else 5e-3)


# --- revoke


def test_a_revoked_key_opens_nothing_and_is_still_listed(file: KeysFile) -> None:
    key, text = file.create("old")
    _, other = file.create("new")
    revoked = file.revoke(key.id)
    assert revoked.revoked_at is not None
    assert file.list()[0] == revoked
    for view in (file, server(file)):
        assert view.check(text) is None
        assert view.check(other)
        assert len(view) == 1
    assert file.revoke(key.id) == revoked  # again: it stays as it was


def test_a_whole_key_can_be_named_to_revoke_it(file: KeysFile) -> None:
    key, text = file.create()
    assert file.revoke(text).id == key.id


def test_an_unknown_id_names_the_nearest(file: KeysFile) -> None:
    key, text = file.create("mobile")
    with pytest.raises(NotFound) as caught:
        file.revoke(key.id[:-1] + "0")
    assert caught.value.hint == f"did you mean {key.id!r}?"
    with pytest.raises(NotFound) as caught:
        file.revoke("mobile")
    assert caught.value.hint == f"the key of this name has the id {key.id}"
    secret = text.rpartition("_")[2]
    for given in (secret, f"lp_aaaaaaaa_{secret}"):
        with pytest.raises(NotFound) as caught:
            file.revoke(given)
        assert secret[4:12] not in f"{caught.value} {caught.value.hint}"


def test_nothing_is_made_to_revoke_in(file: KeysFile) -> None:
    with pytest.raises(NotFound, match="there is no file") as caught:
        file.revoke("aaaaaaaa")
    assert caught.value.hint == "loopai keys create makes one"
    assert not file.path.parent.exists()
    assert file.list() == ()


# --- a running server


def test_a_server_sees_what_another_process_changed(file: KeysFile) -> None:
    key, text = file.create()
    running = server(file)
    assert not running.reload_if_changed()
    _, second = file.create()
    assert running.check(second) is None
    assert running.reload_if_changed()
    assert running.check(second)
    file.revoke(key.id)
    assert running.check(text)
    assert running.reload_if_changed()
    assert running.check(text) is None
    assert not running.reload_if_changed()


def test_a_change_that_keeps_size_and_time_is_seen(file: KeysFile) -> None:
    _, text = file.create("a")
    running, before = server(file), file.path.stat()
    time.sleep(0.02)  # past the file system's clock tick
    rewrite(file, keys=[])
    file.path.write_bytes(file.path.read_bytes().ljust(before.st_size))
    os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.path.stat().st_size, file.path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert running.reload_if_changed()
    assert running.check(text) is None


DAMAGES: list[tuple[bytes | dict[str, Any], str]] = [
    (b"", "not JSON"),
    (b'{"schema": 1, "keys": [', "not JSON"),
    (b"\xff\xfe", "not UTF-8"),
    (b"[]", "valid dictionary"),
    (b"{}", "keys: Field required"),
    ({"schema": 2}, "schema: Input should be 1"),
    ({"sha256": "abc"}, "keys.0.sha256"),
    ({"sha256": "A" * 64}, "keys.0.sha256"),
    ({"id": "../../.."}, "keys.0.id"),
    ({"revoked": True}, "keys.0.revoked"),
    ({"revoked_at": False}, "keys.0.revoked_at"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_damaged_file_stops_a_start_and_not_a_running_server(
    file: KeysFile, damage: bytes | dict[str, Any], said: str
) -> None:
    key, text = file.create()
    good, running = file.path.read_bytes(), server(file)
    if isinstance(damage, bytes):
        file.path.write_bytes(damage)
    else:
        rewrite(file, **damage)
    with pytest.raises(StorageError, match="is no file of keys, or damaged") as caught:
        running.reload_if_changed()
    assert said in str(caught.value)
    assert str(file.path) in str(caught.value)
    assert running.problem is caught.value
    assert not running.reload_if_changed()  # said once
    assert running.check(text) == key
    starting = KeysFile(file.path)
    with pytest.raises(StorageError):
        starting.load()
    assert starting.check(text) is None
    damaged = file.path.read_bytes()
    for change in (file.create, lambda: file.revoke(key.id), file.list):
        with pytest.raises(StorageError):
            change()
    assert file.path.read_bytes() == damaged
    file.path.write_bytes(good)
    assert running.reload_if_changed()
    assert running.problem is None


def test_two_keys_of_one_id_are_damage(file: KeysFile) -> None:
    file.create()
    rewrite(file, keys=json.loads(file.path.read_text())["keys"] * 2)
    with pytest.raises(StorageError, match="two keys have the same id"):
        file.list()


def test_a_file_that_goes_away_is_like_a_damaged_one(file: KeysFile) -> None:
    _, text = file.create()
    running = server(file)
    file.path.rename(file.path.with_name("away"))
    with pytest.raises(StorageError, match="is not there") as caught:
        running.reload_if_changed()
    assert "loopai keys create" in (caught.value.hint or "")
    assert running.check(text)
    with pytest.raises(StorageError):
        KeysFile(file.path).load()
    file.path.with_name("away").rename(file.path)
    assert running.reload_if_changed()


def test_a_directory_is_no_file_of_keys(tmp_path: Path) -> None:
    for act in (KeysFile(tmp_path).load, KeysFile(tmp_path).create, KeysFile(tmp_path).list):
        with pytest.raises(StorageError, match="cannot be read"):
            act()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_said_and_noticed_when_it_may(file: KeysFile) -> None:
    _, text = file.create()
    running = server(file)
    file.path.chmod(0)
    with pytest.raises(LoopaiError, match="permission denied"):
        running.reload_if_changed()
    assert running.check(text)
    file.path.chmod(0o600)
    assert running.reload_if_changed()


def test_the_data_directory_has_a_place_for_it(tmp_path: Path) -> None:
    assert Layout(tmp_path).keys_file == tmp_path / "config" / "keys.json"
