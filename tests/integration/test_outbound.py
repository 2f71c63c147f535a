"""The wire to places that may be hostile: real sockets, and what they may not do."""

from __future__ import annotations

import gzip
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from loopai_runtime.outbound import Outbound, Refused, is_loopback, noted, place_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(play: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does with each connection whatever `play` does, once the request has arrived."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    with suppress(OSError):
                        play(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)


def client(**options: int) -> httpx.Client:
    return httpx.Client(transport=Outbound(**options), follow_redirects=True)


def dripping(data: bytes) -> Callable[[socket.socket], None]:
    def play(connection: socket.socket) -> None:
        for index in range(len(data)):
            connection.sendall(data[index : index + 1])
            time.sleep(0.1)

    return play


def silent(connection: socket.socket) -> None:
    """Say nothing until the client has gone."""
    while connection.recv(65536):
        pass


def test_an_answer_is_read_whole() -> None:
    with server(lambda connection: connection.sendall(OK)) as url, client() as http, noted() as seen:
        assert http.get(url).text == "ok"
    assert (seen.status, seen.sent, seen.late, seen.why) == (200, True, False, None)


def test_chunks_are_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    with server(lambda connection: connection.sendall(chunked)) as url, client() as http:
        assert http.get(url).text == "ok"


@pytest.mark.parametrize(
    "play",
    [
        dripping(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000),
        dripping(OK[:-2] + b"ok" * 1000),
        silent,
        lambda connection: (connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 3), silent(connection)),
    ],
    ids=["headers drip", "the body drips", "silence", "continue, continue"],
)
def test_the_whole_exchange_has_one_deadline(play: Callable[[socket.socket], None]) -> None:
    with server(play) as url, client() as http, noted() as seen:
        started = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            http.post(url, content=b"x", timeout=1.5)
        assert 0.5 < time.monotonic() - started < 60  # what drips does so for minutes, and silence has no end
    assert seen.late
    assert seen.sent


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that give way to each other at every opportunity."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_an_exchange_never_takes_over_the_connection_of_another() -> None:
    came: list[tuple[str, int]] = []

    class Keeps(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are left open, for whoever asks again

        def do_GET(self) -> None:
            came.append(self.client_address)
            self.wfile.write(OK)

        def log_message(self, *_: object) -> None:
            pass

    def ask(url: str, http: httpx.Client) -> None:
        for _ in range(50):
            assert http.get(url, timeout=60).text == "ok"

    with ThreadingHTTPServer(("127.0.0.1", 0), Keeps) as there, client() as http, ThreadPoolExecutor(8) as crowd:
        threading.Thread(target=there.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{there.server_address[1]}/"
        for asked in [crowd.submit(ask, url, http) for _ in range(8)]:
            asked.result()
        there.shutdown()
    assert len(came) == len(set(came)) == 400


def test_redirects_are_not_followed() -> None:
    elsewhere = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://localhost:1/\r\nContent-Length: 0\r\n\r\n"
    followed = pytest.raises(Refused, match="redirects")
    with server(lambda wire: wire.sendall(elsewhere)) as url, client() as http, noted() as seen, followed:
        http.get(url, headers={"Authorization": "Bearer secret"})
    assert seen.why == "redirects to another address (307)"


@pytest.mark.parametrize(
    "head", [b"Content-Length: 3000000\r\n\r\n", b"\r\n"], ids=["announced", "until the connection ends"]
)
def test_a_body_has_a_largest_size(head: bytes) -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"x" * 3_000_000)

    with server(play) as url, client(max_body=2**20) as http, pytest.raises(Refused, match="more than 1 MiB"):
        http.get(url)


def test_a_compressed_answer_is_not_unfolded() -> None:
    bomb = gzip.compress(b"0" * 10**7)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    refused = pytest.raises(Refused, match="compressed")
    with server(lambda wire: wire.sendall(head + bomb)) as url, client() as http, refused:
        http.get(url)


def test_huge_headers_are_an_error() -> None:
    flood = b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"
    refused = pytest.raises(httpx.RemoteProtocolError)
    with server(lambda wire: wire.sendall(flood)) as url, client() as http, refused:
        http.get(url, timeout=60)


def test_nobody_there_is_known_as_nothing_sent() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    with client() as http, noted() as seen, pytest.raises(httpx.ConnectError):
        http.get(url)
    assert not seen.sent


def test_what_is_meant_for_this_machine_passes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with server(lambda connection: connection.sendall(OK)) as url, client() as http:
        assert http.get(url).text == "ok"


def test_others_are_reached_through_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with server(lambda connection: connection.sendall(OK)) as proxy, client() as http:
        monkeypatch.setenv("http_proxy", proxy)
        assert http.get("http://model.example/").text == "ok"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:1/", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8", True),
        ("http://localhost.:1", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://user@127.0.0.1@evil.example", False),
        ("http://2130706433", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(url: str, local: bool) -> None:
    assert is_loopback(url) is local


def test_places_are_shown_without_what_may_be_secret() -> None:
    assert place_of("https://user:secret@api.example.com:8443/v1?key=secret") == "api.example.com:8443"
    assert place_of("https://api.example.com/v1") == "api.example.com"
