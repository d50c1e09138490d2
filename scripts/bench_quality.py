"""How good the models are: several seeds on the public tables and on simulated customers, beside a logistic regression.

    python scripts/bench_quality.py      every table, MLP and TabNet, seeds 0 to 4 (about 10 minutes)
    python scripts/bench_quality.py tables=telco,mlc models=mlp seeds=0,1
    python scripts/bench_quality.py tables=telco,mlc,isp models=mlp peers=all results=quality.json

A model may have options of its own behind plus signs: ``models=mlp,mlp+cv=5,stack``.

With ``peers=`` (names of scripts/bench_peers.py, or all) a second table has each peer on the same rows and the paired
differences of the first model from it, with their standard errors. Every fit is kept in the file ``results=``, and the
same command goes on where it was stopped. RealMLP-TD and TabM-D need ``peers_python=PATH``, the Python of an
environment with pytabkit; without it they are left out.

The public tables are found in CHURNLIB_DATA_DIR. Each line is the mean over seeds; a seed draws the split, the weights
and the order of the batches. Bars are those that the project set itself.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

SHARES = ["split.train=0.68", "split.validation=0.12", "split.test=0.2"]
TABLES: dict[str, list[str]] = {
    "telco": ["data=telco", *SHARES],
    "mlc": ["data=mlc", *SHARES],
    "isp": ["data=isp", *SHARES],
    "simulator": ["data=simulator", "data.n_customers=50000"],
}
BARS: dict[tuple[str, str], dict[str, tuple[str, float]]] = {
    ("telco", "mlp"): {"roc_auc": (">=", 0.845), "log_loss": ("<=", 0.425)},
    ("telco", "tabnet"): {"roc_auc": (">=", 0.840)},
    ("mlc", "mlp"): {"roc_auc": (">=", 0.90), "f1": (">=", 0.86)},
    ("mlc", "tabnet"): {"roc_auc": (">=", 0.87)},
    ("simulator", "mlp"): {"below_limit": ("<=", 0.01), "logistic_below_limit": (">=", 0.02), "limit": (">=", 0.80)},
}


def main(words: list[str]) -> int:
    """Run what the words choose and print one table; return 1 if a bar is missed."""
    defaults = {"tables": "telco,mlc,simulator", "models": "mlp,tabnet", "seeds": "0,1,2,3,4"}
    options = options_of(words, {**defaults, "peers": "", "peers_python": "", "results": ""}, __doc__)
    console = Console(width=130)
    kept = Results(Path(options["results"]) if options["results"] else None)
    table = Table(title="Quality, mean over seeds (standard deviation)")
    for header in (
        "table",
        "model",
        "seeds",
        "ROC AUC",
        "log loss",
        "F1",
        "logistic AUC",
        "logistic F1",
        "limit AUC",
        "fit s",
        "bars",
    ):
        table.add_column(header, justify="left" if header in ("table", "model", "bars") else "right")
    missed = 0
    for name in options["tables"].split(","):
        for model in options["models"].split(","):
            seeds = [int(seed) for seed in options["seeds"].split(",")]
            # Three seeds of 50,000 rows say what five of 5,000 do.
            runs = [
                kept.get(name, model, seed, partial(run, name, model, seed, console))
                for seed in (seeds[:3] if name == "simulator" else seeds)
            ]
            verdicts, n_missed = judge(name, model, runs)
            missed += n_missed
            table.add_row(name, model, str(len(runs)), *figures(runs), "\n".join(verdicts))
    console.print(table)
    if options["peers"]:
        console.print(peers_table(options, kept, console))
    return int(missed > 0)


class Results:
    """Metrics by table, model and seed, kept in a file so that a run can go on.

    Args:
        path: JSON file, written after each fit; None to keep nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path is not None and path.exists() else {}

    def get(self, table: str, model: str, seed: int, fit: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the metrics of a fit, which is done if it is not in the file yet."""
        key = f"{table} {model} {seed}"
        if key not in self.found:
            self.found[key] = fit()
            if self.path is not None:
                self.path.write_text(json.dumps(self.found, indent=1, default=float), encoding="utf-8")
        return self.found[key]


def peers_table(options: dict[str, str], kept: Results, console: Console) -> Table:
    """Fit the peers and return a table of them and of the first model's paired differences from each."""
    import bench_peers

    python = options["peers_python"] or None
    known = [*bench_peers.INSIDE, *(bench_peers.OUTSIDE if python else ())]
    peers = known if options["peers"] == "all" else options["peers"].split(",")
    model, seeds = options["models"].split(",")[0], [int(seed) for seed in options["seeds"].split(",")]
    table = Table(title=f"{model} beside its peers: mean over seeds, and {model} minus peer ± standard error")
    for header in ("table", "peer", "ROC AUC", "log loss", "F1", "ROC AUC difference", "log loss difference", "fit s"):
        table.add_column(header, justify="left" if header in ("table", "peer") else "right")
    for name in (name for name in options["tables"].split(",") if name != "simulator"):
        ours = [kept.get(name, model, seed, partial(run, name, model, seed, console)) for seed in seeds]
        for peer in peers:
            fits = [kept.get(name, f"peer:{peer}", seed, partial(run_peer, name, peer, seed, python)) for seed in seeds]
            means = [f"{statistics.mean(m['test'][key] for m in fits):.4f}" for key in ("roc_auc", "log_loss", "f1")]
            paired = [paired_difference(ours, fits, key) for key in ("roc_auc", "log_loss")]
            table.add_row(name, peer, *means, *paired, f"{statistics.mean(m['fit_seconds'] for m in fits):.1f}")
    return table


def run_peer(name: str, peer: str, seed: int, python: str | None) -> dict[str, Any]:
    """Fit a peer on the rows that the network of this seed learned from; its threshold comes from validation rows."""
    import bench_peers

    from churnlib.compose import compose
    from churnlib.evaluation.metrics import evaluate
    from churnlib.evaluation.thresholds import choose_threshold
    from churnlib.training.train import read_customers

    customers = read_customers(compose([*TABLES[name], f"seed={seed}"]))
    start = time.perf_counter()
    probability = bench_peers.answer(peer, customers, seed, peers_python=python)
    seconds = time.perf_counter() - start
    threshold = choose_threshold(customers.labels("validation"), probability["validation"], rule="f1")
    test = evaluate(customers.labels("test"), probability["test"], threshold=threshold)
    return {"test": {key: test[key] for key in ("roc_auc", "log_loss", "f1")}, "fit_seconds": seconds}


def paired_difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], key: str) -> str:
    """Return the mean difference over seeds and its standard error."""
    differences = [a["test"][key] - b["test"][key] for a, b in zip(ours, theirs, strict=True)]
    if len(differences) < 2:
        return f"{differences[0]:+.4f}"
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return f"{statistics.mean(differences):+.4f} ± {error:.4f}"


