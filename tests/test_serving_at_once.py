"""The shortest way of a request: it is taken only where the longer one would answer alike, and it answers alike."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from made_served import ROW, served_bundle
from raw_http import Client, echo, serving, statuses

from churnlib.bundle import write_bundle
from churnlib.serving.answering.requests import parse_row
from churnlib.serving.answering.rows import RowReader
from churnlib.serving.application import asgi
from churnlib.serving.http.at_once import guarded
from churnlib.serving.http.front import Front
from churnlib.serving.http.keys import Key
from churnlib.serving.http.protocol import Guards
from churnlib.serving.http.request import Exchange
from churnlib.serving.problems import RequestError
from tests.made_rows import row_predictor, usual_row

PREDICT = b"POST /predict HTTP/1.1\r\nhost: a\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"


def post(body: bytes, *headers: bytes, first: bytes = PREDICT) -> bytes:
    """A request with its body."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return first + b"content-length: %d\r\n" % len(body) + lines + b"\r\n" + body


class Taker:
    """Answers what it takes with ``taken``, in a later turn of the loop."""

    def __init__(self) -> None:
        self.declines = False
        self.delay = 0.0
        self.taken: list[bytes] = []
        self.gone: list[bool] = []

    def take(self, headers: Sequence[tuple[bytes, bytes]], body: bytes, exchange: Exchange) -> bool:
        if self.declines:
            return False
        self.taken.append(body)

        def answer() -> None:
            self.gone.append(exchange.disconnected)
            exchange.answer(200, [(b"content-length", b"5")], b"taken")

        asyncio.get_running_loop().call_later(self.delay, answer)
        return True


@pytest.fixture
def taker() -> Taker:
    return Taker()


@pytest.fixture
def port(taker: Taker) -> Iterator[int]:
    guards = Guards(head_seconds=0.5, body_seconds=0.8, write_seconds=0.8)
    with serving(guarded(guards, taker.take), echo, timeout_keep_alive=2) as (_, port):
        yield port


def asked(port: int, *pieces: bytes) -> list[bytes]:
    """Send pieces, and return the bodies of the answers until the server closes."""
    with Client(port) as client:
        for piece in pieces:
            client.send(piece)
            time.sleep(0.02 if len(pieces) > 1 else 0)
        return re.findall(rb"\r\n\r\n(taken|\d+|{.*?}})", client.rest())


