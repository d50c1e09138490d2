"""What several networks in one pass cost: folds, seeds and learning rates of a network beside one of them by itself.

    python scripts/bench_many.py                      IBM Telco, mlp_plain of 2 x 64, 10 epochs, 5 repeats (2 minutes)
    python scripts/bench_many.py model=mlp epochs=4 repeats=3

Each way trains for as many epochs (nobody stops early), the ways take turns, and the figure is the median over the
repeats of the ratio to the one network of the same round. On one thread the seconds are the processor's, so that what
else the machine does counts little; with ``threads=2`` or more several networks take so many threads where one network
takes one, and the seconds are those of a clock. The bar is twice the time of one, for 5 folds and for 8 seeds of
``mlp_plain``. Learning rates are what a sweep trains in one pass (``-m optimizer.lr=...``), beside so many runs of
``fit_many`` one after the other.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churnlib.compose import compose
from churnlib.config import TrainConfig
from churnlib.data.customers import Customers
from churnlib.data.datamodule import ChurnDataModule
from churnlib.data.folds import deal_folds
from churnlib.training.many import fit_many, fit_stacked, initial_network
from churnlib.training.train import read_customers
from scripts.words import options_of

BAR = 2.0
PLAIN = ["model.hidden_sizes=[64,64]", "trainer.batch_size=256"]


def main(words: list[str]) -> int:
    """Measure and print a table; return 1 if the bar is missed."""
    defaults = {"data": "telco", "model": "mlp_plain", "epochs": "10", "repeats": "5", "folds": "5", "seeds": "8"}
    options = options_of(words, {**defaults, "rates": "8", "threads": "1"}, __doc__)
    ways = measured(options)
    table = Table(title=f"{options['model']}, data={options['data']}, {options['threads']} threads")
    for header in ("way", "seconds", "times one network", "times as many one by one"):
        table.add_column(header, justify="left" if header == "way" else "right")
    ratios = {}
    for name, (members, seconds) in ways.items():
        ratios[name] = statistics.median(a / b for a, b in zip(seconds, ways["one network"][1], strict=True))
        cells = f"{statistics.median(seconds):.2f}", f"{ratios[name]:.2f}", f"{ratios[name] / members:.2f}"
        table.add_row(name, *cells)
    Console().print(table)
    missed = [name for name, ratio in ratios.items() if ratio > BAR and name.endswith(("folds", "seeds"))]
    print(f"MISSED by {', '.join(missed)}" if missed else "met", f": at most {BAR:g} times one network", sep="")
    return int(bool(missed))


def measured(options: dict[str, str]) -> dict[str, tuple[int, list[float]]]:
    """Return for each way how many networks it trains and the seconds of each repeat."""
    base = [f"data={options['data']}", f"model={options['model']}", *(PLAIN if options["model"] == "mlp_plain" else [])]
    base += [f"trainer.max_epochs={options['epochs']}", "trainer.progress=false", "logger=none", "callbacks=memory"]
    base += ["callbacks.early_stopping=null"]
    one = compose([*base, "trainer.threads=1"])
    several = compose([*base, f"trainer.threads={options['threads']}"])
    folds = deal_folds(read_customers(one), int(options["folds"])).parts
    n_folds, n_seeds, n_rates = (int(options[name]) for name in ("folds", "seeds", "rates"))
    part = folds[0]
    ways: dict[str, tuple[int, Callable[[Path], object]]] = {
        "one network": (1, partial(fit_many, one, [part], [0])),
        f"{n_folds} folds": (n_folds, partial(fit_many, several, list(folds), range(n_folds))),
        f"{n_seeds} seeds": (n_seeds, partial(fit_many, several, [part] * n_seeds, range(n_seeds))),
    }
    if options["model"] == "mlp_plain":
        ways[f"{n_rates} learning rates"] = (n_rates, partial(fit_rates, several, part, n_rates))
        ways[f"{n_rates} one by one"] = (n_rates, partial(fit_rates_apart, one, part, n_rates))
    clock = time.process_time if options["threads"] == "1" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(int(options["repeats"]) + 1):
        for name, (_count, fit) in ways.items():
            seconds[name].append(timed(lambda fit=fit: in_scratch(fit), clock))
    # The first round warms up.
    return {name: (count, seconds[name][1:]) for name, (count, _fit) in ways.items()}


def with_rates(config: TrainConfig, n: int) -> list[TrainConfig]:
    """Return the configuration with so many learning rates, from 1e-4 to 1e-2."""
    rates = [10 ** (2 * place / max(n - 1, 1) - 4) for place in range(n)]
    return [replace(config, optimizer={**config.optimizer, "lr": rate}) for rate in rates]


def fit_rates(config: TrainConfig, part: Customers, n: int, folder: Path) -> None:
    """Train with so many learning rates in one pass."""
    configs = with_rates(config, n)
    tables = [ChurnDataModule(part, batch_size=config.trainer.batch_size, seed=0) for _ in configs]
    fit_stacked(configs, tables, [initial_network(*pair) for pair in zip(configs, tables, strict=True)], folder)


def fit_rates_apart(config: TrainConfig, part: Customers, n: int, folder: Path) -> None:
    """Train with so many learning rates one after the other."""
    for one in with_rates(config, n):
        fit_many(one, [part], [0], folder)


def in_scratch(fit: Callable[[Path], object]) -> None:
    """Fit, and leave nothing behind."""
    with tempfile.TemporaryDirectory() as folder:
        fit(Path(folder))


def timed(call: Callable[[], None], clock: Callable[[], float]) -> float:
    """Return the seconds of a call."""
    start = clock()
    call()
    return clock() - start


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    sys.exit(main(sys.argv[1:]))
