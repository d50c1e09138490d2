"""Where pretraining helps TabNet: with few labels, many, and all, each with and without it, on the same rows.

    python scripts/bench_pretraining.py
    python scripts/bench_pretraining.py tables=mlc shares=0.05,1 seeds=0,1 model.n_members=1

A seed draws the split (68 % training, 12 % validation, 20 % test). Of a share's training and validation rows the labels
are known; the other training rows are given without labels (``pretrain.path``). The validation rows choose the epoch,
so few labels also mean a poor choice; that is how it is in practice. Each line has the mean test ROC AUC without and
with pretraining and the mean of the paired differences with its standard error. Words with a dot in them go to the
training.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of


def main(words: list[str]) -> int:
    """Run what the words choose and print a line for each table and share."""
    passed = [word for word in words if "." in word.partition("=")[0]]
    defaults = {"tables": "mlc,simulator", "shares": "0.05,0.1,1", "seeds": "0,1,2,3,4"}
    options = options_of([word for word in words if word not in passed], defaults, __doc__)
    seeds = [int(seed) for seed in options["seeds"].split(",")]
    print(f"{'table':<10} {'labels':>6} {'without':>8} {'with':>8} {'difference':>11} {'standard error':>15}")
    for table in options["tables"].split(","):
        for share in options["shares"].split(","):
            pairs = [compare(table, float(share), seed, passed) for seed in seeds]
            without, with_ = (statistics.mean(one) for one in zip(*pairs, strict=True))
            gains = [after - before for before, after in pairs]
            error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
            figures = f"{without:>8.4f} {with_:>8.4f} {with_ - without:>+11.4f} {error:>15.4f}"
            print(f"{table:<10} {float(share):>6.0%} {figures}", flush=True)
    return 0


def compare(table: str, share: float, seed: int, words: list[str]) -> tuple[float, float]:
    """Return the test ROC AUC of a run without and of one with pretraining."""
    with tempfile.TemporaryDirectory() as folder:
        labelled, unlabelled = Path(folder) / "labelled.parquet", Path(folder) / "unlabelled.parquet"
        options = write_tables(table, share, seed, labelled, unlabelled)
        common = ["model=tabnet", *options, f"data.path='{labelled}'", f"seed={seed}"]
        common += [word for word in words if not word.startswith("pretrain.")]
        extra = [f"pretrain.path='{unlabelled}'"] if unlabelled.exists() else []  # all labels: none are left
        runs = [[], ["pretrain=on", *extra, *(word for word in words if word.startswith("pretrain."))]]
        without, with_ = (run([*common, *more], Path(folder) / f"run{i}") for i, more in enumerate(runs))
    return without, with_


def write_tables(table: str, share: float, seed: int, labelled: Path, unlabelled: Path) -> list[str]:
    """Write the rows whose labels are known and those whose are not; return the words that describe the former."""
    from churnlib.compose import compose
    from churnlib.training.tables import load_table

    more = ["data.n_customers=20000"] if table == "simulator" else []
    data = compose([f"data={table}", *more]).data
    frame = load_table(data, seed=seed).frame
    frame = frame.unique(data.id, keep="first", maintain_order=True) if data.id else frame.unique(maintain_order=True)
    rng = np.random.default_rng(seed)
    side = rng.choice(["train", "validation", "test"], len(frame), p=[0.68, 0.12, 0.2])
    known = (side == "test") | (rng.random(len(frame)) < share)
    given = pl.Series(known)
    frame.with_columns(pl.Series("bench_side", side)).filter(given).write_parquet(labelled)
    rest = frame.filter(~given & pl.Series(side == "train")).drop(data.target)
    if len(rest):
        rest.write_parquet(unlabelled)
    words = ["data=table", f"data.target={data.target}", "split.by=column", "split.column=bench_side"]
    words += [f"data.positive='{data.positive}'"] if data.positive is not None else []
    return [
        *words,
        *([f"data.id={data.id}"] if data.id else []),
        *([f"data.drop=[{','.join(data.drop)}]"] if data.drop else []),
    ]


def run(words: list[str], folder: Path) -> float:
    """Train and return the test ROC AUC."""
    from churnlib.compose import compose
    from churnlib.training.run_folder import RunFolder
    from churnlib.training.train import train

    metrics: dict[str, Any] = train(
        compose([*words, "trainer.progress=false", "logger=none"]), folder=RunFolder(folder, latest=None)
    ).metrics
    return metrics["test"]["roc_auc"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
