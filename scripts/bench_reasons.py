"""How near reasons are to Shapley values, and what they cost; beside them shap and LIME where installed.

    python scripts/bench_reasons.py runs=outputs/latest
    python scripts/bench_reasons.py runs=a,b,c customers=60 orders=6000 samples=100 batch=256 peers=5 cache=DIR

Each run is a finished run folder of a table without derived features (`data=telco`); its test rows are explained. The
reference are Shapley values by random orders of the columns, each with a random training row (6,000 orders per
customer), and share no code with what they judge. The correlation is that of all customer x column values. Milliseconds
are of wall clock and of processor time per customer, of one call with `batch` customers: reading, effects, fallbacks.
`cache=DIR` keeps references, which take minutes, for the next call. `peers=N` customers are enough for the peers.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churnlib.data.preparation import Encoded
from churnlib.data.reference import load_reference
from churnlib.explanation.effects import Explainer
from churnlib.predictor import Predictor, load
from scripts.reference_shapley import sampled
from scripts.words import options_of

DEFAULTS = {"runs": "outputs/latest", "customers": "60", "orders": "6000", "samples": "", "batch": "256", "peers": "0",
            "cache": ""}  # fmt: skip


def main(words: list[str]) -> int:
    """Measure the runs that the words name and print one table."""
    options = options_of(words, DEFAULTS, __doc__)
    import torch

    torch.set_num_threads(1)
    table = Table(title="Reasons")
    for header in ("run", "method", "background", "correlation", "ms/customer", "CPU ms", "mean gap", "by orders"):
        table.add_column(header, justify="left" if header in ("run", "method", "background") else "right")
    for run in options["runs"].split(","):
        for row in measure(Path(run), options):
            table.add_row(*row)
    Console(width=130).print(table)
    return 0


def measure(run: Path, options: dict[str, str]) -> list[list[str]]:
    """Return the lines of a run."""
    predictor = load(run / "bundle", backend="torch")
    test, train = sides(run, predictor)
    n, batch = int(options["customers"]), int(options["batch"])
    wanted = reference(run, predictor, test[:n], train, options)
    samples = int(options["samples"]) if options["samples"] else None
    lines = []
    for background in ("made", "rows"):
        rows = None if background == "made" else train.sample(100, seed=1)
        for method in ("auto", "shapley"):
            explainer = Explainer(predictor, method=method, samples=samples, background=rows)
            found = explainer.effects(test[:n])
            explainer.effects(test[:16])
            wall, cpu = clocked(lambda explainer=explainer: explainer.effects(test[:batch]))
            effort = f"{explainer.samples} samples" if method == "auto" else f"{explainer.pairs} pairs"
            spent = (wall / batch, cpu / batch, found.error, f"{(found.method == 'shapley').mean():.0%}")
            lines.append(line(run, f"{method}, {effort}", background, found.values, wanted, *spent))
    if int(options["peers"]):
        lines += peers(run, predictor, test[: int(options["peers"])], train.sample(100, seed=1), wanted)
    return lines


def line(
    run: Path, name: str, background: str, values: np.ndarray, wanted: np.ndarray, wall: float, cpu: float,
    error: np.ndarray | None = None, replaced: str = "",
) -> list[str]:  # fmt: skip
    """Return a line of the table."""
    correlation = np.corrcoef(values.ravel(), wanted.ravel())[0, 1]
    gap = "" if error is None else f"{np.abs(error).mean():.3f}"
    figures = [f"{correlation:.4f}", f"{wall * 1e3:.2f}", f"{cpu * 1e3:.2f}", gap, replaced]
    return [f"{run.name}", name, background, *figures]


def clocked(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the least wall-clock and processor seconds of three calls."""
    walls, cpus = [], []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def sides(run: Path, predictor: Predictor) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the test rows of a run, and all others."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    table = load_reference(config["data"]["reference"])
    ids = pl.read_parquet(run / "predictions.parquet")["customer_id"].cast(pl.String)
    name = predictor.schema.id
    assert name is not None, "the benchmark needs a table with an id column"
    is_test = pl.col(name).cast(pl.String).is_in(ids.implode())
    return table.filter(is_test), table.filter(~is_test)


def reference(
    run: Path, predictor: Predictor, test: pl.DataFrame, train: pl.DataFrame, options: dict[str, str]
) -> np.ndarray:
    """Return Shapley values by random orders, ``(customers, columns)``."""
    orders = int(options["orders"])
    cached = Path(options["cache"]) / f"ref_{run.name}_{orders}.npy" if options["cache"] else None
    if cached is not None and cached.is_file():
        return np.load(cached)
    game = Game(predictor, train)
    assert not len(game.mixer.several), "the benchmark needs a model without inputs of several columns"
    customers = game.mixer.customers(predictor.read(test).typed).encoded
    found = np.stack(
        [
            sampled(game.of(customers, row), len(game.mixer.names), len(train), orders=orders, seed=7 + row)
            for row in range(len(test))
        ]
    )
    if cached is not None:
        np.save(cached, found)
    return found


