"""The peers that bench_quality.py compares with: fitted on the same rows, answering for the same test rows.

Logistic regression and random forest learn from all rows that are not test rows; boosting stops by the validation rows,
and so do RealMLP-TD and TabM-D. Those two are pytabkit's, in a Python environment of their own, which runs this file:

    PYTHON scripts/bench_peers.py realmlp_td ROWS.npz SEED ANSWERS.npy
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

OUTSIDE = ("realmlp_td", "tabm_d")
"""Peers that need an environment with pytabkit."""

# Tuned defaults of Holzmüller et al. 2024 (arXiv 2407.04491, appendix C), found on other tables than ours.
LIGHTGBM_TD = {
    "learning_rate": 0.04, "subsample": 0.75, "subsample_freq": 1, "num_leaves": 50, "min_child_samples": 40,
    "min_child_weight": 1e-7,
}  # fmt: skip
CATBOOST_TD = {
    "learning_rate": 0.08, "l2_leaf_reg": 1e-5, "boosting_type": "Plain", "bootstrap_type": "Bernoulli",
    "subsample": 0.9, "max_depth": 7, "random_strength": 0.8, "one_hot_max_size": 15,
    "leaf_estimation_iterations": 1, "max_bin": 254,
}  # fmt: skip
XGBOOST_TD = {
    "learning_rate": 0.08, "max_depth": 6, "min_child_weight": 5e-6, "subsample": 0.65, "colsample_bytree": 1.0,
    "colsample_bylevel": 0.9, "reg_lambda": 0.0, "reg_alpha": 0.0,
}  # fmt: skip

Sides = Mapping[str, np.ndarray]


def logistic_regression(x: Sides, y: Sides, seed: int) -> Any:
    """scikit-learn's, L2 of strength 1."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1_000).fit(*_together(x, y))


def random_forest(x: Sides, y: Sides, seed: int) -> Any:
    """scikit-learn's with 500 trees; five rows in a leaf give it probabilities to speak of."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(500, min_samples_leaf=5, random_state=seed).fit(*_together(x, y))


def lightgbm(x: Sides, y: Sides, seed: int, *, patience: int = 50, **options: Any) -> Any:
    """LightGBM, up to 1,000 trees."""
    import lightgbm as lgb

    model = lgb.LGBMClassifier(n_estimators=1_000, n_jobs=1, random_state=seed, verbose=-1, **options)
    stop = lgb.early_stopping(patience, verbose=False)
    return model.fit(
        x["train"], y["train"], eval_X=x["validation"], eval_y=y["validation"], eval_metric="logloss", callbacks=[stop]
    )


def xgboost(x: Sides, y: Sides, seed: int, *, patience: int = 50, **options: Any) -> Any:
    """XGBoost, up to 1,000 trees."""
    import xgboost as xgb

    model = xgb.XGBClassifier(
        n_estimators=1_000,
        n_jobs=1,
        random_state=seed,
        early_stopping_rounds=patience,
        eval_metric="logloss",
        **options,
    )
    return model.fit(x["train"], y["train"], eval_set=[(x["validation"], y["validation"])], verbose=False)


def catboost(x: Sides, y: Sides, seed: int, *, patience: int = 50, **options: Any) -> Any:
    """CatBoost, up to 1,000 trees."""
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(
        iterations=1_000, thread_count=1, random_seed=seed, verbose=0, allow_writing_files=False, **options
    )
    validation = (x["validation"], y["validation"])
    return model.fit(x["train"], y["train"], eval_set=validation, early_stopping_rounds=patience)


INSIDE = {
    "logistic_regression": logistic_regression,
    "random_forest": random_forest,
    "lightgbm": lightgbm,
    "lightgbm_td": lambda x, y, seed: lightgbm(x, y, seed, patience=300, **LIGHTGBM_TD),
    "xgboost": xgboost,
    "xgboost_td": lambda x, y, seed: xgboost(x, y, seed, patience=300, **XGBOOST_TD),
    "catboost": catboost,
    "catboost_td": lambda x, y, seed: catboost(x, y, seed, patience=300, **CATBOOST_TD),
}
"""Peers that run in this environment, each a function of inputs by side, labels by side and seed."""


def answer(peer: str, customers: Any, seed: int, *, peers_python: str | None = None) -> dict[str, np.ndarray]:
    """Fit a peer and return its churn probabilities of the validation and the test rows.

    Args:
        peer: A key of ``INSIDE`` or one of ``OUTSIDE``.
        customers: What ``churnlib.data.customers.prepare_customers`` returned.
        seed: Of the peer's random choices.
        peers_python: Python of an environment with pytabkit.
    """
    from churnlib.models.baselines import EVERY_VALUE, baseline_inputs

    label = {side: customers.labels(side) for side in ("train", "validation", "test")}
    if peer in INSIDE:
        spec = customers.preparation.input_spec(one_hot_max=EVERY_VALUE)
        inputs = {side: baseline_inputs(spec, e.numeric, e.codes) for side, e in customers.encoded.items()}
        model = INSIDE[peer](inputs, label, seed)
        return {side: model.predict_proba(inputs[side])[:, 1] for side in ("validation", "test")}
    if peers_python is None:
        raise ValueError(f"{peer} needs peers_python=PATH, the Python of an environment with pytabkit")
    fill = np.array([s.fill for s in customers.preparation.numeric], dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        rows, answers = Path(folder) / "rows.npz", Path(folder) / "answers.npz"
        arrays = {f"y_{side}": values for side, values in label.items()}
        for side, encoded in customers.encoded.items():
            arrays[f"numeric_{side}"] = np.where(np.isnan(encoded.numeric), fill, encoded.numeric)
            arrays[f"codes_{side}"] = encoded.codes
        np.savez(rows, **arrays)
        subprocess.run([peers_python, __file__, peer, str(rows), str(seed), str(answers)], check=True)
        found = np.load(answers)
        return {side: found[side] for side in ("validation", "test")}


def _together(x: Sides, y: Sides) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.concatenate([side["train"], side["validation"]]) for side in (x, y))  # type: ignore[return-value]


def _outside(peer: str, rows: str, seed: str, answers: str) -> None:
    """Fit one of pytabkit's models; runs in the peers' environment, which has no churnlib."""
    import pandas as pd  # pyright: ignore[reportMissingImports]
    from pytabkit import RealMLP_TD_Classifier, TabM_D_Classifier  # pyright: ignore[reportMissingImports]

    given = np.load(rows)

    def frame(side: str) -> pd.DataFrame:
        numbers = pd.DataFrame(given[f"numeric_{side}"]).add_prefix("n")
        return pd.concat([numbers, pd.DataFrame(given[f"codes_{side}"]).add_prefix("c").astype("category")], axis=1)

    cls = {"realmlp_td": RealMLP_TD_Classifier, "tabm_d": TabM_D_Classifier}[peer]
    # What the authors recommend for probabilities: stop by the cross-entropy, no label smoothing.
    options = {"val_metric_name": "cross_entropy"} | ({"use_ls": False} if peer == "realmlp_td" else {})
    model = cls(device="cpu", random_state=int(seed), n_cv=1, n_refit=0, n_threads=1, **options)
    model.fit(frame("train"), given["y_train"], frame("validation"), given["y_validation"])
    np.savez(answers, **{side: model.predict_proba(frame(side))[:, 1] for side in ("validation", "test")})


if __name__ == "__main__":
    _outside(*sys.argv[1:])
