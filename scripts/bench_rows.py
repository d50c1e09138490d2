"""What a customer's way through a predictor costs, part by part: ``python scripts/bench_rows.py BUNDLE [BUNDLE ...]``.

One customer at a time (``RowPredictor``), beside a table of one row, and many at once (``Predictor`` of rows and of
columns, ``ColumnPredictor``): processor time of one thread, ``--best`` or the median of rounds in which everything
takes its turn. Customers are the bundle's golden ones, as a JSON request holds them; ONNX Runtime answers.

Train the bundles first, such as with ``python train.py data=telco model=mlp_plain output_dir=runs/mlp_plain``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["POLARS_MAX_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before either is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from rich.console import Console
from rich.table import Table

import churnlib
from churnlib.column_predictor import ColumnPredictor
from churnlib.predictor import Predictor
from churnlib.row_predictor import RowPredictor

BATCHES = (1, 8, 16, 32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each measurement")
    parser.add_argument("--best", action="store_true", help="of the rounds, where others use the machine")
    parser.add_argument("--bulk", type=int, default=10_000, help="customers in one table")
    arguments = parser.parse_args()
    console = Console()
    for path in arguments.bundles:
        predictor = churnlib.load(path, backend="onnx")
        rows = [dict(golden["row"]) for golden in predictor.bundle.golden]
        for table in (one_by_one(predictor, rows, arguments), together(predictor, rows, arguments)):
            console.print(table)


def one_by_one(predictor: Predictor, rows: list[dict[str, Any]], options: argparse.Namespace) -> Table:
    """Measure customers who come alone and are answered in small batches."""
    one = RowPredictor(predictor)
    calls: dict[Any, tuple[Callable[[], object], int]] = {
        "read": (lambda: [one.read(row) for row in rows], len(rows)),
        "table": (lambda: predictor.predict(rows[:1]), 1),
    }
    for n in BATCHES:
        read = [one.read(rows[place % len(rows)]) for place in range(n)]
        encoded = one.encode(read)
        calls[n, "encode"] = (lambda read=read: one.encode(read), n)
        calls[n, "model"] = (lambda encoded=encoded: predictor.bundle.model.logits(encoded.numeric, encoded.codes), n)
        calls[n, "answers"] = (lambda read=read: one.answers(read), n)
    spent = measured(calls, options)
    table = Table(title=f"{predictor.model_name}: us for a customer, of {len(rows[0])} columns")
    for header in ("together", "read", "encode", "model", "answer", "read + answers", "a table of one row"):
        table.add_column(header, justify="right")
    for n in BATCHES:
        encode, model, answers = (spent[n, part] for part in ("encode", "model", "answers"))
        figures = (spent["read"], encode, model, answers - encode - model, spent["read"] + answers)
        alone = f"{spent['table']:,.0f}" if n == 1 else ""
        table.add_row(f"{n}", *(f"{figure:,.2f}" for figure in figures), alone)
    return table


def together(predictor: Predictor, rows: list[dict[str, Any]], options: argparse.Namespace) -> Table:
    """Measure customers who come many at a time, as rows and as columns."""
    n, columnwise = options.bulk, ColumnPredictor(predictor)
    many = [dict(rows[place % len(rows)]) for place in range(n)]
    columns = {name: [row[name] for row in many] for name in many[0]}
    reading, read = predictor.read(columns), columnwise.read(columns)
    calls: dict[Any, tuple[Callable[[], object], int]] = {
        "rows": (lambda: predictor.read(many), n),
        "columns": (lambda: predictor.read(columns), n),
        "usual columns": (lambda: columnwise.read(columns), n),
        "table": (lambda: predictor.answers(reading), n),
        "usual": (lambda: columnwise.answers(read), n),
        "model": (lambda: predictor.logits_of(read.encoded), n),
    }
    spent = measured(calls, options)
    table = Table(title=f"{predictor.model_name}: us for each of {n:,} customers")
    for header in ("", "read", "answers", "of which model", "in all", "customers/s"):
        table.add_column(header, justify="right" if header else "left")
    for words, read_by, answered_by in (
        ("rows, Predictor", "rows", "table"),
        ("columns, Predictor", "columns", "table"),
        ("columns, ColumnPredictor", "usual columns", "usual"),
    ):
        whole = spent[read_by] + spent[answered_by]
        figures = (spent[read_by], spent[answered_by], spent["model"], whole)
        table.add_row(words, *(f"{figure:,.2f}" for figure in figures), f"{1e6 / whole:,.0f}")
    return table


def measured(calls: dict[Any, tuple[Callable[[], object], int]], options: argparse.Namespace) -> dict[Any, float]:
    """Return the microseconds that each call takes for one customer."""
    spent: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, (call, n) in calls.items():
            spent[name].append(microseconds(call, options.seconds) / n)
    middle = min if options.best else statistics.median
    return {name: middle(figures) for name, figures in spent.items()}


def microseconds(call: Callable[[], object], least: float) -> float:
    """Return the processor time of one call, from as many as fill the time; the first does not count."""
    call()
    calls, start, until = 0, time.process_time(), time.perf_counter() + least
    while time.perf_counter() < until:
        call()
        calls += 1
    return 1e6 * (time.process_time() - start) / calls


if __name__ == "__main__":
    main()
