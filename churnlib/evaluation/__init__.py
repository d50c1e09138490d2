"""What a model is worth: metrics and their intervals, the fit of temperature and threshold, and models compared.

The names load when first used, so that importing this package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churnlib.evaluation.calibration import fit_temperature
    from churnlib.evaluation.comparison import compare
    from churnlib.evaluation.intervals import confidence_intervals, f1_interval, log_loss_interval, roc_auc_interval
    from churnlib.evaluation.metrics import binary_metrics, evaluate, multiclass_metrics
    from churnlib.evaluation.paired import ScoredRows, paired_difference
    from churnlib.evaluation.sweep_tables import ComparisonTable, runs_table
    from churnlib.evaluation.tables import confusion_table, metrics_table
    from churnlib.evaluation.thresholds import best_expected_f1, choose_threshold

__all__ = [
    "ComparisonTable",
    "ScoredRows",
    "best_expected_f1",
    "binary_metrics",
    "choose_threshold",
    "compare",
    "confidence_intervals",
    "confusion_table",
    "evaluate",
    "f1_interval",
    "fit_temperature",
    "log_loss_interval",
    "metrics_table",
    "multiclass_metrics",
    "paired_difference",
    "roc_auc_interval",
    "runs_table",
]

_MODULES = {
    "calibration": ("fit_temperature",),
    "comparison": ("compare",),
    "intervals": ("confidence_intervals", "f1_interval", "log_loss_interval", "roc_auc_interval"),
    "metrics": ("binary_metrics", "evaluate", "multiclass_metrics"),
    "paired": ("ScoredRows", "paired_difference"),
    "sweep_tables": ("ComparisonTable", "runs_table"),
    "tables": ("confusion_table", "metrics_table"),
    "thresholds": ("best_expected_f1", "choose_threshold"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
