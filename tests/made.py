"""Small made customer tables and models for the tests; nothing here comes from a file."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import torch

from churnlib.bundle import Bundle
from churnlib.calibration import Temperature
from churnlib.data.customers import Customers, prepare_customers
from churnlib.data.profile import build_profile, draw_rows
from churnlib.models.network import build_network
from churnlib.models.network_model import NetworkModel
from churnlib.predictor import Predictor


def made_customers(n: int = 300, *, seed: int = 0) -> pl.DataFrame:
    """Customers with every kind of column; long tenure and the plan "yearly" keep them."""
    rng = np.random.default_rng(seed)
    tenure = rng.integers(0, 72, n)
    plan = rng.choice(["monthly", "yearly", "two years"], n)
    charges = np.round(rng.gamma(4, 20, n), 2)
    logit = 1.5 - tenure / 18 - 1.5 * (plan != "monthly") + charges / 100
    churn = rng.random(n) < 1 / (1 + np.exp(-logit))
    first = dt.date(2020, 1, 1)
    return pl.DataFrame(
        {
            "customer": [f"C{i:05d}" for i in range(n)],
            "tenure": tenure,
            "charges": [
                None if gone else value for value, gone in zip(charges.tolist(), rng.random(n) < 0.1, strict=True)
            ],
            "plan": plan,
            "region": rng.choice([f"region {i}" for i in range(25)], n),
            "paperless": rng.choice(["Yes", "No"], n),
            "joined": [first + dt.timedelta(days=int(day)) for day in rng.integers(0, 900, n)],
            "churn": np.where(churn, "yes", "no"),
        }
    )


def made_prepared(n: int = 300, *, seed: int = 0, **options: Any) -> Customers:
    """The same, prepared."""
    return prepare_customers(made_customers(n, seed=seed), **{"target": "churn", "id": "customer", **options})


TINY_MLP = {"_target_": "churnlib.models.mlp.MLP", "hidden_sizes": [8]}
TINY_TABNET = {"_target_": "churnlib.models.tabnet.TabNet", "n_d": 4, "n_a": 4, "n_steps": 2}


def made_bundle(customers: Customers | None = None, *, network: dict[str, Any] | None = None, seed: int = 0) -> Bundle:
    """An untrained model with a bundle's every part."""
    customers = customers or made_prepared()
    torch.manual_seed(seed)
    spec = network or TINY_TABNET
    built = build_network(spec, customers.preparation.input_spec(), n_classes=len(customers.schema.classes))
    # Fresh output layers are near zero; the tests want answers that differ.
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    profile = build_profile(customers.typed[customers.rows("train")], customers.schema)
    bundle = Bundle(
        schema=customers.schema,
        preparation=customers.preparation,
        model=NetworkModel(built, spec, customers.preparation.input_spec()),
        calibration=Temperature(1.25),
        threshold=0.4 if len(customers.schema.classes) == 2 else None,
        name="tabnet",
        metrics={"test": {"roc_auc": 0.8}},
        profile=profile,
        background=draw_rows(profile, customers.schema, 5, seed=2),
    )
    golden = draw_rows(profile, customers.schema, 4, seed=1)
    answers = Predictor(bundle).probabilities(golden).tolist()
    pairs = [{"row": row, "probability": answer} for row, answer in zip(golden, answers, strict=True)]
    return Bundle(**{**{f: getattr(bundle, f) for f in bundle.__dataclass_fields__}, "golden": pairs})
