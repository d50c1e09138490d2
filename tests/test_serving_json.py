"""The fast way to read JSON lets in nothing that the strict one refuses, and reads the same; bulk bodies; limits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from churnlib.serving.answering import bulk, requests, strict_json
from churnlib.serving.answering.bulk import Bulk, parse_bulk
from churnlib.serving.answering.limits import Limits
from churnlib.serving.answering.requests import LIMITS, parse_row
from churnlib.serving.problems import RequestError

NARROW = Limits(depth=3, fields=4, text=9, rows=3)

# --- bodies of every kind -------------------------------------------------------------------------------------------

ODD = ':{}[]",\\/\x00\n\x1f\x7f é€🌍\ud83c\udf0d\ufeff'
letters = st.sampled_from("ab1u03aA" + ODD)
texts = st.text(letters, max_size=4) | st.sampled_from(["", "a", ":", "u003a", "\\u003a", "x" * 9, "x" * 10, "é" * 10])
NUMBERS = """
    0 -0 1 -1 1.0 -0.0 1e5 1E-5 1e400 -1e400 1e-400 2.2250738585072011e-308 9223372036854775807 9223372036854775808
    -9223372036854775809 18446744073709551616 12345678901234567890.5 01 1. .5 +1 0x1 NaN Infinity -Infinity
