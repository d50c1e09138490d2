"""What a cheaper model costs in quality: the default ensemble, fewer members, a plain network, and one that it taught.

    python scripts/bench_cheaper.py [tables=telco] [seeds=0,1,2,3,4] [models=mlp,mlp_4,...] [folder=outputs/cheaper]

Every run is kept in the folder, and the same command goes on where it was stopped; ``seeds=0`` at a time makes pieces.
A seed draws the split, the weights and the order of the batches; models are compared with the first one on the same
rows, and a student learns from the teacher of its own seed. ``model us`` is the processor time of ONNX Runtime for one
encoded customer, one thread, the median over the first seed's bundle asked 2,000 times in turn with the others. What a
whole request takes is measured by ``bench_serving.py`` over the same bundles; the command is printed.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_quality import TABLES, paired_difference
from scripts.words import options_of

PLAIN = ["model=mlp_plain", "model.hidden_sizes=[128,128]"]
MODELS: dict[str, list[str]] = {
    "mlp": ["model=mlp"],
    "mlp_4": ["model=mlp", "model.n_members=4"],
    "mlp_2": ["model=mlp", "model.n_members=2"],
    "mlp_1": ["model=mlp", "model.n_members=null"],
    "mlp_1_taught": ["model=mlp", "model.n_members=null", "teacher=TEACHER"],
    "mlp_plain": PLAIN,
    "mlp_plain_soft": [*PLAIN, "teacher=TEACHER", "teacher_copies=0"],
    "mlp_plain_taught": [*PLAIN, "teacher=TEACHER"],
    "tabnet": ["model=tabnet"],
}
TEACHER = "mlp"
TURNS, CALLS = 20, 100


def main(words: list[str]) -> int:
    """Train what is not there yet and print one table for each table of customers."""
    defaults = {"tables": "telco", "seeds": "0,1,2,3,4", "folder": "outputs/cheaper", "models": ",".join(MODELS)}
    options = options_of(words, defaults, __doc__)
    folder, console = Path(options["folder"]), Console(width=150)
    names, seeds = options["models"].split(","), [int(seed) for seed in options["seeds"].split(",")]
    for table in options["tables"].split(","):
        runs = {name: [run(folder, table, name, seed, console) for seed in seeds] for name in names}
        bundles = {name: place(folder, table, name, seeds[0]) / "bundle" for name in names}
        console.print(shown(table, runs, microseconds(bundles)))
        given = ",".join(f"{name}={path}" for name, path in bundles.items())
        console.print(f"python scripts/bench_serving.py servers=empty,auto bundles={given}", soft_wrap=True)
    return 0


def place(folder: Path, table: str, name: str, seed: int) -> Path:
    """Return the folder of a run."""
    return folder / f"{table}-{name}-{seed}"


def run(folder: Path, table: str, name: str, seed: int, console: Console) -> dict[str, Any]:
    """Return the metrics of a run, which is done if it is not there yet."""
    path = place(folder, table, name, seed)
    if not (path / "metrics.json").exists():
        from churnlib.compose import compose
        from churnlib.training.run_folder import RunFolder
        from churnlib.training.train import train

        teacher = str(place(folder, table, TEACHER, seed) / "bundle")
        words = [word.replace("TEACHER", teacher) for word in MODELS[name]]
        words += [*TABLES[table], f"seed={seed}", "trainer.progress=false", "logger=none", "report=false"]
        train(compose(words), folder=RunFolder(path, latest=None))
        console.print(f"{table} {name} {seed}: trained")
    return json.loads((path / "metrics.json").read_text("utf-8"))


def microseconds(bundles: dict[str, Path]) -> dict[str, float]:
    """Return the processor time of each model for one encoded customer, in us, models asked in turn."""
    from churnlib.exporting.onnx import golden_rows
    from churnlib.predictor import load

    loaded = {name: load(path, backend="onnx").bundle for name, path in bundles.items()}
    rows = {name: golden_rows(bundle) for name, bundle in loaded.items()}
    found: dict[str, list[float]] = {name: [] for name in bundles}
    for _ in range(TURNS):
        for name, bundle in loaded.items():
            numeric, codes = rows[name].numeric[:1], rows[name].codes[:1]
            begun = time.process_time()
            for _ in range(CALLS):
                bundle.model.logits(numeric, codes)
            found[name].append((time.process_time() - begun) / CALLS * 1e6)
    return {name: statistics.median(times) for name, times in found.items()}


def shown(name: str, runs: dict[str, list[dict[str, Any]]], times: dict[str, float]) -> Table:
    """Return the table: means over seeds, and the paired differences of each model from the first."""
    first = next(iter(runs))
    table = Table(title=f"{name}: means over {len(runs[first])} seeds, and each model minus {first} ± standard error")
    for header in ("model", "log loss", "difference", "ROC AUC", "difference", "kFLOPs", "model us", "fit s"):
        table.add_column(header, justify="left" if header == "model" else "right")
    for model, found in runs.items():
        cells = []
        for key in ("log_loss", "roc_auc"):
            cells.append(f"{statistics.mean(one['test'][key] for one in found):.4f}")
            cells.append("" if model == first else paired_difference(found, runs[first], key))
        seconds = statistics.mean(one["fit_seconds"] for one in found)
        table.add_row(
            model, *cells, f"{found[0]['inference']['flops'] / 1e3:,.0f}", f"{times[model]:.0f}", f"{seconds:.1f}"
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
