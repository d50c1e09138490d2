"""How long a report of many test rows takes, and how large its page is.

    python scripts/bench_report.py            100,000 simulated test rows
    python scripts/bench_report.py 1000000

Fits a logistic regression on 100,000 other simulated customers, then makes the report of the test rows: its numbers,
its reasons, the model on the whole, a plan of offers, and all of its files. What is timed is what training adds for
``report=true``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

from rich.console import Console

from churnlib.compose import compose
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

TRAINED = 100_000


def main(rows: int) -> None:
    """Train once without a report, and make the report."""
    from churnlib.training.reporting import report

    n, left = TRAINED + rows, rows / (TRAINED + rows)
    words = [
        "data=simulator", f"data.n_customers={n}", f"split.train={0.9 * (1 - left)}", "model=logistic", "leaks=off",
        f"split.validation={0.1 * (1 - left)}", f"split.test={left}", "report=false", "bundle.onnx=false",
        "money.currency=EUR", "money.column=monthly_charges", "money.times=12",
        "levers=simulator", "reporting.budget=20000",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="bench-report-") as scratch:
        folder = Path(scratch) / "run"
        done = train(compose(words), folder=RunFolder(folder, latest=None), console=Console(quiet=True))
        _timed(folder, rows)
        started = time.perf_counter()
        made = report(folder)
        drawn = time.perf_counter() - started
        size = made.path.stat().st_size / 1000
        beside = sum(path.stat().st_size for path in (folder / "report").iterdir()) / 1000
        print(f"{done.metrics['test']['n']:,} test rows: page {size:,.0f} kB, Parquet beside it {beside:,.0f} kB")
        print(f"the page drawn again from report.json: {drawn:.2f} s")


def _timed(folder: Path, rows: int) -> None:
    """Make the report as training does, and print how long each part took."""
    from churnlib.evaluation.report.document import build_document
    from churnlib.evaluation.report.files import write_report
    from churnlib.training import reporting
    from churnlib.training.past_run import past_run
    from churnlib.training.report_parts import Asked, parts_of

    run = past_run(folder / "config.yaml")
    asked = Asked(run.money, run.levers, run.reporting.explained, budget=run.reporting.budget)
    started = time.perf_counter()
    judged = reporting.judged_again(folder)
    read, processor = time.perf_counter(), time.process_time()
    parts = parts_of(judged, folder, asked)
    explained = time.perf_counter()
    document = build_document(judged, parts)
    built = time.perf_counter()
    write_report(document, folder)
    written, used = time.perf_counter(), time.process_time() - processor
    print(f"{rows:,} rows read and scored again (not part of a run's report): {read - started:.2f} s")
    print(
        f"reasons, offers and the model on the whole {explained - read:.2f} s, numbers {built - explained:.2f} s, "
        f"files {written - built:.2f} s: {written - read:.2f} s in all, {used:.2f} s of the processor"
    )


if __name__ == "__main__":
    main(int(sys.argv[1].replace("_", "").replace(",", "")) if len(sys.argv) > 1 else 100_000)
