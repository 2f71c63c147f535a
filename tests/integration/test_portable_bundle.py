"""The bundle as it was downloaded, under every Python from 3.9 on that this machine has, without Loopai."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loopai_runtime.artifacts import archive, bundle
from loopai_runtime.cli.main import run_line
from loopai_runtime.models import AbstainThreshold, Complexity, ProgramArtifact, SynthesisStrategy

from .conftest import Done, Loopai

MINORS = (9, 10, 11, 12, 13)
CODE = """
def run(input_data):
    return score(input_data)[0]


def score(input_data):
    text = input_data["text"]
    if text == "raise":
        raise KeyError("no such word")
    if text == "wrong":
        return "neither", 0.9
    if text == "nan":
        return float("nan"), 0.9
    if text == "unsure":
        return "ham", 0.3
    return ("spam" if "buy" in text.lower() else "ham"), 0.95
"""
RUN_ONLY = "def run(input_data):\n    return [input_data, {'length': len(str(input_data))}]\n"


def _works(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=90).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _pythons() -> dict[str, str]:
    """`3.9` -> an interpreter, of those in PYTHONS (paths, separated as in PATH) and `python3.X` in PATH."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for path in filter(None, os.environ.get("PYTHONS", "").split(os.pathsep)):
        asked = subprocess.run(
            [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True
        )
        found.setdefault(asked.stdout.decode().strip(), path)
    for minor in MINORS:
        path = shutil.which(f"python3.{minor}") or ""
        if f"3.{minor}" not in found and path and _works(path):
            found[f"3.{minor}"] = path
    return found


PYTHONS = _pythons()


@pytest.fixture(params=[f"3.{minor}" for minor in MINORS])
def python(request: pytest.FixtureRequest) -> str:
    if request.param not in PYTHONS:
        pytest.skip(f"no Python {request.param} in PATH; PYTHONS can name one")
    return PYTHONS[request.param]


def write(folder: Path, code: str = CODE, **changes: Any) -> Path:
    """A bundle as `export` writes it."""
    fields: dict[str, Any] = {
        "id": "3f0c8f6e-43a4-4b12-9f4e-1f2f3c7b8a90",
        "task_id": "spam-detection",
        "version": 2,
        "synthesis_strategy": SynthesisStrategy.RULE,
        "learner": "keywords",
        "confidence_score": 0.9,
        "confidence_kind": "accuracy_bound",
        "accuracy_target": 0.9,
        "latency_target_ms": 10,
        "timeout_ms": 1000,
        "memory_mb": 256,
        "input_schema": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "minLength": 1},
                "lang": {"enum": ["en", "de", 1, None]},
                "tags": {"type": "array", "items": {"type": ["string", "null"]}, "maxItems": 3},
                "n": {"type": "integer", "minimum": 0, "exclusiveMaximum": 10},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        "output_schema": {"type": "string", "enum": ["spam", "ham"]},
        "complexity_metrics": Complexity(lines=1, branches=1, features=1, bytes=len(code)),
        "created_at": "2026-11-22T10:00:00Z",
    }
    made = bundle.build(ProgramArtifact(**(fields | changes)), code)
    path = folder / f"{made.artifact.task_id}-v2.zip"
    path.write_bytes(archive.write_zip(made))
    return path


