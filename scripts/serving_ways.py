"""The ways in which customers can be asked about over HTTP, and what each of them says, in one shape."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import numpy as np
import polars as pl

AT_ONCE = 2000
CONNECTIONS = 8

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Said:
    """What was answered for customers, in their order.

    Attributes:
        probabilities: ``(rows, classes)``, or ``(rows, 1)`` of churn; NaN of who was refused.
        decisions: As they were answered.
    """

    probabilities: np.ndarray
    decisions: list[Any]

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Any]]) -> Said:
        """Take the columns of an answer, whatever else is among them."""
        names = [name for name in columns if "probability" in name]
        decision = "churn_prediction" if "churn_prediction" in columns else "prediction"
        probabilities = np.array([columns[name] for name in names], dtype=np.float64).T
        return cls(probabilities, list(columns[decision]))

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Said:
        """Take an answer for each customer; the first says which fields there are."""
        first = next((row for row in rows if "error" not in row), {})
        names = [name for name in first if "probability" in name or name.endswith("prediction")]
        return cls.of({name: [row.get(name) for row in rows] for name in names})


class Client:
    """Asks a server.

    Args:
        port: Of the server on this machine.
    """

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: Any, content_type: str = "application/json") -> Any:
        """Return the body of the answer, parsed where it is JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request("POST", path, data, {"Content-Type": content_type})
        response = self._connection.getresponse()
        said = response.read()
        if response.status >= 500:
            raise SystemExit(f"{path} is answered {response.status}: {said[:300].decode()}")
        return json.loads(said) if response.headers["Content-Type"].startswith("application/json") else said

    def close(self) -> None:
        """Leave."""
        self._connection.close()


def in_columns(client: Client, rows: Rows) -> Said:
    """Ask about many by columns."""
    return Said.of(client.post("/predict/batch", {"columns": columns_of(rows)})["columns"])


def as_rows(client: Client, rows: Rows) -> Said:
    """Ask about many by rows."""
    return Said.of_rows(client.post("/predict/batch", {"instances": rows})["predictions"])


def as_csv(client: Client, rows: Rows) -> Said:
    """Ask about many as SageMaker does, in CSV; numbers come back as their shortest text."""
    body = pl.DataFrame(columns_of(rows), strict=False).write_csv().encode()
    lines = list(csv.DictReader(io.StringIO(client.post("/invocations", body, "text/csv").decode())))
    numbers = [
        {name: float(cell or "nan") if "probability" in name else cell for name, cell in line.items()} for line in lines
    ]
    columns = columns_of(numbers)
    if "churn_prediction" in columns:
        columns["churn_prediction"] = [int(cell) if cell else None for cell in columns["churn_prediction"]]
    return Said.of(columns)


def by_protocol(client: Client, rows: Rows) -> Said:
    """Ask about many by the Open Inference Protocol."""
    inputs = []
    for name, cells in columns_of(rows).items():
        is_number = all(isinstance(cell, int | float | None) and not isinstance(cell, bool) for cell in cells)
        given = cells if is_number else [None if cell is None else _text(cell) for cell in cells]
        inputs.append(
            {"name": name, "shape": [len(cells)], "datatype": "FP64" if is_number else "BYTES", "data": given}
        )
    outputs = client.post("/v2/models/churn/infer", {"inputs": inputs})["outputs"]
    return Said.of({output["name"]: output["data"] for output in outputs})


WAYS: dict[str, tuple[Callable[[Client, Rows], Said], float]] = {
    "columns": (in_columns, 1.0),
    "rows": (as_rows, 0.5),
    "CSV": (as_csv, 0.1),
    "protocol": (by_protocol, 0.1),
}
"""By name how it is asked, and about which share of the customers."""


def alone(port: int, rows: Rows) -> Said:
    """Ask about customers one at a time, over several connections at once."""

    def ask(part: Rows) -> Rows:
        client = Client(port)
        found = [client.post("/predict", row) for row in part]
        client.close()
        return found

    parts = [rows[start::CONNECTIONS] for start in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        found = list(pool.map(ask, parts))
    return Said.of_rows([found[place % CONNECTIONS][place // CONNECTIONS] for place in range(len(rows))])


def asked_of(port: int, way: str, rows: Rows) -> Said:
    """Ask about many, so many at a time."""
    client, (ask, _) = Client(port), WAYS[way]
    parts = [ask(client, rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)]
    client.close()
    return Said(
        np.concatenate([part.probabilities for part in parts]), [one for part in parts for one in part.decisions]
    )


def columns_of(rows: Rows) -> dict[str, list[Any]]:
    """Return rows of the same fields as columns."""
    return {name: [row.get(name) for row in rows] for name in rows[0]}


def _text(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
