"""Runs side by side by the five criteria of a choice: quality, interpretability, training time, latency, scale.

Runs that differ in nothing but their seed are one configuration. The best configuration is the one with the lowest log
loss on **validation** rows. Test rows only report: the winner among many by test rows looks better than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean, stdev
from typing import Any

from churnlib.evaluation.paired import ScoredRows, paired_difference
from churnlib.models.families import Family, averaged, family_of

CHOSEN_BY = "validation_log_loss"
RIVALRY = (CHOSEN_BY, "p50_ms", "fit_seconds")
"""Figures of the Pareto mark; less is better in each."""

SEED_WORDS = ("seed=", "+seed=", "++seed=")

Run = Mapping[str, Any]
"""``overrides`` (list of "key=value"), ``model`` (its configuration), ``metrics`` (the content of ``metrics.json``, or
None), ``state`` ("finished", "stopped" or "failed: reason"); ``number`` and ``seed``."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more log loss a run has on its test rows than the best one, customer by customer.

    Attributes:
        to_run: Number of the best configuration's run on the same rows.
        value: Mean difference.
        interval: Its 95 % interval.
    """

    to_run: int
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Finished runs that differ in nothing but their seed.

    Attributes:
        runs: The runs.
        figures: By name the figure of each run, in the order of the runs; None where a run has none.
        family: What is known of the model.
        rank: From 1, by mean log loss on validation rows.
        pareto: Whether no other configuration is better in validation log loss, answering time and training time at
            once.
        differences: Of each run to the best configuration's; None for the best itself and where the test rows differ.
    """

    runs: tuple[Run, ...]
    figures: Mapping[str, list[float | None]]
    family: Family
    rank: int = 0
    pareto: bool = False
    differences: tuple[Difference | None, ...] = ()

    @property
    def best(self) -> bool:
        """Whether this is the configuration to choose by validation rows."""
        return self.rank == 1

    def mean(self, name: str) -> float | None:
        """Return the mean of a figure over the runs, None if one of them lacks it."""
        values = self.figures[name]
        return None if None in values else mean(values)  # type: ignore[type-var]

    def deviation(self, name: str) -> float | None:
        """Return the standard deviation of a figure over the runs, None for a single run."""
        values = self.figures[name]
        return None if None in values or len(values) < 2 else stdev(values)  # type: ignore[type-var]


def compare(runs: Sequence[Run], scored: Mapping[int, ScoredRows]) -> list[Configuration]:
    """Gather finished runs into configurations, the best first.

    Args:
        runs: All runs; only the finished ones are compared.
        scored: Test rows of the runs, by the run's number, as far as there are any.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if run["state"] == "finished":
            groups.setdefault(_told(run), []).append(run)
    found = sorted(map(_configuration, groups.values()), key=_order)
    return [
        replace(
            one,
            rank=rank,
            pareto=not any(_beats(other, one) for other in found),
            differences=tuple(_difference(run, found[0], scored) for run in one.runs),
        )
        for rank, one in enumerate(found, start=1)
    ]


def entries(configurations: Sequence[Configuration]) -> dict[int, dict[str, Any]]:
    """Return by the run's number what a comparison says of it, JSON-ready; see `churnlib.training.sweeps`."""
    found = {}
    for configuration in configurations:
        for place, run in enumerate(configuration.runs):
            figures = {name: values[place] for name, values in configuration.figures.items()}
            found[run["number"]] = _entry(run, configuration, figures, configuration.differences[place])
    return found


def summaries(configurations: Sequence[Configuration]) -> list[dict[str, Any]]:
    """Return each configuration with mean and standard deviation of its figures over its runs, JSON-ready."""
    return [
        {
            "runs": [run["number"] for run in one.runs],
            "model": one.runs[0]["model"],
            "overrides": list(_told(one.runs[0])),
            "rank": one.rank,
            "best": one.best,
            "pareto": one.pareto,
            "mean": {name: one.mean(name) for name in one.figures},
            "sd": {name: one.deviation(name) for name in one.figures},
        }
        for one in configurations
    ]


def _entry(
    run: Run, configuration: Configuration, figures: Mapping[str, float | None], difference: Difference | None
) -> dict[str, Any]:
    intervals = (run["metrics"].get("test") or {}).get("intervals", {})
    family = configuration.family
    return {
        "rank": configuration.rank,
        "best": configuration.best,
        "pareto": configuration.pareto,
        "quality": {
            CHOSEN_BY: figures[CHOSEN_BY],
            **{name: figures[name] for name in ("log_loss", "roc_auc", "f1")},
            "intervals": dict(intervals),
            "log_loss_minus_best": None if difference is None else asdict(difference),
        },
        "interpretability": {"shows": family.shows, "because": family.because},
        "training": {
            "fit_seconds": figures["fit_seconds"],
            "rows_per_second": figures["training_rows_per_second"],
        },
        "inference": {
            **{name: figures[name] for name in ("p50_ms", "p95_ms", "rows_per_second")},
            "backend": backend(run),
        },
        "scale": {"bundle_bytes": figures["bundle_bytes"], "training_grows_with": family.grows_with},
    }


def backend(run: Run) -> str | None:
    """Return what answered when a finished run's answers were timed: ``onnx``, or ``torch`` for the model itself."""
    return (run["metrics"].get("inference") or {}).get("backend")


def _told(run: Run) -> tuple[str, ...]:
    """Return what the run was told, but for its seed."""
    return tuple(word for word in run["overrides"] if not word.startswith(SEED_WORDS))


def _configuration(runs: list[Run]) -> Configuration:
    each = [_figures(run["metrics"]) for run in runs]
    metrics = runs[0]["metrics"]
    name = metrics.get("model", runs[0]["model"])
    family = averaged(family_of(name)) if metrics.get("members") and name != "stack" else family_of(name)
    return Configuration(tuple(runs), {key: [one[key] for one in each] for key in each[0]}, family)


def _figures(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    test, validation, inference = (metrics.get(part) or {} for part in ("test", "validation", "inference"))
    return {
        CHOSEN_BY: validation.get("log_loss"),
        **{name: test.get(name) for name in ("log_loss", "roc_auc", "f1")},
        "fit_seconds": metrics.get("fit_seconds"),
        "training_rows_per_second": metrics.get("rows_per_second"),
        **{name: inference.get(name) for name in ("p50_ms", "p95_ms", "rows_per_second", "bundle_bytes")},
    }


def _order(configuration: Configuration) -> float:
    found = configuration.mean(CHOSEN_BY)
    return float("inf") if found is None else found


def _beats(one: Configuration, other: Configuration) -> bool:
    """Whether one is better in every figure of the rivalry; a figure that is missing decides nothing."""
    pairs = [(one.mean(name), other.mean(name)) for name in RIVALRY]
    return all(mine is not None and its is not None and mine < its for mine, its in pairs)


def _difference(run: Run, best: Configuration, scored: Mapping[int, ScoredRows]) -> Difference | None:
    own = scored.get(run["number"])
    if own is None or run in best.runs:
        return None
    for rival in best.runs:
        other = scored.get(rival["number"])
        if other is not None and own.same_rows(other):
            value, interval = paired_difference(own.loss, other.loss, seed=0)
            return Difference(rival["number"], value, interval)
    return None
