"""Expressions of polars' SQL in plain Python, for one row, where Python means the same.

What cannot be translated surely (dates against texts, whole-number arithmetic, functions) is left to polars, and so is
a row on which an operation leaves the finite numbers: polars and Python order NaN and divide by zero differently. Truth
has three values, as in SQL.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

Row = Mapping[str, Any]
Code = Callable[[Row], Any]
Typed = tuple[str, Code]
"""``float``, ``text``, ``moment``, ``truth`` or ``whole`` (a literal that is not yet either), and how to compute it."""

MOST_EXACT = 2**53
"""Whole numbers up to here are the same as floats."""


class Untranslatable(Exception):
    """The expression has something that Python may compute otherwise."""


class LeaveToPolars(Exception):
    """This row has something that Python may compute otherwise."""


def translate(sql: str, dtypes: Mapping[str, pl.DataType]) -> Code | None:
    """Return a function from typed cells (dates as microseconds) to true, false or None; None if it cannot be.

    Args:
        sql: The expression, checked already.
        dtypes: Of the columns.

    >>> keeps = translate("total <= 1.5 * months", {"total": pl.Float64(), "months": pl.Float64()})
    >>> [keeps({"total": total, "months": 2.0}) for total in (3.0, 4.0, None)]
    [True, False, None]
    """
    kinds = {name: _kind(dtype) for name, dtype in dtypes.items()}
    try:
        kind, code = _node(json.loads(pl.sql_expr(sql).meta.serialize(format="json")), kinds)
    except (Untranslatable, KeyError, TypeError, ValueError, IndexError):
        return None
    return code if kind == "truth" else None


def _kind(dtype: pl.DataType) -> str:
    if dtype == pl.Float64:
        return "float"
    return "moment" if isinstance(dtype, pl.Datetime) else "text" if dtype == pl.String else "other"


def _node(node: Any, kinds: Mapping[str, str]) -> Typed:
    if len(node) != 1:
        raise Untranslatable
    (word, inside), = node.items()  # fmt: skip
    if word == "Column":
        return kinds[inside], lambda row: row[inside]
    if word == "Literal":
        return _literal(inside)
    if word == "BinaryExpr":
        return _binary(inside["op"], _node(inside["left"], kinds), _node(inside["right"], kinds))
    if word == "Cast" and inside["dtype"] == {"Literal": "Boolean"}:
        return _of_kind(_node(inside["expr"], kinds), "truth")
    if word == "Function":
        return _function(inside["function"], [_node(one, kinds) for one in inside["input"]])
    raise Untranslatable


def _literal(value: Any) -> Typed:
    ((form, inside),) = value.items()
    ((word, held),) = inside.items()
    if (form, word) == ("Dyn", "Int") and abs(held) <= MOST_EXACT:
        return "whole", lambda row: held
    if (form, word) == ("Dyn", "Float"):
        return "float", lambda row: float(held)
    if (form, word) == ("Scalar", "Decimal") and abs(held[0]) <= MOST_EXACT and held[2] <= 22:
        number = held[0] / 10 ** held[2]  # both are exact, so this is the nearest float
        return "float", lambda row: number
    if (form, word) == ("Scalar", "String"):
        return "text", lambda row: held
    raise Untranslatable


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "Eq": operator.eq, "NotEq": operator.ne, "Lt": operator.lt, "LtEq": operator.le, "Gt": operator.gt,
    "GtEq": operator.ge,
}  # fmt: skip
_COMPUTE: dict[str, Callable[[Any, Any], Any]] = {
    "Plus": operator.add, "Minus": operator.sub, "Mul": operator.mul, "Div": operator.truediv,
}  # fmt: skip


def _binary(word: str, left: Typed, right: Typed) -> Typed:
    if word in ("And", "Or"):
        return "truth", _joined(word == "And", _of_kind(left, "truth")[1], _of_kind(right, "truth")[1])
    kinds = {left[0], right[0]}
    numbers = kinds <= {"float", "whole"} and "float" in kinds
    if word in _COMPARE and (numbers or kinds in ({"text"}, {"moment"})):
        return "truth", _strict(_COMPARE[word], left[1], right[1])
    if word in _COMPUTE and numbers:
        return "float", _finite(_strict(_COMPUTE[word], left[1], right[1]))
    raise Untranslatable


def _function(function: Any, inputs: list[Typed]) -> Typed:
    if function == "Abs":
        _, code = _of_kind(inputs[0], "float")
        return "float", _unless_null(code, abs)
    ((word, inside),) = function.items()
    if word == "Sql" and isinstance(inside, Mapping) and inside.get("Binary") in ("Mul", "Div"):
        return _binary(inside["Binary"], *inputs)
    if word == "Boolean" and inside == "Not":
        return "truth", _unless_null(_of_kind(inputs[0], "truth")[1], operator.not_)
    if word == "Boolean" and inside in ("IsNull", "IsNotNull"):
        code, missing = inputs[0][1], inside == "IsNull"
        return "truth", lambda row: (code(row) is None) is missing
    raise Untranslatable


def _of_kind(typed: Typed, kind: str) -> Typed:
    if typed[0] != kind:
        raise Untranslatable
    return typed


def _strict(compute: Callable[[Any, Any], Any], left: Code, right: Code) -> Code:
    def code(row: Row) -> Any:
        a, b = left(row), right(row)
        return None if a is None or b is None else compute(a, b)

    return code


def _finite(inner: Code) -> Code:
    def code(row: Row) -> Any:
        try:
            number = inner(row)
        except ZeroDivisionError:
            raise LeaveToPolars from None
        if number is not None and not math.isfinite(number):
            raise LeaveToPolars
        return number

    return code


def _unless_null(inner: Code, compute: Callable[[Any], Any]) -> Code:
    def code(row: Row) -> Any:
        value = inner(row)
        return None if value is None else compute(value)

    return code


def _joined(both: bool, left: Code, right: Code) -> Code:
    """AND (``both``) or OR of three-valued truths: a false (or true) side decides, whatever the other is."""

    def code(row: Row) -> bool | None:
        a, b = left(row), right(row)
        decisive = not both
        if a is decisive or b is decisive:
            return decisive
        return None if a is None or b is None else both

    return code


__all__ = ["LeaveToPolars", "translate"]
