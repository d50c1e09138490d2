"""Lets a new model through, or not: it must not answer worse than the model in production, beyond what luck explains.

    python deploy/ci/gate.py runs/production runs/candidate
    python deploy/ci/gate.py runs/production runs/candidate --margin 0.002

Both runs must have been tested on the same customers (``predictions.parquet``). The difference of their log losses is
resampled customer by customer; the candidate passes if the whole 95 % interval lies below the margin. With the margin 0
(the default) it must be better for certain; 0.002 lets through what is as good. Exit status: 0 passes, 1 does not, 2
cannot be told.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import polars as pl

from churnlib.evaluation.paired import ScoredRows, paired_difference


def main() -> int:
    """Compare two runs; print the figures and the verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("production", type=Path, help="run folder of the model that serves")
    parser.add_argument("candidate", type=Path, help="run folder of the model that would")
    parser.add_argument("--margin", type=float, default=0.0, help="log loss by which the candidate may be worse")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        production, candidate = (scored(run) for run in (arguments.production, arguments.candidate))
    except (OSError, pl.exceptions.PolarsError) as error:
        print(f"cannot read predictions.parquet: {error}", file=sys.stderr)
        return 2
    if not production.same_rows(candidate):
        print("the two runs were tested on different customers; give both the same data and split", file=sys.stderr)
        return 2
    mean, (low, high) = paired_difference(candidate.loss, production.loss, seed=arguments.seed)
    passes = high < arguments.margin
    print(f"log loss of the candidate less that of production: {mean:+.4f} ({low:+.4f} to {high:+.4f})")
    print(f"{'passes' if passes else 'does not pass'}: the interval must lie below {arguments.margin:g}")
    return 0 if passes else 1


def scored(run: Path) -> ScoredRows:
    """Return what a run's model said of its test rows."""
    return ScoredRows.from_predictions(pl.read_parquet(run / "predictions.parquet"))


if __name__ == "__main__":
    sys.exit(main())