@pytest.mark.parametrize(
    ("pieces", "answers"),
    [
        ([post(b"abc"), LAST], [b"taken", b"0"]),
        ([post(b"abc"), post(b"abcd"), LAST], [b"taken", b"taken", b"0"]),
        ([post(b"abc", b"connection: close")], [b"taken"]),
        ([post(b"")[:-1], b"\n" + LAST], [b"0", b"0"]),  # the head in pieces
        ([post(b"abc")[:-3], b"abc", LAST], [b"3", b"0"]),  # the body after its head
        ([post(b"abc")[:-1], b"c" + LAST], [b"3", b"0"]),
        ([post(b"abc") + post(b"abcd") + LAST], [b"taken", b"4", b"0"]),  # a pipeline, answered in order
        ([post(b"abc") + post(b"abcd")[:-2], b"cd", LAST], [b"taken", b"4", b"0"]),
        ([post(b"x" * 300_000) + LAST], [b"300000", b"0"]),
        ([PREDICT + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", LAST], [b"taken", b"0"]),
        ([post(b"abc", b"expect: 100-continue"), LAST], [b"3", b"0"]),
        ([post(b"abc", b"connection: upgrade", b"upgrade: h2c")], [b"0"]),
        ([post(b"abc", first=b"POST /predict HTTP/1.0\r\n")], [b"3"]),
        ([post(b"abc", first=PREDICT.replace(b"/predict", b"/predict?a=1")), LAST], [b"3", b"0"]),
        ([post(b"abc", first=PREDICT.replace(b"POST", b"PUT")), LAST], [b"3", b"0"]),
        ([post(b"abc", first=PREDICT.replace(b"/predict", b"/other")), post(b"abcd"), LAST], [b"3", b"taken", b"0"]),
    ],
)  # fmt: skip
def test_what_comes_whole_is_taken_and_all_is_answered_in_order(
    port: int, pieces: list[bytes], answers: list[bytes]
) -> None:
    assert asked(port, *pieces) == answers


def test_what_is_not_taken_goes_the_long_way(port: int, taker: Taker) -> None:
    taker.declines = True
    assert asked(port, post(b"abc"), post(b"abcd") + LAST) == [b"3", b"4", b"0"]


def test_chunks_reach_the_taker_as_one_body(port: int, taker: Taker) -> None:
    asked(port, PREDICT + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", LAST)
    assert taker.taken == [b"abcd"]


def test_nonsense_after_a_request_that_was_taken_is_refused_after_its_answer(port: int, taker: Taker) -> None:
    taker.delay = 0.05
    with Client(port) as client:
        received = client.send(post(b"abc") + b"nonsense\r\n\r\n").rest()
    assert statuses(received) == [200] and received.endswith(b"taken")


def test_nonsense_within_a_body_is_refused_alone(port: int, taker: Taker) -> None:
    with Client(port) as client:
        received = client.send(PREDICT + b"transfer-encoding: chunked\r\n\r\nnonsense").rest()
    assert statuses(received) == [400] and taker.taken == []


def test_a_client_that_leaves_is_known_to_have_left(port: int, taker: Taker) -> None:
    taker.delay = 0.1
    with Client(port) as client:
        client.send(post(b"abc"))
        time.sleep(0.03)
    time.sleep(0.2)
    assert taker.gone == [True]


def test_a_header_with_a_line_break_is_not_sent(port: int, taker: Taker) -> None:
    raised: list[Exception] = []

    def answer(headers: Any, body: bytes, exchange: Exchange) -> bool:
        try:
            exchange.answer(200, [(b"x-request-id", b"a\r\nset-cookie: b")], b"")
        except ValueError as error:
            raised.append(error)
        exchange.answer(200, [(b"content-length", b"5")], b"taken")
        return True

    with serving(guarded(None, answer), echo) as (_, other):
        assert asked(other, post(b"abc"), LAST) == [b"taken", b"0"]
    assert len(raised) == 1


# --- in front of a model --------------------------------------------------------------------------------------------

KEY = "churn_" + "k" * 43


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("at_once") / "bundle"
    write_bundle(served_bundle(), path)
    return path


@pytest.fixture(scope="module")
def served(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, list[bool], int]]:
    """The application with keys in front of a model, and which requests were taken at once."""
    import hashlib

    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(Key("crm", frozenset({"predict"}), hashlib.sha256(KEY.encode()).digest()).line() + "\n")
    front = asgi(str(bundle), engine="inline", keys=str(keys), log="off")
    taken: list[bool] = []

    def take(*request: Any) -> bool:
        taken.append(front.at_once(*request))
        return taken[-1]

    with serving(guarded(None, take), front, lifespan="on") as (_, port):
        yield front, taken, port


AUTHORIZED = b"authorization: Bearer " + KEY.encode()
JSON = b"content-type: application/json"
ROW_BODY = json.dumps(ROW).encode()
USUAL = [b"x-request-id: mine", AUTHORIZED, JSON]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (ROW_BODY, USUAL, 200),
        (json.dumps({**ROW, "tenure": "12", "plan": "Ten years", "planet": "Mars"}).encode(), USUAL, 200),
        (json.dumps({**ROW, "customer": None}).encode(), USUAL, 200),
        (json.dumps({**ROW, "tenure": "sekret"}).encode(), USUAL, 422),
        (ROW_BODY[:-1] + b', "tenure": 4}', USUAL, 400),
        (b"[1]", USUAL, 422),
        (b"{", USUAL, 400),
        (ROW_BODY, [*USUAL, b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"], 200),
        (ROW_BODY, [b"x-request-id: mine", JSON], 401),
        (ROW_BODY, [b"x-request-id: mine", JSON, b"x-api-key: wrong"], 401),
        (ROW_BODY, [*USUAL, b"connection: close"], 200),
    ],
)
def test_both_ways_give_the_same_answer(
    served: tuple[Front, list[bool], int], body: bytes, headers: list[bytes], status: int
) -> None:
    front, taken, port = served
    request = post(body, *headers)
    taken.clear()
    answers = []
    for pieces in ((request,), (request[:-1], request[-1:])):
        with Client(port) as client:
            for piece in pieces:
                client.send(piece)
                time.sleep(0.03)
            if b"connection: close" not in headers:
                client.send(LAST.replace(b"host: a", b"host: a\r\nx-request-id: last"))
            answers.append(client.rest())
    assert taken == [True]
    whole, long = (sorted(re.sub(rb"date: .*?\r\n|-[0-9a-f]{16}-", b"", one).split(b"\r\n")) for one in answers)
    assert whole == long
    assert statuses(answers[0])[0] == status
    assert front.active == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([AUTHORIZED, b"content-type: text/csv"], 415),
        ([AUTHORIZED, JSON, b"content-encoding: gzip"], 415),
        ([AUTHORIZED, JSON, b"x-request-timeout-ms: soon"], 400),
        ([AUTHORIZED, JSON, b"x-request-timeout-ms: 1000"], 200),
    ],
)
def test_what_asks_for_more_is_not_taken(
    served: tuple[Front, list[bool], int], headers: list[bytes], status: int
) -> None:
    _, taken, port = served
    taken.clear()
    with Client(port) as client:
        assert statuses(client.send(post(ROW_BODY, *headers) + LAST).rest())[0] == status
    assert taken == [False]