class Game:
    """Answers about customers some of whose columns are a training row's.

    Args:
        predictor: The model.
        background: The rows.
    """

    def __init__(self, predictor: Predictor, background: pl.DataFrame) -> None:
        self.explainer = Explainer(predictor)
        self.mixer = self.explainer.mixer
        self.others = self.mixer.customers(predictor.read(background).typed).encoded

    def of(self, customers: Encoded, row: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return the answers about one customer."""
        numeric, codes = customers.numeric[row], customers.codes[row]
        n = len(numeric)

        def answer(own: np.ndarray, other: np.ndarray) -> np.ndarray:
            mine = own[:, self.mixer.owner]
            answers = []
            for part in (slice(start, start + 2_000) for start in range(0, len(own), 2_000)):
                others = Encoded(self.others.numeric[other[part]], self.others.codes[other[part]])
                mixed_numeric = np.where(mine[part, :n], numeric, others.numeric)
                mixed_codes = np.where(mine[part, n:], codes, others.codes)
                answers.append(self.explainer.log_odds(Encoded(mixed_numeric, mixed_codes)))
            return np.concatenate(answers)

        return answer


def peers(
    run: Path, predictor: Predictor, test: pl.DataFrame, background: pl.DataFrame, wanted: np.ndarray
) -> list[list[str]]:
    """Return the lines of shap's KernelExplainer and of LIME, as far as they are installed."""
    lines = []
    for name, explain in (("shap KernelExplainer, 500", kernel_shap), ("LIME, 2,000 samples", lime)):
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            values = explain(predictor, test, background)
        except ImportError as missing:
            print(f"{missing.name} is not installed, and is left out: pip install shap lime")
            continue
        spent = ((time.perf_counter() - wall) / len(test), (time.process_time() - cpu) / len(test))
        lines.append(line(run, name, "rows", values, wanted[: len(test)], *spent))
    return lines


def flat(encoded: Encoded) -> np.ndarray:
    """Return numbers and codes side by side, gaps as -1e9, which both peers take for a number."""
    return np.concatenate([np.nan_to_num(encoded.numeric.astype(np.float64), nan=-1e9), encoded.codes], axis=1)


def as_rows(explainer: Explainer, rows: np.ndarray) -> Encoded:
    """Return what :func:`flat` has made flat."""
    n = explainer.mixer.n_numeric
    numeric = np.where(rows[:, :n] == -1e9, np.nan, rows[:, :n]).astype(np.float32)
    return Encoded(numeric, np.ascontiguousarray(rows[:, n:].round().astype(np.int64)))


def kernel_shap(predictor: Predictor, test: pl.DataFrame, background: pl.DataFrame) -> np.ndarray:
    """Return KernelExplainer's values by column."""
    import shap  # pyright: ignore[reportMissingImports]

    explainer = Explainer(predictor, background=background)
    customers = explainer.mixer.customers(predictor.read(test).typed).encoded
    others = flat(explainer.background.encoded)
    kernel = shap.KernelExplainer(lambda rows: explainer.log_odds(as_rows(explainer, rows)), others)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = kernel.shap_values(flat(customers), nsamples=500, silent=True)
    return by_column(explainer, np.asarray(values))


def lime(predictor: Predictor, test: pl.DataFrame, background: pl.DataFrame) -> np.ndarray:
    """Return LIME's coefficients by column: of numbers in bins, and of categories."""
    from lime.lime_tabular import LimeTabularExplainer  # pyright: ignore[reportMissingImports]

    explainer = Explainer(predictor, background=background)
    rows, n = flat(explainer.background.encoded), explainer.mixer.n_numeric
    width = rows.shape[1]
    own = LimeTabularExplainer(rows, mode="regression", categorical_features=list(range(n, width)), random_state=0)
    customers = flat(explainer.mixer.customers(predictor.read(test).typed).encoded)
    values = np.zeros((len(customers), width))
    for row, customer in enumerate(customers):
        said = own.explain_instance(
            customer, lambda x: explainer.log_odds(as_rows(explainer, x)), num_features=width, num_samples=2_000
        )
        for place, weight in said.as_map()[1]:  # under 0 are the same with their signs turned
            values[row, place] = weight
    return by_column(explainer, values)


def by_column(explainer: Explainer, values: np.ndarray) -> np.ndarray:
    """Return sums over the inputs of each column."""
    share = explainer.mixer.owner[:, None] == np.arange(len(explainer.mixer.names))[None, :]
    return values @ share


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
