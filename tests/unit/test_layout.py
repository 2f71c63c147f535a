"""The data directory: nothing leaves it, nothing is half-written, one writer a task."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopai_runtime import files as module
from loopai_runtime.config import Config
from loopai_runtime.errors import Busy, NotFound, StorageError, UsageError
from loopai_runtime.files import made_once, make_dir, replace_file, replace_symlink, temporary_beside, write_file
from loopai_runtime.layout import Layout


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


@pytest.mark.parametrize("name", ["..", "../x", "/etc", "a/b", "", ".", "A", "a\0b", "a\n", "~", "-x", "a" * 64])
def test_no_name_leaves_the_directory(tmp_path: Path, name: str) -> None:
    layout = Layout(tmp_path)
    for path in (layout.task, layout.spec, layout.examples, layout.artifacts, layout.state, layout.executions):
        with pytest.raises(UsageError):
            path(name)
    with pytest.raises(UsageError):
        layout.secret(name)
    with pytest.raises(UsageError), layout.lock(name):
        pass
    assert names(tmp_path) == []


@given(st.text(max_size=20))
def test_whatever_a_task_is_called_its_paths_are_inside(name: str) -> None:
    layout = Layout("/data")
    try:
        path = layout.executions(name, "2025-10-26")
    except UsageError:
        return
    assert Path(os.path.normpath(path)).is_relative_to("/data/datasets")
    assert path == Path("/data/datasets", name, "executions", "2025-10-26.jsonl")


@pytest.mark.parametrize("day", ["../../../..", "2025-10-2", "2025/10/26", "٢٠٢٥-10-26", "2025-10-26\n"])
def test_a_day_is_a_date(tmp_path: Path, day: str) -> None:
    with pytest.raises(UsageError, match="is not a day"):
        Layout(tmp_path).executions("t", day)


def test_versions_count_from_one(tmp_path: Path) -> None:
    assert Layout(tmp_path).version("t", 3) == tmp_path / "artifacts" / "t" / "v3"
    with pytest.raises(UsageError):
        Layout(tmp_path).version("t", 0)


def test_directories_and_files_are_private(tmp_path: Path) -> None:
    path = make_dir(tmp_path / "a" / "b") / "f"
    replace_file(path, b"1")
    assert [p.stat().st_mode & 0o777 for p in (tmp_path / "a", tmp_path / "a" / "b", path)] == [
        0o700,
        0o700,
        0o600,
    ]


def test_a_new_file_never_overwrites_one(tmp_path: Path) -> None:
    write_file(tmp_path / "f", b"1")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "f", b"2")
    assert (tmp_path / "f").read_bytes() == b"1"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for content in (b"old", b"new " * 1000):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_disk_that_fills_up_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "f"
    replace_file(path, b"old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    if step == "write":
        monkeypatch.setattr(module, "write_file", full)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="the disk is full") as caught:
        replace_file(path, b"new")
    assert caught.value.hint is not None
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EROFS, "read-only"), (errno.EACCES, "permission denied"), (errno.ENOTDIR, "a file stands where")],
)
def test_what_the_system_refuses_is_said_with_what_to_do(number: int, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught, module.storage_errors("/x"):
        raise OSError(number, "no", "/x/y")
    assert caught.value.where == "/x/y"
    assert caught.value.hint


def test_a_file_where_a_directory_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(StorageError, match="a file stands where a directory is needed"):
        make_dir(tmp_path / "f" / "g")


def test_a_symlink_is_pointed_elsewhere_atomically(tmp_path: Path) -> None:
    link = tmp_path / "active"
    for target in ("v1", "v2"):
        replace_symlink(link, target)
        assert link.readlink() == Path(target)
    assert names(tmp_path) == ["active"]


def test_a_second_process_waits_or_is_told_that_the_task_is_busy(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    code = (
        "import sys; from loopai_runtime.layout import Layout\n"
        "with Layout(sys.argv[1]).lock('t'):\n  print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match="another process is changing the task t"), layout.lock("t"):
            pass
        with layout.lock("other"):
            pass
        holder.stdin.close()
        with layout.lock("t", timeout_s=120):
            assert holder.wait(120) == 0


def test_a_lock_is_released_by_a_process_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from loopai_runtime.layout import Layout\n"
        "with Layout(sys.argv[1]).lock('t'):\n  os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    with Layout(tmp_path).lock("t"):
        pass


def test_leftovers_are_swept_and_the_rest_stays(tmp_path: Path) -> None:
    temporary_beside(tmp_path / "a").write_bytes(b"half")
    temporary_beside(tmp_path / "b").mkdir()
    outside = tmp_path / "kept"
    outside.mkdir()
    (outside / "f").touch()
    temporary_beside(tmp_path / "c").symlink_to(outside)
    Layout(tmp_path).sweep(tmp_path)
    Layout(tmp_path).sweep(tmp_path / "not there")
    assert names(tmp_path) == ["kept"]
    assert names(outside) == ["f"]


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    first = Layout(tmp_path).secret("rows")
    assert Layout(tmp_path).secret("rows") == first
    assert Layout(tmp_path).secret("other") != first
    assert len(first) == 32
    assert (tmp_path / "secrets" / "rows.key").stat().st_mode & 0o777 == 0o600


def test_two_that_make_the_same_file_at_once_get_the_first_ones_text(tmp_path: Path) -> None:
    path = tmp_path / "f"

    def slow() -> str:
        assert made_once(path, lambda: "first") == "first"
        return "second"

    assert made_once(path, slow) == "first"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("step", ["link", "unlink"])
def test_what_a_kill_left_beside_a_secret_is_swept_by_the_next_write(tmp_path: Path, step: str) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom loopai_runtime.layout import Layout\n"
        "def kill(*args, **kwargs): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"setattr({'os' if step == 'link' else 'Path'}, {step!r}, kill)\n"
        "Layout(sys.argv[1]).secret('rows')"
    )
    place = tmp_path / "secrets"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    (left,) = [name for name in names(place) if name.startswith(".tmp-")]
    if step == "link":  # the secret was not made: the write that makes it sweeps
        Layout(tmp_path).secret("rows")
    else:  # it was made: a later write sweeps, when nobody can be at it any more
        Layout(tmp_path).secret("other")
        assert left in names(place)
        os.utime(place / left, (0, 0))
        Layout(tmp_path).secret("third")
    assert [name for name in names(place) if name.startswith(".tmp-")] == []
    assert "rows.key" in names(place)


def test_a_writer_whose_temporary_was_swept_takes_the_first_ones_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, link = tmp_path / "f", os.link

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        assert made_once(path, lambda: "first") == "first"
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert made_once(path, lambda: "second") == "first"
    assert names(tmp_path) == ["f"]


def test_what_was_made_once_is_read_without_a_write(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    name, secret = layout.deployment_id(Config()), layout.secret("rows")
    left = temporary_beside(tmp_path / "secrets" / "rows.key")
    left.write_bytes(b"half")
    for directory in ("config", "secrets"):
        (tmp_path / directory).chmod(0o500)
    before = [entry.stat().st_mtime_ns for entry in sorted(tmp_path.rglob("*"))]
    assert (layout.deployment_id(Config()), layout.secret("rows")) == (name, secret)
    assert [entry.stat().st_mtime_ns for entry in sorted(tmp_path.rglob("*"))] == before
    assert left.exists()
    for directory in ("config", "secrets"):
        (tmp_path / directory).chmod(0o700)


def test_the_deployment_has_one_name(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    name = layout.deployment_id(Config())
    assert layout.deployment_id(Config()) == name
    assert name.startswith("edge-")
    (tmp_path / "config" / "deployment_id").write_text("../x")
    with pytest.raises(StorageError, match="does not hold a deployment id"):
        layout.deployment_id(Config())


def test_tasks_are_those_that_something_is_known_of(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.tasks() == []
    make_dir(layout.task("b"))
    make_dir(layout.artifacts("a"))
    make_dir(tmp_path / "tasks" / "Not A Task")
    assert layout.tasks() == ["a", "b"]
    assert layout.require_task("a") == "a"


def test_a_task_that_is_not_there_has_the_nearest_one_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(NotFound) as caught:
        layout.require_task("spam")
    assert caught.value.hint == "loopai generate SPEC makes one"
    make_dir(layout.task("spam-detection"))
    with pytest.raises(NotFound) as caught:
        layout.require_task("spam-detektion")
    assert caught.value.hint == "did you mean 'spam-detection'?"
    with pytest.raises(NotFound) as caught:
        layout.require_task("zzz")
    assert caught.value.hint == "tasks here: spam-detection"
