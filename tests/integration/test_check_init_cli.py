"""`loopai init` and `loopai check` as processes: what they print, where, and how they exit."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime import yamldoc
from loopai_runtime.schemas import Schema
from loopai_runtime.synthesis import specfile

from .conftest import EXAMPLES, Loopai

BAD = """\
name: ../x
acuracy_target: 2
description: d
input: {type: object, properties: {text: {type: string}}, required: [text]}
output: {type: string, enum: [spam, ham]}
examples:
  - {input: {text: Buy}, output: junk}
examples_from:
  - {file: rows.csv, input: {text: body}, output: label}
  - {file: missing.csv}
unlabelled_from:
  - {file: logs.jsonl}
"""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "rows.csv").write_bytes(b"body,label\nhello,ham\nbuy,nope\n")
    (tmp_path / "logs.jsonl").write_text('{"text": "fine"}\n{"txt": "x"}\n')
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return path


@pytest.mark.parametrize("template", ["classify", "extract", "route", "transform"])
def test_a_template_is_sound_as_it_is_written(loopai: Loopai, tmp_path: Path, template: str) -> None:
    path = tmp_path / "my.yaml"
    made = loopai("init", path, "--template", template)
    assert (made.code, made.out) == (0, f"{path}\n")
    assert f"loopai check {path}" in made.err
    assert path.read_text().startswith("# yaml-language-server: $schema=./loopai.schema.json\n")
    schema = json.loads((tmp_path / "loopai.schema.json").read_text())
    assert schema == specfile.json_schema()
    assert Schema(schema).faults(specfile.load(path).document.data) == []
    done = loopai("check", path, "-o", "json")
    assert (done.code, done.json["ok"], done.json["warnings"]) == (0, True, [])
    assert done.json["examples"] > 0
    if template not in ("extract", "transform"):  # whose outputs are no labels
        assert done.json["examples"] == sum(done.json["labels"].values())


def test_init_writes_spec_yaml_here_when_nothing_is_said(
    loopai: Loopai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert loopai("init").out == "spec.yaml\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["loopai.schema.json", "spec.yaml"]
    assert loopai("check", "spec.yaml").code == 0
    assert not (tmp_path / "data").exists()


def test_init_overwrites_only_with_force(loopai: Loopai, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("mine")
    done = loopai("init", path)
    assert (done.code, done.out) == (2, "")
    assert "--force" in done.err
    assert path.read_text() == "mine"
    assert not (tmp_path / "loopai.schema.json").exists()
    assert loopai("init", path, "--force").code == 0
    assert path.read_text() != "mine"


def test_init_refuses_what_it_cannot_do(loopai: Loopai, tmp_path: Path) -> None:
    done = loopai("init", tmp_path / "s.yaml", "--template", "nope")
    assert done.code == 2
    assert "classify, extract, route, transform" in done.err
    assert loopai("init", tmp_path / "no" / "s.yaml").code == 5
    assert loopai("init", tmp_path).code == 2
    assert list(tmp_path.iterdir()) == []


def test_every_fault_of_the_specification_and_its_files_is_listed_at_once(loopai: Loopai, bad: Path) -> None:
    done = loopai("check", bad)
    assert done.code == 2
    folder = bad.parent
    assert done.out.splitlines() == [
        f"{bad}:1: $.name: name must be a slug: lower-case letters, digits and hyphens, at most 63, "
        "not starting with a hyphen",
        f"{bad}:2: $.acuracy_target: unknown key 'acuracy_target'; did you mean 'accuracy_target'?",
        f'{bad}:7: $.examples[0].output: "junk" is not one of "spam" or "ham"',
        f'{folder}/rows.csv:3: $.output: "nope" is not one of "spam" or "ham"',
        f"{bad}:10: $.examples_from[1].file: missing.csv: no such file",
        f'{folder}/logs.jsonl:2: $.input: "text" is a required property',
    ]
    assert done.err == "6 faults\n"


def test_faults_as_json(loopai: Loopai, bad: Path) -> None:
    done = loopai("check", bad, "-o", "json")
    assert done.code == 2
    assert done.json["ok"] is False
    assert done.json["faults"][1] == {
        "file": str(bad),
        "line": 2,
        "path": "$.acuracy_target",
        "message": "unknown key 'acuracy_target'; did you mean 'accuracy_target'?",
    }
    assert [f["line"] for f in done.json["faults"]] == [1, 2, 7, 3, 10, 2]


def test_what_the_examples_are_is_said(loopai: Loopai, tmp_path: Path, write_spec: Any) -> None:
    texts = [
        ("Your code is 1234", "good"),
        ("Your code is 9876", "good"),
        ("same", "good"),
        ("same", "good"),
        ("contrary", "good"),
        ("contrary", "bad"),
        *[(f"another {word} text", "good") for word in "abcdefghijk"],
    ]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps({"text": f"input {n}"}) + "\n" for n in range(3)))
    spec = write_spec(
        examples=[{"input": {"text": text}, "output": label} for text, label in texts],
        unlabelled_from=[{"file": "more.jsonl"}],
    )
    found = loopai("check", spec, "-o", "json").json
    assert found | {"warnings": []} == {
        "ok": True,
        "faults": [],
        "warnings": [],
        "examples": 16,
        "labels": {"bad": 1, "good": 15},
        "duplicates": 1,
        "near_duplicates": 1,
        "contradictions": [
            {"input": {"text": "contrary"}, "outputs": ["good", "bad"], "where": ["spec.yaml:1", "spec.yaml:1"]}
        ],
        "unlabelled": 3,
    }
    assert "labels with fewer than 5 examples: bad (1)" in found["warnings"]
    table = loopai("check", spec)
    assert table.code == 0
    for line in (
        "16 examples of 2 classes",
        "1 exact duplicates",
        "1 near duplicates",
        "3 inputs without answers",
    ):
        assert line in table.out
    assert 'warning: contradicting outputs for one input: "good"' in table.err


def test_one_class_and_two_examples_are_warned_of_and_pass(loopai: Loopai, write_spec: Any) -> None:
    done = loopai("check", write_spec(examples=[{"input": {"text": t}, "output": "good"} for t in "ab"]))
    assert done.code == 0
    assert "one class only" in done.err
    assert "labels without an example: bad" in done.err


def test_the_examples_of_the_repository_are_sound(loopai: Loopai) -> None:
    specs = sorted(EXAMPLES.glob("*/spec.yaml"))
    assert specs
    for spec in specs:
        done = loopai("check", spec, "-o", "json")
        assert (done.code, done.json["faults"], done.json["contradictions"]) == (0, [], [])


def test_a_specification_from_stdin(loopai: Loopai, bad: Path, write_spec: Any) -> None:
    good = write_spec().read_text()
    assert loopai("check", "-", stdin=good).code == 0
    done = loopai("check", "-", stdin=BAD)
    assert done.code == 2
    assert done.out.startswith("<stdin>:1: $.name")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"# nothing\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"- a\n", ":1: a specification is a mapping"),
        (b"just text", ":1: a specification is a mapping"),
        (b"name: x\n\tdescription: y\n", ":2: not valid YAML: a tab in the indentation"),
        (b"name: [x\n", "not valid YAML"),
        (b"name: gr\xfc\xdfe\n", ":1: not UTF-8 (byte 0xfc)"),
        (b'name: x\ndescription: "\\ud800"\n', ":2: not valid YAML: an escape that is no character"),
        (b"name: a\0b\n", ":1: character U+0000"),
        (b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            f"{c}: &{c} [{','.join([f'*{chr(ord(c) - 1)}'] * 9)}]\n".encode() for c in "bcdefghij"
        ), "aliases expand to too much"),
        (b"[" * 100_000, "nested deeper than 64"),
    ],
)  # fmt: skip
def test_what_is_no_specification_exits_2(loopai: Loopai, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    for command in ("check", "generate"):
        done = loopai(command, path)
        assert done.code == 2
        assert said in done.out + done.err
        assert "Traceback" not in done.err
    assert not (tmp_path / "data" / "tasks").exists()


def test_a_missing_specification_exits_5_and_says_how_to_start(loopai: Loopai, tmp_path: Path) -> None:
    for command in ("check", "generate"):
        done = loopai(command, tmp_path / "no.yaml")
        assert done.code == 5
        assert "no such file" in done.err
        assert "loopai init" in done.err
    assert loopai("check", tmp_path).code == 2


def test_inputs_at_the_edges_are_accepted_and_kept(loopai: Loopai, tmp_path: Path, write_spec: Any) -> None:
    odd = ["emoji 😀 ❤️", "nul \0 byte", "line\u2028separator\x85", "x" * 50_000, "\ufeffmark", "tab\tand\nnewline"]
    spec = write_spec(examples=[{"input": {"text": text}, "output": "good"} for text in odd])
    done = loopai("check", spec, "-o", "json")
    assert (done.code, done.json["examples"]) == (0, len(odd))


def test_output_is_free_of_terminal_control(loopai: Loopai, tmp_path: Path, write_spec: Any) -> None:
    spec = write_spec(examples=[{"input": {"text": "x"}, "output": "\x1b]0;owned\x07"}])
    done = loopai("check", spec)
    assert done.code == 2
    assert "\x1b" not in done.out + done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_init_in_a_folder_that_is_read_only_is_refused(loopai: Loopai, tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir(mode=0o500)
    done = loopai("init", folder / "s.yaml")
    assert done.code == 1
    assert "permission denied" in done.err


@pytest.mark.parametrize("template", ["classify", "extract", "route", "transform"])
def test_what_a_template_says_must_be_quoted_is_no_text_when_bare(
    loopai: Loopai, tmp_path: Path, template: str
) -> None:
    loopai("init", tmp_path / "spec.yaml", "--template", template)
    (said,) = re.findall(r"# Quote texts: (.*) is no text", (tmp_path / "spec.yaml").read_text(encoding="utf-8"))
    named = re.findall(r"  (\S+)  ?", said)
    assert named == ["true", "null", "12.5"]
    for bare in named:
        assert not isinstance(yamldoc.parse(f"- {bare}", "f").data[0], str)


@pytest.mark.parametrize("command", ["check", "generate"])
@pytest.mark.parametrize("output", ["table", "json"])
def test_an_on_abstain_that_is_not_applied_is_said_once(
    loopai: Loopai, write_spec: Callable[..., Path], command: str, output: str
) -> None:
    warning = "warning: on_abstain: defer needs an oracle: "
    warning += "unless the deployment names one, an abstained input gets null"
    abstain = {"target_accuracy": 0.98, "on_abstain": "defer"}
    asked = loopai(command, write_spec(abstain=abstain), "-o", output)
    assert asked.code == 0, asked.err
    assert asked.err.splitlines().count(warning) == 1
    assert "on_abstain" not in loopai(command, write_spec(), "-o", output).err
