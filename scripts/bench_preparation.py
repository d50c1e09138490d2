"""What preparing customers costs: beside scikit-learn, by the size of the table, and one customer at a time.

    python scripts/bench_preparation.py                                 all three, at the sizes below
    python scripts/bench_preparation.py parts=peer rows=2000000 repeats=3
    python scripts/bench_preparation.py parts=size sizes=1000000,10000000,50000000 folder=/tmp/bench
    python scripts/bench_preparation.py parts=row

``peer``: 30 columns of simulated customers; gaps filled with medians, cut off at 1.5 interquartile ranges, scaled to
mean 0 and variance 1, few categories one-hot encoded, the region by the churn rate of its customers (out of folds while
fitting). churnlib's steps do it in polars, scikit-learn's ColumnTransformer with a pandas table. Fit means fitting and
transforming the same rows, as a training does. Each in a process of its own, in turns; peak memory is that of the
process, with the table that it has read. Ends with 1 if the results differ.

``size``: ``churnlib prepare`` from Parquet to Parquet, each size in a process of its own. ``row``: from cells as a
source system sends them to a model's arrays, with the default preparation.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

DEFAULTS = {
    "parts": "peer,size,row", "rows": "2000000", "repeats": "3", "sizes": "1000000,10000000,50000000", "folder": "",
}  # fmt: skip
N_COLUMNS = 30
REGION = "region"
SIDES = ("churnlib", "scikit-learn")
AGREE = 1e-6
"""Largest difference of the two results, in mean squares of columns of variance 1 at most."""


def main(words: list[str]) -> int:
    """Measure what the words ask for, or, called by itself, one side of it."""
    if words[:1] == ["--alone"]:
        print(json.dumps(ALONE[words[1]](*words[2:])))
        return 0
    options = options_of(words, DEFAULTS, __doc__)
    console = Console(width=130)
    agree = True
    with ExitStack() as stack:
        folder = Path(options["folder"] or stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for part in options["parts"].split(","):
            agree &= {"peer": peer, "size": size, "row": row}[part](options, folder, console) is not False
    return 0 if agree else 1


# --- beside scikit-learn --------------------------------------------------------------------------------------------


def peer(options: dict[str, str], folder: Path, console: Console) -> bool:
    """Run both sides in turns, print seconds, rows per second and peak memory; return whether their results agree."""
    rows = int(options["rows"])
    file = folder / f"columns_{rows}.parquet"
    if not file.exists():
        _alone("write", rows, file)
    runs = [{side: _alone(side, file) for side in SIDES} for _ in range(int(options["repeats"]))]
    table = Table(title=f"{rows:,} rows, {N_COLUMNS} columns: medians of {len(runs)} rounds")
    each = [f"{part}, {what}" for part in ("fit", "transform") for what in ("s", "processor s", "rows/s")]
    for header in ("", *each, "peak memory, MiB"):
        table.add_column(header, justify="right" if header else "left")
    median = {side: {key: statistics.median(run[side][key] for run in runs) for key in FIGURES} for side in SIDES}
    for side, found in median.items():
        cells = [
            cell
            for key in ("fit", "transform")
            for cell in (f"{found[key]:.2f}", f"{found[f'{key}_processor']:.2f}", f"{rows / found[key]:,.0f}")
        ]
        table.add_row(side, *cells, f"{found['mebibytes']:,.0f}")
    ours, theirs = (median[side] for side in SIDES)
    ratio = {key: f"{theirs[key] / ours[key]:.1f} x" for key in ours if key != "mebibytes"}
    both = [cell for key in ("fit", "transform") for cell in ("", ratio[f"{key}_processor"], ratio[key])]
    table.add_row("ratio", *both, f"{ours['mebibytes'] / theirs['mebibytes']:.2f}")
    console.print(table)
    squares = [runs[0][side]["squares"] for side in SIDES]
    parted = max(abs(a - b) for a, b in zip(*squares, strict=True))
    console.print(f"largest difference between mean squares of the {len(squares[0])} columns: {parted:.1e}")
    return parted < AGREE


def write_columns(rows: str, file: str) -> None:
    """Write simulated customers with 30 feature columns."""
    import polars as pl

    from churnlib.data.simulator import simulate_to_parquet

    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.parquet"
        simulate_to_parquet(plain, int(rows), duplicate_share=0.0)
        given = pl.scan_parquet(plain).drop("customer_id", "snapshot_date", "last_interaction_date", "churn_date")
        numbers = [name for name, dtype in given.collect_schema().items() if dtype.is_numeric()]
        missing = N_COLUMNS + 1 - len(given.collect_schema())
        more = [
            (pl.col(numbers[place % len(numbers)]) * pl.col(numbers[-1 - place % 3]).sqrt()).alias(f"made_{place}")
            for place in range(missing)
        ]
        given.with_columns(more).sink_parquet(file)


def churnlib_side(file: str) -> dict[str, Any]:
    """Prepare the file with churnlib's steps."""
    import numpy as np
    import polars as pl

    from churnlib.data.coercion import coerce
    from churnlib.data.steps import Chain, Training, fit_chain
    from churnlib.data.steps.arrays import filled_by_pieces
    from churnlib.schema import infer_schema

    frame = pl.read_parquet(file)
    label = (frame["churn"] == "yes").cast(pl.Int64).to_numpy()
    frame = frame.drop("churn")
    schema = infer_schema(frame, columns={REGION: {"kind": "categorical"}})

    def matrix(chain: Chain, rows: pl.DataFrame, read: bool = False) -> np.ndarray:
        def arrays(piece: pl.DataFrame) -> list[np.ndarray]:
            typed = coerce(piece, schema).typed if read else piece
            return [chain.scan(typed.lazy()).select(pl.col(names).cast(pl.Float32)).collect().to_numpy()]

        return filled_by_pieces(rows, arrays)[0]

    clock = Clock()
    fitted = fit_chain(STEPS, Training(coerce(frame, schema).typed, schema.features, label))
    names = [column.name for column in fitted.columns]
    matrix(fitted.pending, fitted.before)
    fit = clock.lap()
    chain = fitted.chain
    del fitted
    clock = Clock()
    result = matrix(chain, frame, read=True)
    return _found(fit, clock.lap(), result)


