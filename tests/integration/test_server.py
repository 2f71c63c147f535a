"""The edge's server over real sockets: routes, answers, errors, idempotency, limits, life, switches, kills."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests import nursery
from tests.bars import SOAK, TIMED, within

from loopai_runtime.artifacts.store import ArtifactStore
from loopai_runtime.layout import Layout
from loopai_runtime.models import Complexity, ExecutionRecord, ProgramArtifact, SynthesisStrategy, VersionStatus

SPAM = "def run(x):\n    return 'spam' if 'win' in x['text'].lower() else 'ham'\n"
SCORED = "def run(x):\n    return 'spam'\n\ndef score(x):\n    return 'spam', x.get('sure', 0.5)\n"
HANG = "def run(x):\n    while 'hang' in x['text']:\n        pass\n    return 'ham'\n"
RAISES = "def run(x):\n    return {}[x['text']]\n"
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "sure": {"type": "number"}},
    "required": ["text"],
}


def artifact(task_id: str, **changes: Any) -> ProgramArtifact:
    fields: dict[str, Any] = {
        "id": "1", "task_id": task_id, "version": 1, "synthesis_strategy": SynthesisStrategy.RULE, "learner": "hand",
        "confidence_score": 0.9, "confidence_kind": "accuracy_bound", "accuracy_target": 0.9,
        "latency_target_ms": 10.0, "timeout_ms": 1000, "memory_mb": 128, "input_schema": SCHEMA,
        "output_schema": {"type": "string"}, "description": "by hand",
        "complexity_metrics": Complexity(lines=1, branches=1, features=1, bytes=1),
        "created_at": "2026-11-24T00:00:00Z",
    }  # fmt: skip
    return ProgramArtifact(**(fields | changes))


def add(layout: Layout, task_id: str, code: str, *, activate: bool = True, **changes: Any) -> int:
    """Store a version as `generate` would."""
    with layout.lock(task_id, 5):
        store = ArtifactStore(layout)
        stored = store.add(artifact(task_id, **changes), code, VersionStatus.VALIDATED)
        if activate:
            store.activate(task_id, stored.version)
    return stored.version


@dataclass
class Server:
    """A running `loopai start`."""

    process: nursery.Started
    layout: Layout
    host: str
    port: int

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        try:
            raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            connection.request(method, path, raw, headers or {})
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            kind = found.get("content-type", "")
            return response.status, json.loads(content) if "json" in kind else content.decode(), found
        finally:
            connection.close()

    def execute(self, task: str, text: str = "hi", **more: Any) -> tuple[int, Any]:
        status, body, _ = self.call("POST", f"/v1/execute/{task}", {"input": {"text": text, **more}})
        return status, body

    def records(self, task: str) -> list[dict[str, Any]]:
        lines = []
        for path in sorted(self.layout.executions(task).glob("*.jsonl")):
            lines += path.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def wait_for(self, task: str, version: int) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            _, body, _ = self.call("GET", "/readyz")
            if body["tasks"].get(task, {}).get("version") == version:
                return
            time.sleep(0.02)
        raise AssertionError(f"{task} v{version} was not taken up: {body}")


@contextlib.contextmanager
def serving(root: Path, *args: object, before: str = "", **environment: str) -> Iterator[Server]:
    process = launch(root, *args, before=before, **environment)
    try:
        url = process.stdout.readline().decode().strip()
        assert url, (process.wait(60), process.stderr.read())
        host, _, port = url.split("//")[1].rpartition(":")
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        yield Server(process, Layout(root), host.strip("[]"), int(port))
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(90)


def launch(root: Path, *args: object, before: str = "", **environment: str) -> Any:
    """Start a server; `before` is Python that its process runs first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LOOPAI_")}
    line = ["start", "--port", "0", "--data-dir", str(root), *map(str, args)]
    return nursery.start(line, kept | environment, before)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("edge")
    layout = Layout(root)
    add(layout, "spam", SPAM)
    add(layout, "hang", HANG)
    add(layout, "raises", RAISES)
    add(layout, "wrong", "def run(x):\n    return 5\n")
    policy = {"threshold": 0.9, "target_accuracy": 0.98, "confidence": 0.95}
    add(layout, "careful", SCORED, abstain=policy)
    with serving(root) as server:
        yield server


# --- answers


