"""list, show, versions, diff, activate, rollback, export, import and verify, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout
from loopai_runtime.models import ProgramArtifact, VersionStatus, new_id

from .conftest import Loopai

TASK = "spam-detection"
ROW_KEYS = ["task_id", "version", "status", "strategy", "confidence_score", "created_at", "sha256", "bytes"]


def version(loopai: Loopai, number: int) -> Path:
    return loopai.data_dir / "artifacts" / TASK / f"v{number}"


def add(loopai: Loopai, change: Callable[[str], str], status: VersionStatus = VersionStatus.VALIDATED) -> int:
    """Store a version whose program is v1's, changed."""
    layout = Layout(loopai.data_dir)
    store = ArtifactStore(layout)
    first = store.read(f"{TASK}@1")
    artifact: ProgramArtifact = first.artifact.model_copy(update={"id": new_id()})
    with layout.lock(TASK):
        return store.add(artifact, change(first.code), status).version


def always_ham(code: str) -> str:
    return code + "\n\ndef run(input_data):\n    return 'ham'\n\n\ndef score(input_data):\n    return 'ham', 0.9\n"


@pytest.fixture
def two(spam: Loopai) -> Loopai:
    """v1 serves; v2, which answers ham to everything, is validated."""
    assert add(spam, always_ham) == 2
    return spam


# --- what there is


def test_versions_have_the_shape_of_the_contract(two: Loopai) -> None:
    rows = two("versions", TASK, "-o", "json").json
    assert [list(row) for row in rows] == [ROW_KEYS, ROW_KEYS]
    assert [(row["version"], row["status"]) for row in rows] == [(1, "active"), (2, "validated")]
    assert rows[0]["task_id"] == TASK
    assert rows[0]["bytes"] == (version(two, 1) / "program.py").stat().st_size
    assert 0 < rows[0]["confidence_score"] <= 1
    state = json.loads((two.data_dir / "artifacts" / TASK / "state.json").read_text())
    assert rows[0]["sha256"] == state["versions"]["1"]["sha256"]


@pytest.mark.parametrize("command", [("list",), ("ls",), ("versions", TASK)])
def test_every_list_comes_in_every_format(two: Loopai, command: tuple[str, ...]) -> None:
    rows = two(*command, "-o", "json").json
    assert two(*command, "--output", "jsonl").lines == rows
    table, sheet = two(*command), two(*command, "-o", "csv")
    parsed = list(csv.DictReader(io.StringIO(sheet.out)))
    assert [row["task_id"] for row in parsed] == [row["task_id"] for row in rows]
    assert TASK in table.out
    assert "\x1b" not in table.out


def test_list_shows_what_serves(two: Loopai) -> None:
    (row,) = two("list", "-o", "json").json
    assert (row["task_id"], row["active"], row["versions"]) == (TASK, 1, 2)


def test_nothing_made_yet_is_an_empty_list_and_a_hint(loopai: Loopai) -> None:
    done = loopai("list", "-o", "json")
    assert (done.code, done.json) == (0, [])
    assert "loopai demo" in done.err


def test_show_prints_the_metadata_or_the_code(two: Loopai) -> None:
    shown = two("show", TASK, "-o", "json").json
    assert (shown["task_id"], shown["version"], shown["status"]) == (TASK, 1, "active")
    assert shown["history"][0]["action"] == "add"
    assert two("show", f"{TASK}@1", "--code").out == (version(two, 1) / "program.py").read_text()
    assert shown["sha256"] in two("show", TASK).out


@pytest.mark.parametrize("command", ["show", "export", "verify", "activate", "diff", "run"])
@pytest.mark.parametrize("ref", [f"{TASK}@9", "spam-detektion", f"{TASK}@previous"])
def test_a_version_that_is_not_there_exits_5(spam: Loopai, command: str, ref: str, tmp_path: Path) -> None:
    more = {"export": ("--out", tmp_path / "x"), "run": ("{}",)}.get(command, ())
    done = spam(command, ref, *more)
    assert done.code == 5, done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("ref", ["../x", "a/b@1", f"{TASK}@latest", f"{TASK}@0"])
def test_what_is_no_reference_exits_2(spam: Loopai, ref: str) -> None:
    assert spam("show", ref).code == 2


# --- what differs


