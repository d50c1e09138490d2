"""A model explained on the whole: all methods on the same customers, as JSON, as tables and on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from churnlib.config.explain import OverallOptions
from churnlib.errors import ConfigError, DataError
from churnlib.evaluation.bootstrap import customer_numbers
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.explanation.effects import Explainer
from churnlib.explanation.overall.accumulated import accumulated_effects
from churnlib.explanation.overall.agreement import between_members, between_methods, between_seeds
from churnlib.explanation.overall.importance import FIGURES, mean_absolute_effects, permutation_importance
from churnlib.explanation.overall.interactions import strongest_interactions
from churnlib.explanation.overall.sample import HIDDEN, Sample
from churnlib.explanation.overall.surrogate import surrogate_tree
from churnlib.explanation.reasons import Speaker, as_wording
from churnlib.explanation.wording import Wording
from churnlib.predictor import Predictor
from churnlib.reading import Reading

TOP = 5
"""Columns among which a sensitive one is flagged."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class OverallExplanation:
    """What a model goes by.

    Attributes:
        importance: A line for each column, or group of columns: see
            :func:`~churnlib.explanation.overall.importance.permutation_importance` and
            :func:`~churnlib.explanation.overall.importance.mean_absolute_effects`, whose figures it holds.
        curves: By column the points of its curve.
        interactions: The strongest pairs.
        tree: The surrogate tree; None with too few customers.
        agreement: ``methods`` (pairs), ``seeds``, and ``members`` of an ensemble.
        sensitive: ``columns`` (how many sensitive ones the model reads) and ``among_top``: whether together they would
            be among the five most important by ROC AUC, log loss or effect.
        about: ``rows``, ``method``, ``samples``, ``model``, ``seed``.
    """

    importance: list[dict[str, Any]]
    curves: dict[str, list[dict[str, Any]]]
    interactions: list[dict[str, Any]]
    tree: dict[str, Any] | None
    agreement: dict[str, Any]
    sensitive: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values, as ``global.json`` holds them."""
        names = ("about", "importance", "curves", "interactions", "tree", "agreement", "sensitive")
        return {name: getattr(self, name) for name in names}

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the figures as tables: ``importance``, ``curves`` and ``interactions``."""
        points = [
            {"column": name, "point": place, **point, "value": str(point["value"]), "number": _number(point["value"])}
            for name, curve in self.curves.items()
            for place, point in enumerate(curve)
        ]
        pairs = [
            {"column": line["columns"][0], "other": line["columns"][1], **_without(line, "columns")}
            for line in self.interactions
        ]
        return {
            "importance": pl.DataFrame(self.importance, schema=IMPORTANCE),
            "curves": pl.DataFrame(points, schema=CURVES),
            "interactions": pl.DataFrame(pairs, schema=INTERACTIONS),
        }


_EFFECTS = ("effect", "effect_low", "effect_high", "direction")
IMPORTANCE = {
    "column": pl.String(),
    **{f"{name}{end}": pl.Float64() for name in FIGURES for end in ("", "_low", "_high")},
    **{name: pl.Float64() for name in _EFFECTS},
}
CURVES = {
    "column": pl.String(), "point": pl.Int64(), "value": pl.String(), "number": pl.Float64(), "effect": pl.Float64(),
    "low": pl.Float64(), "high": pl.Float64(), "n": pl.Int64(),
}  # fmt: skip
INTERACTIONS = {
    "column": pl.String(), "other": pl.String(), "strength": pl.Float64(), "strength_low": pl.Float64(),
    "strength_high": pl.Float64(), "share": pl.Float64(),
}  # fmt: skip
"""Columns of the tables."""


def explain_overall(
    explainer: Explainer,
    table: Any,
    label: np.ndarray | None = None,
    *,
    target: str | None = None,
    wording: Wording | Mapping[str, Any] | None = None,
    campaign: Campaign | None = None,
    value: np.ndarray | None = None,
    customers: pl.Series | None = None,
    effects: Sequence[Mapping[str, Any]] | None = None,
    options: OverallOptions | None = None,
    say: Say | None = None,
) -> OverallExplanation:
    """Say what a model goes by, on customers that it did not learn from.

    Args:
        explainer: Of the model.
        table: The customers, or a reading of them; those that cannot be scored are left out.
        label: ``(n,)`` class of each; without it there is no permutation importance.
        target: Of more than two classes the one whose log-odds are explained.
        wording: Groups of columns that count as one; see :func:`churnlib.explain`.
        campaign: Costs of what is told in money; those of the paper on EMPC when left out.
        value: ``(n,)`` money that each customer is worth.
        customers: ``(n,)`` names, where a customer may have several rows.
        effects: What :func:`~churnlib.explanation.overall.importance.mean_absolute_effects` returned of this model
            before, so that it need not be computed again.
        options: How much is computed.
        say: Told what is being computed.

    Raises:
        ConfigError: If the model has more than two classes and no target is given, or it is no class.
        DataError: If no customer can be scored.
    """
    options, say = options or OverallOptions(), say or (lambda _: None)
    sample = _sample(explainer, table, label, target, wording, campaign, value, customers).take(options.rows)
    drawn = {"replicates": options.replicates}
    if effects is None:
        say("effects")
        effects = mean_absolute_effects(sample, n=options.explained, **drawn)
    order = [line["column"] for line in effects if line["column"] != HIDDEN]
    say("permutation importance")
    dealt = None if options.permuted is None else [*order[: options.permuted], HIDDEN]
    worth = []
    if sample.label is not None:
        worth = permutation_importance(sample, columns=dealt, repeats=options.repeats, **drawn)
    importance = _joined(effects, worth)
    say("curves")
    curves = _curves(sample, order, options)
    say("interactions")
    pairs = strongest_interactions(sample, columns=order, n=options.paired, **drawn)
    say("surrogate tree")
    try:
        tree = surrogate_tree(sample, depth=options.depth, seed=sample.seed)
    except DataError:
        tree = None
    say("agreement")
    agreement = {
        "methods": between_methods(_importances(sample, importance)),
        "seeds": between_seeds(sample, n=options.reseeded) if options.reseeded else None,
        "members": between_members(sample, n=options.reseeded) if options.reseeded else None,
    }
    return OverallExplanation(
        importance, curves, pairs, tree, agreement, _flagged(sample, importance), _about(sample, options)
    )