def test_a_server_that_ends_says_so(served: tuple[Front, list[bool], int]) -> None:
    front, taken, port = served
    taken.clear()
    front.state = "draining"
    try:
        with Client(port) as client:
            received = client.send(post(ROW_BODY, *USUAL)).rest()
    finally:
        front.state = "ready"
    assert statuses(received) == [200] and b"connection: close" in received and taken == [False]


def test_an_answer_that_cannot_be_sent_fails_alone(
    served: tuple[Front, list[bool], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    front, _, port = served
    headers = front._headers

    def broken(request: Any, answer: Any, body: bytes) -> list[tuple[bytes, bytes]]:
        wrong = [(b"x-model-version", b"a\r\nset-cookie: b")] if answer.status == 200 and request.id == "wrong" else []
        return [*headers(request, answer, body), *wrong]

    monkeypatch.setattr(front, "_headers", broken)
    with Client(port) as one, Client(port) as other:
        one.send(post(ROW_BODY, b"x-request-id: wrong", AUTHORIZED, JSON, b"connection: close"))
        other.send(post(ROW_BODY, *USUAL, b"connection: close"))
        assert (statuses(one.rest()), statuses(other.rest())) == ([500], [200])
    assert front.active == 0


# --- usual bodies ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def usual() -> tuple[RowReader, dict[str, Any]]:
    """A reader that knows usual rows, and one of them."""
    rows, customers = row_predictor("mlp")
    return RowReader(rows.predictor), {"customer_id": "7590-VHVEG", **usual_row(customers)}


def test_a_key_that_is_there_twice_is_not_usual(usual: tuple[RowReader, dict[str, Any]]) -> None:
    reader, row = usual
    body = json.dumps(row).encode()
    assert reader.usual(body) is not None
    for name in row:
        for cell in (row[name], "a:b", None):
            twice = body[:-1] + b", " + json.dumps({name: cell}).encode()[1:]
            assert reader.usual(twice) is None
            with pytest.raises(RequestError):
                parse_row(twice)


@pytest.mark.parametrize("customer", ["a:b", "::", "a\\u003ab", "\\:", "Zürich 🌍", "", 7, 7.5, True, None])
def test_texts_with_colons_are_not_taken_for_keys(usual: tuple[RowReader, dict[str, Any]], customer: Any) -> None:
    reader, row = usual
    for ensure_ascii in (True, False):
        body = json.dumps({**row, "customer_id": customer}, ensure_ascii=ensure_ascii).encode()
        found, expected = reader.usual(body), reader.customer(parse_row(body))
        if found is None:
            assert b"\\u003" in body
        else:
            assert (found.id, found.row.numbers, found.row.codes) == (
                expected[0],
                expected[1].numbers,
                expected[1].codes,
            )


def test_what_is_not_usual_is_left_to_others(usual: tuple[RowReader, dict[str, Any]]) -> None:
    reader, row = usual
    body = json.dumps(row).encode()
    charges = str(row["charges"]).encode()
    unusual: list[bytes] = [
        json.dumps({**row, "planet": 1}).encode(),
        json.dumps({k: v for k, v in row.items() if k != "plan"}).encode(),
        json.dumps({**row, "charges": [1]}).encode(),
        json.dumps({**row, "customer_id": {"a": 1}}).encode(),
        json.dumps({**row, "customer_id": "x" * 5000}).encode(),
        *(body.replace(charges, other) for other in (b"NaN", b"1e999", b"9" * 30, b"-")),
        *(body.replace(b"7590", other) for other in (b"\xff", b"\\ud800", b'"')),
        body + b"x",
        b"\xef\xbb\xbf" + body,
        b"",
        b"[" * 100_000,
    ]
    assert body not in unusual
    assert [one[:200] for one in unusual if reader.usual(one) is not None] == []