FIGURES = ("fit", "fit_processor", "transform", "transform_processor", "mebibytes")

STEPS: dict[str, Any] = {
    "gaps": {"step": "impute", "numbers": "median", "categories": "none", "indicator": False},
    "cap": {"step": "outliers", "method": "iqr", "treatment": "cap"},
    "scale": {"step": "scale", "method": "standard"},
    "region": {"step": "target_encoding", "columns": [REGION]},
    "few": {"step": "one_hot"},
}
"""churnlib's steps for the same work."""


def sklearn_side(file: str) -> dict[str, Any]:
    """Prepare the file with scikit-learn and pandas."""
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

    class Cap(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
        def fit(self, x: np.ndarray, y: object = None) -> Cap:
            low, high = np.quantile(x, [0.25, 0.75], axis=0)
            self.low_, self.high_ = low - 1.5 * (high - low), high + 1.5 * (high - low)
            return self

        def transform(self, x: np.ndarray) -> np.ndarray:
            return np.clip(x, self.low_, self.high_)

    frame = pd.read_parquet(file)
    label = (frame.pop("churn") == "yes").to_numpy()
    numbers = list(frame.select_dtypes("number"))
    texts = [name for name in frame if name not in numbers and name != REGION]
    one_hot: Any = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)  # type: ignore[arg-type]
    target: Any = TargetEncoder(cv=StratifiedKFold(5, shuffle=True, random_state=0))  # type: ignore[arg-type]
    work: Any = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), Cap(), StandardScaler()), numbers),
            ("texts", one_hot, texts),
            ("region", target, [REGION]),
        ]
    )
    clock = Clock()
    work.fit_transform(frame, label)
    fit = clock.lap()
    clock = Clock()
    result = work.transform(frame).astype(np.float32)
    return _found(fit, clock.lap(), result)


