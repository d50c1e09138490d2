"""What a model is worth: figures and their intervals, calibration, thresholds and profit, and models compared.

``evaluate`` measures all at once; each figure has a function of its own as well. The names load when first used, so
that importing this package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churnlib.evaluation.calibration import fit_temperature
    from churnlib.evaluation.calibrators import cross_fitted, fit_calibration
    from churnlib.evaluation.comparison import compare
    from churnlib.evaluation.curves import share_curves
    from churnlib.evaluation.decisions import decision_figures, f_beta, macro_figures, row_percent
    from churnlib.evaluation.intervals import (
        confidence_intervals,
        f1_interval,
        log_loss_interval,
        roc_auc_interval,
        wilson_interval,
    )
    from churnlib.evaluation.metrics import binary_metrics, evaluate, multiclass_metrics
    from churnlib.evaluation.paired import ScoredRows, paired_difference
    from churnlib.evaluation.probabilities import (
        binned_brier_parts,
        brier_parts,
        calibration_line,
        calibration_noise_floor,
        expected_calibration_error,
        spiegelhalter,
    )
    from churnlib.evaluation.profit.campaign import Campaign, expected_gains, payoffs, value_thresholds
    from churnlib.evaluation.profit.individual import auepc, empb, profit_curve
    from churnlib.evaluation.profit.maximum import MaximumProfit, empc, mpc
    from churnlib.evaluation.ranking import average_precision, gains, kolmogorov_smirnov, lift, lift_ceiling, roc_auc
    from churnlib.evaluation.reliability import ReliabilityCurve, reliability_curve
    from churnlib.evaluation.sweep_tables import ComparisonTable, runs_table
    from churnlib.evaluation.tables import confusion_table, metrics_table, worth_table
    from churnlib.evaluation.thresholds import best_expected_f1, choose_threshold, threshold_band

_MODULES = {
    "calibration": ("fit_temperature",),
    "calibrators": ("cross_fitted", "fit_calibration"),
    "comparison": ("compare",),
    "curves": ("share_curves",),
    "decisions": ("decision_figures", "f_beta", "macro_figures", "row_percent"),
    "intervals": ("confidence_intervals", "f1_interval", "log_loss_interval", "roc_auc_interval", "wilson_interval"),
    "metrics": ("binary_metrics", "evaluate", "multiclass_metrics"),
    "paired": ("ScoredRows", "paired_difference"),
    "probabilities": (
        "binned_brier_parts", "brier_parts", "calibration_line", "calibration_noise_floor",
        "expected_calibration_error", "spiegelhalter",
    ),
    "profit.campaign": ("Campaign", "expected_gains", "payoffs", "value_thresholds"),
    "profit.individual": ("auepc", "empb", "profit_curve"),
    "profit.maximum": ("MaximumProfit", "empc", "mpc"),
    "ranking": ("average_precision", "gains", "kolmogorov_smirnov", "lift", "lift_ceiling", "roc_auc"),
    "reliability": ("ReliabilityCurve", "reliability_curve"),
    "sweep_tables": ("ComparisonTable", "runs_table"),
    "tables": ("confusion_table", "metrics_table", "worth_table"),
    "thresholds": ("best_expected_f1", "choose_threshold", "threshold_band"),
}  # fmt: skip

__all__ = [
    "Campaign",
    "ComparisonTable",
    "MaximumProfit",
    "ReliabilityCurve",
    "ScoredRows",
    "auepc",
    "average_precision",
    "best_expected_f1",
    "binary_metrics",
    "binned_brier_parts",
    "brier_parts",
    "calibration_line",
    "calibration_noise_floor",
    "choose_threshold",
    "compare",
    "confidence_intervals",
    "confusion_table",
    "cross_fitted",
    "decision_figures",
    "empb",
    "empc",
    "evaluate",
    "expected_calibration_error",
    "expected_gains",
    "f1_interval",
    "f_beta",
    "fit_calibration",
    "fit_temperature",
    "gains",
    "kolmogorov_smirnov",
    "lift",
    "lift_ceiling",
    "log_loss_interval",
    "macro_figures",
    "metrics_table",
    "mpc",
    "multiclass_metrics",
    "paired_difference",
    "payoffs",
    "profit_curve",
    "reliability_curve",
    "roc_auc",
    "roc_auc_interval",
    "row_percent",
    "runs_table",
    "share_curves",
    "spiegelhalter",
    "threshold_band",
    "value_thresholds",
    "wilson_interval",
    "worth_table",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
