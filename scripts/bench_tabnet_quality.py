"""How good pytorch-tabnet is, on the splits of `bench_quality.py`, to be set beside ours.

    python scripts/bench_tabnet_quality.py
    python scripts/bench_tabnet_quality.py --tables mlc --seeds 0 1

The same customers train, stop and test both: pytorch-tabnet reads numbers with their gaps filled and categories as
codes with embeddings (its ``cat_idxs``), and stops early on the ROC AUC of the validation rows. Its hyper-parameters
are its defaults but for the patience: with its 10 epochs some fits stop right after the start. Ours:

    python scripts/bench_quality.py models=tabnet tables=telco,mlc
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TARGETS: dict[str, dict[str, Any]] = {
    "telco": {"target": "Churn", "positive": "Yes", "id": "customerID"},
    "mlc": {"target": "churn", "positive": "yes"},
}
SHARES = {"train": 0.68, "validation": 0.12, "test": 0.2}


def main() -> int:
    """Print a line for each fit and the mean for each table; return 1 if the package is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="of the split and the weights")
    parser.add_argument("--patience", type=int, default=30, help="epochs without a better value until it stops")
    parser.add_argument("--epochs", type=int, default=200, help="epochs at most")
    arguments = parser.parse_args()
    try:
        import pytorch_tabnet.tab_model  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        from peer_tabnet import MISSING

        print(MISSING)
        return 1
    warnings.filterwarnings("ignore")
    for table in arguments.tables:
        fits = [fit(table, seed, patience=arguments.patience, max_epochs=arguments.epochs) for seed in arguments.seeds]
        auc, loss, seconds = (statistics.mean(one) for one in zip(*fits, strict=True))
        print(f"{table:<6} mean     ROC AUC {auc:.4f}, log loss {loss:.4f}, {seconds:.1f} s a fit", flush=True)
    return 0


def fit(table: str, seed: int, *, patience: int, max_epochs: int) -> tuple[float, float, float]:
    """Return test ROC AUC, test log loss and seconds of one fit."""
    from pytorch_tabnet.tab_model import TabNetClassifier  # pyright: ignore[reportMissingImports]

    from churnlib.data.customers import prepare_customers
    from churnlib.data.reference import load_reference

    customers = prepare_customers(load_reference(table), **TARGETS[table], split=SHARES, seed=seed)
    preparation = customers.preparation
    fill = np.array(preparation.input_spec()["fill"], dtype=np.float32)

    def rows(side: str) -> np.ndarray:
        encoded = customers.encoded[side]
        return np.hstack([np.where(np.isnan(encoded.numeric), fill, encoded.numeric), encoded.codes]).astype(np.float32)

    dims = preparation.input_spec()["cardinalities"]
    places = list(range(len(fill), len(fill) + len(dims)))
    model = TabNetClassifier(cat_idxs=places, cat_dims=list(dims), cat_emb_dim=1, seed=seed, verbose=0)
    start = time.perf_counter()
    validation = (rows("validation"), customers.labels("validation"))
    model.fit(
        rows("train"),
        customers.labels("train"),
        eval_set=[validation],
        eval_metric=["auc"],
        patience=patience,
        max_epochs=max_epochs,
    )
    seconds = time.perf_counter() - start
    probability = model.predict_proba(rows("test"))[:, 1]
    auc = float(roc_auc_score(customers.labels("test"), probability))
    loss = float(log_loss(customers.labels("test"), probability))
    print(f"{table:<6} seed {seed}   ROC AUC {auc:.4f}, log loss {loss:.4f}, {seconds:.1f} s", flush=True)
    return auc, loss, seconds


if __name__ == "__main__":
    sys.exit(main())