def test_diff_tells_which_examples_change_and_how(two: Loopai) -> None:
    found = two("diff", TASK, "-o", "json").json
    assert (found["old"], found["new"]) == (1, 2)
    examples = [json.loads(line) for line in (two.data_dir / "tasks" / TASK / "examples.jsonl").open()]
    assert found["examples"] == len(examples)
    assert found["broken"] > 0
    assert found["fixed"] + found["broken"] + found["changed"] == len(found["changes"])
    for change in found["changes"]:
        stored = examples[change["row"] - 1]
        assert (change["input"], change["expected"]) == (stored["input"], stored["output"])
        assert (change["old"], change["new"]) == ("spam", "ham")
        assert change["effect"] == ("broken" if change["expected"] == "spam" else "fixed")
    assert "+    return 'ham', 0.9" in found["code"]
    assert two("diff", TASK, "-o", "jsonl").lines == found["changes"]


def test_diff_shows_code_and_counts_to_people(two: Loopai) -> None:
    done = two("diff", f"{TASK}@1", "2")
    assert done.code == 0, done.err
    assert "+def run(input_data):" in done.out
    assert "v1 -> v2 on" in done.out
    assert "broken" in done.out


@pytest.mark.parametrize(
    ("args", "pair"),
    [
        ((f"{TASK}@2", f"{TASK}@1"), (2, 1)),
        ((f"{TASK}@v2", "@v1"), (2, 1)),
        ((f"{TASK}@2", "active"), (2, 1)),
        ((f"{TASK}@2",), (1, 2)),
        ((TASK,), (1, 2)),
    ],
)  # fmt: skip
def test_the_versions_to_compare_can_be_named_in_short(
    two: Loopai, args: tuple[str, ...], pair: tuple[int, int]
) -> None:
    found = two("diff", *args, "-o", "json").json
    assert (found["old"], found["new"]) == pair


def test_after_activation_diff_compares_the_previous_with_the_active(two: Loopai) -> None:
    two("activate", f"{TASK}@2")
    found = two("diff", TASK, "-o", "json").json
    assert (found["old"], found["new"]) == (1, 2)


def test_an_example_on_which_a_version_fails_is_broken(spam: Loopai) -> None:
    add(spam, lambda code: "def run(input_data):\n    raise ValueError('broken')\n")
    found = spam("diff", TASK, "-o", "json").json
    assert found["broken"] > 100
    assert "broken" in found["changes"][0]["new_error"]


def test_versions_of_two_tasks_are_not_compared(two: Loopai) -> None:
    assert two("diff", f"{TASK}@1", "other@2").code == 2


# --- which one serves


def test_activate_and_rollback_change_what_run_answers(two: Loopai) -> None:
    value = '{"text": "Congratulations! Claim your free prize now"}'
    assert two("run", TASK, value, "--no-record").out == '"spam"\n'
    done = two("activate", f"{TASK}@2")
    assert (done.code, done.out) == (0, "")
    assert "loopai rollback" in done.err
    assert two("run", TASK, value, "--no-record").out == '"ham"\n'
    assert two("rollback", TASK, "--reason", "too trusting").code == 0
    assert two("run", TASK, value, "--no-record").out == '"spam"\n'
    assert "too trusting" in two("show", TASK).out


def test_a_task_that_has_served_traffic_wants_a_reason(two: Loopai) -> None:
    assert two("run", TASK, '{"text": "hello"}').code == 0
    refused = two("activate", f"{TASK}@2")
    assert refused.code == 2
    assert "--reason" in refused.err
    assert two("versions", TASK, "-o", "json").json[0]["status"] == "active"
    assert two("activate", f"{TASK}@1").code == 0, "what serves already needs no reason"
    assert two("activate", f"{TASK}@2", "--reason", "").code == 2
    assert two("activate", f"{TASK}@2", "--reason", "shadowed for a week").code == 0
    assert [row["status"] for row in two("versions", TASK, "-o", "json").json] == ["deprecated", "active"]


def test_on_a_terminal_the_reason_is_asked_for(two: Loopai) -> None:
    assert two("run", TASK, '{"text": "hello"}').code == 0
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "loopai_runtime", "activate", f"{TASK}@2"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=two.environment(), start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        os.write(ours, b"asked and answered\n")
        assert process.wait(180) == 0
    os.close(ours)
    assert "asked and answered" in two("show", TASK).out


def test_rollback_with_nothing_before_exits_5(spam: Loopai) -> None:
    assert spam("rollback", TASK).code == 5