def _sample(
    explainer: Explainer, table: Any, label: np.ndarray | None, target: str | None, wording: Any,
    campaign: Campaign | None, value: np.ndarray | None, customers: pl.Series | None,
) -> Sample:  # fmt: skip
    predictor = explainer.predictor
    reading = table if isinstance(table, Reading) else predictor.read(table)
    predictor.check_columns(reading.frame.columns)
    good = np.flatnonzero(~reading.bad)
    if not len(good):
        raise DataError("no customer of the table can be scored, so that there is nothing to explain the model on")
    place = _target_place(predictor, target)
    names = customer_numbers(None if customers is None else customers[good], len(good))
    return Sample(
        explainer,
        Speaker.of(predictor, explainer.mixer.names, as_wording(wording)),
        explainer.mixer.customers(reading.typed[good]),
        None if label is None else np.asarray(label)[good].astype(np.int64),
        place,
        campaign,
        None if value is None else np.asarray(value)[good],
        names,
        explainer.seed,
    )


def _target_place(predictor: Predictor, target: str | None) -> int | None:
    classes = predictor.classes
    if len(classes) == 2:
        if target is not None:
            raise ConfigError(f"target={target!r}: of two classes it is {classes[1]} that is explained; leave it out")
        return None
    if target not in classes:
        raise ConfigError(f"target={target!r} is no class to explain; name one of {', '.join(classes)}")
    return classes.index(target)


def _joined(effects: Sequence[Mapping[str, Any]], worth: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one line for each column with the figures of both methods, in the order of the first that there is."""
    by_name = {line["column"]: line for line in effects}
    return [{**line, **by_name[line["column"]]} for line in worth or effects]


def _curves(sample: Sample, order: list[str], options: OverallOptions) -> dict[str, list[dict[str, Any]]]:
    places = dict(sample.units)
    columns = [sample.speaker.columns[place] for name in order for place in places[name]][: options.curves]
    found = {name: accumulated_effects(sample, name, replicates=options.replicates) for name in columns}
    return {name: curve for name, curve in found.items() if curve is not None}


def _importances(sample: Sample, importance: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return by method what each column is worth; the masks of a TabNet too, for comparison."""
    named = {"roc_auc": "permutation, ROC AUC", "profit": "permutation, money", "log_loss": "permutation, log loss"}
    named["effect"] = "mean absolute effect"
    found = {
        said: {line["column"]: line[name] for line in importance}
        for name, said in named.items()
        if all(line.get(name) is not None for line in importance)
    }
    masks = _masks(sample)
    return found if masks is None else {**found, "TabNet masks": masks}


def _masks(sample: Sample) -> dict[str, float] | None:
    model: Any = sample.explainer.predictor.model
    mixer = sample.explainer.mixer
    if not getattr(model, "has_masks", False) or len(mixer.several):
        return None
    encoded, _ = mixer.read_by_model(sample.take(256).customers.encoded)
    mean = model.masks(encoded.numeric, encoded.codes)[1].mean(axis=0)
    owner = mixer.owner if mixer.clock is None else np.delete(mixer.owner, mixer.clock)
    looked = np.bincount(owner, weights=mean, minlength=len(mixer.names))
    return {name: float(looked[list(places)].sum()) for name, places in sample.units}


def _flagged(sample: Sample, importance: list[dict[str, Any]]) -> dict[str, Any]:
    ranked = [
        sorted(importance, key=lambda line: -line[name])
        for name in ("roc_auc", "log_loss", "effect")
        if all(line.get(name) is not None for line in importance)
    ]
    among = any(line["column"] == HIDDEN for lines in ranked for line in lines[:TOP])
    return {"columns": len(sample.speaker.hidden), "among_top": among}


def _about(sample: Sample, options: OverallOptions) -> dict[str, Any]:
    explainer = sample.explainer
    target = None if sample.target is None else explainer.predictor.classes[sample.target]
    return {
        "model": explainer.predictor.model_name,
        "version": explainer.predictor.version,
        "rows": len(sample),
        "explained": min(options.explained, len(sample)),
        "paired": min(options.paired, len(sample)),
        "method": explainer.method,
        "samples": explainer.samples,
        "target": target,
        "seed": sample.seed,
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _without(line: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != key}


__all__ = ["OverallExplanation", "OverallOptions", "explain_overall"]
