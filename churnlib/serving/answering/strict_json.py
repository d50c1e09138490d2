r"""Strict JSON: RFC 8259 with no liberties, at the speed of a parser that takes one.

What is read is valid UTF-8 without a byte order mark, has neither ``NaN`` nor ``Infinity``, no key twice in one object,
no half of a surrogate pair, no number outside the range of a 64-bit float, and keeps to the
:class:`~churnlib.serving.answering.limits.Limits`.

There are two ways to read a body. :func:`read` is Python's parser with hooks that see everything, at some 15 us for a
customer; it judges, and words every refusal. msgspec takes a tenth of that and is as strict, but for one thing: of a
key that is there twice it keeps the last. What it returns is taken where :func:`each_key_once` proves that there was no
such key; whatever is not proven is read again, by the judge.

The proof counts colons. A colon of the body stands between a key and its value, or in a text. A colon in a text is
written as itself or as ``\u003a``; bodies that may hold the latter are left to the judge. So a body of ``m`` members
has ``m`` colons and those of all its texts, keys among them. msgspec returns ``k`` members, with their texts. If
``k = m`` nothing was dropped, and the count over what was returned is that of the body. If ``k < m``, the colons after
the dropped keys at least are missing from it. Hence the two counts are equal if and only if each key was there once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from churnlib.serving.answering.limits import Limits
from churnlib.serving.problems import Problem, refuse, shown

_INTEGER_DIGITS = 308
"""Longest integer that always fits a 64-bit float (its largest is 1.8e308)."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """Stands, in what :func:`read` returns, for a value that may not be there."""

    problem: Problem


def each_key_once(body: bytes, members: int, keys: Iterable[str], cells: Iterable[Any]) -> bool:
    """Return whether no object of a body has a key twice; False as well if that is not certain.

    Args:
        body: What msgspec has read.
        members: Members of all objects that it returned.
        keys: Their keys; looked at only if values have not all further colons of the body.
        cells: Their values that are neither objects nor lists of anything but numbers.
    """
    if b"\\" in body and b"\\u003" in body:
        return False
    surplus = body.count(b":") - members
    if not surplus:
        return True
    surplus -= "".join([cell for cell in cells if type(cell) is str]).count(":")
    return not surplus or surplus == "".join(keys).count(":")


def read(body: bytes) -> Any:
    """Return the JSON value of a body, with a :class:`Flaw` in the place of each that is JSON but not to be served.

    Raises:
        RequestError: 400 if the bytes are not JSON, or nested so deeply that they cannot be read.
    """
    if not body.strip():
        raise refuse(400, "malformed_json", "the body is empty; expected a JSON object")
    try:
        return json.loads(body.decode(), **_HOOKS)
    except UnicodeDecodeError:
        raise refuse(400, "malformed_json", "the body is not valid UTF-8") from None
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}"
        raise refuse(400, "malformed_json", f"the body is not valid JSON: {_reason(error)} {where}") from None
    except RecursionError:
        raise refuse(400, "nested_too_deep", "the body is nested too deeply to be read") from None


def find_flaw(value: Any, limits: Limits, *, depth: int = 1) -> Problem | None:
    """Return what is wrong with a value that was read, None if nothing is.

    Args:
        value: Part of what :func:`read` returned.
        limits: What may be there.
        depth: Level of the value if it is an object or an array.
    """
    if isinstance(value, str):
        return _text_flaw(value, limits)
    if isinstance(value, Flaw):
        return value.problem
    if not isinstance(value, dict | list):
        return None
    if depth > limits.depth:
        return Problem(400, "nested_too_deep", f"the body is nested deeper than {limits.depth} levels")
    if isinstance(value, dict):
        return _object_flaw(value, limits, depth=depth)
    return next((problem for each in value if (problem := find_flaw(each, limits, depth=depth + 1))), None)


def kind_of(value: Any) -> str:
    """Return what a JSON value is, in words without the value."""
    names = {
        dict: "an object",
        list: "an array",
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _object_flaw(value: dict[str, Any], limits: Limits, *, depth: int) -> Problem | None:
    if len(value) > limits.fields:
        return Problem(422, "too_many_fields", f"an object has more than {limits.fields} fields")
    for name, each in value.items():
        problem = _text_flaw(name, limits) or find_flaw(each, limits, depth=depth + 1)
        if problem is not None:
            return problem if problem.field else replace(problem, field=shown(name))
    return None


def _text_flaw(text: str, limits: Limits) -> Problem | None:
    if len(text) > limits.text:
        return Problem(422, "text_too_long", f"a text is longer than {limits.text:,} characters")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return Problem(400, "malformed_json", "the body holds half a surrogate pair, which is no character")
    return None


def _integer(token: str) -> int | Flaw:
    return _OUT_OF_RANGE if len(token.lstrip("-")) > _INTEGER_DIGITS else int(token)


def _float(token: str) -> float | Flaw:
    number = float(token)
    return number if math.isfinite(number) else _OUT_OF_RANGE


def _constant(token: str) -> float:
    raise refuse(400, "malformed_json", f"the body is not valid JSON: {token} is no JSON number; send null for missing")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Flaw:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    seen: set[str] = set()
    name = next(key for key, _ in pairs if key in seen or seen.add(key))
    told = "a field is there twice; which one counts is not defined"
    return Flaw(Problem(400, "duplicate_field", told, shown(name)))


def _reason(error: json.JSONDecodeError) -> str:
    """Return the parser's reason: fixed words of the standard library, never text of the body."""
    if error.msg.startswith("Unexpected UTF-8 BOM"):
        return "there is a byte order mark"
    return error.msg[:1].lower() + error.msg[1:].split(": ")[0].removesuffix(" at")


_OUT_OF_RANGE = Flaw(Problem(400, "number_out_of_range", "a number is outside the range of a 64-bit float"))
_HOOKS: dict[str, Any] = {
    "parse_int": _integer,
    "parse_float": _float,
    "parse_constant": _constant,
    "object_pairs_hook": _object,
}

__all__ = ["Flaw", "each_key_once", "find_flaw", "kind_of", "read"]
