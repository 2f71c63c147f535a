"""Clients that mean harm: nobody is let in, nothing is lost for the others, and the hub goes on."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket as sockets
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import msgpack
import pytest
from starlette.types import Message, Scope
from tests.bars import SOAK, TIMED, within
from tests.integration.signalr.arena import PATH, Arena, arena, make_hub
from tests.integration.signalr.raw import HANDSHAKE, connections, eventually, headers, http, negotiate, socket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from loopai_runtime.signalr.protocol.framing import with_length

BOB = "token-of-bob"
MSGPACK = '{"protocol":"messagepack","version":1}\x1e'


@pytest.fixture
def strict() -> Iterator[Arena]:
    """Short patience, small buffers."""
    options: dict[str, Any] = {
        "body_timeout_s": 0.6, "disconnect_timeout_s": 1.0, "handshake_timeout_s": 20.0, "send_timeout_s": 1.0,
        "send_buffer_bytes": 256 * 1024, "client_timeout_s": 3.0,
    }  # fmt: skip
    with arena(lambda: make_hub(**options)) as found:
        yield found


def still_well(server: Arena) -> None:
    with socket(server) as found, within(1):
        assert found.invoke("Add", 40, 2)["result"] == 42


# --- tokens


def test_ten_thousand_bad_tokens_get_in_nowhere_and_leave_nothing() -> None:
    """Straight into the application: what it costs and leaves is the hub's alone."""
    hub = make_hub()
    rng = random.Random(9)
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"].endswith(".start"):
            statuses.append(message["status"])

    def scope() -> Scope:
        token = rng.choice(
            [
                b"",
                b"token-of-ann ",
                b"Token-of-ann",
                b"token-of-an",
                b"token-of-ann2",
                rng.randbytes(30).hex().encode(),
            ]
        )
        way = rng.choice(
            [("authorization", b"Bearer " + token + b"x"), ("authorization", b"Basic " + token), ("x", b"")]
        )
        kind = rng.choice(["http", "websocket"])
        return {
            "type": kind, "method": rng.choice(["GET", "POST", "DELETE"]), "headers": [(way[0].encode(), way[1])],
            "path": rng.choice([PATH, f"{PATH}/negotiate"]), "query_string": b"id=abc&access_token=" + token.replace(b" ", b"+") + b"x",
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip

    async def run() -> int:
        for _ in range(1000):
            await hub(scope(), receive, send)
        tracemalloc.start()
        for _ in range(9000):
            await hub(scope(), receive, send)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return grown

    assert asyncio.run(run()) < 256 * 1024
    assert statuses == [401] * 10_000
    assert hub.connections == []


def test_no_request_is_an_error_of_the_server() -> None:
    """Requests of a known user, made of noise."""
    hub = make_hub(max_connections_per_user=100_000, max_connections=100_000)
    rng = random.Random(10)
    statuses: set[int] = set()

    async def receive() -> Message:
        return {"type": "http.request", "body": rng.randbytes(20), "more_body": False}

    async def send(message: Message) -> None:
        if message["type"].endswith(".start"):
            statuses.add(message["status"])

    def noise(most: int) -> bytes:
        return bytes(
            rng.choice(b"id=&%+;access_token\xff\x00\xe9./negotiateVersion19-") for _ in range(rng.randrange(most))
        )

    def scope() -> Scope:
        path = rng.choice([PATH, f"{PATH}/negotiate", f"{PATH}/negotiate/", noise(30).decode("latin-1")])
        named = [
            (b"authorization", b"Bearer token-of-ann"),
            (noise(10) or b"x", noise(20)),
            (b"accept", noise(20)),
        ]
        return {
            "type": rng.choice(["http", "http", "websocket"]), "method": rng.choice(["GET", "POST", "DELETE", "OPTIONS", "x"]),
            "headers": named, "path": path, "extensions": {"websocket.http.response": {}},
            "query_string": rng.choice([b"id=", b"negotiateVersion=", b"useStatefulReconnect=", b""]) + (noise(40) or b"x"),
        }  # fmt: skip

    async def run() -> None:
        for _ in range(3000):
            made = scope()
            if made["type"] == "http" or made["query_string"].startswith(b"id="):
                await hub(made, receive, send)

    asyncio.run(asyncio.wait_for(run(), 240))
    assert statuses <= {200, 400, 403, 404, 405}


@pytest.mark.slow
def test_many_bad_tokens_over_real_sockets_do_not_keep_the_others_waiting(server: Arena) -> None:
    count = round(10_000 * max(SOAK, 0.1))
    done = threading.Event()

    def knock() -> None:
        with http("token-of-eve") as client:
            for _ in range(count):
                assert client.post(f"{server.url}/negotiate").status_code == 401
        done.set()

    thread = threading.Thread(target=knock)
    thread.start()
    while not done.is_set():
        still_well(server)
    thread.join(120)


@pytest.mark.parametrize("stateful", ["true", "false"])
def test_a_connections_token_serves_its_own_user_alone(server: Arena, stateful: str) -> None:
    token = negotiate(server, useStatefulReconnect=stateful)["connectionToken"]
    for accept in ("*/*", "text/event-stream"):
        stolen = httpx.get(server.url, params={"id": token}, headers=headers(BOB) | {"accept": accept})
        assert stolen.status_code == 403
    with pytest.raises(InvalidStatus) as caught, socket(server, token, BOB):
        pass
    assert caught.value.response.status_code == 403
    with socket(server, token) as found:
        assert found.invoke("WhoAmI")["result"] == "ann"
        for method in ("POST", "DELETE"):
            assert httpx.request(method, server.url, params={"id": token}, headers=headers(BOB)).status_code == 403
        with pytest.raises(InvalidStatus) as caught, socket(server, token, BOB):
            pass
        assert caught.value.response.status_code == 403
        assert found.invoke("WhoAmI", invocation_id="2")["result"] == "ann"


def test_guessed_connection_tokens_find_nothing(server: Arena) -> None:
    with socket(server), http() as client:
        for guess in ("1", "../x", "%00", "x" * 4000, "' OR 1=1 --", "*"):
            assert client.get(server.url, params={"id": guess}).status_code == 404


# --- sizes


@pytest.mark.parametrize("size", [33_000, 1_000_000])
def test_a_frame_that_is_too_large_ends_its_connection(server: Arena, size: int) -> None:
    with socket(server) as found:
        found.send({"type": 1, "target": "Note", "arguments": ["x" * size]})
        code, last = found.end()
        assert last == {"type": 7, "error": "Connection closed with an error."}
        assert code == 1000
    still_well(server)


def test_a_message_without_end_is_cut_off(server: Arena) -> None:
    with socket(server) as found:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                found.send("x" * 10_000)
                time.sleep(0.001)
        assert found.drain()[0] in (1000, None)
    still_well(server)


def test_a_body_that_is_too_large_ends_its_connection(server: Arena) -> None:
    token = negotiate(server)["connectionToken"]
    with http() as client:
        client.get(server.url, params={"id": token})
        client.post(server.url, params={"id": token}, content=HANDSHAKE)

        def flood() -> Iterator[bytes]:
            for _ in range(200):
                yield b"x" * 10_000

        client.post(server.url, params={"id": token}, content=flood())
        heard = b""
        while b'"type":7' not in heard:
            answer = client.get(server.url, params={"id": token})
            assert answer.status_code == 200
            heard += answer.content
        assert client.post(server.url, params={"id": token}, content=b"x").status_code == 404


def test_a_frame_of_a_million_messages_keeps_nobody_waiting(server: Arena) -> None:
    with socket(server) as noisy, socket(server) as other:
        noisy.send(
            '{"type":6}\x1e' * 600_000, '{"type":1,"invocationId":"1","target":"Add","arguments":[1,1]}\x1e'
        )
        waited = []
        for number in range(20):
            before = time.monotonic()
            assert other.invoke("Add", 1, 1, invocation_id=str(number))["result"] == 2
            waited.append(time.monotonic() - before)
        assert not TIMED or (sorted(waited)[10] < 0.2 and max(waited) < 2)
        assert noisy.completion("1", 300)["result"] == 2


# --- slowness


def slow_request(server: Arena, head: str) -> sockets.socket:
    line = sockets.create_connection(("127.0.0.1", server.port), timeout=60)
    line.sendall(f"{head} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-of-ann\r\n".encode())
    return line


def test_a_body_that_drips_is_given_up(strict: Arena) -> None:
    token = negotiate(strict)["connectionToken"]
    with http() as client:
        client.get(strict.url, params={"id": token})
    with slow_request(strict, f"POST {PATH}?id={token}") as line:
        line.sendall(b"content-length: 1000\r\n\r\n")
        line.settimeout(0.1)
        answer = b""
        before = time.monotonic()
        while not answer:
            line.sendall(b"x")
            try:
                answer = line.recv(1000)
            except TimeoutError:
                assert time.monotonic() - before < 60
        assert answer.startswith(b"HTTP/1.1 408")
    still_well(strict)


def test_polls_that_nobody_reads_hold_up_nobody(strict: Arena) -> None:
    lines = []
    with http() as client:
        for _ in range(30):
            token = negotiate(strict)["connectionToken"]
            client.get(strict.url, params={"id": token})
            call = '{"type":4,"invocationId":"1","target":"Forever","arguments":[]}\x1e'
            client.post(strict.url, params={"id": token}, content=HANDSHAKE + call)
            line = slow_request(strict, f"GET {PATH}?id={token}")
            line.sendall(b"accept: */*\r\n\r\n")
            lines.append(line)
    still_well(strict)
    eventually(lambda: connections(strict) == 0)
    for line in lines:
        line.close()
    still_well(strict)


def test_a_client_that_does_not_read_is_cut_and_the_others_hear_everything(strict: Arena) -> None:
    text = "x" * 20_000
    with socket(strict) as reader:
        reader.invoke("Join", "readers")
        deaf = sockets.create_connection(("127.0.0.1", strict.port))
        deaf.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        deaf.sendall(
            f"GET {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer token-of-bob\r\nupgrade: websocket\r\n"
            "connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert b"101" in deaf.recv(4096)
        deaf.sendall(client_frame(HANDSHAKE.encode()))
        deaf.sendall(client_frame(b'{"type":1,"target":"Join","arguments":["readers"]}\x1e'))
        eventually(lambda: connections(strict) == 2)
        time.sleep(0.1)
        for number in range(1500):
            assert reader.invoke("Tell", "readers", f"{number} {text}", invocation_id=str(number))["result"] >= 1
            if number % 100 == 0 and connections(strict) == 1:
                break
        assert connections(strict) == 1, "the deaf one is gone"
        assert reader.invoke("Tell", "readers", "last", invocation_id="last")["result"] == 1
        deaf.close()


def client_frame(payload: bytes) -> bytes:
    """A masked text frame of RFC 6455, the mask being zero."""
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def test_a_stream_that_nobody_reads_waits_instead_of_filling_memory(strict: Arena) -> None:
    with socket(strict) as found:
        found.send({"type": 4, "invocationId": "1", "target": "Count", "arguments": [10_000_000]})
        time.sleep(1)

        async def waiting() -> list[int]:
            return [each.link.size for each in strict.hub.connections if each.link]

        assert all(size < 256 * 1024 for size in strict.on(waiting()))
        still_well(strict)
        found.send({"type": 5, "invocationId": "1"})
        assert "error" not in found.completion("1", 120)


# --- nonsense


@pytest.mark.parametrize(
    "frame",
    [
        "hello\x1e", "{}\x1e", "\x1e", "[]\x1e", '{"type":1}\x1e', '{"type":1,"target":1,"arguments":[]}\x1e', '{"type":"1"}\x1e',
        '{"type":3,"invocationId":"1","result":1,"error":"x"}\x1e', '{"type":8,"sequenceId":"x"}\x1e', b"\xff\xfe\x1e", "[" * 30_000 + "\x1e",
    ],
)  # fmt: skip
def test_what_is_no_message_ends_its_connection(server: Arena, frame: str | bytes) -> None:
    with socket(server) as found:
        found.send(frame)
        assert found.end() == (1000, {"type": 7, "error": "Connection closed with an error."})


BOMBS = {
    "an array of four thousand million": b"\xdd\xff\xff\xff\xff",
    "a map of four thousand million": b"\xdf\xff\xff\xff\xff",
    "a string of four gigabytes": b"\xdb\xff\xff\xff\xff",
    "bytes of four gigabytes": b"\xc6\xff\xff\xff\xff",
    "arguments that are too many": b"\x96\x01\x80\xa11\xa4Echo\xdd\x7f\xff\xff\xff",
    "arguments that are too deep": b"\x96\x01\x80\xa11\xa4Echo" + b"\x91" * 30_000 + b"\x90",
    "maps in maps": b"\x96\x01\x80\xa11\xa4Echo\x91" + b"\x81\xa1x" * 10_000 + b"\xc0\x90",
    "a list as a key": b"\x96\x01\x81\x90\xa1x\xa11\xa4Echo\x90\x90",
    "an extension": b"\x96\x01\x80\xa11\xa4Echo\x91\xd6\x05\0\0\0\0\x90",
    "a time beyond all times": b"\x96\x01\x80\xa11\xa4Echo\x91\xc7\x0c" + b"\xff" * 13 + b"\x90",
    "nothing": b"",
}


@pytest.mark.parametrize("bomb", list(BOMBS))
def test_messagepack_bombs_end_their_connection_alone(server: Arena, bomb: str) -> None:
    with socket(server, shake=None) as found:
        found.send(MSGPACK)
        found.send(with_length(BOMBS[bomb]))
        with within(2):
            code, heard = found.drain()
        assert code == 1000
        assert heard.endswith(with_length(msgpack.packb([7, "Connection closed with an error.", False])))
    still_well(server)


def test_a_length_of_gigabytes_ends_its_connection(server: Arena) -> None:
    for length in (b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\xff\xff"):
        with socket(server, shake=None) as found:
            found.send(MSGPACK, length)
            assert found.drain()[0] == 1000
    still_well(server)


def test_numbers_of_a_sequence_that_cannot_be(server: Arena) -> None:
    for message in ({"type": 8, "sequenceId": 99}, {"type": 9, "sequenceId": 99}, {"type": 9, "sequenceId": 0}):
        with socket(server) as found:  # without stateful reconnect they mean nothing
            found.send(message)
            assert found.invoke("Add", 1, 1)["result"] == 2
        token = negotiate(server, useStatefulReconnect="true")["connectionToken"]
        with socket(server, token, shake='{"protocol":"json","version":2}\x1e') as found:
            found.send(message)
            assert found.end() == (1000, {"type": 7, "error": "Connection closed with an error."})


def test_answers_that_nobody_asked_for_change_nothing(server: Arena) -> None:
    with socket(server) as found:
        found.send(
            {"type": 3, "invocationId": "s1", "result": "forged"}, {"type": 2, "invocationId": "s1", "item": 1},
            {"type": 3, "invocationId": "x", "error": "forged"}, {"type": 5, "invocationId": "x"}, {"type": 99},
        )  # fmt: skip
        assert found.invoke("Add", 1, 1)["result"] == 2


def test_one_client_cannot_answer_for_another(server: Arena) -> None:
    with socket(server) as asked, socket(server, token=BOB) as forger:
        asked.send({"type": 1, "invocationId": "1", "target": "Ask", "arguments": ["well"]})
        while (question := asked.read()).get("target") != "OnQuestion":
            pass
        forger.send({"type": 3, "invocationId": question["invocationId"], "result": "forged"})
        assert forger.invoke("Add", 1, 1)["result"] == 2
        asked.send({"type": 3, "invocationId": question["invocationId"], "result": "mine"})
        assert asked.completion("1")["result"] == ["answered", "mine"]


@pytest.mark.parametrize(
    "name", ["__call__", "hub.close", "Echo\0", " Echo", "echo.__globals__", "", "🐎", "Echo/../Crash"]
)
def test_only_declared_names_are_called(server: Arena, name: str) -> None:
    with socket(server) as found:
        found.send({"type": 1, "invocationId": "1", "target": name, "arguments": [1]})
        message = found.read()
        while message.get("type") not in (3, 7):
            message = found.read()
        assert "Method does not exist." in message["error"] or (not name and message["type"] == 7)


@pytest.mark.parametrize("shake", [HANDSHAKE, MSGPACK])
def test_noise_ends_its_connection_and_no_other(server: Arena, shake: str) -> None:
    rng = random.Random(4)
    with socket(server) as bystander:
        bystander.invoke("Nothing")
        for number in range(max(40, round(2000 * SOAK))):
            with socket(server, shake=None) as found:
                found.send(shake)
                noise = rng.randbytes(rng.randrange(1, 400))
                if shake == HANDSHAKE and number % 2:
                    noise = bytes(
                        rng.choice(b'{}[]",:0123456789typeinvocationIdtargetarguments\x1e') for _ in noise
                    )
                found.send(noise + b"\x1e")
        assert bystander.invoke("Add", 1, 1, invocation_id="2")["result"] == 2
    eventually(lambda: connections(server) == 0)


def test_those_who_come_and_go_leave_nothing_behind(strict: Arena) -> None:
    rng = random.Random(11)
    ways = ["", "true", "false"]
    with http() as client:
        for number in range(90):
            token = (
                negotiate(strict, useStatefulReconnect=rng.choice(ways))["connectionToken"] if number % 3 else None
            )
            with socket(strict, token) as found:
                found.send({"type": 6})
                found.invoke("Join", f"group {number % 7}")
                found.send({"type": 4, "invocationId": "2", "target": "Forever", "arguments": []})
                if rng.random() < 0.5:
                    found.connection.socket.close()
        for _ in range(10):
            token = negotiate(strict)["connectionToken"]
            client.get(strict.url, params={"id": token})
            client.post(strict.url, params={"id": token}, content=HANDSHAKE)
    strict.on(_forget(strict))
    registry = strict.hub._registry
    eventually(lambda: not (registry._tokens or registry._users or registry._groups or registry.calls))
    assert not strict.hub._door._posts
    still_well(strict)


async def _forget(server: Arena) -> None:
    """Those who may still come back are told not to."""
    server.hub.close_where(lambda _connection: True)
