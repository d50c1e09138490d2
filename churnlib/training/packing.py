"""From a fitted model to a bundle: calibrate and choose the threshold on validation rows, then write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from churnlib.bundle import Bundle, write_bundle
from churnlib.config import TrainConfig
from churnlib.data.customers import Customers
from churnlib.data.profile import build_profile, draw_rows
from churnlib.models.baselines import BASELINES
from churnlib.models.fitted import FittedModel
from churnlib.models.network import NETWORKS
from churnlib.models.network_model import NetworkModel
from churnlib.predictor import Predictor
from churnlib.training.calibrating import calibrate
from churnlib.training.results import side_metrics

N_GOLDEN, N_BACKGROUND = 16, 100
"""Made-up customers in a bundle: to replay before serving, and to measure reasons against."""


def pack(config: TrainConfig, customers: Customers, model: FittedModel, path: Path) -> Predictor:
    """Calibrate, choose the threshold, and write the bundle.

    Args:
        config: The run's options.
        customers: The rows.
        model: A trained network or a fitted baseline.
        path: The bundle's folder, which does not exist yet.

    Returns:
        A predictor over the bundle as written.
    """
    predictor = calibrated(config, customers, model)
    metrics = {side: side_metrics(customers, side, predictor) for side in ("test", "validation")}
    return Predictor(write_bundle(complete(predictor, metrics), path))


def calibrated(config: TrainConfig, customers: Customers, model: FittedModel) -> Predictor:
    """Return a predictor with the temperature and the threshold that the validation rows suggest; nothing is written.

    Args:
        config: The run's options.
        customers: The rows.
        model: A trained network or a fitted baseline.
    """
    if isinstance(model, NetworkModel):
        model.settle(customers.encoded["train"].numeric, customers.encoded["train"].codes)
    draft = Bundle(
        schema=customers.schema,
        preparation=customers.preparation,
        model=model,
        name=model_name(config.model),
        profile=build_profile(customers.typed[customers.rows("train")], customers.schema),
    )
    logits = Predictor(draft).logits(customers.typed[customers.rows("validation")])
    temperature, threshold = calibrate(logits, customers.labels("validation"), config.threshold, config.calibration)
    return Predictor(replace(draft, temperature=temperature, threshold=threshold))


def complete(predictor: Predictor, metrics: Mapping[str, Any]) -> Bundle:
    """Return the predictor's bundle with all that only other programs need: metrics and made-up customers."""
    profile, schema = dict(predictor.bundle.profile), predictor.schema
    golden = draw_rows(profile, schema, N_GOLDEN, seed=1)
    answers = predictor.probabilities(golden)
    return replace(
        predictor.bundle,
        metrics=metrics,
        golden=[{"row": row, "probability": p} for row, p in zip(golden, answers.tolist(), strict=True)],
        background=draw_rows(profile, schema, N_BACKGROUND, seed=2),
    )


def model_name(spec: Mapping[str, Any]) -> str:
    """Return the short name of a model: ``mlp`` for churnlib's own, the class's name for others."""
    target = spec["_target_"]
    own = next((name for name, path in {**NETWORKS, **BASELINES}.items() if path == target), None)
    return own or target.rpartition(".")[2].lower()
