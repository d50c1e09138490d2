"""Where a run's figures come from: its rows, its code, its machine. Enough to say later why two runs differ."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from datetime import UTC, datetime
from typing import Any

import polars as pl
import polars.selectors as cs

from churnlib.bundle import package_versions
from churnlib.data.customers import Customers

PROVENANCE = "provenance.json"

PIECE = 50_000
"""Rows that are written as text at a time."""


def provenance(customers: Customers) -> dict[str, Any]:
    """Return what is to be known about a run beside its options.

    Args:
        customers: The rows of the run.
    """
    frame = customers.frame
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": {"rows": len(frame), "columns": frame.width, "sha256": fingerprint(frame)},
        "sources": [dict(facts) for facts in customers.sources],
        "code": {"commit": _git("rev-parse", "HEAD"), "changed": bool(_git("status", "--porcelain", "-uno"))},
        "versions": package_versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "accelerators": _accelerators()},
    }


def fingerprint(frame: pl.DataFrame) -> str:
    """Return the SHA-256 of a table's cells, in its order of rows and columns.

    Equal tables have equal ones, however they are cut into pieces in memory and whichever file they came from.

    >>> fingerprint(pl.DataFrame({"plan": ["a", None]}))[:8]
    '1dd5e60e'
    """
    found = hashlib.sha256()
    for name, dtype in frame.schema.items():
        found.update(f"{name}\0{dtype}\n".encode())
    # JSON has no bytes.
    for piece in frame.with_columns(cs.binary().bin.encode("hex")).iter_slices(PIECE):
        found.update(piece.write_ndjson().encode())
    return found.hexdigest()


def _git(*words: str) -> str | None:
    """Return what git says of the working directory; None where there is no repository, or no git."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _accelerators() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
