"""From a fitted model to a bundle: calibrate and choose the threshold on validation rows, then write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from churnlib.bundle import Bundle, write_bundle
from churnlib.config import TrainConfig
from churnlib.data.background import N_BACKGROUND, alike_columns, background_rows
from churnlib.data.profile import build_profile, draw_rows
from churnlib.errors import ConfigError, MissingPackageError
from churnlib.exporting.onnx import exported
from churnlib.models.baselines import BASELINES
from churnlib.models.network import NETWORKS
from churnlib.models.network_model import NetworkModel
from churnlib.models.onnx.graph import CannotExport
from churnlib.predictor import Predictor
from churnlib.training.calibrating import calibrate
from churnlib.training.fitted import Trained
from churnlib.training.money import campaign_of, own_threshold_of
from churnlib.training.results import held_out_metrics, side_metrics, threshold_interval
from churnlib.training.stacking import STACK

N_GOLDEN = 16
"""Made-up customers in a bundle, to replay before serving."""


def pack(config: TrainConfig, trained: Trained, path: Path, console: Console | None = None) -> Predictor:
    """Calibrate, choose the threshold, and write the bundle.

    Args:
        config: The run's options.
        trained: What was trained.
        path: The bundle's folder, which does not exist yet.
        console: Where to say why the bundle holds no ``model.onnx``.

    Returns:
        A predictor over the bundle as written; its metrics are those of the test rows and of the held-out rows.
    """
    predictor = calibrated(config, trained)
    metrics = {
        "test": side_metrics(trained.customers, "test", predictor, money=config.money),
        "validation": held_out_metrics(trained.customers, trained.held_out, predictor),
    }
    band = threshold_interval(trained.customers, trained.held_out, predictor, config.threshold, config.money)
    if band is not None:
        metrics["validation"]["intervals"]["threshold"] = band
    bundle = complete(predictor, metrics)
    if config.bundle.background != "made":
        rows = trained.customers.rows("train")
        typed, label = trained.customers.typed[rows], trained.customers.label[rows]
        kind = config.bundle.background
        bundle = replace(bundle, background=background_rows(kind, bundle.profile, bundle.schema, typed, label))
    if config.bundle.onnx != "false":
        bundle = with_onnx(bundle, required=config.bundle.onnx == "true", console=console or Console(quiet=True))
    return Predictor(write_bundle(bundle, path))


def with_onnx(bundle: Bundle, *, required: bool, console: Console) -> Bundle:
    """Return the bundle with the model as an ONNX file, or as it is where the model has no such form.

    Raises:
        ConfigError: If it has none and ``required``.
    """
    try:
        return replace(bundle, onnx=exported(bundle))
    except (CannotExport, MissingPackageError) as error:
        if required:
            raise ConfigError(f"bundle.onnx=true: {error}") from error
        console.print(f"The bundle holds no model.onnx: {error}", markup=False, highlight=False, soft_wrap=True)
        return bundle


def calibrated(config: TrainConfig, trained: Trained) -> Predictor:
    """Return a predictor with the calibration and the threshold that the held-out rows suggest; nothing is written."""
    customers, held_out = trained.customers, trained.held_out
    if isinstance(trained.fit.model, NetworkModel):
        trained.fit.model.settle(customers.encoded["train"].numeric, customers.encoded["train"].codes)
    label, campaign = customers.label[held_out.rows], campaign_of(config.money, customers)
    typed = customers.typed[customers.rows("train")]
    calibration, threshold = calibrate(held_out.logits, label, config.threshold, config.calibration, campaign)
    bundle = Bundle(
        schema=customers.schema,
        preparation=customers.preparation,
        model=trained.fit.model,
        calibration=calibration,
        threshold=threshold,
        own_threshold=own_threshold_of(config.threshold, config.money, customers),
        name=model_name(config.model),
        profile={**build_profile(typed, customers.schema), "alike": alike_columns(typed, customers.schema)},
    )
    return Predictor(bundle)


def complete(predictor: Predictor, metrics: Mapping[str, Any]) -> Bundle:
    """Return the predictor's bundle with all that only other programs need: metrics and made-up customers."""
    profile, schema = dict(predictor.bundle.profile), predictor.schema
    golden = _golden_rows(predictor, profile)
    answers = predictor.probabilities(predictor.read(golden, rules=False))
    return replace(
        predictor.bundle,
        metrics=metrics,
        golden=[{"row": row, "probability": p} for row, p in zip(golden, answers.tolist(), strict=True)],
        background=draw_rows(profile, schema, N_BACKGROUND, seed=2),
    )


def _golden_rows(predictor: Predictor, profile: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw made-up customers, if there are rules rather those that keep them."""
    schema = predictor.schema
    if not schema.rules:
        return draw_rows(profile, schema, N_GOLDEN, seed=1)
    rows = draw_rows(profile, schema, N_GOLDEN * 32, seed=1)
    bad = predictor.read(rows).bad
    return [rows[place] for place in np.argsort(bad, kind="stable")[:N_GOLDEN].tolist()]


def model_name(spec: Mapping[str, Any]) -> str:
    """Return the short name of a model: ``mlp`` for churnlib's own, the class's name for others."""
    target = spec["_target_"]
    known = {**NETWORKS, **BASELINES, "stack": STACK}
    own = next((name for name, path in known.items() if path == target), None)
    return own or target.rpartition(".")[2].lower()
