"""The wire, byte by byte: negotiation, statuses, transports, handshakes, times. What no client shows by itself."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket as sockets
import threading
import time
from collections.abc import Iterator

import httpx
import msgpack
import pytest
from tests.bars import within
from tests.integration.signalr.arena import ANN, PATH, Arena, arena, make_hub
from tests.integration.signalr.raw import HANDSHAKE, connections, eventually, headers, http, negotiate, socket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from loopai_runtime.signalr.hub import Hub
from loopai_runtime.signalr.protocol.framing import with_length

BOB = "token-of-bob"


@pytest.fixture(scope="module")
def hasty() -> Iterator[Arena]:
    """A hub that waits for nobody long."""
    soon = dict.fromkeys(("keep_alive_s", "poll_timeout_s"), 0.5)
    later = dict.fromkeys(
        ("handshake_timeout_s", "disconnect_timeout_s", "reconnect_window_s", "client_timeout_s"), 3
    )
    with arena(lambda: make_hub(**soon, **later, result_timeout_s=0.2)) as found:
        yield found


# --- negotiation


def test_without_a_version_it_is_0(server: Arena) -> None:
    answer = httpx.post(f"{server.url}/negotiate", headers=headers()).json()
    assert answer["negotiateVersion"] == 0
    assert "connectionToken" not in answer
    with socket(server, answer["connectionId"]) as found:
        assert found.invoke("Add", 1, 2)["result"] == 3


@pytest.mark.parametrize("version", ["1", "2"])
def test_version_1_has_a_secret_of_its_own(server: Arena, version: str) -> None:
    answer = negotiate(server, negotiateVersion=version)
    assert answer == {
        "negotiateVersion": 1,
        "connectionId": answer["connectionId"],
        "connectionToken": answer["connectionToken"],
        "availableTransports": [
            {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
            {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
            {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
        ],
    }
    assert answer["connectionToken"] != answer["connectionId"]
    with pytest.raises(InvalidStatus) as caught, socket(server, answer["connectionId"]):
        pass
    assert caught.value.response.status_code == 404


def test_a_version_that_is_none_is_told(server: Arena) -> None:
    assert negotiate(server, negotiateVersion="x") == {
        "error": "The client requested a non-integer protocol version."
    }


def test_stateful_reconnect_is_offered_to_those_who_ask(server: Arena) -> None:
    assert negotiate(server, useStatefulReconnect="true")["useStatefulReconnect"] is True
    assert "useStatefulReconnect" not in negotiate(server)


def test_only_offered_transports_are_served() -> None:
    with (
        arena(lambda: make_hub(transports=("LongPolling",), stateful_reconnect=False)) as server,
        http() as client,
    ):
        answer = negotiate(server, useStatefulReconnect="true")
        assert [each["transport"] for each in answer["availableTransports"]] == ["LongPolling"]
        assert "useStatefulReconnect" not in answer
        query = {"id": answer["connectionToken"]}
        refused = client.get(server.url, params=query, headers={"accept": "text/event-stream"})
        assert refused.status_code == 404
        with pytest.raises(InvalidStatus), socket(server, answer["connectionToken"]):
            pass
        assert client.get(server.url, params=query).status_code == 200


# --- who may, and what


@pytest.mark.parametrize("token", [None, "token-of-eve"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_everybody_is_asked_on_every_request(server: Arena, method: str, token: str | None) -> None:
    found = negotiate(server)
    for path in ("", "/negotiate"):
        answer = httpx.request(
            method, server.url + path, params={"id": found["connectionToken"]}, headers=headers(token)
        )
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    with pytest.raises(InvalidStatus) as caught, socket(server, found["connectionToken"], token):
        pass
    assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("GET", {}, 400), ("POST", {}, 400), ("DELETE", {}, 400), ("GET", {"id": "x"}, 404), ("POST", {"id": "x"}, 404),
        ("DELETE", {"id": "x"}, 404), ("PUT", {"id": "x"}, 405), ("PATCH", {}, 405), ("HEAD", {"id": "x"}, 405),
    ],
)  # fmt: skip
def test_requests_that_are_none(server: Arena, method: str, query: dict[str, str], status: int) -> None:
    assert httpx.request(method, server.url, params=query, headers=headers()).status_code == status


def test_a_socket_for_an_unknown_connection_is_not_found(server: Arena) -> None:
    with pytest.raises(InvalidStatus) as caught, socket(server, "unknown"):
        pass
    assert caught.value.response.status_code == 404
    assert httpx.get(f"{server.url}/negotiate", headers=headers()).status_code == 405


def test_one_connection_one_transport(server: Arena) -> None:
    query = {"id": negotiate(server)["connectionToken"]}
    with socket(server, query["id"]), http() as client:
        with pytest.raises(InvalidStatus) as caught, socket(server, query["id"]):
            pass
        assert caught.value.response.status_code == 409
        assert client.get(server.url, params=query).status_code == 400
        assert client.get(server.url, params=query, headers={"accept": "text/event-stream"}).status_code == 400
        refused = client.post(server.url, params=query, content=HANDSHAKE)
        assert (refused.status_code, refused.text) == (
            405,
            "POST requests are not allowed for WebSocket connections.",
        )
        assert client.delete(server.url, params=query).status_code == 400


def test_a_token_in_the_query_opens_the_door_and_stays_out_of_the_logs(
    server: Arena, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = negotiate(server)
    url = server.url.replace("http", "ws", 1) + f"?id={found['connectionToken']}&access_token={ANN}"
    with connect(url) as connection:
        connection.send(HANDSHAKE)
        assert str(connection.recv(5)).startswith("{}\x1e")
    with pytest.raises(InvalidStatus):
        connect(server.url.replace("http", "ws", 1) + "?access_token=token-of-eve")
    httpx.post(f"{server.url}/negotiate?access_token={ANN}")
    said = "\n".join(each.getMessage() for each in caplog.records if each.name.startswith("uvicorn"))
    assert len(re.findall(r"access_token=\*\*\*|REDACTED", said)) == 3  # the latter where litellm is loaded too
    for secret in (ANN, "token-of-eve", found["connectionToken"]):
        assert secret not in said


# --- long polling and events


def poll(client: httpx.Client, server: Arena, token: str) -> httpx.Response:
    return client.get(server.url, params={"id": token})


def test_the_first_poll_returns_at_once_and_empty(server: Arena) -> None:
    token = negotiate(server)["connectionToken"]
    with http() as client:
        with within(1):
            first = poll(client, server, token)
        assert (first.status_code, first.content) == (200, b"")
        assert client.post(server.url, params={"id": token}, content=HANDSHAKE).status_code == 200
        heard = poll(client, server, token)
        assert heard.content.startswith(b"{}\x1e")
        assert heard.headers["cache-control"] == "no-cache, no-store"
        ended = client.delete(server.url, params={"id": token})
        assert ended.status_code == 202
        assert poll(client, server, token).status_code == 404


def shaken(client: httpx.Client, server: Arena) -> str:
    """A long polling connection that has heard everything so far."""
    token = str(negotiate(server)["connectionToken"])
    poll(client, server, token)
    client.post(server.url, params={"id": token}, content=HANDSHAKE)
    heard = b""
    while b"Welcome" not in heard:
        heard += poll(client, server, token).content
    eventually(lambda: not polls(server))
    return token


def polls(server: Arena) -> int:
    """How many polls are waiting."""

    async def count() -> int:
        return sum(connection.polling for connection in server.hub.connections)

    return server.on(count())


def test_a_newer_poll_ends_the_older(server: Arena) -> None:
    with http() as client:
        token = shaken(client, server)
        answers: list[httpx.Response] = []
        older = threading.Thread(target=lambda: answers.append(poll(client, server, token)))
        older.start()
        eventually(lambda: polls(server))
        newer = threading.Thread(target=lambda: answers.append(poll(client, server, token)))
        newer.start()
        older.join(60)
        assert [each.status_code for each in answers] == [204]
        client.delete(server.url, params={"id": token})
        newer.join(60)
        assert [each.status_code for each in answers] == [204, 204]


def test_a_poll_that_is_left_loses_no_message(server: Arena) -> None:
    with http() as client:
        token = shaken(client, server)
        with sockets.create_connection(("127.0.0.1", server.port)) as line:
            head = f"GET {PATH}?id={token} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ANN}\r\n\r\n"
            line.sendall(head.encode())
            eventually(lambda: polls(server))
        eventually(lambda: not polls(server))
        call = {"type": 1, "invocationId": "1", "target": "Add", "arguments": [1, 2]}
        client.post(server.url, params={"id": token}, content=json.dumps(call) + "\x1e")
        assert poll(client, server, token).content == b'{"type":3,"invocationId":"1","result":3}\x1e'


def test_last_words_wait_for_the_poll_between_two(server: Arena) -> None:
    with http() as client:
        token = shaken(client, server)
        call = {"type": 1, "target": "CloseMe", "arguments": ["enough", False]}
        client.post(server.url, params={"id": token}, content=json.dumps(call) + "\x1e")
        time.sleep(0.1)
        assert poll(client, server, token).content == b'{"type":7,"error":"enough"}\x1e'
        assert poll(client, server, token).status_code in (204, 404)


def test_a_poll_without_news_ends_empty(hasty: Arena) -> None:
    with http() as client:
        token = shaken(client, hasty)
        answer = poll(client, hasty, token)
        assert (answer.status_code, answer.content) == (200, b"")


def test_events_begin_at_once(server: Arena) -> None:
    token = negotiate(server)["connectionToken"]
    with http() as client, client.stream(
        "GET", server.url, params={"id": token}, headers={"accept": "text/event-stream"}, timeout=60
    ) as events:  # fmt: skip
        assert events.headers["content-type"].startswith("text/event-stream")
        raw = events.iter_raw()
        assert next(raw) == b":\r\n"
        client.post(server.url, params={"id": token}, content=HANDSHAKE)
        heard = b""
        while b"Welcome" not in heard:
            heard += next(raw)
        assert heard.startswith(b"data: {}\x1e")
        assert heard.endswith(b"\x1e\r\n\r\n")
        again = client.get(server.url, params={"id": token}, headers={"accept": "text/event-stream"})
        assert again.status_code == 409
    eventually(lambda: client_gone(server, token))


def client_gone(server: Arena, token: str) -> bool:
    return httpx.post(server.url, params={"id": token}, headers=headers()).status_code == 404


# --- handshakes


@pytest.mark.parametrize("version", [0, 1, 2])
def test_versions_of_the_handshake(server: Arena, version: int) -> None:
    with socket(server, shake=f'{{"protocol":"json","version":{version}}}\x1e') as found:
        assert found.invoke("Add", 1, 2)["result"] == 3


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ('{"protocol":"json","version":3}', "The server does not support version 3 of the 'json' protocol."),
        ('{"protocol":"xml","version":1}', "The protocol 'xml' is not supported."),
        ('{"protocol":"json"}', "An unexpected error occurred during connection handshake."),
        (
            '{"type":1,"target":"Add","arguments":[1,2]}',
            "An unexpected error occurred during connection handshake.",
        ),
        ('{"type":6}', "An unexpected error occurred during connection handshake."),
        ("hello", "An unexpected error occurred during connection handshake."),
        ("x" * 40_000, "An unexpected error occurred during connection handshake."),
    ],
)
def test_handshakes_that_fail(server: Arena, request_: str, error: str) -> None:
    with socket(server, shake=None) as found:
        found.send(request_ + "\x1e")
        assert found.end() == (1000, {"error": error})


def test_events_carry_no_binary_protocol(server: Arena) -> None:
    token = negotiate(server)["connectionToken"]
    with http() as client, client.stream(
        "GET", server.url, params={"id": token}, headers={"accept": "text/event-stream"}, timeout=60
    ) as events:  # fmt: skip
        raw = events.iter_raw()
        next(raw)
        client.post(server.url, params={"id": token}, content='{"protocol":"messagepack","version":1}\x1e')
        assert b"Cannot use the 'messagepack' protocol on the current transport." in b"".join(raw)


def test_a_handshake_and_a_call_in_one_frame(server: Arena) -> None:
    call = '{"type":1,"invocationId":"1","target":"Add","arguments":[1,2]}\x1e'
    with socket(server, shake=None) as found:
        found.send(HANDSHAKE + call + call.replace('"1"', '"2"'))
        assert found.read() == {}
        assert found.completion("1")["result"] == found.completion("2")["result"] == 3


def test_a_message_in_many_frames(server: Arena) -> None:
    with socket(server, shake=None) as found:
        for letter in HANDSHAKE + '{"type":1,"invocationId":"1","target":"Echo","arguments":["é"]}\x1e':
            found.send(letter)
        assert found.completion("1")["result"] == "é"


def test_messagepack_comes_in_binary_frames(server: Arena) -> None:
    with socket(server, shake=None) as found:
        found.send('{"protocol":"messagepack","version":1}\x1e')
        heard = b""
        call = with_length(msgpack.packb([1, {}, "1", "Add", [1, 2], []]))
        found.send(call[:3], call[3:])
        while b"\x95\x03" not in heard:
            data = found.connection.recv(5)
            assert isinstance(data, bytes)
            heard += data
        assert heard.startswith(b"{}\x1e")
        assert heard.endswith(with_length(msgpack.packb([3, {}, "1", 3, 3])))


# --- calls


def test_a_call_can_be_cancelled(server: Arena) -> None:
    with socket(server) as found:
        found.send({"type": 1, "invocationId": "1", "target": "Hang", "arguments": []})
        found.send({"type": 1, "invocationId": "2", "target": "Hang", "arguments": []})  # waits for its turn
        for number in ("2", "1"):
            found.send({"type": 5, "invocationId": number})
            error = "An unexpected error occurred invoking 'Hang' on the server."
            assert found.completion(number) == {"type": 3, "invocationId": number, "error": error}
        found.send({"type": 5, "invocationId": "never heard of"})
        assert found.invoke("Add", 1, 1)["result"] == 2


@pytest.mark.parametrize("kind", [1, 4])
def test_an_id_is_used_once_at_a_time(server: Arena, kind: int) -> None:
    target = {1: "Hang", 4: "Forever"}[kind]
    with socket(server) as found:
        for _ in range(2):
            found.send({"type": kind, "invocationId": "1", "target": target, "arguments": []})
        assert found.completion("1")["error"] == "Invocation ID '1' is already in use."


def test_a_client_that_calls_too_fast_waits(server: Arena) -> None:
    with socket(server) as found:
        found.invoke("Forget")
        found.send(*({"type": 1, "target": "Note", "arguments": [number]} for number in range(1000)))
        assert found.invoke("Seen")["result"] == list(range(1000))


def test_calls_run_at_a_time_when_they_may() -> None:
    with arena(lambda: make_hub(parallel_invocations=3)) as server, socket(server) as found:
        for number in ("1", "2"):
            found.send({"type": 1, "invocationId": number, "target": "Hang", "arguments": []})
        assert found.invoke("Add", 1, 2, invocation_id="3")["result"] == 3


def test_a_client_that_never_answers(hasty: Arena) -> None:
    with socket(hasty) as found:
        found.send({"type": 1, "invocationId": "1", "target": "Ask", "arguments": ["well"]})
        assert found.completion("1")["error"] == "An unexpected error occurred invoking 'Ask' on the server."


def test_details_are_told_where_they_may_be() -> None:
    with arena(lambda: make_hub(detailed_errors=True)) as server, socket(server) as found:
        assert found.invoke("Crash")["error"].endswith("on the server. KeyError: 'secret of the server'")
        assert found.invoke("Add")["error"].endswith("Invocation provides 0 argument(s) but target expects 2.")
        found.send("{}\x1e")
        error = "Connection closed with an error. InvalidDataException: Missing required property 'type'."
        assert found.end() == (1000, {"type": 7, "error": error})


def test_what_on_connect_raises_refuses_the_client() -> None:
    def make() -> Hub:
        hub = make_hub()

        async def refuse(_connection: object) -> None:
            raise ValueError("a secret")

        hub._on_connect = refuse
        return hub

    with arena(make) as server, socket(server) as found:
        assert found.end() == (1000, {"type": 7, "error": "Connection closed with an error."})


def test_streams_are_limited() -> None:
    with arena(lambda: make_hub(streams_per_connection=2)) as server, socket(server) as found:
        for number in ("1", "2", "3"):
            found.send({"type": 4, "invocationId": number, "target": "Forever", "arguments": []})
        assert found.completion("3")["error"].endswith("HubException: Too many streams.")
        found.send({"type": 5, "invocationId": "1"})
        assert "error" not in found.completion("1")
        found.send({"type": 4, "invocationId": "4", "target": "Count", "arguments": [0]})
        assert "error" not in found.completion("4")


@pytest.mark.parametrize("stream_ids", [["1", "1"], ["u", "u"]])
def test_uploads_have_ids_of_their_own(server: Arena, stream_ids: list[str]) -> None:
    call = {"type": 1, "invocationId": "1", "target": "TotalOfTwo", "arguments": [10], "streamIds": stream_ids}
    with socket(server) as found:
        found.send(call)
        assert found.completion("1")["error"] == "Invocation ID '1' is already in use."


# --- times and ends


def test_on_disconnect_comes_after_on_connect() -> None:
    events: list[str] = []
    gone = threading.Event()

    def make() -> Hub:
        hub = make_hub()

        async def arrive(_connection: object) -> None:
            events.append("arriving")
            await asyncio.to_thread(gone.wait, 60)
            events.append("arrived")

        async def leave(_connection: object, _error: str | None) -> None:
            events.append("left")

        hub._on_connect, hub._on_disconnect = arrive, leave
        return hub

    with arena(make) as server:
        with socket(server):
            eventually(lambda: events == ["arriving"])
        gone.set()
        eventually(lambda: "left" in events)
    assert events == ["arriving", "arrived", "left"]


def test_a_quiet_socket_is_pinged(hasty: Arena) -> None:
    with socket(hasty) as found:
        assert found.read()["target"] == "Welcome"
        assert found.connection.recv(60) == '{"type":6}\x1e'


def test_a_client_that_says_nothing_is_gone(hasty: Arena) -> None:
    with socket(hasty) as found:
        before = time.monotonic()
        found.end()
        assert time.monotonic() - before > 1


def test_a_client_that_never_shakes_hands_is_gone(hasty: Arena) -> None:
    with socket(hasty, shake=None) as found:
        assert found.end() == (1000, {"error": "Handshake was canceled."})


def test_unused_connections_are_forgotten(hasty: Arena) -> None:
    for _ in range(5):
        negotiate(hasty)
    with http() as client:
        shaken(client, hasty)
        eventually(lambda: connections(hasty) == 0)


def test_a_lost_socket_is_waited_for_and_then_is_not(hasty: Arena) -> None:
    token = negotiate(hasty, useStatefulReconnect="true")["connectionToken"]
    hello = '{"protocol":"json","version":2}\x1e'
    with socket(hasty, token, shake=hello) as found:
        assert found.invoke("Add", 1, 2)["result"] == 3
        found.connection.socket.close()
    with socket(hasty, token, shake=None) as found:
        assert found.read() == {"type": 9, "sequenceId": 1}
        assert [found.read()["type"] for _ in range(2)] == [1, 3]  # said before, and never acknowledged
        found.send({"type": 9, "sequenceId": 2})
        assert found.invoke("Add", 2, 2, invocation_id="2")["result"] == 4
        found.connection.socket.close()
    eventually(lambda: connections(hasty) == 0)
    with pytest.raises(InvalidStatus) as caught, socket(hasty, token):
        pass
    assert caught.value.response.status_code == 404


def test_a_newer_socket_takes_over_from_one_that_only_seems_alive(server: Arena) -> None:
    token = negotiate(server, useStatefulReconnect="true")["connectionToken"]
    with socket(server, token, shake='{"protocol":"json","version":2}\x1e') as older:
        older.invoke("Add", 1, 2)
        with socket(server, token, shake=None) as newer:
            newer.send({"type": 9, "sequenceId": 2})
            assert newer.invoke("Add", 2, 2, invocation_id="2")["result"] == 4
            assert older.end()[0] == 1000


def test_nothing_numbered_comes_before_a_stateful_client_has_spoken(server: Arena) -> None:
    """The official client counts from a moment after it has read the answer to its handshake."""
    token = negotiate(server, useStatefulReconnect="true")["connectionToken"]
    with socket(server, token, shake=None) as found:
        found.send('{"protocol":"json","version":2}\x1e')
        assert found.connection.recv(60) == "{}\x1e"
        with pytest.raises(TimeoutError):
            found.connection.recv(0.5)
        found.send({"type": 6})
        assert found.read()["target"] == "Welcome"


def test_a_client_that_takes_its_leave_is_not_waited_for() -> None:
    with arena(lambda: make_hub(reconnect_window_s=3600)) as server:
        token = negotiate(server, useStatefulReconnect="true")["connectionToken"]
        with socket(server, token) as found:
            assert found.invoke("Add", 1, 2)["result"] == 3
            found.send({"type": 7})
            assert found.end()[0] == 1000
        eventually(lambda: connections(server) == 0)


def test_a_hub_that_closes_asks_everyone_to_come_back() -> None:
    with arena(make_hub) as server, socket(server) as found, http() as client:
        token = shaken(client, server)
        found.invoke("Nothing")
        answers: list[httpx.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(poll(client, server, token)))
        waiting.start()
        eventually(lambda: polls(server))
        server.on(server.hub.close(2))
        waiting.join(60)
        assert found.end() == (1000, {"type": 7, "allowReconnect": True})
        assert answers[0].content == b'{"type":7,"allowReconnect":true}\x1e'
        assert httpx.post(f"{server.url}/negotiate", headers=headers()).status_code == 503
        eventually(lambda: connections(server) == 0)


def test_a_user_has_so_many_connections_and_no_more() -> None:
    with arena(lambda: make_hub(max_connections_per_user=2, max_connections=3)) as server:
        for _ in range(2):
            negotiate(server)
        assert httpx.post(f"{server.url}/negotiate", headers=headers()).status_code == 429
        negotiate(server, BOB)
        assert httpx.post(f"{server.url}/negotiate", headers=headers(BOB)).status_code == 503