"""
long_numbers = ["9" * 308, "9" * 309, "-" + "9" * 308, "9" * 5000, "0." + "1" * 400]
numbers = st.sampled_from([*NUMBERS.split(), *long_numbers]) | st.floats(allow_nan=False, allow_infinity=False).map(
    repr
)


@st.composite
def quoted(draw: st.DrawFn) -> str:
    """A JSON string, each character as itself or escaped."""
    pieces = ['"']
    for letter in draw(texts):
        code = f"\\u{ord(letter):04x}" if ord(letter) < 65536 else json.dumps(letter)[1:-1]
        plain = json.dumps(letter, ensure_ascii=False)[1:-1]
        pieces.append(draw(st.sampled_from([plain, plain, plain, code, code.upper().replace("U", "u"), letter])))
    return "".join([*pieces, '"'])


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(quoted() | st.sampled_from(['"a"', '"a"', '":"']), values), max_size=5)
    return members.map(lambda each: "{" + ",".join(f"{key} :{value}" for key, value in each) + "}")


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=4).map(lambda each: f"[{','.join(each)} ]")


scalars = quoted() | numbers | st.sampled_from(["null", "true", "false", "nul", ""])
values = st.recursive(scalars, lambda inner: arrays(inner) | objects(inner), max_leaves=6) | arrays(numbers)
rows = objects(values) | objects(scalars)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@st.composite
def damaged(draw: st.DrawFn, bodies: st.SearchStrategy[str]) -> bytes:
    """A body with a few bytes of it changed, taken out or put in."""
    body = bytearray(encoded(draw(bodies)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(body)))
        piece = draw(
            st.sampled_from([b"", b'"', b":", b"{", b"}", b",", b"\\", b"\xff", b"\xc3", b"\xed\xa0\x80", b" ", b"1"])
        )
        body[at : at + draw(st.integers(0, 2))] = piece
    return bytes(body)


def outcome(parse: Any, *arguments: Any) -> str:
    """What came of it, in a text that tells 1 from 1.0 and True."""
    try:
        return repr(parse(*arguments))
    except RequestError as error:
        return repr(error.problem)


# --- one row --------------------------------------------------------------------------------------------------------


def judged(body: bytes, limits: Limits) -> dict[str, Any]:
    """Read a row the slow way only."""
    original = requests._row_of
    requests._row_of = lambda body, limits: None
    try:
        return parse_row(body, limits)
    finally:
        requests._row_of = original


@settings(max_examples=300, deadline=None)
@given(damaged(rows | values), st.sampled_from([LIMITS, NARROW]))
@example(b'{"a":1,"a":"\\u003a"}', LIMITS)
@example(b'{"a":1,"a":"\\u003A"}', LIMITS)
@example(b'{"a":1,"a":":"}', LIMITS)
@example(b'{":":1,":":2}', LIMITS)
@example(b'{"a":{"b":1},"a":"::"}', LIMITS)
@example(b'{"a":"b\\":\\"","a":1}', LIMITS)
@example(b'{"a":1,"\\u0061":2}', LIMITS)
@example('{"a":"\ufeff:"}'.encode(), LIMITS)
def test_a_row_is_read_fast_as_it_would_be_read_slowly(body: bytes, limits: Limits) -> None:
    assert outcome(parse_row, body, limits) == outcome(judged, body, limits)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=20),
        st.text(max_size=30) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none()
        | st.integers(-(2**63), 2**63 - 1) | st.lists(st.floats(-1e300, 1e300) | st.integers(0, 9)),
    ),
    st.booleans(),
)  # fmt: skip
def test_what_clients_send_is_read_the_fast_way(row: dict[str, Any], ascii_only: bool) -> None:
    body = json.dumps(row, ensure_ascii=ascii_only).encode()
    assert b"\\u003" in body or repr(requests._row_of(body, LIMITS)) == repr(row)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b'{"a": "' + b"x" * 4097 + b'"}', 422, "text_too_long", "a"),
        (b'{"' + b"x" * 4097 + b'": 1}', 422, "text_too_long", "x" * 64 + "..."),
        ("{{{}}}".format(",".join(f'"c{i}":1' for i in range(513))).encode(), 422, "too_many_fields", None),
        ("{{{}}}".format(",".join(f'"c{i}":1' for i in range(200_000))).encode(), 422, "too_many_fields", None),
        (b'{"a": {' + ",".join(f'"c{i}":1' for i in range(513)).encode() + b"}}", 422, "too_many_fields", "a"),
        (b'{"b": 1, "a": 1e999}', 400, "number_out_of_range", "a"),
        (b'{"a": {"x": {"b": 1, "b": 2}}}', 400, "duplicate_field", "b"),
    ],
)  # fmt: skip
def test_too_much_is_refused_with_the_field(body, status, code, field):
    with pytest.raises(RequestError) as caught:
        parse_row(body)
    problem = caught.value.problem
    assert (problem.status, problem.code, problem.field) == (status, code, field)


def test_the_limits_are_those_of_characters_and_reached_exactly():
    row = {"é" * 9: "é" * 9, "b": 1, "c": [1], "d": {"e": 1}}
    assert parse_row(json.dumps(row).encode(), NARROW) == row
    wide = {f"c{i}": "x" * 4096 for i in range(600)}
    assert parse_row(json.dumps(wide).encode(), Limits.of_model(300)) == wide
    long = {"text": "x" * 100_000}
    assert parse_row(json.dumps(long).encode(), Limits.of_model(20, text=100_000)) == long


# --- many rows ------------------------------------------------------------------------------------------------------

ALONE = {
    "plain": b'{"a": 1, "b": "x:y"}',
    "empty": b"{}",
    "list of numbers": b'{"a": [1, 2.5, null]}',
    "nested": b'{"a": {"b": [{"c": 1}]}}',
    "long integer": b'{"a": 123456789012345678901234567890}',
    "key twice": b'{"a": 1, "b": ":", "a": 2}',
    "key twice inside": b'{"x": {"a": 1, "a": 2}}',
    "too deep": b'{"a":' * 9 + b"1" + b"}" * 9,
    "1e400": b'{"a": 1e400}',
    "5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "lone surrogate": rb'{"a": "\ud800"}',
    "long text": b'{"a": "' + b"x" * 5000 + b'"}',
    "wide": "{{{}}}".format(",".join(f'"c{i}":1' for i in range(513))).encode(),
    "null": b"null",
    "number": b"3",
    "list": b'[{"a": 1}]',
    "text": b'"a"',
}


def test_each_row_has_its_own_answer():
    """What a row gets in company is what it gets alone, but for the words about a body that is no object."""
    bodies = [*ALONE.values(), *reversed(ALONE.values())]
    found = parse_bulk(b'{"instances": [' + b", ".join(bodies) + b"]}")
    assert found.count == len(bodies) and found.columns is None
    for number, body in enumerate(bodies):
        problem = found.problems.get(number)
        alone = outcome(parse_row, body)
        if problem is None:
            assert alone == repr(found.rows[number])
        elif problem.code == "not_an_object":
            assert "not_an_object" in alone and found.rows[number] == {}
        else:
            assert alone == repr(problem) and found.rows[number] == {}


@pytest.mark.parametrize("name", ALONE)
def test_one_bad_row_spoils_no_other(name):
    found = parse_bulk(b'{"instances": [{"a": 1}, ' + ALONE[name] + b', {"a": 2}]}')
    assert [found.rows[0], found.rows[2]] == [{"a": 1}, {"a": 2}]
    assert found.problems.keys() <= {1}


bulks = st.one_of(
    arrays(rows).map(lambda each: f'{{"instances": {each}}}'),
    objects(arrays(scalars)).map(lambda each: f'{{"columns" :{each}}}'),
    st.lists(numbers | quoted(), min_size=2, max_size=2).map(
        lambda each: '{{"columns":{{"a":[{0},{1}],":":[{1},{0}]}}}}'.format(*each)
    ),
    objects(values),
    st.tuples(rows, rows).map(lambda each: f'{{"instances":[{each[0]}],"instances":[{each[1]}]}}'),
    rows.map(lambda each: f'{{"columns":{{"a":[{each}],"a":[1]}}}}'),
)


@settings(max_examples=300, deadline=None)
@given(damaged(bulks), st.sampled_from([LIMITS, NARROW]))
@example(b'{"columns":{"a":[1],"a":[":"]}}', LIMITS)
@example(b'{"instances":[{"a":1,"a":":"}]}', LIMITS)
@example(b'{"instances":[],"instances":[{":":1}]}', LIMITS)
def test_many_rows_are_read_fast_as_they_would_be_read_slowly(body: bytes, limits: Limits) -> None:
    def slowly() -> Bulk:
        bulk._refuse_swarm(body, limits)
        return bulk._strictly(strict_json.read(body), limits)

    assert outcome(parse_bulk, body, limits) == outcome(slowly)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.integers(-9, 9) | st.floats(-1, 1)), min_size=1
    )
)
def test_rows_and_columns_that_clients_send_are_read_the_fast_way(rows: list[dict[str, Any]]) -> None:
    body = json.dumps({"instances": rows}, ensure_ascii=False).encode()
    assert b"\\u003" in body or bulk._rows_of(body, LIMITS) == Bulk(len(rows), rows=rows)
    columns = {name: [value] * 3 for name, value in rows[0].items()} or {"a": [1, 2, 3]}
    body = json.dumps({"columns": columns}, ensure_ascii=False).encode()
    assert b"\\u003" in body or bulk._columns_of(body, LIMITS) == Bulk(3, columns=columns)


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"", 400, "malformed_json", None),
        (b'{"instances": [{"a": 1}, {"a": NaN}]}', 400, "malformed_json", None),
        (b'{"instances": [{"a": 1}, {"a": 1]}', 400, "malformed_json", None),
        (b'{"instances": [{"a": "\xff"}]}', 400, "malformed_json", None),
        (b'{"instances": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, "nested_too_deep", None),
        (b'{"instances": [], "instances": []}', 400, "duplicate_field", "instances"),
        (b'{"columns": {"a": [1], "a": [2]}}', 400, "duplicate_field", "a"),
        (b"[]", 422, "not_a_bulk", None),
        (b"{}", 422, "not_a_bulk", None),
        (b'{"rows": []}', 422, "not_a_bulk", None),
        (b'{"instances": [], "columns": {}}', 422, "not_a_bulk", None),
        (b'{"instances": [], "parameters": {"threshold": 1}}', 422, "not_a_bulk", None),
        (b'{"instances": {"a": 1}}', 422, "not_an_array", "instances"),
        (b'{"columns": [{"a": 1}]}', 422, "not_an_object", "columns"),
        (b'{"columns": {"a": [1], "b": 2}}', 422, "not_an_array", "b"),
        (b'{"columns": {"a": [1, 2], "b": [2]}}', 422, "unequal_lengths", "b"),
        (b'{"columns": {"a": [], "b": [2]}}', 422, "unequal_lengths", "b"),
        (b'{"instances": [{}, {}, {}, {}]}', 413, "too_many_rows", None),
        (b'{"columns": {"a": [1, 2, 3, 4]}}', 413, "too_many_rows", None),
        (b'{"instances": [' + b"[]," * 30 + b"[]]}", 413, "too_many_rows", None),
        (b'{"columns": {"a": [1], "b": [1], "c": [1], "d": [1], "e": [1]}}', 422, "too_many_fields", None),
    ],
)
def test_a_wrong_body_is_refused_whole(body, status, code, field):
    limits = Limits(rows=100_000) if code == "nested_too_deep" else NARROW
    with pytest.raises(RequestError) as caught:
        parse_bulk(body, limits)
    problem = caught.value.problem
    assert (problem.status, problem.code, problem.field) == (status, code, field)


def test_a_cell_has_its_own_answer():
    found = parse_bulk(
        b'{"columns": {"a": [1, 1e400, [1, 2], {"b": {"c": 1, "c": 2}}], "b": ["x", "\\ud800", "y", "z"]}}'
    )
    assert found.columns == {"a": [1, None, [1, 2], None], "b": ["x", None, "y", "z"]}
    assert {number: (each.code, each.field) for number, each in found.problems.items()} == {
        1: ("number_out_of_range", "a"),
        3: ("duplicate_field", "c"),
    }


@pytest.mark.parametrize("body", [b'{"instances": []}', b'{"columns": {}}', b'{"columns": {"a": []}}'])
def test_nobody_is_no_error(body):
    assert parse_bulk(body).count == 0


def test_the_empty_parameters_of_vertex_ai_are_let_pass():
    assert parse_bulk(b'{"instances": [{"a": 1}], "parameters": null}').rows == [{"a": 1}]


def test_brackets_in_texts_are_no_rows():
    row = {"a": "[{" * 40}
    assert parse_bulk(json.dumps({"instances": [row, {"a": '"[[[['}]}).encode(), Limits(rows=3)).rows == [
        row,
        {"a": '"[[[['},
    ]