def test_a_locked_task_exits_6(two: Loopai) -> None:
    with Layout(two.data_dir).lock(TASK):
        assert two("activate", f"{TASK}@2").code == 6
        assert two("rollback", TASK, "--lock-timeout", "0.1").code == 6
        assert two("run", TASK, '{"text": "hello"}').code == 0, "reading takes no lock"


# --- out, in, and checked


def test_a_bundle_travels_to_another_data_directory(two: Loopai, tmp_path: Path) -> None:
    done = two("export", TASK, "--out", tmp_path / "b.zip")
    assert (done.code, done.out) == (0, f"{tmp_path / 'b.zip'}\n")
    other = Loopai(tmp_path / "other")
    made = other("import", done.out.strip(), "-o", "json").json
    digest = two("versions", TASK, "-o", "json").json[0]["sha256"]
    assert made == {"task_id": TASK, "version": 1, "status": "active", "sha256": digest, "new": True}
    value = '{"text": "Congratulations! Claim your free prize now"}'
    assert other("run", TASK, value).out == two("run", TASK, value).out
    again = other("import", done.out.strip(), "-o", "json")
    assert (again.json["version"], again.json["new"]) == (1, False)


def test_an_import_never_changes_what_serves(two: Loopai, spam_made: Path, tmp_path: Path) -> None:
    two("export", f"{TASK}@2", "--out", tmp_path / "b.zip")
    other = Loopai(tmp_path / "other")
    shutil.copytree(spam_made, other.data_dir, symlinks=True)
    made = other("import", tmp_path / "b.zip", "-o", "json").json
    assert (made["version"], made["status"]) == (2, "validated")
    assert other("show", TASK, "-o", "json").json["version"] == 1


def test_a_version_that_missed_its_targets_is_imported_as_a_draft(two: Loopai, tmp_path: Path) -> None:
    layout = Layout(two.data_dir)
    store = ArtifactStore(layout)
    stored = store.read(TASK)
    worse = stored.artifact.model_copy(update={"id": new_id(), "accuracy_target": 0.9999})
    with layout.lock(TASK):
        store.add(worse, stored.code, VersionStatus.DRAFT)
    two("export", f"{TASK}@3", "--out", tmp_path / "b.zip")
    made = Loopai(tmp_path / "other")("import", tmp_path / "b.zip", "-o", "json").json
    assert made["status"] == "draft"


def test_import_under_another_name(two: Loopai, tmp_path: Path) -> None:
    two("export", TASK, "--out", tmp_path / "b.zip")
    assert two("import", tmp_path / "b.zip", "--task", "letters").code == 0
    assert two("show", "letters", "-o", "json").json["origin"]["task_id"] == TASK
    assert two("import", tmp_path / "b.zip", "--task", "../letters").code == 2


def test_a_program_that_the_policy_refuses_is_not_imported(two: Loopai, tmp_path: Path) -> None:
    add(two, lambda code: "import os\n\n\ndef run(x):\n    return os.environ\n")
    two("export", f"{TASK}@3", "--out", tmp_path / "b.zip")
    other = Loopai(tmp_path / "other")
    assert other("import", tmp_path / "b.zip").code == 2
    assert other("list", "-o", "json").json == []
    verified = other("verify", tmp_path / "b.zip")
    assert verified.code == 1
    assert "policy" in verified.err


def test_a_tampered_bundle_is_refused_by_import_and_verify(two: Loopai, tmp_path: Path) -> None:
    two("export", TASK, "--out", tmp_path / "b.zip")
    shutil.unpack_archive(tmp_path / "b.zip", tmp_path / "f")
    (tmp_path / "f" / "program.py").write_text("def run(x):\n    return 'ham'\n")
    for command in ("import", "verify"):
        done = two(command, tmp_path / "f")
        assert done.code == 1
        assert "program.py has SHA-256" in done.err
        assert "Traceback" not in done.err
    assert two("verify", tmp_path / "nowhere.zip").code == 5


def test_verify_names_each_version_and_the_damaged_file(two: Loopai) -> None:
    assert [row["ok"] for row in two("verify", TASK, "-o", "json").json] == [True, True]
    (version(two, 1) / "evil.py").write_text("import os\n")
    done = two("verify", TASK, "-o", "json")
    assert done.code == 1
    assert [(row["name"], row["ok"]) for row in done.json] == [(f"{TASK}@v1", False), (f"{TASK}@v2", True)]
    assert "evil.py" in done.json[0]["fault"]
    assert "evil.py" in done.err
    assert two("verify", f"{TASK}@2").code == 0


