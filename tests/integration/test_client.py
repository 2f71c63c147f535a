"""The Python clients against a real server, and against one that refuses at first."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.test_server import RAISES, SPAM, Server, add, serving

from loopai_runtime import AsyncClient, Client
from loopai_runtime.errors import Busy, InputError, NotFound, ProgramError
from loopai_runtime.layout import Layout


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("edge")
    add(Layout(root), "spam", SPAM)
    add(Layout(root), "raises", RAISES)
    with serving(root) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{server.port}") as client:
        yield client


def test_an_answer_is_an_object(client: Client) -> None:
    answer = client.execute("spam", {"text": "WIN"})
    assert (answer.output, answer.task_id, answer.version, answer.abstained) == ("spam", "spam", 1, False)


def test_a_batch_is_a_list_of_results(client: Client) -> None:
    assert [line["output"] for line in client.batch("spam", [{"text": "win"}, {"text": "hi"}])] == ["spam", "ham"]


def test_problems_are_the_librarys_errors(client: Client) -> None:
    with pytest.raises(InputError) as refused:
        client.execute("spam", {"text": 5})
    assert refused.value.path == "$.text"
    with pytest.raises(NotFound):
        client.execute("nobody", {})
    with pytest.raises(ProgramError) as failed:
        client.execute("raises", {"text": "x"})
    assert (failed.value.type, failed.value.line) == ("KeyError", 2)


def test_the_asynchronous_client_answers_many_at_once(server: Server) -> None:
    async def main() -> list[object]:
        async with AsyncClient(f"http://127.0.0.1:{server.port}") as client:
            assert (await client.ready())["ready"] is True
            answers = await asyncio.gather(*(client.execute("spam", {"text": "win"}) for _ in range(50)))
            return [answer.output for answer in answers]

    assert asyncio.run(main()) == ["spam"] * 50


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers 503 until its server has refused often enough; keeps the keys that came."""

    refusals = 2
    keys: list[str | None] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.keys.append(self.headers["idempotency-key"])
        refuse = len(self.keys) <= self.refusals
        body = {"detail": "busy"} if refuse else {
            "output": 1, "latency_ms": 0.1, "execution_id": "x", "task_id": "t", "version": 1, "source": "program",
        }  # fmt: skip
        content = json.dumps(body).encode()
        self.send_response(503 if refuse else 200)
        self.send_header("retry-after", "0")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.mark.parametrize(("attempts", "answered"), [(5, True), (2, False)])
def test_a_busy_server_is_asked_again_with_the_same_key(tmp_path: Path, attempts: int, answered: bool) -> None:
    Refusing.keys = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        with Client(f"http://127.0.0.1:{refusing.server_port}", attempts=attempts) as client:
            if answered:
                assert client.execute("t", {}).output == 1
            else:
                with pytest.raises(Busy):
                    client.execute("t", {})
        refusing.shutdown()
    assert len(Refusing.keys) == (3 if answered else 2)
    assert len(set(Refusing.keys)) == 1
