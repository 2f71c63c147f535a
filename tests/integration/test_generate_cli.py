"""`loopai generate`: the main job, its gates, and input at the edges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import EXAMPLES, Loopai


def test_a_specification_becomes_an_active_version_that_runs(spam: Loopai) -> None:
    version = spam.data_dir / "artifacts" / "spam-detection" / "v1"
    assert sorted(p.name for p in version.iterdir()) == sorted(
        [
            "program.py",
            "metadata.json",
            "__main__.py",
            "requirements.txt",
            "Dockerfile",
            "deployment.yaml",
            "README.md",
        ]
    )
    assert (spam.data_dir / "artifacts" / "spam-detection" / "active").readlink() == Path("v1")
    done = spam("run", "spam-detection", '{"text": "You have won a prize! Click now to claim your cash"}')
    assert (done.code, done.out) == (0, '"spam"\n')


def test_the_metadata_says_how_the_version_was_judged_and_never_the_rows(spam: Loopai) -> None:
    text = (spam.data_dir / "artifacts/spam-detection/v1/metadata.json").read_text()
    metadata = json.loads(text)
    assert metadata["confidence_kind"] == "accuracy_bound"
    assert 0.5 < metadata["confidence_score"] <= metadata["accuracy"]["value"] <= 1
    assert set(metadata["complexity_metrics"]) == {"lines", "branches", "features", "bytes"}
    assert len(metadata["candidates"]) >= 2
    assert sum(candidate["won"] for candidate in metadata["candidates"]) == 1
    first_row = (EXAMPLES / "spam" / "train.csv").read_text(encoding="utf-8").splitlines()[1]
    assert first_row[:40] not in text


def test_the_program_needs_no_more_than_the_standard_library(spam: Loopai) -> None:
    program = spam.data_dir / "artifacts/spam-detection/v1/program.py"
    code = (
        f"import runpy; p = runpy.run_path({str(program)!r}); "
        "import json; i = {'text': 'Claim your free prize now'}; print(json.dumps([p['run'](i), p['score'](i)]))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    label, (again, confidence) = json.loads(done.stdout)
    assert label == again
    assert 0 <= confidence <= 1


def test_data_goes_to_stdout_and_words_to_stderr(loopai: Loopai, write_spec: Callable[..., Path]) -> None:
    done = loopai("generate", write_spec(), "-o", "json")
    assert done.code == 0, done.err
    assert done.json["task_id"] == "tiny"
    assert done.json["status"] == "active"
    assert "tiny@1 is active" in done.err


def test_the_same_seed_writes_the_same_program(tmp_path: Path, write_spec: Callable[..., Path]) -> None:
    programs = []
    for n in range(2):
        one = Loopai(tmp_path / f"data{n}")
        done = one("generate", write_spec(), "--seed", 7, env={"PYTHONHASHSEED": str(n)})
        assert done.code == 0, done.err
        programs.append((one.data_dir / "artifacts/tiny/v1/program.py").read_bytes())
    assert programs[0] == programs[1]


def test_a_missed_target_is_a_draft_that_says_what_would_help(
    loopai: Loopai, write_spec: Callable[..., Path]
) -> None:
    noise = [{"input": {"text": f"word{n} other{n * 7}"}, "output": "good" if n % 3 else "bad"} for n in range(40)]
    done = loopai("generate", write_spec(examples=noise, accuracy_target=0.99))
    assert done.code == 3
    assert "draft" in done.err
    assert "example" in done.err
    assert not (loopai.data_dir / "artifacts/tiny/active").is_symlink()
    assert loopai("run", "tiny", '{"text": "x"}').code == 5
    assert loopai("run", "tiny@1", '{"text": "x"}').code == 0


def test_two_examples_make_a_draft(loopai: Loopai, write_spec: Callable[..., Path]) -> None:
    two = [{"input": {"text": "great"}, "output": "good"}, {"input": {"text": "broken"}, "output": "bad"}]
    done = loopai("generate", write_spec(examples=two))
    assert done.code == 3, done.err
    assert (loopai.data_dir / "artifacts/tiny/v1/program.py").exists()


def test_one_class_only_is_refused(loopai: Loopai, write_spec: Callable[..., Path]) -> None:
    same = [{"input": {"text": f"great {n}"}, "output": "good"} for n in range(20)]
    done = loopai("generate", write_spec(examples=same))
    assert done.code == 2
    assert "good" in done.err
    assert not (loopai.data_dir / "artifacts").exists()
    assert not (loopai.data_dir / "tasks").exists()


def test_a_later_version_does_not_replace_the_active_one_by_itself(
    loopai: Loopai, write_spec: Callable[..., Path]
) -> None:
    spec = write_spec()
    assert loopai("generate", spec).code == 0
    done = loopai("generate", spec, "--seed", 1)
    assert done.code == 0, done.err
    assert "v1 stays active" in done.err
    assert "loopai activate tiny@2" in done.err
    assert "rollout start" in done.err
    assert (loopai.data_dir / "artifacts/tiny/active").readlink() == Path("v1")


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "empty"), ("name: x\n\tdescription: y\n", "tab"), ("- a\n- b\n", "mapping"), (BOMB, "aliases expand")],
)
def test_a_bad_specification_is_refused_clearly(loopai: Loopai, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    done = loopai("generate", path)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not loopai.data_dir.exists()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "UPPER", ".hidden", "x" * 64])
def test_a_task_name_cannot_leave_the_data_directory(
    loopai: Loopai, write_spec: Callable[..., Path], name: str
) -> None:
    done = loopai("generate", _named(write_spec, name))
    assert done.code == 2
    assert "name" in done.err
    assert not loopai.data_dir.exists()


def _named(write_spec: Callable[..., Path], name: str) -> Path:
    path = write_spec()
    spec = json.loads(path.read_text())
    spec["name"] = name
    path.write_text(json.dumps(spec))
    return path


def test_a_missing_file_exits_5(loopai: Loopai) -> None:
    done = loopai("generate", "no-such.yaml")
    assert done.code == 5
    assert "no-such.yaml" in done.err


def test_text_at_the_edges_works(loopai: Loopai, write_spec: Callable[..., Path]) -> None:
    odd = ["emoji 😀👩‍👩‍👧", "nul \x00 inside", "line\u2028separator\u0085here", "x" * 50_000, "\ufeffbom", ""]
    examples = [
        {"input": {"text": f"{word} {n} {text}"}, "output": label}
        for n, text in enumerate(odd)
        for word, label in (("great lovely", "good"), ("broken awful", "bad"))
    ]
    done = loopai("generate", write_spec(examples=examples))
    assert done.code in (0, 3), done.err
    for text in odd:
        ran = loopai("run", "tiny@1", "-", stdin=json.dumps({"text": text}))
        assert ran.code == 0, ran.err
        assert ran.json in ("good", "bad")


def test_contradicting_examples_are_a_warning_that_lists_them(
    loopai: Loopai, write_spec: Callable[..., Path]
) -> None:
    spec = json.loads(write_spec().read_text())
    contradiction = [{"input": {"text": "great lovely lamp number 0"}, "output": "bad"}]
    done = loopai("generate", write_spec(examples=spec["examples"] + contradiction))
    assert done.code == 0, done.err
    assert "warning" in done.err
    assert "contradict" in done.err


def test_a_read_only_data_directory_is_refused(tmp_path: Path, write_spec: Callable[..., Path]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file, not a directory")
    done = Loopai(blocked / "data")("generate", write_spec())
    assert done.code == 1
    assert str(blocked) in done.err
    assert "--data-dir" in done.err


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root to mount a small disk")
def test_a_full_disk_is_refused_and_leaves_nothing_half_written(
    tmp_path: Path, write_spec: Callable[..., Path]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk here: {mounted.stderr.decode().strip()}")
    try:
        small = Loopai(disk / "data")
        (disk / "ballast").write_bytes(b"x" * 48 * 1024)
        done = small("generate", write_spec())
        assert done.code == 1, done.err
        assert "disk is full" in done.err
        assert list((small.data_dir).rglob("program.py")) == []
        (disk / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        assert small("generate", write_spec()).code == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_two_generates_of_one_task_do_not_meet(loopai: Loopai, write_spec: Callable[..., Path]) -> None:
    spec = write_spec()
    both = [loopai.start("generate", spec) for _ in range(2)]
    codes = sorted(process.wait(timeout=300) for process in both)
    for process in both:
        process.communicate()
    assert codes in ([0, 6], [0, 0])  # the second came while the first held the lock, or after it
    versions = sorted(p.name for p in (loopai.data_dir / "artifacts/tiny").glob("v*"))
    assert versions == [f"v{n + 1}" for n in range(codes.count(0))]


def test_a_held_lock_is_waited_for_or_named(loopai: Loopai, write_spec: Callable[..., Path]) -> None:
    from loopai_runtime.layout import Layout

    spec = write_spec()
    with Layout(loopai.data_dir).lock("tiny"):
        done = loopai("generate", spec)
        assert done.code == 6
        assert "--lock-timeout" in done.err
    assert loopai("generate", spec, "--lock-timeout", "30").code == 0
