"""What the process that reads is told; it travels as JSON."""

from __future__ import annotations

from dataclasses import dataclass

READY = "ready"
"""What that process says once it is loaded and begins."""


@dataclass(frozen=True)
class Job:
    """What to read, and where to.

    Attributes:
        kind: postgresql or mysql.
        url: The address, with the password.
        sql: One SELECT.
        folder: Where the parts go.
        partition_on: Column whose ranges are read one by one; None for one statement.
        partitions: How many ranges.
        seconds: That the server may take for one statement.
    """

    kind: str
    url: str
    sql: str
    folder: str
    partition_on: str | None
    partitions: int
    seconds: float
