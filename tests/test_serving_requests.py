"""Everything of the server that needs no model: strict JSON, the layer in front of LitServe, options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import churnlib.serving
from churnlib.errors import ChurnlibError, ConfigError
from churnlib.serving.answering.requests import LIMITS, check_content, parse_row, request_id
from churnlib.serving.answers import MOST_NAMED, named_warnings
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.options import parse_options, usage
from churnlib.serving.problems import RequestError, shown
from churnlib.serving.server import curl

METADATA = {"model": "mlp", "model_version": "abc"}
MAX_DEPTH = LIMITS.depth

# --- JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "row"),
    [
        (b'{"tenure": 12, "plan": "a"}', {"tenure": 12, "plan": "a"}),
        (b'  {"tenure": 1.5e3}\r\n', {"tenure": 1500.0}),
        (b"{}", {}),
        ('{"plan": "Zürich 🌍"}'.encode(), {"plan": "Zürich 🌍"}),
        (rb'{"plan": "\ud83c\udf0d"}', {"plan": "🌍"}),
        (rb'{"plan": "a\u0000b"}', {"plan": "a\0b"}),
        (b'{"tenure": -0, "charges": null, "senior": true}', {"tenure": 0, "charges": None, "senior": True}),
        (b'{"customer_id": 12345678901234567890123}', {"customer_id": 12345678901234567890123}),
        (b'{"extra": {"list": [1, 2, {"a": "b"}]}}', {"extra": {"list": [1, 2, {"a": "b"}]}}),
    ],
)
def test_json_objects_are_read(body: bytes, row: dict[str, Any]) -> None:
    assert parse_row(body) == row


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BAD_BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "malformed_json"),
    "blank": (b" \n", 400, "malformed_json"),
    "cut off": (b'{"tenure":', 400, "malformed_json"),
    "trailing comma": (b'{"tenure": 1,}', 400, "malformed_json"),
    "single quotes": (b"{'tenure': 1}", 400, "malformed_json"),
    "comment": (b'{"tenure": 1} // x', 400, "malformed_json"),
    "two objects": (b"{}{}", 400, "malformed_json"),
    "form": (b"tenure=1&plan=a", 400, "malformed_json"),
    "NaN": (b'{"tenure": NaN}', 400, "malformed_json"),
    "Infinity": (b'{"tenure": -Infinity}', 400, "malformed_json"),
    "raw control character": (b'{"plan": "a\nb"}', 400, "malformed_json"),
    "bad escape": (rb'{"plan": "\x41"}', 400, "malformed_json"),
    "bad UTF-8": (b'{"plan": "\xff\xfe"}', 400, "malformed_json"),
    "UTF-16": ('{"tenure": 1}'.encode("utf-16"), 400, "malformed_json"),
    "byte order mark": ('\ufeff{"tenure": 1}'.encode(), 400, "malformed_json"),
    "lone surrogate in a value": (rb'{"plan": "\ud800"}', 400, "malformed_json"),
    "lone surrogate in a name": (rb'{"\udc00": 1}', 400, "malformed_json"),
    "lone surrogate in a list": (rb'{"x": [{"a": ["\ud800"]}]}', 400, "malformed_json"),
    "key twice": (b'{"tenure": 1, "plan": "a", "tenure": 2}', 400, "duplicate_field"),
    "key twice inside": (b'{"x": {"a": 1, "a": 2}}', 400, "duplicate_field"),
    "5,000 digits": (b'{"tenure": ' + b"9" * 5000 + b"}", 400, "number_out_of_range"),
    "400 digits": (b'{"tenure": -' + b"9" * 400 + b"}", 400, "number_out_of_range"),
    "1e400": (b'{"tenure": 1e400}', 400, "number_out_of_range"),
    "1e400 in a list": (b'{"x": [1e400]}', 400, "number_out_of_range"),
    "100,000 levels": (DEEP, 400, "nested_too_deep"),
    "9 levels": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), 400, "nested_too_deep"),
    "list": (b'[{"tenure": 1}]', 422, "not_an_object"),
    "null": (b"null", 422, "not_an_object"),
    "text": (b'"tenure"', 422, "not_an_object"),
    "number": (b"3", 422, "not_an_object"),
    "true": (b"true", 422, "not_an_object"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_anything_else_is_refused(case: str) -> None:
    body, status, code = BAD_BODIES[case]
    with pytest.raises(RequestError) as caught:
        parse_row(body)
    assert (caught.value.problem.status, caught.value.problem.code) == (status, code)


def test_exactly_the_deepest_nesting_is_read() -> None:
    row: Any = parse_row(b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH)
    for _ in range(MAX_DEPTH):
        row = row["a"]
    assert row == 1


def test_a_duplicate_field_is_named() -> None:
    with pytest.raises(RequestError) as caught:
        parse_row(b'{"plan": "a", "plan": "secret"}')
    assert caught.value.problem.field == "plan"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({}, True),
        ({"content-type": "application/json"}, True),
        ({"content-type": "Application/JSON; charset=UTF-8"}, True),
        ({"content-type": 'application/json; charset="utf-8"', "content-encoding": "identity"}, True),
        ({"content-type": "text/plain"}, False),
        ({"content-type": "application/x-www-form-urlencoded"}, False),
        ({"content-type": "application/json-patch+json"}, False),
        ({"content-type": "application/json; charset=latin-1"}, False),
        ({"content-type": "application/json", "content-encoding": "gzip"}, False),
        ({"content-encoding": "br"}, False),
    ],
)
def test_only_plain_json_is_accepted(headers: Mapping[str, str], accepted: bool) -> None:
    sent = {name.encode(): value.encode() for name, value in headers.items()}
    if accepted:
        check_content(sent)
        return
    with pytest.raises(RequestError) as caught:
        check_content(sent)
    assert caught.value.problem.status == 415


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("abc-DEF_123", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("a b", False),
        ("ä", False),
        ("a\n", False),
    ],
)
def test_only_harmless_request_ids_are_taken_over(sent: str, kept: bool) -> None:
    assert request_id(sent) == (sent if kept else "")


def test_client_names_are_shortened_and_made_printable() -> None:
    assert shown("a\x1b[31m\u202eb") == "a?[31m?b"
    assert shown("x" * 65) == "x" * 64 + "..."


def test_a_book_of_warnings_is_cut_and_counted() -> None:
    named = named_warnings([(f"field {i}", "is odd") for i in range(MOST_NAMED + 5)])
    assert len(named) == MOST_NAMED + 1
    assert named[-1] == {"field": None, "message": "5 more warnings"}


# --- the package -----------------------------------------------------------------------------------------------------


def test_the_package_offers_its_names_lazily() -> None:
    assert churnlib.serving.ChurnLitAPI is ChurnLitAPI
    assert all(callable(getattr(churnlib.serving, name)) for name in churnlib.serving.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Churn'"):
        _ = churnlib.serving.Churn


# --- options ------------------------------------------------------------------------------------------------------


def test_words_become_options() -> None:
    options = parse_options(["bundle='my run/bundle'", "port=9000", "timeout=0.5", "trust=[a.b, c]", "port=9001"])
    assert (options.bundle, options.port, options.timeout) == ("my run/bundle", 9001, 0.5)
    assert options.trust == ("a.b", "c")
    assert options.host == "127.0.0.1"
    assert parse_options(["keys=k", "admin=true"]).admin is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("prot=9000", "did you mean port?"),
        ("9000", "expected key=value"),
        ("port=70000", "port must be in [1, 65535], got 70000"),
        ("port=x", "port must be a whole number, got 'x'"),
        ("timeout=nan", "timeout must be in"),
        ("admin=yes keys=k", "admin must be true or false, got 'yes'"),
        ("bundle=", "bundle is empty"),
        ("engine=fast", "engine must be one of auto, inline, thread, worker, got 'fast'"),
        ("engine=worker workers=0", "engine=worker needs at least one worker"),
        ("admin=true", "admin=true needs keys=FILE"),
        ("rate_limit=5", "rate_limit is one of each key"),
        ("canary=0.1", "name it with challenger=DIR"),
        ("tls_key=k.pem", "belong together"),
        ("device=cuda", "device=cuda needs engine=worker"),
    ],
)
def test_wrong_words_are_explained(words: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(words.split())
    assert said in str(caught.value)
    assert isinstance(caught.value, ChurnlibError)


def test_the_help_names_every_option() -> None:
    assert all(f"  {name} " in usage() for name in ("bundle", "port", "host", "max_batch_size", "workers", "trust"))


def test_the_example_command_survives_the_shell() -> None:
    import shlex

    row = {"customer_id": "C-1", "plan": 'it\'s "big" $HOME `x`', "city": "Zürich"}
    words = shlex.split(curl("http://127.0.0.1:8000", row))
    assert json.loads(words[words.index("-d") + 1]) == row
