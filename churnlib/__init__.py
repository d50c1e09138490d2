"""Churn models for customer tables: prepare, train, score and serve.

Names are loaded when first used, so ``import churnlib`` costs nothing; see README.md for a first run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS = {
    "ChurnClassifier": "churnlib.training.classifier",
    "ChurnDataModule": "churnlib.data.datamodule",
    "ChurnModule": "churnlib.models.module",
    "ChurnlibError": "churnlib.errors",
    "Explainer": "churnlib.explanation.effects",
    "MLP": "churnlib.models.mlp",
    "Predictor": "churnlib.predictor",
    "Schema": "churnlib.schema",
    "TabNet": "churnlib.models.tabnet",
    "doctor": "churnlib.diagnosis.doctor",
    "explain": "churnlib.explanation.reasons",
    "infer_schema": "churnlib.schema",
    "load": "churnlib.predictor",
    "plan": "churnlib.planning.plan",
    "report": "churnlib.training.reporting",
    "scorecard": "churnlib.explanation.scorecard",
    "simulate": "churnlib.data.simulator",
}

__all__ = sorted([*_EXPORTS, "__version__"], key=str.casefold)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from churnlib.data.datamodule import ChurnDataModule as ChurnDataModule
    from churnlib.data.simulator import simulate as simulate
    from churnlib.diagnosis.doctor import doctor as doctor
    from churnlib.errors import ChurnlibError as ChurnlibError
    from churnlib.explanation.effects import Explainer as Explainer
    from churnlib.explanation.reasons import explain as explain
    from churnlib.explanation.scorecard import scorecard as scorecard
    from churnlib.models.mlp import MLP as MLP
    from churnlib.models.module import ChurnModule as ChurnModule
    from churnlib.models.tabnet import TabNet as TabNet
    from churnlib.planning.plan import plan as plan
    from churnlib.predictor import Predictor as Predictor
    from churnlib.predictor import load as load
    from churnlib.schema import Schema as Schema
    from churnlib.schema import infer_schema as infer_schema
    from churnlib.training.classifier import ChurnClassifier as ChurnClassifier
    from churnlib.training.reporting import report as report
else:  # hidden from type checkers, which would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _EXPORTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_EXPORTS[name]), name)
        globals()[name] = value  # the next access does not come here
        return value


def __dir__() -> list[str]:
    return __all__