@pytest.fixture
def spam_zip(tmp_path: Path) -> Path:
    return write(tmp_path)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory into which that bundle was imported."""
    place = tmp_path_factory.mktemp("imported")
    assert Loopai(place / "data")("import", write(place)).code == 0
    return place / "data"


def start(python: str, path: Path, *args: str) -> subprocess.Popen[bytes]:
    # An empty environment and -I: nothing of this checkout can be what makes it work.
    return subprocess.Popen(
        [python, "-I", str(path), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"LANG": "C"},
    )


def run(python: str, path: Path, *args: str, stdin: bytes | str = b"") -> Done:
    with start(python, path, *args) as process:
        out, err = process.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=180)
    return Done(process.returncode, out.decode("utf-8"), err.decode("utf-8"))


ANY = sys.executable

# --- on every Python


def test_one_input_prints_its_output_as_json(python: str, spam_zip: Path) -> None:
    done = run(python, spam_zip, '{"text": "Buy now! 🎉"}')
    assert (done.code, done.out, done.err) == (0, '"spam"\n', "")


def test_the_unpacked_folder_runs_too_and_stays_as_it_was(python: str, spam_zip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    shutil.unpack_archive(spam_zip, folder)
    assert run(python, folder, '{"text": "hello"}').out == '"ham"\n'
    assert archive.read(folder).digest == archive.read(spam_zip).digest


def test_lines_on_stdin_come_back_in_order_with_ids(python: str, spam_zip: Path) -> None:
    sent = (
        '\ufeff{"text": "buy"}\n\n{"input": {"text": "hi"}, "id": "ü"}\r\n{"input": {"text": "a\u2028b"}, "id": 0}'
    )
    done = run(python, spam_zip, stdin=sent)
    assert done.code == 0, done.err
    first, second, third = done.lines
    assert list(first) == ["output", "status", "confidence", "version", "latency_ms", "execution_id"]
    assert (first["output"], first["status"], first["version"], first["confidence"]) == (
        "spam",
        "success",
        2,
        0.95,
    )
    assert list(second) == ["id", *first]
    assert (second["id"], second["output"]) == ("ü", "ham")
    assert third["id"] == 0
    assert first["execution_id"] != second["execution_id"]
    assert first["latency_ms"] >= 0


def test_an_input_that_the_schema_refuses_exits_2_with_its_path(python: str, spam_zip: Path) -> None:
    done = run(python, spam_zip, '{"text": 5}')
    assert (done.code, done.out) == (2, "")
    assert done.err == 'error: $.text: 5 is not of type "string"\n'


def test_execute_answers_over_http_until_sigterm(python: str, spam_zip: Path) -> None:
    with serving(python, spam_zip) as (url, process):
        status, kind, answer = post(f"{url}/execute", {"input": {"text": "Buy"}, "task_id": "spam-detection"})
        assert (status, kind) == (200, "application/json")
        assert list(answer) == [
            "output", "latency_ms", "execution_id", "task_id", "version", "confidence", "source",
        ]  # fmt: skip
        assert (answer["output"], answer["task_id"], answer["version"]) == ("spam", "spam-detection", 2)
        assert answer["source"] == "program"
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == 0


# --- in more depth, on one


def test_nothing_given_prints_usage_and_exits_2(spam_zip: Path) -> None:
    done = run(ANY, spam_zip)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"usage: python {spam_zip.name}")


def test_an_empty_batch_that_was_asked_for_is_fine(spam_zip: Path) -> None:
    done = run(ANY, spam_zip, "--file", "-")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("args", [("{}", "--serve"), ("{}", "--file", "-"), ("--unknown",), ("{}", "{}")])
def test_arguments_that_contradict_are_usage_errors(spam_zip: Path, args: tuple[str, ...]) -> None:
    assert run(ANY, spam_zip, *args).code == 2


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("{}", "$"),
        ("[]", "$"),
        ("null", "$"),
        ('{"text": ""}', "$.text"),
        ('{"text": null}', "$.text"),
        ('{"text": "a", "lang": "fr"}', "$.lang"),
        ('{"text": "a", "lang": true}', "$.lang"),
        ('{"text": "a", "tags": ["x", 1]}', "$.tags[1]"),
        ('{"text": "a", "tags": [null, null, null, null]}', "$.tags"),
        ('{"text": "a", "n": 1.5}', "$.n"),
        ('{"text": "a", "n": true}', "$.n"),
        ('{"text": "a", "n": -1}', "$.n"),
        ('{"text": "a", "n": 10}', "$.n"),
        ('{"text": "a", "more": 1}', "$"),
        ('{"text": "a"', "INPUT"),
        ('{"text": "a", "text": "b"}', "INPUT"),
        ('{"text": NaN}', "INPUT"),
        ('{"text": 1e999}', "INPUT"),
        ('{"text": "\\ud800"}', "INPUT"),
        ("[" * 100_000, "INPUT"),
        ("hello", "INPUT"),
    ],
)  # fmt: skip
def test_what_the_portable_runner_refuses_loopai_refuses_at_the_same_place(
    spam_zip: Path, imported: Path, value: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = run(ANY, spam_zip, value)
    assert (ours.code, ours.out) == (2, "")
    assert ours.err.startswith(f"error: {path}: ")
    code = run_line(["run", "spam-detection@2", value, "--data-dir", str(imported)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path}: ")


@pytest.mark.parametrize(
    "value", ['{"text": "a", "lang": 1.0, "n": 2.0}', '{"text": "\\u0000", "tags": [null, "x"]}']
)
def test_odd_but_valid_inputs_are_answered(spam_zip: Path, value: str) -> None:
    assert run(ANY, spam_zip, value).out == '"ham"\n'


def test_the_input_may_come_from_stdin(spam_zip: Path) -> None:
    assert run(ANY, spam_zip, "-", stdin='{"text":\n"buy"}').out == '"spam"\n'


def test_a_bare_text_is_taken_where_the_input_is_a_text(tmp_path: Path) -> None:
    path = write(tmp_path, RUN_ONLY, input_schema={"type": "string"}, output_schema={})
    assert run(ANY, path, "hello").out == '["hello", {"length": 5}]\n'
    assert run(ANY, path, '"hello"').out == '["hello", {"length": 5}]\n'


def test_a_program_without_score_has_no_confidence(tmp_path: Path) -> None:
    path = write(tmp_path, RUN_ONLY, input_schema={}, output_schema={"type": "array"})
    (line,) = run(ANY, path, stdin="-5").lines
    assert line["output"] == [-5, {"length": 2}]
    assert "confidence" not in line
    assert run(ANY, path, "-5").out == '[-5, {"length": 2}]\n'


@pytest.mark.parametrize(
    ("text", "told"), [("raise", "no such word"), ("wrong", "not what the schema promises"), ("nan", "JSON")]
)
def test_a_program_that_fails_exits_1_and_says_so(spam_zip: Path, text: str, told: str) -> None:
    done = run(ANY, spam_zip, json.dumps({"text": text}))
    assert (done.code, done.out) == (1, "")
    assert told in done.err
    assert "Traceback" not in done.err


LINES = '{"text": "buy"}\n{"text": 5}\n{"text": "raise"}\nnot json\n{"text": "hi"}\n'


def test_a_failed_line_stops_the_batch(spam_zip: Path) -> None:
    done = run(ANY, spam_zip, "--file", "-", stdin=LINES)
    assert done.code == 7
    assert [line["output"] for line in done.lines] == ["spam", None]
    assert done.lines[1]["error"] == {
        "type": "InputError", "message": '5 is not of type "string"', "path": "$.text",
    }  # fmt: skip
    assert "line 2" in done.err


def test_a_failed_line_is_dropped_or_kept_where_asked(spam_zip: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(LINES)
    skipped = run(ANY, spam_zip, "--file", str(tmp_path / "in.jsonl"), "--on-error", "skip")
    assert (skipped.code, [line["output"] for line in skipped.lines]) == (7, ["spam", "ham"])
    kept = run(ANY, spam_zip, "-f", "-", "--on-error", "null", stdin=LINES)
    assert (kept.code, [line["output"] for line in kept.lines]) == (7, ["spam", None, None, None, "ham"])
    assert [line.get("error", {}).get("type") for line in kept.lines] == [
        None, "InputError", "KeyError", "InputError", None,
    ]  # fmt: skip
    assert "3 of 5 lines failed" in kept.err


def test_a_missing_file_exits_5(spam_zip: Path) -> None:
    done = run(ANY, spam_zip, "--file", "nowhere.jsonl")
    assert done.code == 5
    assert "nowhere.jsonl" in done.err


def test_below_the_threshold_it_abstains(tmp_path: Path) -> None:
    path = write(tmp_path, abstain=AbstainThreshold(threshold=0.5, target_accuracy=0.98, confidence=0.95))
    assert run(ANY, path, '{"text": "unsure"}') == Done(0, "null\n", "")
    sure, unsure = run(ANY, path, stdin='{"text": "buy"}\n{"text": "unsure"}\n').lines
    assert (sure["output"], sure["abstained"]) == ("spam", False)
    assert (unsure["output"], unsure["abstained"], unsure["confidence"]) == (None, True, 0.3)
    assert unsure["status"] == "success"


def test_a_null_threshold_abstains_always(tmp_path: Path) -> None:
    path = write(tmp_path, abstain=AbstainThreshold(threshold=None, target_accuracy=0.98, confidence=0.95))
    assert run(ANY, path, '{"text": "buy"}').out == "null\n"


def test_a_schema_with_a_property_input_knows_no_envelope(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"input": {"type": "string"}}}
    path = write(tmp_path, RUN_ONLY, input_schema=schema, output_schema={})
    (line,) = run(ANY, path, stdin='{"input": "x", "id": 1}\n').lines
    assert "id" not in line
    assert line["output"][0] == {"input": "x", "id": 1}


def test_lines_are_answered_as_they_come(spam_zip: Path) -> None:
    with start(ANY, spam_zip) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in ("buy", "hello"):
            process.stdin.write(json.dumps({"text": text}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["output"] in ("spam", "ham")
        process.stdin.close()
        assert process.wait(90) == 0


def test_a_reader_that_leaves_ends_it_quietly(spam_zip: Path) -> None:
    with start(ANY, spam_zip) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b'{"text": "buy"}\n')
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b'{"text": "buy"}\n' * 3)
        process.stdin.close()
        assert process.wait(90) == 0
        assert process.stderr.read() == b""


def test_results_are_those_of_loopai_run(spam: Loopai, tmp_path: Path) -> None:
    path = Path(spam("export", "spam-detection", "--out", tmp_path / "b.zip").out.strip())
    sent = "".join(
        json.dumps({"input": {"text": text}, "id": n}) + "\n"
        for n, text in enumerate(["Buy cheap pills", "see you at lunch", "É\u2028🎉\0", "x" * 50_000])
    )
    ours, theirs = run(ANY, path, stdin=sent), spam("run", "spam-detection", "--file", "-", stdin=sent)
    assert (ours.code, theirs.code) == (0, 0), theirs.err
    same = ("id", "output", "status", "confidence", "abstained", "version")
    assert [list(line) for line in ours.lines] == [list(line) for line in theirs.lines]
    for one, other in zip(ours.lines, theirs.lines, strict=True):
        assert [one.get(key) for key in same] == [other.get(key) for key in same]


def test_the_generated_program_runs_on_every_python(python: str, spam: Loopai, tmp_path: Path) -> None:
    path = Path(spam("export", "spam-detection", "--out", tmp_path / "b.zip").out.strip())
    value = '{"text": "Congratulations! Claim your free prize now"}'
    assert run(python, path, value).out == spam("run", "spam-detection", value).out


# --- over HTTP


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(python: str, path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with start(python, path, "--serve", "--port", "0") as process:
        assert process.stderr is not None
        try:
            announced = process.stderr.readline().decode()
            match = re.search(r"(http://127\.0\.0\.1:\d+)/execute", announced)
            assert match, announced
            assert "no sandbox" in process.stderr.readline().decode()
            yield match[1], process
        finally:
            process.kill()


def post(url: str, body: Any, **headers: str) -> tuple[int, str, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as response:
            return response.status, response.headers["Content-Type"], json.load(response)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.headers["Content-Type"], json.load(exc)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(ANY, write(tmp_path_factory.mktemp("serve"))) as (address, _):
        yield address


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/execute", b"{", 400),
        ("/execute", b"\xff", 400),
        ("/execute", b"", 400),
        ("/execute", [], 422),
        ("/execute", {}, 422),
        ("/execute", {"input": {"text": 5}}, 422),
        ("/execute", {"input": {"text": "x"}, "task_id": "other"}, 404),
        ("/elsewhere", {"input": {"text": "x"}}, 404),
        ("/execute", {"input": {"text": "raise"}}, 500),
        ("/execute", b"x" * (1024 * 1024 + 1), 413),
    ],
)  # fmt: skip
def test_http_errors_are_problem_json(url: str, path: str, body: Any, status: int) -> None:
    got, kind, problem = post(url + path, body)
    assert (got, kind) == (status, "application/problem+json")
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]


def test_a_refused_input_names_its_path_over_http(url: str) -> None:
    assert post(f"{url}/execute", {"input": {"text": 5}})[2]["path"] == "$.text"


def test_health_is_answered_and_other_methods_are_not(url: str) -> None:
    with urllib.request.urlopen(f"{url}/healthz", timeout=90) as response:
        assert json.load(response) == {"status": "ok"}
    for method, status in (("GET", 405), ("DELETE", 501)):
        request = urllib.request.Request(f"{url}/execute", method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=90)
        with caught.value as response:
            assert response.code == status
            assert json.load(response)["status"] == status


def raw(url: str, sent: bytes) -> bytes:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=90) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", b"411"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"Content-Length: -1\r\n", b"411"),
        (b"Content-Length: \xd9\xa3\r\n", b"411"),
        (b"Content-Length: 99999999999999999999\r\n", b"413"),
    ],
)  # fmt: skip
def test_a_body_of_unclear_length_is_refused(url: str, headers: bytes, status: bytes) -> None:
    answer = raw(url, b"POST /execute HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n0\r\n\r\n")
    assert answer.split(b" ")[1] == status


def test_garbage_is_answered_and_the_server_lives_on(url: str) -> None:
    for sent in (b"\x16\x03\x01\x00", b"POST\r\n\r\n", b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n", b""):
        raw(url, sent)
    assert post(f"{url}/execute", {"input": {"text": "x"}})[0] == 200


def test_many_at_once_are_all_answered(url: str) -> None:
    answers: list[int] = []
    ask: Callable[[], None] = lambda: answers.append(post(f"{url}/execute", {"input": {"text": "buy"}})[0])  # noqa: E731
    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 60


def test_a_port_that_is_taken_is_an_error_in_one_line(spam_zip: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(ANY, spam_zip, "--serve", "--port", str(port))
    assert done.code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.err


def test_an_interrupted_server_exits_130(spam_zip: Path) -> None:
    with serving(ANY, spam_zip) as (_, process):
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 130


def test_a_request_under_way_is_answered_before_sigterm_ends_it(tmp_path: Path) -> None:
    began, ends = tmp_path / "began", time.monotonic() + 60
    slow = (
        "def run(x):\n"
        f"    open({str(began)!r}, 'w').close()\n"
        "    return sum(i * i for i in range(8_000_000)) and 'done'\n"
    )
    with serving(ANY, write(tmp_path, slow, input_schema={}, output_schema={})) as (url, process):
        answers: list[tuple[int, str, Any]] = []
        asking = threading.Thread(target=lambda: answers.append(post(f"{url}/execute", {"input": 1})))
        asking.start()
        while not began.exists():
            assert time.monotonic() < ends
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        asking.join(60)
        assert process.wait(90) == 0
    assert answers[0][0] == 200
