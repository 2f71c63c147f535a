"""Bundles on disk and in a real S3 server: the same promises."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.central.conftest import running, zipped
from tests.integration.central.s3 import BUCKET, S3, running_s3
from tests.integration.test_server import SPAM

from loopai_runtime.central.blobs import Blobs, DiskBlobs, ObjectBlobs, blobs_of
from loopai_runtime.errors import ConfigError, NotFound, StorageError
from loopai_runtime.layout import Layout


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with running_s3(tmp_path_factory.mktemp("s3") / "data") as server:
        yield server


@pytest.fixture(params=["disk", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    if request.param == "disk":
        return blobs_of(str(tmp_path / "blobs"), Layout(tmp_path))
    for name, value in request.getfixturevalue("s3").environment.items():
        monkeypatch.setenv(name, value)
    return blobs_of(f"s3://{BUCKET}/{tmp_path.name}", Layout(tmp_path))


def test_what_was_put_is_got_whole_and_in_parts(blobs: Blobs) -> None:
    content = bytes(range(256)) * 1000
    blobs.put("a/b/c.zip", content)
    assert blobs.get("a/b/c.zip") == content
    assert blobs.size("a/b/c.zip") == len(content)
    assert blobs.get("a/b/c.zip", 10, 20) == content[10:20]
    assert blobs.get("a/b/c.zip", len(content) - 5) == content[-5:]
    assert blobs.get("a/b/c.zip", len(content) - 5, len(content) + 100) == content[-5:]
    assert blobs.get("a/b/c.zip", 7, 7) == b""


def test_a_second_put_replaces_and_a_delete_removes_once_and_again(blobs: Blobs) -> None:
    blobs.put("a/x", b"one")
    blobs.put("a/x", b"two")
    assert blobs.get("a/x") == b"two"
    blobs.delete("a/x")
    blobs.delete("a/x")
    with pytest.raises(NotFound):
        blobs.get("a/x")


def test_what_is_not_there_is_not_found(blobs: Blobs) -> None:
    for ask in (blobs.get, blobs.size):
        with pytest.raises(NotFound, match="no blob none/x"):
            ask("none/x")


def test_keys_are_listed_below_whole_segments(blobs: Blobs) -> None:
    for key in ("t/a/1", "t/a/2", "t/ab/3", "u/4"):
        blobs.put(key, b"x")
    assert sorted(blobs.keys("t/a")) == ["t/a/1", "t/a/2"]
    assert sorted(blobs.keys()) == ["t/a/1", "t/a/2", "t/ab/3", "u/4"]
    assert list(blobs.keys("none")) == []


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".hidden", "a/\0", "a b"])
def test_a_key_that_could_leave_its_place_is_refused(blobs: Blobs, key: str) -> None:
    for act in (blobs.get, blobs.size, blobs.delete, lambda k: blobs.put(k, b"")):
        with pytest.raises(ValueError, match="no key"):
            act(key)


def test_what_a_killed_process_left_is_no_blob(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    blobs.put("a/x", b"1")
    (tmp_path / "a" / ".tmp-x-1-abc").write_bytes(b"half")
    assert list(blobs.keys()) == ["a/x"]


def test_a_bucket_that_is_not_there_and_a_wrong_key_are_storage_errors(s3: S3) -> None:
    options = {"endpoint": s3.endpoint, "region": "us-east-1", "client_options": {"allow_http": True}}
    stranger = ObjectBlobs(f"s3://{BUCKET}", access_key_id="other", secret_access_key="wrong", **options)
    with pytest.raises(StorageError, match=f"s3://{BUCKET}"):
        stranger.put("a/x", b"1")
    with pytest.raises((StorageError, NotFound)):
        stranger.get("a/x")


@pytest.mark.parametrize("url", ["gs://bucket", "s3://", "s3:///x", "file://"])
def test_a_url_that_names_no_place_is_a_fault_of_the_configuration(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"central\.blobs"):
        blobs_of(url, Layout(tmp_path))


def test_by_default_bundles_lie_in_the_data_directory(tmp_path: Path) -> None:
    blobs_of(None, Layout(tmp_path)).put("t/x", b"1")
    assert (tmp_path / "central" / "blobs" / "t" / "x").read_bytes() == b"1"


def test_a_bucket_that_does_not_answer_is_told_to_who_publishes(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        away = S3(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        place = {"LOOPAI_CENTRAL__BLOBS": f"s3://{BUCKET}", **away.environment}
        with running(tmp_path / "data", **place) as platform:
            status, said, headers = platform.call("POST", "/api/v1/artifacts/spam/upload", zipped("spam", SPAM))
            assert (status, headers["content-type"]) == (503, "application/problem+json")
            assert int(headers["retry-after"]) >= 1
            assert away.secret_key not in json.dumps(said)
            assert platform.call("GET", "/api/v1/artifacts/spam/versions")[0] == 404
            assert platform.call("GET", "/readyz")[0] == 200