class Clock:
    """Seconds of the clock and of all processors since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def lap(self) -> tuple[float, float]:
        """Return both."""
        return time.perf_counter() - self.start[0], time.process_time() - self.start[1]


Lap = tuple[float, float]


def _found(fit: Lap, transform: Lap, result: Any) -> dict[str, Any]:
    import numpy as np

    from churnlib.console import peak_memory

    # Means of squares, whatever the order of the columns: who agrees in all of them has the same scales and codes.
    squares = sorted(float(np.square(column, dtype=np.float64).mean()) for column in result.T)
    figures = (*fit, *transform, (peak_memory() or 0) / 2**20)
    return {**dict(zip(FIGURES, figures, strict=True)), "squares": squares}


# --- any size -------------------------------------------------------------------------------------------------------


def size(options: dict[str, str], folder: Path, console: Console) -> None:
    """Prepare simulated customers of each size from Parquet to Parquet."""
    table = Table(title="churnlib prepare features=simulator, from Parquet to Parquet")
    headers = (
        "rows", "seconds", "learning, s", "rows/s after it", "processor s per million after it", "peak memory, MiB",
        "read, MiB", "written, MiB",
    )  # fmt: skip
    for header in headers:
        table.add_column(header, justify="right")
    for rows in map(int, options["sizes"].split(",")):
        file = folder / f"customers_{rows}.parquet"
        if not file.exists():
            _alone("simulate", rows, file)
        found = _alone("prepare", file, folder / f"prepared_{rows}")
        cells = {key: f"{found[key]:,.0f}" for key in ("seconds", "learning", "rate", "mebibytes", "read", "written")}
        cells["processor"] = f"{found['processor']:.2f}"
        keys = ("seconds", "learning", "rate", "processor", "mebibytes", "read", "written")
        table.add_row(f"{rows:,}", *(cells[key] for key in keys))
    console.print(table)


def simulate(rows: str, file: str) -> None:
    """Write simulated customers."""
    from churnlib.data.simulator import simulate_to_parquet

    simulate_to_parquet(file, int(rows))


def prepare(file: str, output: str) -> dict[str, float]:
    """Prepare a file as the command does, and remove the result."""
    import shutil

    import polars as pl

    from churnlib.compose import compose
    from churnlib.console import peak_memory
    from churnlib.data.prepared_table import TABLE, prepare_table

    features = compose(["features=simulator"]).preprocess.features
    shutil.rmtree(output, ignore_errors=True)
    learnt: list[float] = []

    def progress(*_: int) -> None:
        if not learnt:
            learnt.append(time.process_time())

    start = time.perf_counter()
    done = prepare_table(
        pl.scan_parquet(file), output, target="churn", positive="yes", id="customer_id", time="snapshot_date",
        drop=["churn_date"], preprocess={"features": features}, progress=progress,
    )  # fmt: skip
    seconds, processor = time.perf_counter() - start, time.process_time() - learnt[0]
    written = (Path(output) / TABLE).stat().st_size / 2**20
    shutil.rmtree(output)
    peak, read = (peak_memory() or 0) / 2**20, Path(file).stat().st_size / 2**20
    learning = done.learning_seconds
    rate = done.rows / (seconds - learning)
    return {
        "seconds": seconds, "learning": learning, "rate": rate, "processor": processor / done.rows * 1e6,
        "mebibytes": peak, "read": read, "written": written,
    }  # fmt: skip


# --- one customer ---------------------------------------------------------------------------------------------------


def row(options: dict[str, str], folder: Path, console: Console) -> None:
    """Time the default preparation of 1, 64 and 1,000 customers."""
    from churnlib.data.coercion import coerce
    from churnlib.data.customers import prepare_customers
    from churnlib.data.one_row import OneRowReader
    from churnlib.data.simulator import simulate as draw
    from churnlib.data.tables import table_from

    drawn = draw(20_000, seed=1).table
    columns = {"target": "churn", "id": "customer_id", "time": "snapshot_date", "drop": ["churn_date"]}
    customers = prepare_customers(drawn, **columns)
    schema, preparation = customers.schema, customers.preparation
    reader = OneRowReader(schema, preparation)
    rows = [
        {name: None if cell is None else str(cell) for name, cell in one.items()}
        for one in drawn.drop("churn", "churn_date").head(1_000).iter_rows(named=True)
    ]

    def together(n: int) -> Callable[[], object]:
        return lambda: preparation.encode(coerce(table_from(rows[:n]), schema).typed)

    table = Table(title=f"The default preparation of {len(schema.features)} columns, dicts of text: medians")
    for header in ("customers", "one by one, ms", "as a table, ms"):
        table.add_column(header, justify="right")
    for n in (1, 64, 1_000):
        alone = _median(lambda n=n: [reader.read(one) for one in rows[:n]])
        table.add_row(f"{n:,}", f"{alone * 1e3:.3f}", f"{_median(together(n)) * 1e3:.3f}")
    console.print(table)


def _median(call: Callable[[], object], times: int = 100) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


# --- processes ------------------------------------------------------------------------------------------------------


def _alone(what: str, *arguments: object) -> Any:
    """Do one thing in a process of its own and return what it found."""
    words = [sys.executable, __file__, "--alone", what, *map(str, arguments)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


ALONE: dict[str, Callable[..., Any]] = {
    "write": write_columns, "churnlib": churnlib_side, "scikit-learn": sklearn_side, "simulate": simulate,
    "prepare": prepare,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