@pytest.mark.parametrize("path", ["/v1/execute/spam", "/api/v1/tasks/spam/execute"])
def test_an_answer_has_the_contracts_members(server: Server, path: str) -> None:
    status, body, headers = server.call("POST", path, {"input": {"text": "You WIN"}})
    assert (status, headers["content-type"]) == (200, "application/json")
    assert list(body) == ["output", "latency_ms", "execution_id", "task_id", "version", "source"]
    assert (body["output"], body["task_id"], body["version"], body["source"]) == ("spam", "spam", 1, "program")


def test_the_body_can_name_the_task(server: Server) -> None:
    status, body, _ = server.call("POST", "/execute", {"input": {"text": "hi"}, "task_id": "spam", "key": "k"})
    assert (status, body["output"]) == (200, "ham")
    status, body, _ = server.call("POST", "/execute", {"input": {"text": "hi"}})
    assert (status, "names no task_id" in body["detail"]) == (404, True)


def test_below_the_threshold_the_answer_is_withheld(server: Server) -> None:
    status, body = server.execute("careful", sure=0.95)
    assert (status, body["output"], body["confidence"], body["abstained"]) == (200, "spam", 0.95, False)
    status, body = server.execute("careful", sure=0.5)
    assert (status, body["output"], body["abstained"], body["source"]) == (200, None, True, "none")


