"""The repository over HTTP: what goes in is numbered, signed and never changed; what is hostile stays out."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import statistics
import struct
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.bars import TIMED, within
from tests.integration.central.conftest import PlatformProcess, running, zipped
from tests.integration.central.s3 import BUCKET, running_s3

from loopai_runtime import signing
from loopai_runtime.artifacts import archive

PROGRAM = "def run(input_data):\n    return 'spam'\n"
API = "/api/v1/artifacts"


def program(answer: str) -> str:
    return f"def run(input_data):\n    return {answer!r}\n"


def upload(platform: PlatformProcess, task_id: str, content: bytes, **more: Any) -> tuple[int, Any]:
    status, said, _ = platform.call(
        "POST", f"{API}/{task_id}/upload", content, content_type="application/zip", **more
    )
    return status, said


# --- in and out ---------------------------------------------------------------------------------------------


def test_an_upload_is_numbered_and_the_same_bytes_again_are_the_same_version(
    platform_process: PlatformProcess,
) -> None:
    first = zipped("numbers", PROGRAM)
    status, said = upload(platform_process, "numbers", first)
    assert (status, said["task_id"], said["version"]) == (201, "numbers", 1)
    assert set(said) == {"task_id", "version", "sha256"}
    assert upload(platform_process, "numbers", first) == (200, said)
    status, other = upload(platform_process, "numbers", zipped("numbers", program("ham")))
    assert (status, other["version"]) == (201, 2)
    assert upload(platform_process, "numbers", first) == (200, said)


def test_what_is_downloaded_is_the_artifact_signed_and_the_same_each_time(
    platform_process: PlatformProcess,
) -> None:
    made = zipped("signed", PROGRAM)
    _, said = upload(platform_process, "signed", made)
    with within(5):
        status, content, headers = platform_process.call("GET", f"{API}/signed/v1/download")
    assert status == 200
    assert headers["content-type"] == "application/zip"
    digest = hashlib.sha256(content)
    assert said["sha256"] == digest.hexdigest()
    assert headers["etag"] == f'"{digest.hexdigest()}"'
    assert headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    found, sent = archive.unzip(content, "there"), archive.unzip(made, "here")
    assert (found.digest, found.code, found.artifact.version) == (sent.digest, sent.code, 1)
    _, key, _ = platform_process.call("GET", "/api/v1/signing-key")
    assert signing.check(found.files["signature.json"], found.digest, "x", key["key"]) == key["key"]
    assert all(platform_process.call("GET", f"{API}/signed/v1/download")[1] == content for _ in range(3))


def test_the_platforms_number_is_in_the_bundle_whatever_its_maker_called_it(
    platform_process: PlatformProcess,
) -> None:
    _, said = upload(platform_process, "renumbered", zipped("renumbered", PROGRAM, version=41))
    assert said["version"] == 1
    found = archive.unzip(platform_process.call("GET", f"{API}/renumbered/v1/download")[1], "x")
    assert found.artifact.version == 1
    assert found.artifact.origin is not None
    assert found.artifact.origin["version"] == 41


def test_uploads_at_the_same_time_get_numbers_of_their_own(platform_process: PlatformProcess) -> None:
    bundles = [zipped("crowd", program(f"answer-{n}")) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        said = list(pool.map(lambda content: upload(platform_process, "crowd", content), bundles * 2))
    assert sorted(status for status, _ in said) == [200] * 12 + [201] * 12
    by_bundle = [{said[n][1]["version"], said[n + 12][1]["version"]} for n in range(12)]
    assert all(len(each) == 1 for each in by_bundle)
    assert sorted(set.union(*by_bundle)) == list(range(1, 13))


def test_the_list_comes_in_pages_whose_etag_says_whether_anything_changed(
    platform_process: PlatformProcess,
) -> None:
    for n in range(5):
        upload(platform_process, "paged", zipped("paged", program(str(n))))
    at = f"{API}/paged/versions"
    status, page, headers = platform_process.call("GET", at)
    assert (status, [each["version"] for each in page["versions"]], page["next"]) == (200, [1, 2, 3, 4, 5], None)
    assert set(page["versions"][0]) == {"version", "sha256", "status", "created_at"}
    assert platform_process.call("GET", at, if_none_match=headers["etag"])[0] == 304

    found, cursor, first = [], "", ""
    while cursor is not None:
        _, page, seen = platform_process.call("GET", f"{at}?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        found += [each["version"] for each in page["versions"]]
        first, cursor = first or seen["etag"], page["next"]
    assert found == [1, 2, 3, 4, 5]

    upload(platform_process, "paged", zipped("paged", program("new")))
    assert platform_process.call("GET", f"{at}?limit=2", if_none_match=first)[0] == 200
    for query in ("limit=0", "limit=1001", "limit=x", "cursor=-1", "cursor=%00", "limit=99999999999999999999"):
        assert platform_process.call("GET", f"{at}?{query}")[0] == 400, query


def test_metadata_says_what_a_version_is(platform_process: PlatformProcess) -> None:
    _, said = upload(platform_process, "described", zipped("described", PROGRAM, description="Says spam"))
    status, about, headers = platform_process.call("GET", f"{API}/described/v1/metadata")
    assert status == 200
    assert (about["task_id"], about["version"], about["sha256"]) == ("described", 1, said["sha256"])
    assert about["metadata"]["description"] == "Says spam"
    assert about["signature"]["digest"] == about["digest"]
    assert platform_process.call("GET", f"{API}/described/v1/metadata", if_none_match=headers["etag"])[0] == 304


def test_a_deprecated_version_says_so_and_can_be_had_still(platform_process: PlatformProcess) -> None:
    upload(platform_process, "given-up", zipped("given-up", PROGRAM))
    _, before, headers = platform_process.call("GET", f"{API}/given-up/versions")
    assert before["versions"][0]["status"] == "validated"
    at = f"{API}/given-up/v1"
    assert platform_process.call("POST", f"{at}/deprecate", {"reason": "wrong on Mondays"})[0] == 200
    status, after, _ = platform_process.call("GET", f"{API}/given-up/versions", if_none_match=headers["etag"])
    assert (status, after["versions"][0]["status"]) == (200, "deprecated")
    assert platform_process.call("GET", f"{at}/metadata")[1]["deprecated_reason"] == "wrong on Mondays"
    assert platform_process.call("GET", f"{at}/download")[0] == 200
    assert platform_process.call("POST", f"{at}/deprecate", {"reason": ""})[0] == 422


# --- parts --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(platform_process: PlatformProcess) -> bytes:
    upload(platform_process, "parts", zipped("parts", PROGRAM))
    content: bytes = platform_process.call("GET", f"{API}/parts/v1/download")[1]
    return content


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-99", 0, 100), ("bytes=100-", 100, None), ("bytes=-50", -50, None), ("bytes=5-5", 5, 6),
     ("bytes=10-99999999", 10, None)],
)  # fmt: skip
def test_a_part_is_what_was_asked_for(
    platform_process: PlatformProcess, whole: bytes, asked: str, start: int, end: int | None
) -> None:
    status, content, headers = platform_process.call("GET", f"{API}/parts/v1/download", range=asked)
    assert (status, content) == (206, whole[start:end])
    first, last, total = headers["content-range"].removeprefix("bytes ").replace("/", "-").split("-")
    assert whole[int(first) : int(last) + 1] == content
    assert int(total) == len(whole)


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=-0"])
def test_a_part_beyond_the_end_is_416_with_the_size(
    platform_process: PlatformProcess, whole: bytes, asked: str
) -> None:
    status, _, headers = platform_process.call("GET", f"{API}/parts/v1/download", range=asked)
    assert (status, headers["content-range"]) == (416, f"bytes */{len(whole)}")


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=0-1,5-9", "lines=1-2", "bytes=-", "bytes=a-b", "bytes 0-1"])
def test_what_is_no_single_range_gets_the_whole(
    platform_process: PlatformProcess, whole: bytes, asked: str
) -> None:
    status, content, _ = platform_process.call("GET", f"{API}/parts/v1/download", range=asked)
    assert (status, content) == (200, whole)


def test_a_part_of_something_else_is_not_gone_on_with(platform_process: PlatformProcess, whole: bytes) -> None:
    at = f"{API}/parts/v1/download"
    mine = f'"{hashlib.sha256(whole).hexdigest()}"'
    assert platform_process.call("GET", at, range="bytes=9-", if_range=mine)[0] == 206
    assert platform_process.call("GET", at, range="bytes=9-", if_range='"other"')[:2] == (200, whole)
    assert platform_process.call("GET", at, if_none_match=mine)[0] == 304


@pytest.mark.parametrize(
    "version", ["v0", "v01", "1", "v99", "v-1", "v1.0", "vv1", "v9999999999", "%2e%2e", "v1%00"]
)
def test_a_version_that_is_not_there_is_not_found(
    platform_process: PlatformProcess, whole: bytes, version: str
) -> None:
    for what in ("download", "metadata"):
        assert platform_process.call("GET", f"{API}/parts/{version}/{what}")[0] == 404


def test_another_tenant_would_not_even_know_the_task(platform_process: PlatformProcess) -> None:
    for path in ("versions", "v1/download", "v1/metadata"):
        status, said, _ = platform_process.call("GET", f"{API}/never-there/{path}")
        assert (status, said["type"]) == (404, "urn:loopai:problem:not_found")


def test_keys_do_only_what_their_scopes_say(platform_process: PlatformProcess) -> None:
    _, reader = platform_process.key("read")
    _, publisher = platform_process.key("publish")
    content = zipped("scoped", PROGRAM)
    assert upload(platform_process, "scoped", content, key=reader)[0] == 403
    assert upload(platform_process, "scoped", content, key=publisher)[0] == 201
    assert platform_process.call("GET", f"{API}/scoped/v1/download", key=publisher)[0] == 403
    assert platform_process.call("GET", f"{API}/scoped/v1/download", key=reader)[0] == 200
    assert upload(platform_process, "scoped", content, key="lp_nobody_nothing")[0] == 401


# --- hostile ------------------------------------------------------------------------------------------------


def rezipped(change: Any) -> bytes:
    """A good bundle, its entries changed: `change(entries)` gets [(name or ZipInfo, content)] and returns such."""
    with zipfile.ZipFile(io.BytesIO(zipped("hostile", PROGRAM))) as source:
        entries: list[tuple[Any, bytes]] = [(name, source.read(name)) for name in source.namelist()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in change(entries):
            target.writestr(name, content)
    return out.getvalue()


def symlink(name: str, target: bytes) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info, target


def without(entries: list[tuple[Any, bytes]], name: str) -> list[tuple[Any, bytes]]:
    return [each for each in entries if each[0] != name]


def _metadata(entries: list[tuple[Any, bytes]], **changes: Any) -> list[tuple[Any, bytes]]:
    return [
        (name, json.dumps(json.loads(content) | changes).encode() if name == "metadata.json" else content)
        for name, content in entries
    ]


BOMB = b"\0" * (33 * 2**20)
HOSTILE = {
    "nothing": b"",
    "text": b"hello",
    "html": b"<html></html>" * 1000,
    "traversal": rezipped(lambda e: [*e, ("../../evil.py", b"x")]),
    "backslashes": rezipped(lambda e: [*e, ("..\\evil.py", b"x")]),
    "absolute": rezipped(lambda e: [*e, ("/etc/cron.d/evil", b"x")]),
    "drive": rezipped(lambda e: [*e, ("C:\\evil.py", b"x")]),
    "symlink": rezipped(lambda e: [*without(e, "README.md"), symlink("README.md", b"/etc/passwd")]),
    "folder": rezipped(lambda e: [*e, ("folder/", b"")]),
    "more code": rezipped(lambda e: [*e, ("helper.py", b"import os")]),
    "bomb": rezipped(lambda e: [*without(e, "README.md"), ("README.md", BOMB)]),
    "bomb in program.py": rezipped(lambda e: [*without(e, "program.py"), ("program.py", b"#" * (8 * 2**20))]),
    "many files": rezipped(lambda e: [*e, *((f"f{n}", b"") for n in range(20_000))]),
    "another program": rezipped(lambda e: [*without(e, "program.py"), ("program.py", b"def run(x): return 1\n")]),
    "another template": rezipped(lambda e: [*without(e, "__main__.py"), ("__main__.py", b"import os\n")]),
    "a file less": rezipped(lambda e: without(e, "Dockerfile")),
    "no metadata": rezipped(lambda e: without(e, "metadata.json")),
    "metadata is no object": rezipped(lambda e: [*without(e, "metadata.json"), ("metadata.json", b"[]")]),
    "metadata with deep JSON": rezipped(
        lambda e: [*without(e, "metadata.json"), ("metadata.json", b"[" * 100_000)]
    ),
    "another task's": zipped("another", PROGRAM),
    "version 0": rezipped(lambda e: _metadata(e, version=0)),
    "truncated": zipped("hostile", PROGRAM)[:-100],
    "cut in the middle": zipped("hostile", PROGRAM)[:500],
    "something in front": b"#!/bin/sh\n" + zipped("hostile", PROGRAM),
    "something after": zipped("hostile", PROGRAM) + b"x",
    "a signature that is none": rezipped(lambda e: [*e, ("signature.json", b"not json")]),
    "refused by the policy": zipped("hostile", "import os\ndef run(input_data):\n    return os.environ\n"),
    "no Python": zipped("hostile", "def run(:\n"),
}  # fmt: skip


def _duplicate() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return rezipped(lambda e: [*e, ("program.py", b"def run(input_data):\n    return 'evil'\n")])


def _lying_sizes() -> bytes:
    content = bytearray(zipped("hostile", PROGRAM))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 1)
    return bytes(content)


@pytest.mark.parametrize("name", [*HOSTILE, "duplicate", "lying sizes"])
def test_a_hostile_bundle_is_refused_and_leaves_nothing(platform_process: PlatformProcess, name: str) -> None:
    made = {"duplicate": _duplicate, "lying sizes": _lying_sizes}
    content = made[name]() if name in made else HOSTILE[name]
    with within(5):
        status, said = upload(platform_process, "hostile", content)
    assert status == 422, said
    assert said["type"] in ("urn:loopai:problem:input", "urn:loopai:problem:policy")
    assert len(said["detail"]) < 1000
    assert platform_process.call("GET", f"{API}/hostile/versions")[0] == 404
    assert not list((platform_process.root / "central" / "blobs").glob("*/hostile/*"))


def test_a_strangers_signature_is_replaced_by_the_platforms(platform_process: PlatformProcess) -> None:
    stranger = signing.Signer(b"\1" * 32)
    made = archive.unzip(zipped("resigned", PROGRAM), "x")
    forged = archive.write_zip(
        type(made)(made.artifact, {**made.files, "signature.json": stranger.sign(made.digest)}, made.digest)
    )
    assert upload(platform_process, "resigned", forged)[0] == 201
    about = platform_process.call("GET", f"{API}/resigned/v1/metadata")[1]
    assert (
        about["signature"]["key"]
        == platform_process.call("GET", "/api/v1/signing-key")[1]["key"]
        != stranger.public
    )


def test_programs_that_take_long_to_judge_keep_nobody_else_waiting(platform_process: PlatformProcess) -> None:
    lines = "\n".join(f"def f{n}(a, b):\n    return [a + b * {n} for a in b if a > {n}]" for n in range(1_000))
    bundles = [zipped("slow-to-judge", f"{PROGRAM}\nN = {n}\n{lines}\n") for n in range(8)]
    waited: list[float] = []
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(upload, platform_process, "slow-to-judge", each) for each in bundles]
        while not all(each.done() for each in under_way):
            started = time.monotonic()
            assert platform_process.call("GET", "/api/v1/tasks")[0] == 200
            waited.append(time.monotonic() - started)
    assert [each.result()[0] for each in under_way] == [201] * 8
    # Who had to wait for one of eight judgements would have waited for an eighth of the time.
    assert statistics.median(waited) < (time.monotonic() - began) / 16
    assert not TIMED or max(waited) < 1.0


def test_a_body_without_end_is_cut_off(platform_process: PlatformProcess) -> None:
    place = urlsplit(platform_process.url)
    for headers, sent in (({"content-length": str(10**9)}, 0), ({"transfer-encoding": "chunked"}, 60)):
        connection = http.client.HTTPConnection(place.netloc, timeout=60)
        connection.putrequest("POST", f"{API}/endless/upload")
        for name, value in {"authorization": f"Bearer {platform_process.admin_key}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for _ in range(sent):
                connection.send(b"100000\r\n" + b"x" * 2**20 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            assert connection.getresponse().status == 413
        except (ConnectionResetError, BrokenPipeError):
            assert sent  # it had stopped reading, and the answer was lost with the rest
        finally:
            connection.close()
    assert platform_process.call("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("task_id", ["UPPER", "a" * 64, "-x", "a_b", "a%20b", "a'--", "..", "%2e%2e%2fetc", "é"])
def test_a_name_that_is_no_task_is_refused(platform_process: PlatformProcess, task_id: str) -> None:
    from urllib.parse import quote

    status, _ = upload(platform_process, quote(task_id, safe="%."), zipped("hostile", PROGRAM))
    assert status in (400, 404)


def test_a_kill_under_load_loses_no_version_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[tuple[int, str]] = []
    enough = threading.Event()
    with running(tmp_path / "data") as platform:

        def keep_uploading(who: int) -> None:
            for n in range(200):
                try:
                    status, said = upload(platform, "loaded", zipped("loaded", program(f"{who}-{n}")))
                except (OSError, http.client.HTTPException):
                    return
                if status == 201:
                    acknowledged.append((said["version"], said["sha256"]))
                if len(acknowledged) >= 20:
                    enough.set()

        threads = [threading.Thread(target=keep_uploading, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(300)
        platform.process.kill()
        for thread in threads:
            thread.join(120)
        platform.process.wait()
    with running(tmp_path / "data") as platform:
        listed = platform.call("GET", f"{API}/loaded/versions?limit=1000")[1]["versions"]
        there = {each["version"]: each["sha256"] for each in listed}
        assert len({version for version, _ in acknowledged}) == len(acknowledged)
        assert set(acknowledged) <= set(there.items())
        assert sorted(there) == list(range(1, len(there) + 1))
        for version, digest in there.items():
            assert (
                hashlib.sha256(platform.call("GET", f"{API}/loaded/v{version}/download")[1]).hexdigest() == digest
            )


@pytest.mark.slow
def test_the_same_holds_where_bundles_lie_in_s3(tmp_path: Path) -> None:
    with running_s3(tmp_path / "s3") as s3:
        environment = s3.environment | {"LOOPAI_CENTRAL__BLOBS": f"s3://{BUCKET}/platform"}
        with running(tmp_path / "data", **environment) as platform:
            made = zipped("afar", PROGRAM)
            status, said = upload(platform, "afar", made)
            assert (status, upload(platform, "afar", made)) == (201, (200, said))
            content = platform.call("GET", f"{API}/afar/v1/download")[1]
            assert hashlib.sha256(content).hexdigest() == said["sha256"]
            assert platform.call("GET", f"{API}/afar/v1/download", range="bytes=3-7")[1] == content[3:8]
        assert not (tmp_path / "data" / "central" / "blobs").exists()
        with running(tmp_path / "data", **environment) as platform:
            assert platform.call("GET", f"{API}/afar/v1/download")[1] == content
    with running(tmp_path / "data", **environment) as platform:
        status, problem, _ = platform.call("GET", f"{API}/afar/v1/download")
        assert (status, problem["type"]) == (503, "urn:loopai:problem:storage_away")


def test_a_bundle_that_was_damaged_on_disk_is_never_served(platform_process: PlatformProcess) -> None:
    upload(platform_process, "damaged", zipped("damaged", PROGRAM))
    (kept,) = (platform_process.root / "central" / "blobs").glob("*/damaged/*.zip")
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")
    status, problem, _ = platform_process.call("GET", f"{API}/damaged/v1/download")
    assert (status, problem["type"]) == (507, "urn:loopai:problem:storage")