def test_a_damaged_version_never_serves_and_the_last_good_one_does(two: Loopai) -> None:
    (version(two, 2) / "program.py").write_text("def run(x):\n    return 'ham'\n")
    refused = two("activate", f"{TASK}@2")
    assert refused.code == 1
    assert "v2: program.py has SHA-256" in refused.err
    assert two("run", TASK, '{"text": "hello"}').code == 0
    assert two("run", f"{TASK}@2", '{"text": "hello"}').code == 1
    listed = two("versions", TASK, "-o", "json")
    assert listed.code == 0
    assert "program.py" in listed.json[1]["fault"]
    assert "program.py" in listed.err


def test_a_damaged_active_version_says_how_to_go_back(two: Loopai) -> None:
    assert two("activate", f"{TASK}@2").code == 0
    (version(two, 2) / "metadata.json").write_text("{}")
    done = two("run", TASK, '{"text": "hello"}')
    assert done.code == 1
    assert f"loopai activate {TASK}@1" in done.err
    assert two("list", "-o", "json").code == 0
    assert two("activate", f"{TASK}@1").code == 0
    assert two("run", TASK, '{"text": "hello"}').code == 0


def test_docker_and_kubernetes_exports_are_folders(two: Loopai, tmp_path: Path) -> None:
    old_mask = os.umask(0o022)
    try:
        assert two("export", TASK, "--format", "docker", "--out", tmp_path / "d").code == 0
        assert two("export", TASK, "--format", "k8s", "--out", tmp_path / "k").code == 0
    finally:
        os.umask(old_mask)
    assert {p.name for p in (tmp_path / "k").iterdir()} - {p.name for p in (tmp_path / "d").iterdir()} == {
        "k8s.yaml"
    }
    assert two("verify", tmp_path / "d").code == 0
    assert (tmp_path / "d" / "program.py").stat().st_mode & 0o777 == 0o644, "an image's user has to read it"
    objects = list(yaml.safe_load_all((tmp_path / "k" / "k8s.yaml").read_text()))
    assert [item["kind"] for item in objects] == ["Deployment", "Service"]
    settings = yaml.safe_load((tmp_path / "d" / "deployment.yaml").read_text())
    assert set(settings) == {"task_id", "version", "timeout_ms", "memory_mb", "port"}
    run = subprocess.run(
        [sys.executable, tmp_path / "d", '{"text": "hello"}'], capture_output=True, text=True, cwd=tmp_path
    )
    assert run.stdout == '"ham"\n'


def test_an_export_overwrites_no_folder(two: Loopai, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine").write_text("keep")
    assert two("export", TASK, "--format", "docker", "--out", tmp_path / "d").code == 2
    assert (tmp_path / "d" / "mine").read_text() == "keep"
    assert two("export", TASK, "--format", "zip", "--out", tmp_path / "d").out == f"{tmp_path}/d/{TASK}-v1.zip\n"
    assert {p.name for p in (tmp_path / "d").iterdir()} == {"mine", f"{TASK}-v1.zip"}


def test_the_same_version_exports_the_same_bytes(two: Loopai, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        two("export", TASK, "--out", tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_personal_data_stays_out_of_programs_and_is_found_where_it_is_not(
    loopai: Loopai, write_spec: Callable[..., Path]
) -> None:
    tail = {"good": "mail bob@example.com", "bad": "see http://shop.example/x or call 555-123-4567"}
    examples = [
        {"input": {"text": f"{word} {thing} {n} {tail[label]}"}, "output": label}
        for n, thing in enumerate(["lamp", "chair", "phone", "table", "shop"] * 24)
        for word, label in (("lovely", "good"), ("awful", "bad"))
    ]
    assert loopai("generate", write_spec(examples=examples)).code == 0
    clean = loopai("verify", "tiny", "--pii")
    assert (clean.code, clean.err) == (0, "no personal data was found\n")
    program = (loopai.data_dir / "artifacts/tiny/v1/program.py").read_text()
    assert "example.com" not in program

    assert loopai("generate", write_spec(description="ask bob@example.com", examples=examples)).code == 0
    found = loopai("verify", "tiny@2", "--pii", "-o", "json")
    assert found.code == 1
    assert {leak["kind"] for leak in found.json} == {"EMAIL"}
    assert all("bob" not in leak["masked"] for leak in found.json)
    assert {leak["place"] for leak in found.json} == {"metadata.json: $.description"}
