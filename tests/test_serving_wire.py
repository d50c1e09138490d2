"""Clients that are slow, endless, malformed or many, against a real uvicorn over real sockets."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from raw_http import Client, serving, statuses

from churnlib.serving.http.at_once import guarded
from churnlib.serving.http.protocol import Guards

GUARDS = Guards(head_seconds=0.5, body_seconds=0.8, write_seconds=0.8, connections=20)
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(guarded(GUARDS), timeout_keep_alive=1) as (_, port):
        yield port


def asked(port: int, *pieces: bytes, pause: float = 0.02) -> list[int]:
    """Send pieces one after the other, and return the status codes that came until the server closed."""
    with Client(port) as client:
        for piece in pieces:
            client.send(piece)
            time.sleep(pause if len(pieces) > 1 else 0)
        return statuses(client.rest())


def took(port: int, *pieces: bytes) -> tuple[list[int], float]:
    started = time.monotonic()
    return asked(port, *pieces), time.monotonic() - started


# --- well-behaved ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        (LAST,),
        (GET + LAST,),
        (GET, LAST),
        (GET[:9], GET[9:] + LAST[:5], LAST[5:]),
        (GET * 30 + LAST,),
        (b"\r\n\r\n" + GET, b"\r\n", LAST),
        (POST + b"content-length: 5\r\n\r\nabcde" + LAST,),
        (POST + b"content-length: 5\r\n\r\n", b"ab", b"cde" + LAST[:7], LAST[7:]),
        (POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\na\r", b"\n1\r\nb\r\n", b"0\r\nx: y\r\n\r\n" + LAST),
        (POST + b"content-length: 300000\r\n\r\n" + b"x" * 300_000 + LAST,),
        (POST + b"content-length: 300000\r\n\r\n" + b"x" * 100_000, b"x" * 200_000 + GET[:9], GET[9:] + LAST),
        (POST + b"expect: 100-continue\r\ncontent-length: 1\r\n\r\n", b"x" + LAST),
        (b"GET / HTTP/1.0\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",),
        (POST + b"connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1\r\n\r\nx",),
        (b"GET /?" + b"q" * 30_000 + b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",),
        (b"GET / HTTP/1.1\r\nconnection: close\r\n" + b"a: b\r\n" * 99 + b"\r\n",),
    ],
)
def test_requests_in_any_pieces_are_answered(port, pieces):
    codes = asked(port, *pieces)
    assert set(codes) - {100} == {200}
    wanted = sum(piece.count(b"HTTP/1.") for piece in [b"".join(pieces)])
    assert codes.count(200) == wanted


def test_chunks_of_one_byte_are_let_pass(port):
    chunks = b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n"
    with Client(port) as client:
        client.send(POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n").send(chunks)
        assert client.rest().endswith(b"100000")


# --- slow -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "codes", "seconds"),
    [
        ((), [], 0.5),
        ((b"GET / HT",), [408], 0.5),
        ((b"\r\n",), [408], 0.5),
        ((GET + b"GET / H",), [200], 1.0),  # keep-alive: nothing more came
        ((GET, b"GET / H"), [200, 408], 0.5),
        ((GET, b"\r\n"), [200], 0.5),
        ((POST + b"content-length: 9\r\n\r\nabc",), [408], 0.8),
        ((POST + b"transfer-encoding: chunked\r\n\r\n5\r\nab",), [408], 0.8),
        ((GET,), [200], 1.0),
    ],
)
def test_a_client_that_stops_half_way_is_given_up(port, pieces, codes, seconds):
    found, elapsed = took(port, *pieces)
    assert found == codes
    assert seconds * 0.8 < elapsed < seconds + 2.0


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", POST + b"content-length: 999\r\n\r\n"])
def test_a_client_that_sends_a_byte_now_and_then_is_given_up(port, start):
    with Client(port) as client:
        client.send(start)
        client.send_until_closed(b"a", 20, pause=0.1)
        assert statuses(client.rest()) == [408]


def test_a_client_that_does_not_read_its_answer_is_given_up():
    with serving(guarded(GUARDS)) as (server, port), Client(port) as client:
        client.send(b"GET /large?50000000 HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(0.3)
        assert len(server.server_state.connections) == 1
        time.sleep(1.5)
        assert not server.server_state.connections


def test_busy_connections_are_not_taken_for_slow_ones(port):
    """For longer than any patience, each look finds a connection between two requests or within one."""
    with Client(port) as client:
        until, asked = time.monotonic() + 1.5, 0
        while time.monotonic() < until:
            client.send(GET[:10])
            time.sleep(0.004)
            client.send(GET[10:])
            received = b""
            while not received.endswith(b"\r\n0"):
                received += client.socket.recv(1000)
            asked += 1
    assert asked > 10


# --- endless --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "piece", "code"),
    [
        (b"GET /", b"a" * 65_536, 431),
        (b"GET / HTTP/1.1\r\na: ", b"a" * 65_536, 431),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 10_000, 431),
        (POST + b"transfer-encoding: chunked\r\n\r\n5;", b"a" * 65_536, 400),
        (POST + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 10_000, 400),
        (POST + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\na: ", b"a" * 65_536, 400),
        (b"", b"\xff" * 65_536, 400),
    ],
)
def test_what_never_ends_is_cut_off_with_an_answer(port, start, piece, code):
    with Client(port) as client:
        client.send(start)
        client.send_until_closed(piece, 160)  # 10 MB
        assert statuses(client.rest()) == [code]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
        b"GET / HTTP/1.1\r\na: " + b"x" * 33_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 33_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_a_head_that_is_too_large_is_refused_in_one_piece_and_in_two(port, head):
    assert asked(port, head) == [431]
    assert asked(port, head[:500], head[500:]) == [431]
    assert asked(port, GET, head) == [200, 431]


def test_a_client_that_still_sends_gets_to_know_why_it_is_refused(port):
    """The answer of an application that does not read on arrives, though megabytes are on their way."""
    with Client(port) as client:
        client.send(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 20000000\r\n\r\n")
        client.send(b"x" * 20_000_000)
        assert statuses(client.rest()) == [413]


# --- malformed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost a\r\n\r\n",
        b"GET / HTTP/1.1\r\nho st: a\r\n\r\n",
        b"GET / HTTP/1.1\r\na: b\x00c\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_refused_in_the_shape_of_all_errors(port, request_):
    with Client(port) as client:
        received = client.send(request_).rest()
    assert statuses(received) == [400]
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head and b"connection: close" in head
    error = json.loads(body)["error"]
    assert (error["code"], error["field"], error["request_id"]) == ("malformed_http", None, None)


@pytest.mark.parametrize(
    ("pieces", "codes"),
    [
        ((GET + b"nonsense\r\n\r\n",), [200]),
        ((GET, b"nonsense\r\n\r\n"), [200, 400]),
        ((GET * 3 + b"nonsense\r\n\r\n" + GET,), [200] * 3),
    ],
)
def test_nonsense_after_a_request_does_not_take_its_place(port, pieces, codes):
    assert asked(port, *pieces) == codes


# --- many -----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_makes_room_and_without_one_the_newest_is_refused():
    with serving(guarded(Guards(connections=3)), timeout_keep_alive=60) as (_, port):
        clients = [Client(port) for _ in range(3)]
        clients[0].send(GET)
        assert clients[0].socket.recv(1000).startswith(b"HTTP/1.1 200")
        assert asked(port, LAST) == [200]
        assert clients[0].rest() == b""
        clients.append(Client(port))
        with Client(port) as late:
            received = late.rest()
        assert statuses(received) == [503] and b"retry-after: 1" in received
        for client in clients[1:]:
            client.send(LAST)
            assert statuses(client.rest()) == [200]
        for client in clients:
            client.socket.close()


def test_nothing_is_left_when_all_have_gone():
    with serving(guarded(GUARDS)) as (server, port):
        for piece in (b"", b"GET", LAST, b"nonsense\r\n\r\n", POST + b"content-length: 9\r\n\r\nabc"):
            with Client(port) as client:
                client.send(piece)
        time.sleep(0.5)
        assert not server.server_state.connections
        assert not server.server_state.tasks


@pytest.mark.parametrize("requests", [1, 2, 5])
def test_whoever_works_for_a_client_hears_that_it_has_gone(requests, caplog):
    with serving(guarded()) as (server, port):
        with Client(port) as client:
            client.send(b"GET /wait HTTP/1.1\r\nhost: a\r\n\r\n" * requests)
            time.sleep(0.2)
            assert len(server.server_state.tasks) == 1
        time.sleep(0.3)
        assert not server.server_state.tasks
    assert not caplog.records


# --- damaged --------------------------------------------------------------------------------------------------------

APART = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import raw_http
from churnlib.serving.http.at_once import guarded
from churnlib.serving.http.protocol import Guards
with raw_http.serving(guarded(Guards(head_seconds=2, body_seconds=3)), timeout_keep_alive=2) as (server, port):
    print(port, flush=True)
    sys.stdin.read()
    print(len(server.server_state.connections), len(server.server_state.tasks), flush=True)
"""


def fuzzed(checkout: Path, count: int, seed: int) -> None:
    """Attack a server in a process of its own with the script; then it must be whole, and hold nothing."""
    path = checkout / "scripts" / "fuzz_http.py"
    spec = importlib.util.spec_from_file_location("fuzz_http", path)
    assert spec is not None and spec.loader is not None
    fuzz = sys.modules["fuzz_http"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    words = [sys.executable, "-c", APART, str(checkout / "tests")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        port = int(server.stdout.readline())
        found = fuzz.attack(fuzz.Target(port), count=count, seed=seed, memory=lambda: fuzz.resident(server.pid))
        time.sleep(0.5)
        server.stdin.close()
        left = server.stdout.readline()
    assert found.wrong == []
    assert found.sent == count
    assert found.answers[200] > count // 10 and found.answers[400] > count // 10
    assert left == "0 0\n"


def test_damaged_requests_do_no_harm(checkout):
    fuzzed(checkout, 500, seed=0)


@pytest.mark.slow
def test_many_damaged_requests_do_no_harm(checkout):
    fuzzed(checkout, 5000, seed=1)