def test_what_is_abstained_on_waits_in_the_queue(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    policy = {"threshold": 0.9, "target_accuracy": 0.98, "confidence": 0.95, "on_abstain": "queue"}
    add(layout, "careful", SCORED, abstain=policy)
    with serving(tmp_path) as server:
        ids = [server.execute("careful", sure=sure)[1]["execution_id"] for sure in (0.5, 0.95, 0.6)]
        waiting = [json.loads(line) for line in layout.queue("careful").read_bytes().splitlines()]
    assert [line["execution_id"] for line in waiting] == [ids[0], ids[2]]
    assert (waiting[0]["input"]["sure"], waiting[0]["output"], waiting[0]["confidence"]) == (0.5, "spam", 0.5)


def test_every_execution_is_in_the_log_before_its_answer(server: Server) -> None:
    for n in range(20):
        _, body = server.execute("spam", f"record {n}")
        record = next(r for r in server.records("spam") if r["execution_id"] == body["execution_id"])
        assert ExecutionRecord.model_validate(record).line() == record
        assert (record["input"], record["output"]) == ({"text": f"record {n}"}, "ham")
        assert record["pi"] == 0.05


def test_a_batch_answers_each_item_in_order(server: Server) -> None:
    items = [{"input": {"text": "win"}, "id": 7}, {"input": {"text": 5}}, {"id": "x"}, {"input": {"text": "hi"}}]
    status, body, _ = server.call("POST", "/api/v1/tasks/spam/batch", {"items": items})
    assert status == 200
    first, second, third, fourth = body["results"]
    assert list(first) == ["id", "output", "status", "version", "latency_ms", "execution_id"]
    assert (first["id"], first["output"], fourth["output"]) == (7, "spam", "ham")
    assert (second["status"], second["error"]["path"], second["output"]) == ("error", "$.text", None)
    assert (third["id"], third["error"]["type"]) == ("x", "InputError")


def test_a_batch_has_at_most_1000_items(server: Server) -> None:
    items = [{"input": {"text": str(n)}, "id": n} for n in range(1000)]
    status, body, _ = server.call("POST", "/api/v1/tasks/spam/batch", {"items": items})
    assert (status, [line["id"] for line in body["results"]]) == (200, list(range(1000)))
    status, body, _ = server.call("POST", "/api/v1/tasks/spam/batch", {"items": [*items, items[0]]})
    assert (status, body["path"]) == (422, "$.items")


# --- failures


def test_a_program_that_fails_is_a_problem_with_its_execution(server: Server) -> None:
    status, body = server.execute("raises", "boom")
    assert (status, body["error"]["type"], body["error"]["line"]) == (500, "KeyError", 2)
    assert server.records("raises")[-1]["execution_id"] == body["execution_id"]
    status, body = server.execute("wrong")
    assert (status, body["error"]["type"]) == (500, "OutputError")


def test_a_program_that_hangs_is_stopped_alone(server: Server) -> None:
    with within(2):
        status, body = server.execute("hang", "hang")
    assert (status, body["error"]["type"]) == (504, "Timeout")
    assert server.execute("hang", "fine")[0] == 200
    assert server.records("hang")[-2]["status"] == "timeout"


BAD: dict[str, tuple[bytes, int]] = {
    "not JSON": (b"{", 400),
    "empty": (b"", 400),
    "not UTF-8": (b'{"input": {"text": "\xff"}}', 400),
    "NaN": (b'{"input": {"text": "x", "sure": NaN}}', 400),
    "infinite": (b'{"input": {"text": "x", "sure": 1e999}}', 400),
    "duplicate key": (b'{"input": {"text": "a", "text": "b"}}', 400),
    "lone surrogate": (b'{"input": {"text": "\\ud800"}}', 400),
    "deep": (b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "huge number": (b'{"input": {"text": "x", "sure": ' + b"9" * 5000 + b"}}", 400),
    "no object": (b"[1]", 422),
    "no input": (b"{}", 422),
    "unknown member": (b'{"input": {"text": "x"}, "inptu": 1}', 422),
    "wrong type": (b'{"input": {"text": 5}}', 422),
    "missing field": (b'{"input": {}}', 422),
    "task of another": (b'{"input": {"text": "x"}, "task_id": "hang"}', 422),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_problem_that_says_so(server: Server, name: str) -> None:
    content, expected = BAD[name]
    status, body, headers = server.call("POST", "/v1/execute/spam", content)
    assert (status, headers["content-type"]) == (expected, "application/problem+json")
    assert (body["status"], bool(body["detail"])) == (expected, True)
    assert server.execute("spam")[0] == 200


def test_big_integers_go_through_as_they_are(tmp_path: Path) -> None:
    add(Layout(tmp_path), "echo", "def run(x):\n    return x\n", input_schema={}, output_schema={})
    with serving(tmp_path) as server:
        for value in (10**30, -(2**63), 1.5e300, "é\u2028🎉", [None, True], {"a": {"b": []}}):
            status, body, _ = server.call("POST", "/execute", {"input": value})
            assert (status, body["output"]) == (200, value)
        assert server.records("echo")[0]["output"] == 10**30


def test_unknown_paths_methods_tasks_and_encodings(server: Server) -> None:
    assert server.execute("nobody")[0] == 404
    assert server.call("GET", "/nothing")[0] == 404
    status, _, headers = server.call("GET", "/v1/execute/spam")
    assert (status, headers["allow"]) == (405, "POST")
    assert server.call("POST", "/v1/execute/spam", b"x", {"content-encoding": "gzip"})[0] == 415


def test_a_body_of_100_mb_is_refused_before_it_is_sent(server: Server) -> None:
    with socket.create_connection((server.host, server.port), timeout=60) as sock:
        sock.sendall(b"POST /v1/execute/spam HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413")


def test_a_chunked_body_that_grows_too_large_is_cut_off(server: Server) -> None:
    with socket.create_connection((server.host, server.port), timeout=60) as sock:
        sock.sendall(b"POST /v1/execute/spam HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(40):
                sock.sendall(chunk)
        assert b" 413 " in sock.recv(200)


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    def request(text: str) -> bytes:
        body = json.dumps({"input": {"text": text}}).encode()
        return b"POST /v1/execute/spam HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    with socket.create_connection((server.host, server.port), timeout=60) as sock:
        sock.sendall(b"".join(request(text) for text in ("win", "hi", "win", "hi")))
        received = b""
        while received.count(b"execution_id") < 4:
            received += sock.recv(65536)
    outputs = [part.split(b'"')[0] for part in received.split(b'"output":"')[1:]]
    assert outputs == [b"spam", b"ham", b"spam", b"ham"]


def test_a_client_that_leaves_harms_nobody(server: Server) -> None:
    for cut in (10, 60, 130):
        request = (
            b'POST /v1/execute/spam HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n{"input": {"text": "hi"}}'
            + b" " * 60
        )
        with socket.create_connection((server.host, server.port), timeout=60) as sock:
            sock.sendall(request[:cut])
    assert server.execute("spam")[0] == 200


def test_a_half_closed_request_is_answered(server: Server) -> None:
    body = b'{"input": {"text": "win"}}'
    for path in (b"/v1/execute/spam", b"/api/v1/tasks/spam/execute?via=asgi"):
        with socket.create_connection((server.host, server.port), timeout=60) as sock:
            sock.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (path, len(body), body))
            sock.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: sock.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 200"), received
        assert b'"output":"spam"' in received


def test_the_short_way_and_asgi_answer_alike(server: Server) -> None:
    """A query in the path sends a request through ASGI."""
    bodies = [b"", b"{", b"[]", b'{"input": {"text": "win"}}', b'{"input": {"text": 5}}', b'{"input": {}, "x": 1}']
    for body in bodies:
        short, asgi = (server.call("POST", f"/v1/execute/spam{query}", body) for query in ("", "?x=1"))
        assert short[0] == asgi[0]
        assert short[2].keys() == asgi[2].keys()
        for answer in (short[1], asgi[1]):
            for name in ("execution_id", "latency_ms"):
                answer.pop(name, None)
        assert short[1] == asgi[1]


# --- idempotency


def test_the_same_key_and_body_executes_once(server: Server) -> None:
    before = len(server.records("spam"))
    answers = [
        server.call("POST", "/v1/execute/spam", {"input": {"text": "once"}}, {"Idempotency-Key": "k1"})
        for _ in range(3)
    ]
    assert len({body["execution_id"] for _, body, _ in answers}) == 1
    assert [headers.get("idempotency-replayed") for _, _, headers in answers] == [None, "true", "true"]
    assert len(server.records("spam")) == before + 1


def test_the_same_key_with_another_body_is_refused(server: Server) -> None:
    headers = {"Idempotency-Key": "k2"}
    assert server.call("POST", "/v1/execute/spam", {"input": {"text": "a"}}, headers)[0] == 200
    assert server.call("POST", "/v1/execute/spam", {"input": {"text": "b"}}, headers)[0] == 422


# --- pages


def test_health_metrics_and_documents(server: Server) -> None:
    server.execute("spam")
    assert server.call("GET", "/healthz")[:2] == (200, {"status": "ok"})
    status, body, _ = server.call("GET", "/readyz")
    assert (status, body["ready"], body["tasks"]["spam"]) == (200, True, {"version": 1})
    text = server.call("GET", "/metrics")[1]
    assert 'loopai_program_executions_total{status="success",task_id="spam",version="1"}' in text
    assert 'loopai_program_versions{task_id="spam"} 1.0' in text
    api = server.call("GET", "/openapi.json")[1]
    schema = api["paths"]["/v1/execute/spam"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["input"] == SCHEMA
    example = api["paths"]["/v1/execute/spam"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert server.call("POST", "/v1/execute/spam", example)[0] == 200
    page = server.call("GET", "/docs")[1]
    assert "curl" in page
    assert "<script" not in page


# --- the door


def test_other_addresses_need_keys_or_leave(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    process = launch(tmp_path, "--host", "0.0.0.0")
    _, err = process.communicate(timeout=90)
    assert (process.returncode, b"keys_file" in err) == (2, True)
    with serving(tmp_path, "--host", "0.0.0.0", "--allow-anonymous") as server:
        assert server.execute("spam")[0] == 200


def test_with_a_keys_file_only_its_keys_enter(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    keys_file = tmp_path / "keys.json"

    def keys(*args: str) -> str:
        line = ["keys", *args, "--keys-file", str(keys_file), "--data-dir", str(tmp_path)]
        done = nursery.run(line, os.environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    key = keys("create")
    with serving(tmp_path, LOOPAI_SERVER__KEYS_FILE=str(keys_file)) as server:
        body = {"input": {"text": "win"}}
        assert server.call("POST", "/execute", body)[0] == 401
        assert server.call("GET", "/metrics")[0] == 401
        assert server.call("GET", "/healthz")[0] == 200
        assert server.call("POST", "/execute", body, {"Authorization": "Bearer lp_x_y"})[0] == 401
        bearer = {"Authorization": f"Bearer {key}"}
        assert server.call("POST", "/execute", body, bearer)[0] == 200
        keys("revoke", key.split("_")[1])
        deadline = time.monotonic() + 60
        while server.call("POST", "/execute", body, bearer)[0] != 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_tls_is_1_3_and_nothing_older(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", cert], check=True, capture_output=True,
    )  # fmt: skip
    with serving(tmp_path, "--tls-cert", cert, "--tls-key", key) as server:
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
        connection = http.client.HTTPSConnection(server.host, server.port, context=context, timeout=60)
        connection.request("POST", "/execute", json.dumps({"input": {"text": "win"}}))
        assert json.loads(connection.getresponse().read())["output"] == "spam"
        old = ssl.create_default_context(cafile=str(cert))
        old.check_hostname = False
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection((server.host, server.port), timeout=60) as raw, pytest.raises(ssl.SSLError):
            old.wrap_socket(raw)


def test_a_key_gets_no_more_than_its_rate(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    with serving(tmp_path, LOOPAI_SERVER__RATE_LIMIT="5") as server:
        statuses: list[int] = []
        began = time.monotonic()
        while statuses.count(429) < 3:
            status, _, headers = server.call("POST", "/execute", {"input": {"text": "win"}})
            statuses.append(status)
            assert statuses.count(200) <= 5 + 5 * (time.monotonic() - began)
        assert statuses[:5] == [200] * 5
        assert headers["retry-after"] == "1"
        items = [{"input": {"text": "win"}}] * 50
        assert server.call("POST", "/api/v1/tasks/spam/batch", {"items": items})[0] == 429
        assert len(server.records("spam")) == statuses.count(200)
        assert server.call("GET", "/readyz")[0] == 200


def test_traceparent_goes_into_the_log(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    process = launch(tmp_path, LOOPAI_LOGGING__LEVEL="debug")
    port = int(process.stdout.readline().decode().strip().rpartition(":")[2])
    server = Server(process, Layout(tmp_path), "127.0.0.1", port)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    server.call("POST", "/execute", {"input": {"text": "win"}}, {"traceparent": trace})
    server.call("POST", "/execute", {"input": {"text": 5}}, {"traceparent": trace})
    process.terminate()
    _, err = process.communicate(timeout=90)
    traced = [line for line in map(json.loads, err.splitlines()) if line.get("traceparent") == trace]
    assert [line.get("status") for line in traced] == [200, 422]


# --- life


def test_sigterm_drains_and_exits_0(tmp_path: Path) -> None:
    add(Layout(tmp_path), "hang", HANG, timeout_ms=3000)
    with serving(tmp_path) as server:
        answer: list[Any] = []
        caller = threading.Thread(target=lambda: answer.append(server.execute("hang", "hang")))
        caller.start()
        while "loopai_in_flight 1.0" not in server.call("GET", "/metrics")[1]:
            assert not answer
        server.process.send_signal(signal.SIGTERM)
        caller.join(60)
        assert answer[0][0] == 504
        assert server.process.wait(60) == 0


def test_a_second_server_says_who_has_the_directory_or_the_port(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    with serving(tmp_path) as server:
        second = launch(tmp_path)
        _, err = second.communicate(timeout=90)
        assert (second.returncode, f"process {server.process.pid}".encode() in err) == (6, True)
        other = tmp_path / "other"
        third = launch(other, "--port", server.port)
        _, err = third.communicate(timeout=90)
        assert (third.returncode, b"cannot listen" in err) == (6, True)


def test_an_unknown_task_is_not_found(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    process = launch(tmp_path, "--task-id", "spma")
    _, err = process.communicate(timeout=90)
    assert (process.returncode, b"did you mean" in err) == (5, True)


def test_one_task_alone_is_the_default(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    add(layout, "hang", HANG)
    with serving(tmp_path, "--task-id", "spam") as server:
        assert server.call("POST", "/execute", {"input": {"text": "win"}})[1]["output"] == "spam"
        assert server.execute("hang")[0] == 404


def test_a_version_that_is_activated_is_taken_up_and_rolled_back(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    with serving(tmp_path) as server:
        add(layout, "spam", "def run(x):\n    return 'v2'\n")
        server.wait_for("spam", 2)
        assert server.execute("spam")[1]["output"] == "v2"
        with layout.lock("spam", 5):
            ArtifactStore(layout).rollback("spam")
        server.wait_for("spam", 1)
        assert server.execute("spam")[1]["version"] == 1
        add(layout, "new", SPAM)
        server.wait_for("new", 1)


def test_a_version_that_does_not_load_leaves_the_old_one_serving(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    with serving(tmp_path) as server:
        add(layout, "spam", "import os\ndef run(x):\n    return os.getcwd()\n")
        deadline = time.monotonic() + 90
        while "trouble" not in server.call("GET", "/readyz")[1]["tasks"]["spam"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.execute("spam", "win")[1]["output"] == "spam"
        assert "loopai_tasks_in_trouble 1.0" in server.call("GET", "/metrics")[1]


def test_a_log_that_is_deleted_is_started_again(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    with serving(tmp_path) as server:
        server.execute("spam")
        for path in server.layout.executions("spam").iterdir():
            path.unlink()
        time.sleep(0.3)
        _, body = server.execute("spam")
        assert server.records("spam")[-1]["execution_id"] == body["execution_id"]


def test_a_log_that_cannot_be_written_is_said_and_got_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    with serving(tmp_path) as server:
        assert server.execute("spam")[0] == 200
        folder = layout.executions("spam")
        aside = folder.with_name("aside")
        folder.rename(aside)
        for path in aside.iterdir():
            path.unlink()
        folder.write_text("in the way")
        time.sleep(0.3)  # how often the server looks whether its file is still there
        assert server.execute("spam")[0] == 507
        assert server.call("GET", "/readyz")[0] == 503
        folder.unlink()
        assert server.execute("spam")[0] == 200
        assert server.call("GET", "/readyz")[0] == 200


@pytest.mark.parametrize("policy", ["reject", "serve"])
def test_a_full_disk_rejects_or_serves_as_configured(tmp_path: Path, policy: str) -> None:
    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    # The file size limit stands for a disk that is full: the same error, without a file system of its own.
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))"
    )
    with serving(tmp_path, before=limit, LOOPAI_STORAGE__ON_FULL=policy) as server:
        statuses = [server.execute("spam", "x" * 2000)[0] for _ in range(15)]
        assert set(statuses) == ({200, 507} if policy == "reject" else {200})
        ready = server.call("GET", "/readyz")
        assert (ready[0], ready[1]["storage"] != "ok") == (503, True)
        assert len(server.records("spam")) == 8
        assert statuses.count(200) == (8 if policy == "reject" else 15)


@pytest.mark.parametrize("fsync", ["never", "interval", "always"])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, fsync: str) -> None:
    layout = Layout(tmp_path)
    add(layout, "spam", SPAM)
    acknowledged: list[str] = []
    rounds = max(1, round(100 * SOAK / 3))
    for _ in range(rounds):
        with serving(tmp_path, LOOPAI_STORAGE__FSYNC=fsync) as server:
            stop = threading.Event()

            def work(server: Server = server, stop: threading.Event = stop) -> None:
                connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
                body = json.dumps({"input": {"text": "win " * 50}})
                with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                    while not stop.is_set():
                        connection.request("POST", "/execute", body)
                        acknowledged.append(json.loads(connection.getresponse().read())["execution_id"])

            workers = [threading.Thread(target=work) for _ in range(8)]
            for worker in workers:
                worker.start()
            enough = len(acknowledged) + 60
            while len(acknowledged) < enough and any(worker.is_alive() for worker in workers):
                time.sleep(0.01)
            server.process.kill()
            stop.set()
            for worker in workers:
                worker.join()
    with serving(tmp_path) as server:
        acknowledged.append(server.execute("spam")[1]["execution_id"])
        kept = [record["execution_id"] for record in server.records("spam")]
    assert len(acknowledged) > 50
    assert len(kept) == len(set(kept))
    assert set(acknowledged) <= set(kept)


@pytest.mark.slow
def test_versions_switch_under_load_without_a_failed_request(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for n in range(4):
        add(layout, "spam", f"def run(x):\n    return 'v{n + 1}'\n", activate=n == 0)
    wrong: list[Any] = []
    count = 0
    with serving(tmp_path) as server:
        stop = threading.Event()

        def work() -> None:
            nonlocal count
            connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
            while not stop.is_set():
                connection.request("POST", "/execute", json.dumps({"input": {"text": "x"}}))
                response = connection.getresponse()
                body = json.loads(response.read())
                count += 1
                if response.status != 200 or body["output"] != f"v{body['version']}":
                    wrong.append(body)

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for n in range(max(10, round(200 * SOAK))):
            version = n % 3 + 2 if n % 2 else 1
            with layout.lock("spam", 5):
                ArtifactStore(layout).activate("spam", version)
            server.wait_for("spam", version)
        stop.set()
        for worker in workers:
            worker.join()
        records = server.records("spam")
    assert not wrong
    assert len(records) == count > 100
    assert all(record["output"] == f"v{record['version']}" for record in records)


@pytest.mark.slow
def test_slow_clients_do_not_keep_others_waiting(tmp_path: Path) -> None:
    add(Layout(tmp_path), "spam", SPAM)
    with serving(tmp_path) as server:
        sockets = [
            socket.create_connection((server.host, server.port)) for _ in range(max(200, round(2000 * SOAK)))
        ]
        try:
            for n, sock in enumerate(sockets):
                sock.sendall(b"POST /execute HTTP/1.1\r\nX-Drip: "[: 5 + n % 30])
            times = []
            for _ in range(200):
                started = time.monotonic()
                assert server.execute("spam")[0] == 200
                times.append(time.monotonic() - started)
            assert not TIMED or sorted(times)[180] < 0.5
            sockets[0].settimeout(60)
            assert sockets[0].recv(10) == b""  # cut off
        finally:
            for sock in sockets:
                sock.close()
