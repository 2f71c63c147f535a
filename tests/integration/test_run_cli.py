"""`loopai run`: one input, batches, bad input, and what is left in the log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout
from loopai_runtime.models import VersionStatus, new_id

from .conftest import Loopai

BAIT = json.dumps({"text": "You have won a prize! Click now to claim your cash"})
RESULT_KEYS = ["output", "status", "confidence", "version", "latency_ms", "execution_id"]


def logged(loopai: Loopai) -> list[dict[str, object]]:
    files = sorted((loopai.data_dir / "datasets/spam-detection/executions").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n") if line]


def test_one_input_prints_the_output_and_nothing_else(spam: Loopai) -> None:
    done = spam("run", "spam-detection", BAIT)
    assert (done.code, done.out, done.err) == (0, '"spam"\n', "")


def test_details_print_the_result_object(spam: Loopai) -> None:
    done = spam("run", "spam-detection", BAIT, "--details")
    assert list(done.json) == RESULT_KEYS
    assert done.json["status"] == "success"
    assert done.json["version"] == 1
    assert 0 <= done.json["confidence"] <= 1
    assert [record["execution_id"] for record in logged(spam)] == [done.json["execution_id"]]


def test_every_form_of_reference_runs(spam: Loopai) -> None:
    for ref in ("spam-detection@1", "spam-detection@v1", "spam-detection@active"):
        assert spam("run", ref, BAIT).out == '"spam"\n'
    assert spam("run", "spam-detection@previous", BAIT).code == 5
    assert spam("run", "spam-detection@7", BAIT).code == 5
    assert spam("run", "spam-detection@x", BAIT).code == 2
    missing = spam("run", "spam-detectoin", BAIT)
    assert missing.code == 5
    assert "did you mean 'spam-detection'" in missing.err


def test_the_input_may_come_from_stdin(spam: Loopai) -> None:
    assert spam("run", "spam-detection", "-", stdin=BAIT).out == '"spam"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ('{"text": 3}', "$.text"),
        ('{"txt": "x"}', '"text" is a required property'),
        ('{"text": "a", "text": "b"}', "given twice"),
        ('{"text": NaN}', "NaN"),
        ('{"text": "\\ud800"}', "surrogate"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "4300 digits"),
    ],
)
def test_a_bad_input_is_refused_with_its_place(spam: Loopai, text: str, said: str) -> None:
    done = spam("run", "spam-detection", "-", stdin=text)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert logged(spam) == []


def test_a_batch_answers_each_line_in_order(spam: Loopai, tmp_path: Path) -> None:
    rows = [{"input": json.loads(BAIT), "id": n} if n % 2 else {"text": f"lunch at {n}?"} for n in range(40)]
    file = tmp_path / "in.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    done = spam("run", "spam-detection", "--file", file, "--workers", 2)
    assert done.code == 0, done.err
    assert len(done.lines) == 40
    assert [line.get("id") for line in done.lines] == [n if n % 2 else None for n in range(40)]
    assert list(done.lines[1]) == ["id", *RESULT_KEYS]
    assert all(line["output"] == "spam" for line in done.lines[1::2])
    assert [r["execution_id"] for r in logged(spam)] == [line["execution_id"] for line in done.lines]
    assert {r["deployment_id"] for r in logged(spam)} == {
        (spam.data_dir / "config/deployment_id").read_text().strip()
    }


def test_an_object_with_other_keys_beside_input_is_no_envelope(spam: Loopai) -> None:
    done = spam(
        "run", "spam-detection", "--file", "-", "--on-error", "null", stdin='{"input": {"text": "x"}, "more": 1}\n'
    )
    assert done.code == 7
    assert done.lines[0]["error"]["message"] == '"text" is a required property'


BATCH = '{"text": "hello"}\nnot json\n{"text": 3}\n{"text": "bye"}\n'


def test_a_failed_line_stops_the_batch(spam: Loopai) -> None:
    done = spam("run", "spam-detection", "--file", "-", stdin=BATCH)
    assert done.code == 7
    assert [line["status"] for line in done.lines] == ["success", "error"]
    assert done.lines[1]["output"] is None
    assert set(done.lines[1]["error"]) >= {"type", "message"}
    assert "line 2" in done.err


def test_a_failed_line_may_be_dropped(spam: Loopai) -> None:
    done = spam("run", "spam-detection", "--file", "-", "--on-error", "skip", stdin=BATCH)
    assert done.code == 7
    assert [line["status"] for line in done.lines] == ["success", "success"]


def test_a_failed_line_may_be_kept(spam: Loopai) -> None:
    done = spam("run", "spam-detection", "--file", "-", "--on-error", "null", stdin=BATCH)
    assert done.code == 7
    assert [line["status"] for line in done.lines] == ["success", "error", "error", "success"]
    assert done.lines[2]["error"]["path"] == "$.text"
    assert len(logged(spam)) == 2


def test_separators_inside_texts_do_not_cut_lines(spam: Loopai) -> None:
    rows = ["a\u2028b", "c\u0085d", "\ufeffe", "f\x00g", "\r"]
    stdin = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in rows)
    done = spam("run", "spam-detection", "--file", "-", stdin=stdin)
    assert done.code == 0, done.err
    assert [record["input"] for record in logged(spam)] == [{"text": text} for text in rows]


def test_no_record_leaves_no_trace(spam: Loopai) -> None:
    assert spam("run", "spam-detection", BAIT, "--no-record").code == 0
    assert not (spam.data_dir / "datasets").exists()


def test_the_log_has_the_contracts_record(spam: Loopai) -> None:
    spam("run", "spam-detection", BAIT)
    (record,) = logged(spam)
    assert {"schema", "execution_id", "task_id", "version", "input", "output", "source", "status", "latency_ms",
            "timestamp", "sampled", "deployment_id"} <= set(record)  # fmt: skip
    assert record["schema"] == 1
    assert str(record["timestamp"]).endswith("Z")
    assert record["input"] == json.loads(BAIT)


def test_a_missing_batch_file_exits_5(spam: Loopai) -> None:
    assert spam("run", "spam-detection", "--file", "nowhere.jsonl").code == 5


def test_an_unclear_command_line_exits_2(spam: Loopai) -> None:
    assert spam("run").code == 2
    assert spam("run", "spam-detection").code == 2
    assert spam("run", "spam-detection", BAIT, "--file", "x").code == 2
    assert spam("run", "../../etc/passwd", BAIT).code == 2


# --- loose programs


@pytest.fixture
def loose(loopai: Loopai, tmp_path: Path):
    def run(source: str, *options: object, value: str = '{"text": "hi"}'):
        path = tmp_path / "loose.py"
        path.write_text(source, encoding="utf-8")
        return loopai("run", "--program", path, value, *options)

    return run


def test_a_loose_program_prints_the_result_with_its_accounting(loose) -> None:
    done = loose("def run(input_data):\n    return input_data['text'].upper()\n")
    assert done.code == 0, done.err
    assert done.json["output"] == "HI"
    assert done.json["status"] == "success"
    assert done.json["stopped_by"] is None
    assert {"line", "cpu_ms", "wall_ms", "peak_kb"} <= set(done.json)
    assert done.json["peak_kb"] > 1000


def test_a_program_that_raises_says_where(loose) -> None:
    done = loose("def run(input_data):\n    return input_data['nope']\n")
    assert done.code == 1
    assert done.json["error"]["type"] == "KeyError"
    assert done.json["line"] == 2
    assert done.json["stopped_by"] is None


def test_a_refused_program_exits_2_and_names_line_and_construct(loose) -> None:
    done = loose("import os\n\n\ndef run(input_data):\n    return os.getcwd()\n")
    assert done.code == 2
    assert done.json["stopped_by"] == "policy"
    assert done.json["line"] == 1
    assert "os" in done.json["error"]["message"]


def test_an_endless_loop_is_stopped_by_the_clock(loose) -> None:
    done = loose("def run(input_data):\n    while True:\n        pass\n", "--timeout-ms", 300)
    assert done.code == 124
    assert done.json["stopped_by"] == "timeout"
    assert done.json["status"] == "timeout"


def test_a_catastrophic_pattern_is_stopped_by_the_clock(loose) -> None:
    source = "import re\n\n\ndef run(input_data):\n    return bool(re.match(r'(a+)+$', 'a' * 40 + 'b'))\n"
    done = loose(source, "--timeout-ms", 300)
    assert done.code == 124
    assert done.json["stopped_by"] == "timeout"


def test_a_memory_bomb_is_stopped(loose) -> None:
    done = loose("def run(input_data):\n    return len('x' * 4_000_000_000)\n")
    assert done.code == 1
    assert done.json["stopped_by"] == "memory"


@pytest.mark.parametrize("wall", ["full", "policy", "cage"])
def test_each_wall_can_be_tried_by_itself(loose, wall: str) -> None:
    done = loose("def run(input_data):\n    return 1\n", "--sandbox", wall)
    assert (done.code, done.json["output"]) == (0, 1)


def test_the_cage_alone_stops_a_program_that_the_policy_never_saw(loose, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = loose(f"def run(input_data):\n    open({str(trace)!r}, 'w')\n    return 1\n", "--sandbox", "cage")
    assert (done.code, done.json["stopped_by"]) == (1, "cage")
    assert not trace.exists()


# --- whose limit


@pytest.fixture
def endless(spam: Loopai) -> Loopai:
    """v2 of spam-detection never ends; its own timeout is 400 ms."""
    layout = Layout(spam.data_dir)
    store = ArtifactStore(layout)
    first = store.read("spam-detection@1")
    artifact = first.artifact.model_copy(update={"id": new_id(), "timeout_ms": 400})
    code = "def run(input_data):\n    while True:\n        pass\n"
    with layout.lock("spam-detection"):
        store.add(artifact, code, VersionStatus.VALIDATED)
    return spam


@pytest.mark.parametrize(
    ("args", "environment", "file", "limit"),
    [
        ((), {}, None, 400),
        ((), {}, 150, 150),
        ((), {"LOOPAI_EXECUTION__TIMEOUT_MS": "200"}, 150, 200),
        (("--timeout-ms", "250"), {"LOOPAI_EXECUTION__TIMEOUT_MS": "200"}, 150, 250),
    ],
)
def test_a_timeout_that_was_set_wins_over_the_tasks_own(
    endless: Loopai, args: tuple[str, ...], environment: dict[str, str], file: int | None, limit: int
) -> None:
    if file is not None:
        assert endless("config", "set", "execution.timeout_ms", file).code == 0
    done = endless("run", "spam-detection@2", '{"text": "hi"}', "--details", *args, env=environment)
    assert done.code == 124, done.err
    assert f"{limit} ms" in done.json["error"]["message"]


def test_a_timeout_beyond_what_is_allowed_exits_2(spam: Loopai) -> None:
    done = spam("run", "spam-detection", '{"text": "hi"}', "--timeout-ms", "600001")
    assert done.code == 2
    assert "execution.timeout_ms: must be at most 600000" in done.err
