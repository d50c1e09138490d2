"""The SQL of a query: one SELECT, from text or a file, and the ranges that it is read in."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from churnlib.errors import ConfigError, DataError

QUOTES = {"postgresql": '"', "mysql": "`"}
"""What stands around a name that holds any character."""

_TOKENS = {
    "postgresql": re.compile(
        r"""(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<quoted>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"
        |(?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag))|(?P<end>;)""",
        re.DOTALL | re.VERBOSE,
    ),
    "mysql": re.compile(
        r"""(?P<comment>--(?=\s|$)[^\n]*|\#[^\n]*|/\*(?![!M]).*?\*/)
        |(?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`)|(?P<end>;)""",
        re.DOTALL | re.VERBOSE,
    ),
}
"""What may hold a semicolon that does not end the statement, and the one that does."""

_READS = re.compile(r"\(*\s*(select|with|values|table)\b", re.IGNORECASE)


def read_query(query: str) -> str:
    """Return the SQL that an option holds or names.

    Args:
        query: SQL, or the path of a ``.sql`` file.

    Raises:
        ConfigError: If there is no such file.
        DataError: If it is no text.

    >>> read_query("SELECT 1")
    'SELECT 1'
    """
    text = query.strip()
    if not text.lower().endswith(".sql") or "\n" in text:
        return text
    path = Path(text).expanduser()
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"data.query={text} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"data.query={text} cannot be read ({error.strerror}); give SQL or a file's path") from None


def one_select(sql: str, kind: str) -> str:
    """Return the one statement that reads, without what may stand behind it.

    This is for clear words; what keeps a database from being written to is its own read-only session.

    Args:
        sql: The text.
        kind: postgresql or mysql.

    Raises:
        ConfigError: If it holds no statement, several, or one that does not read.

    >>> one_select("SELECT ';' AS mark; -- done", "postgresql")
    "SELECT ';' AS mark"
    """
    end, rest = len(sql), ""
    for token in _TOKENS[kind].finditer(sql):
        if token["end"]:
            end, rest = token.start(), sql[token.end() :]
            break
    # Comments go where nothing else is left of the text, not within the statement: some of them mean something.
    if re.sub(r"[\s;]+", "", _without_comments(rest, kind)):
        raise ConfigError("data.query holds several statements; give one SELECT")
    begins = _without_comments(sql[:end], kind).strip()
    if not _READS.match(begins):
        first = begins.split(maxsplit=1)[0][:20] if begins else "nothing"
        raise ConfigError(f"data.query must be a SELECT (or WITH ... SELECT), it begins with {first!r}")
    return sql[:end].strip()


def _without_comments(sql: str, kind: str) -> str:
    return _TOKENS[kind].sub(lambda token: " " if token["comment"] else token[0], sql)


def orders_rows(sql: str) -> bool:
    """Whether the query, or a part of it, says in which order rows come."""
    return re.search(r"\border\s+by\b", sql, re.IGNORECASE) is not None


def quoted(name: str, kind: str) -> str:
    """Return a column's name as the database's SQL has it.

    >>> quoted('a "b" c', "postgresql")
    '"a ""b"" c"'
    """
    mark = QUOTES[kind]
    return f"{mark}{name.replace(mark, 2 * mark)}{mark}"


def derived(sql: str, columns: str = "*", where: str | None = None) -> str:
    """Return a query over the rows of another one, whose last line may be a comment."""
    return f"SELECT {columns} FROM (\n{sql}\n) AS q" + (f" WHERE {where}" if where else "")


def range_conditions(column: str, low: Any, high: Any, parts: int) -> list[str]:
    """Return conditions that split rows by a column, each row meeting exactly one.

    The first one has what is below all bounds, and the rows without a value; the last one what is above.

    Args:
        column: Name, quoted.
        low: Smallest value, a whole number, date or time; None if there are none.
        high: Largest value.
        parts: How many conditions at most; fewer where there are not so many values.

    >>> range_conditions("k", 1, 9, 3)
    ['(k < 4 OR k IS NULL)', '(k >= 4 AND k < 7)', 'k >= 7']
    """
    bounds = [_literal(bound) for bound in _bounds(low, high, parts)]
    if not bounds:
        return ["1 = 1"]
    between = [f"({column} >= {a} AND {column} < {b})" for a, b in pairwise(bounds)]
    return [f"({column} < {bounds[0]} OR {column} IS NULL)", *between, f"{column} >= {bounds[-1]}"]


def _bounds(low: Any, high: Any, parts: int) -> Sequence[Any]:
    """Return the values at which one range ends and the next begins, rising and all different."""
    if low is None or high is None or low == high:
        return []
    if isinstance(low, int):
        size = high - low + 1
        return sorted({low + size * part // parts for part in range(1, parts)} - {low})
    step = dt.timedelta(days=1) if not isinstance(low, dt.datetime) else dt.timedelta(microseconds=1)
    size = (high - low) // step + 1
    return sorted({low + step * (size * part // parts) for part in range(1, parts)} - {low})


def _literal(value: Any) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"