def run(name: str, model: str, seed: int, console: Console) -> dict[str, Any]:
    """Train one model and return its metrics."""
    from churnlib.compose import compose
    from churnlib.training.run_folder import RunFolder
    from churnlib.training.train import train

    model_name, *options = model.split("+")
    words = [*TABLES[name], f"model={model_name}", *options, f"seed={seed}", "trainer.progress=false", "logger=none"]
    with tempfile.TemporaryDirectory() as folder:
        metrics = train(compose(words), folder=RunFolder(Path(folder) / "run", latest=None)).metrics
    test, logistic = metrics["test"], metrics["baseline"]["logistic_regression"]
    console.print(
        f"{name} {model} seed {seed}: ROC AUC {test['roc_auc']:.4f} (logistic {logistic['roc_auc']:.4f}), log loss "
        f"{test['log_loss']:.4f}, F1 {test['f1']:.3f}, {metrics['epochs']} epochs in {metrics['fit_seconds']:.1f} s"
    )
    return metrics


def figures(runs: list[dict[str, Any]]) -> list[str]:
    """Return the table's numbers."""

    def spread(values: list[float]) -> str:
        deviation = f" ({statistics.stdev(values):.4f})" if len(values) > 1 else ""
        return f"{statistics.mean(values):.4f}{deviation}"

    test = [spread([m["test"][key] for m in runs]) for key in ("roc_auc", "log_loss", "f1")]
    logistic = [spread([m["baseline"]["logistic_regression"][key] for m in runs]) for key in ("roc_auc", "f1")]
    limit = spread([m["limit"]["roc_auc"] for m in runs]) if "limit" in runs[0] else "-"
    return [*test, *logistic, limit, f"{statistics.mean(m['fit_seconds'] for m in runs):.1f}"]


def judge(name: str, model: str, runs: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Return a line for each bar, and the number of bars missed."""
    lines, missed = [], 0
    for key, (sign, bar) in BARS.get((name, model), {}).items():
        value = statistics.mean(figure(m, key) for m in runs)
        met = value >= bar if sign == ">=" else value <= bar
        missed += not met
        lines.append(f"{'met' if met else 'MISSED'}: {key} {value:.4f} {sign} {bar:g}")
    return lines, missed


def figure(metrics: dict[str, Any], key: str) -> float:
    """Return one figure of a run: a test metric, or a distance from the limit."""
    if key == "limit":
        return metrics["limit"]["roc_auc"]
    if key == "below_limit":
        return metrics["limit"]["roc_auc"] - metrics["test"]["roc_auc"]
    if key == "logistic_below_limit":
        return metrics["limit"]["roc_auc"] - metrics["baseline"]["logistic_regression"]["roc_auc"]
    return metrics["test"][key]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
