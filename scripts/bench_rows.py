"""What a customer's way through a predictor costs, part by part: ``python scripts/bench_rows.py BUNDLE [BUNDLE ...]``.

One customer at a time (``RowPredictor``), beside a table of one row, and many in one table of rows or of columns
(``Predictor``): processor time of one thread, medians of rounds in which everything takes its turn. Customers are the
bundle's golden ones, as a JSON request holds them; ONNX Runtime answers.

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
from churnlib.predictor import Predictor
from churnlib.row_predictor import RowPredictor

BATCHES = (1, 8, 16, 32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each measurement")
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
    """Measure customers who come in one table."""
    n = options.bulk
    many = [rows[place % len(rows)] for place in range(n)]
    forms = {"rows": many, "columns": {name: [row[name] for row in many] for name in many[0]}}
    readings = {form: predictor.read(data) for form, data in forms.items()}
    encoded = predictor.bundle.preparation.encode(readings["rows"].typed)
    calls: dict[Any, tuple[Callable[[], object], int]] = {
        (form, "read"): (lambda data=data: predictor.read(data), n) for form, data in forms.items()
    }
    calls["encode"] = (lambda: predictor.bundle.preparation.encode(readings["rows"].typed), n)
    calls["model"] = (lambda: predictor.logits_of(encoded), n)
    calls["answers"] = (lambda: predictor.answers(readings["rows"]), n)
    spent = measured(calls, options)
    table = Table(title=f"{predictor.model_name}: {n:,} customers in one table, us each")
    for header in ("form", "read", "encode", "model", "answer", "in all", "customers/s"):
        table.add_column(header, justify="right")
    for form in forms:
        whole = spent[form, "read"] + spent["answers"]
        answer = spent["answers"] - spent["encode"] - spent["model"]
        figures = (spent[form, "read"], spent["encode"], spent["model"], answer, whole)
        table.add_row(form, *(f"{figure:,.2f}" for figure in figures), f"{1e6 / whole:,.0f}")
    return table


def measured(calls: dict[Any, tuple[Callable[[], object], int]], options: argparse.Namespace) -> dict[Any, float]:
    """Return the microseconds that each call takes for one customer."""
    spent: dict[Any, list[float]] = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, (call, n) in calls.items():
            spent[name].append(microseconds(call, options.seconds) / n)
    return {name: statistics.median(figures) for name, figures in spent.items()}


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
