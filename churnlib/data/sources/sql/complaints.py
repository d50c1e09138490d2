"""What a database or its driver complains of, as one sentence with a remedy."""

from __future__ import annotations

import re
from typing import NamedTuple

from churnlib.data.sources.sql.address import Address


class _Cause(NamedTuple):
    """A cause of failure: words that tell it, what to say of it, and what to do.

    In ``says`` the field ``{it}`` is what the server said, ``{database}`` where it is, ``{variable}`` the variable with
    its address, ``{rows}`` how many rows had come and ``{seconds}`` the limit.
    """

    words: str
    says: str


CAUSES = (
    _Cause(
        r"password authentication failed|no password supplied|Access denied for user|SSPI|GSS|no pg_hba\.conf entry",
        "{database} refuses the user: {it}; correct user and password of the address in {variable}",
    ),
    _Cause(
        r"timed out$|statement timeout|max_statement_time exceeded|maximum statement execution time exceeded",
        "{database} did not send all rows within timeout_seconds={seconds:g}; raise it, or ask for less "
        "(an index, fewer columns, partition_on)",
    ),
    _Cause(
        r"read-only transaction|READ ONLY transaction",
        "the query may only read: {it}; give a SELECT that changes nothing",
    ),
    _Cause(
        r"whole numbers beyond 2\^53",
        "{it}, which would not stay exact; cast the column in the query, to text if it names something and to a float "
        "if it measures something",
    ),
    _Cause(r"two columns of the query are called", "{it}; give each a name of its own with AS"),
    _Cause(
        r"to partition on",
        "partition_on: {it}; name a column of the query with whole numbers or dates",
    ),
    _Cause(
        r"columns changed while",
        "{it} from {database}; read again once the table is settled",
    ),
    _Cause(
        r"server closed the connection|bytes remaining on stream|terminating connection|shutting down|starting up"
        r"|Connection reset|Broken pipe|Lost connection|PQgetCopyData|CodecError|no connection to the server"
        r"|recovery mode|Server shutdown",
        "the connection to {database} broke after {rows:,} rows, none of which are kept; run it again",
    ),
    _Cause(
        r"Connection refused|translate host name|failed to lookup|No route|Network is unreachable|timeout expired"
        r"|timed out|Could not connect|secure connection|SSL|No such file|too many (connections|clients)"
        r"|Failed to connect|ssl-mode|does not exist on this server|Unknown URL parameter|invalid URI",
        "cannot connect to {database}: {it}; check the address in {variable}, and that the server runs",
    ),
    _Cause(
        r"not implemented|Could not retrieve|convert the value|overflow|out of range|exceeds maximum|FromSql"
        r"|decimal scale",
        "a value or a type that {database} sends cannot be read here (such as a zero date, a time beyond 24 hours, a "
        "decimal of more than 18 digits before its point, a column of nothing but NULL); cast the column in "
        "the query, or replace the value there (NULLIF)",
    ),
)
"""From the most telling to the least."""

ELSE = "{database} refuses the query: {it}; correct the query"
UNKNOWN_DATABASE = r"(database|role) \".*\" does not exist$|to database|Unknown database"


def explain(complaint: str, address: Address, *, rows: int, seconds: float) -> str:
    """Return the sentence about rows that could not be read.

    Args:
        complaint: What the reader or a driver said.
        address: Of the database.
        rows: Rows that had come.
        seconds: The time limit.
    """
    it = core(complaint)
    says = next((cause.says for cause in CAUSES if re.search(cause.words, complaint)), ELSE)
    if re.search(UNKNOWN_DATABASE, it):
        says = "cannot connect to {database}: {it}; correct the name of the database in the address in {variable}"
    return says.format(it=it, database=address, variable=address.variable, rows=rows, seconds=seconds)


def core(complaint: str) -> str:
    r"""Return what the server itself said, in one line.

    >>> core('ProgrammingError: NOT_FOUND: Failed to prepare query: ERROR:  relation "x" does not exist\nLINE 1: ...')
    'relation "x" does not exist'
    >>> core("RuntimeError: MySqlError { ERROR 1146 (42S02): Table 'crm.x' doesn't exist }")
    "Table 'crm.x' doesn't exist"
    """
    said = re.search(r"(?:ERROR|FATAL):  (.*)|ERROR \d+ \(\w+\): (.*?) ?\}|DriverError \{ (.*?) ?\}", complaint)
    text = next(filter(None, said.groups())) if said else re.sub(r"^\w+(Error|Exception): ", "", complaint)
    text = re.sub(r"^.*?connection to server .*? failed: ", "", text)
    return (text.strip().splitlines() or ["no reason given"])[0].strip(" .;")[:300]
