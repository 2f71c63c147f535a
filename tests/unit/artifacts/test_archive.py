from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.artifacts.bundle import Bundle
from loopai_runtime.errors import NotFound, TamperedArtifact
from loopai_runtime.models import ProgramArtifact

Make = Callable[..., ProgramArtifact]


@pytest.fixture
def made(artifact: Make, code: str) -> Bundle:
    return bundle.build(artifact(), code)


def rezip(files: dict[str, bytes], mode: int = stat.S_IFREG | 0o644, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as zipped:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            zipped.writestr(info, content, method)
    return target.getvalue()


def refused(content: bytes, match: str) -> None:
    with pytest.raises(TamperedArtifact, match=match) as caught:
        archive.unzip(content, "b.zip")
    assert "b.zip" in str(caught.value)


def test_a_zip_holds_what_went_in(made: Bundle) -> None:
    assert archive.unzip(archive.write_zip(made), "b.zip") == made


def test_the_same_bundle_is_the_same_zip(made: Bundle, artifact: Make, code: str) -> None:
    assert archive.write_zip(made) == archive.write_zip(bundle.build(artifact(), code))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=st.text(st.characters(codec="utf-8")), description=st.text(st.characters(codec="utf-8")))
def test_any_text_survives_the_round_trip(artifact: Make, code: str, description: str) -> None:
    made = bundle.build(artifact(description=description), code)
    read = archive.unzip(archive.write_zip(made), "b.zip")
    assert (read.code, read.artifact.description, read.digest) == (code, description, made.digest)


def test_a_bundle_zipped_again_by_another_tool_is_accepted(made: Bundle) -> None:
    assert archive.unzip(rezip(dict(made.files), method=zipfile.ZIP_STORED), "b.zip") == made


@pytest.mark.parametrize(
    "name", ["evil.py", "../program.py", "/etc/passwd", "a/program.py", "program.pyc", "__pycache__/"]
)
def test_an_entry_with_any_other_name_is_refused(made: Bundle, name: str) -> None:
    refused(rezip({**made.files, name: b"x"}), "no part of an artifact")


def test_a_name_that_readers_cut_at_nul_is_refused(made: Bundle) -> None:
    files = {name: content for name, content in made.files.items() if name != "program.py"}
    content = rezip({**files, "program.py!x": made.files["program.py"]}).replace(b"program.py!x", b"program.py\0x")
    refused(content, "no part of an artifact")


def test_a_name_in_two_entries_is_refused(made: Bundle) -> None:
    content = rezip({**made.files, "program.pz": b"import os"}).replace(b"program.pz", b"program.py")
    refused(content, "there twice")


def test_a_symlink_is_refused(made: Bundle) -> None:
    refused(rezip(dict(made.files), mode=stat.S_IFLNK | 0o777), "no plain file")


def test_an_encrypted_entry_is_refused(made: Bundle) -> None:
    content = bytearray(archive.write_zip(made))
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    refused(bytes(content), "encrypted")


def test_an_unusual_compression_is_refused(made: Bundle) -> None:
    refused(rezip(dict(made.files), method=zipfile.ZIP_LZMA), "unusual method")


def test_bytes_before_the_zip_are_refused(made: Bundle) -> None:
    refused(b"#!/bin/sh\nrm -rf ~\nexit\n" + archive.write_zip(made), "something else before")


def test_bytes_after_the_zip_are_refused(made: Bundle) -> None:
    content = archive.write_zip(made)
    refused(content + b"tail", "SHA-256 of the file")
    commented = content[:-2] + struct.pack("<H", 4) + b"tail"
    refused(commented, "something else after")


def test_an_entry_that_only_a_streaming_reader_sees_is_refused(made: Bundle) -> None:
    # A local entry between the entries and the directory, which the directory does not list.
    content = archive.write_zip(made)
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w") as zipped:
        zipped.writestr("evil.py", b"import os")
    extra = hidden.getvalue()[: hidden.getvalue().index(b"PK\x01\x02")]
    at = content.index(b"PK\x01\x02")
    end = len(content) - 22
    moved = content[end : end + 16] + struct.pack("<I", at + len(extra)) + content[end + 20 :]
    refused(content[:at] + extra + content[at:end] + moved, "something else before its directory")


def test_an_entry_with_two_names_is_refused(made: Bundle) -> None:
    content = archive.write_zip(made)
    refused(content.replace(b"program.py", b"evilish.py", 1), "two different headers")


def test_a_bomb_is_refused_before_it_is_unpacked(made: Bundle) -> None:
    refused(rezip({**made.files, "program.py": b"#" * (40 * 2**20)}), "too large unpacked")
    refused(rezip({**made.files, "program.py": b"#" * (4 * 2**20)}), "times its size")


def test_a_header_that_lies_about_the_size_does_not_raise_the_limit(made: Bundle) -> None:
    content = bytearray(rezip({**made.files, "program.py": b"#" * (40 * 2**20)}))
    at = content.index(b"program.py", content.index(b"PK\x01\x02")) - 46
    struct.pack_into("<I", content, at + 24, 100)
    refused(bytes(content), "SHA-256")


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"PK\x05\x06" + b"\0" * 18])
def test_what_is_no_bundle_is_refused(content: bytes) -> None:
    with pytest.raises(TamperedArtifact):
        archive.unzip(content, "b.zip")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_zip_is_refused_or_the_same_artifact(made: Bundle, data: st.DataObject) -> None:
    content = bytearray(archive.write_zip(made))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))]) if data.draw(st.booleans()) else bytes(content)
    try:
        read = archive.unzip(cut, "b.zip")
    except TamperedArtifact:
        return
    assert (read.digest, dict(read.files)) == (made.digest, dict(made.files))


def unpack(made: Bundle, folder: Path) -> Path:
    folder.mkdir()
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_is_read_like_a_zip(made: Bundle, tmp_path: Path) -> None:
    folder = unpack(made, tmp_path / "f")
    (tmp_path / "b.zip").write_bytes(archive.write_zip(made))
    assert archive.read(folder) == archive.read(tmp_path / "b.zip") == made


@pytest.mark.parametrize("plant", ["link", "folder", "fifo", "dangling"])
def test_a_folder_with_anything_but_plain_files_is_refused(made: Bundle, tmp_path: Path, plant: str) -> None:
    folder = unpack(made, tmp_path / "f")
    program = folder / "program.py"
    program.rename(tmp_path / "program.py")
    if plant == "link":
        program.symlink_to(tmp_path / "program.py")
    elif plant == "folder":
        program.mkdir()
    elif plant == "fifo":
        os.mkfifo(program)
    else:
        program.symlink_to("nowhere")
    with pytest.raises(TamperedArtifact, match=r"program\.py is no plain file"):
        archive.read(folder)


def test_a_compiled_file_in_a_folder_is_refused(made: Bundle, tmp_path: Path) -> None:
    folder = unpack(made, tmp_path / "f")
    (folder / "program.pyc").write_bytes(b"code")
    with pytest.raises(TamperedArtifact, match=r"program\.pyc"):
        archive.read(folder)


def test_a_missing_bundle_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        archive.read(tmp_path / "nowhere.zip")
