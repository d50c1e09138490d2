"""From a trained network to a bundle: calibrate and choose the threshold on validation rows, then write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.bundle import Bundle, write_bundle
from churnlib.config import TrainConfig
from churnlib.data.customers import Customers
from churnlib.data.profile import build_profile, draw_rows
from churnlib.models.network import NETWORKS
from churnlib.predictor import Predictor
from churnlib.training.calibrating import calibrate
from churnlib.training.results import side_metrics

if TYPE_CHECKING:
    from churnlib.models.module import ChurnModule

N_GOLDEN, N_BACKGROUND = 16, 100
"""Made-up customers in a bundle: to replay before serving, and to measure reasons against."""


def pack(config: TrainConfig, customers: Customers, module: ChurnModule, path: Path) -> Predictor:
    """Calibrate, choose the threshold, and write the bundle.

    Args:
        config: The run's options.
        customers: The rows.
        module: The trained network.
        path: The bundle's folder, which does not exist yet.

    Returns:
        A predictor over the bundle as written.
    """
    predictor = calibrated(config, customers, module)
    metrics = {side: side_metrics(customers, side, predictor) for side in ("test", "validation")}
    return Predictor(write_bundle(complete(predictor, metrics), path))


def calibrated(config: TrainConfig, customers: Customers, module: ChurnModule) -> Predictor:
    """Return a predictor with the temperature and the threshold that the validation rows suggest; nothing is written.

    Args:
        config: The run's options.
        customers: The rows.
        module: The trained network.
    """
    assert module.network is not None
    draft = Bundle(
        schema=customers.schema,
        preparation=customers.preparation,
        network=module.network.eval().requires_grad_(False),
        network_spec=module.spec,
        input_spec=module.built_from["input_spec"],
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
    """Return the short name of a network: ``mlp`` for churnlib's own, the class's name for others."""
    target = spec["_target_"]
    own = next((name for name, path in NETWORKS.items() if path == target), None)
    return own or target.rpartition(".")[2].lower()
