"""A small tree that answers nearly as the model does, for those who want to read it: and how nearly it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churnlib.decision import probability_from_logits
from churnlib.errors import DataError
from churnlib.evaluation.inputs import Floats
from churnlib.evaluation.ranking import roc_auc
from churnlib.explanation.overall.sample import Sample
from churnlib.explanation.wording import short
from churnlib.schema import Kind

FEWEST = 20
"""Customers that a leaf needs."""

MOST_VALUES = 30
"""Most frequent values of a category that the tree may ask about."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one input of the tree asks.

    Attributes:
        column: Of the table.
        value: Of a category; None for a number.
    """

    column: str
    value: str | None = None

    def ask(self, typed: pl.DataFrame) -> Floats:
        """Return the answers, ``(n,)``: the number with NaN for missing, or 1 where the category is that value."""
        cells = typed[self.column]
        if self.value is not None:
            return (cells.cast(pl.String) == self.value).fill_null(False).cast(pl.Float64).to_numpy()
        if cells.dtype == pl.Datetime("us"):
            cells = cells.dt.epoch("s")
        return cells.cast(pl.Float64).fill_null(np.nan).to_numpy()

    def said(self, limit: float, *, below: bool, dates: bool, missing: bool) -> str:
        """Return the condition as people read it."""
        if self.value is not None:
            return f"{self.column} is {'not ' if below else ''}{self.value}"
        shown = short(limit, 4)
        if dates:
            shown = str(np.datetime64(int(limit), "s").astype("datetime64[D]"))
        return f"{self.column} {'<=' if below else '>'} {shown}{' or missing' if missing else ''}"


def surrogate_tree(sample: Sample, *, depth: int = 3, seed: int = 0) -> dict[str, Any]:
    """Fit a tree to the model's log-odds on half of the customers, and judge it on the other half.

    Args:
        sample: The customers.
        depth: Questions down to a leaf at most.
        seed: Of the halves.

    Returns:
        JSON-ready: ``r2`` (share of the variance of the model's log-odds that the tree follows, on customers it was not
        fitted on), ``agreement`` (share of decisions that are the same; two classes), ``roc_auc`` of the tree and
        ``model_roc_auc`` of the model on these customers (two classes, labels known), ``n``, and ``leaves``: ``rule``
        (conditions, all of which hold), ``share`` of the customers, ``log_odds`` and ``probability``, which is the mean
        of the model's.

    Raises:
        DataError: If there are too few customers.
    """
    from sklearn.tree import DecisionTreeRegressor

    n = len(sample)
    if n < 4 * FEWEST:
        raise DataError(f"{n} customers are too few for a tree; {4 * FEWEST} or more are needed")
    questions = _questions(sample)
    inputs = np.stack([question.ask(sample.typed) for question in questions], axis=1)
    order = np.random.default_rng(seed).permutation(n)
    learned, judged = order[: n // 2], order[n // 2 :]
    tree = DecisionTreeRegressor(max_depth=depth, min_samples_leaf=FEWEST, random_state=seed)
    tree.fit(inputs[learned], sample.log_odds[learned])
    said, wanted = np.asarray(tree.predict(inputs[judged])), sample.log_odds[judged]
    spread = float(((wanted - wanted.mean()) ** 2).sum())
    leaf = np.asarray(tree.apply(inputs))
    return {
        "depth": depth,
        "n": len(judged),
        "r2": 1.0 - float(((said - wanted) ** 2).sum()) / spread if spread > 0 else None,
        **_compared(sample, judged, said),
        "leaves": [_leaf(sample, rule, leaf == node) for node, rule in _rules(tree.tree_, questions, sample, inputs)],
    }


def _questions(sample: Sample) -> list[Question]:
    """Return what may be asked: of no sensitive column, no history and no rare value."""
    schema, speaker = sample.explainer.predictor.schema, sample.speaker
    hidden = {speaker.columns[place] for place in speaker.hidden}
    found = []
    for name in sample.explainer.mixer.names:
        kind = schema[name].kind
        if name in hidden or kind in (Kind.sequence, Kind.text):
            continue
        if kind in (Kind.numeric, Kind.datetime):
            found.append(Question(name))
            continue
        counts = sample.typed[name].cast(pl.String).drop_nulls().alias("value").value_counts(name="n")
        values: list[str] = counts.sort(["n", "value"], descending=[True, False])["value"].head(MOST_VALUES).to_list()
        # Two values need one question.
        found += [Question(name, value) for value in (sorted(values)[-1:] if len(values) == 2 else values)]
    if not found:
        raise DataError("there is no column that a tree could ask about")
    return found


def _compared(sample: Sample, rows: np.ndarray, said: Floats) -> dict[str, Any]:
    if not sample.is_binary:
        return {}
    predictor = sample.explainer.predictor
    probability = sample.probabilities(sample.customers.encoded)[rows]
    told: dict[str, Any] = {}
    if predictor.threshold is not None:
        decided = probability_from_logits(said) >= predictor.threshold
        told["agreement"] = float((decided == (probability >= predictor.threshold)).mean())
    if sample.label is not None:
        label = sample.label[rows]
        told |= {"roc_auc": roc_auc(label, probability_from_logits(said)), "model_roc_auc": roc_auc(label, probability)}
    return told


def _rules(tree: Any, questions: Sequence[Question], sample: Sample, inputs: Floats) -> list[tuple[int, list[str]]]:
    """Return the leaves' numbers with their conditions, from left to right."""
    found: list[tuple[int, list[str]]] = []
    schema = sample.explainer.predictor.schema
    gaps: list[bool] = [bool(np.isnan(column).any()) for column in inputs.T]

    def walk(node: int, conditions: list[str]) -> None:
        if tree.children_left[node] < 0:
            found.append((node, conditions))
            return
        place, limit = int(tree.feature[node]), float(tree.threshold[node])
        question, to_left = questions[place], bool(tree.missing_go_to_left[node])
        dates = schema[question.column].kind is Kind.datetime
        for child, below in ((tree.children_left[node], True), (tree.children_right[node], False)):
            missing = gaps[place] and to_left == below
            walk(int(child), [*conditions, question.said(limit, below=below, dates=dates, missing=missing)])

    walk(0, [])
    return found


def _leaf(sample: Sample, rule: list[str], inside: np.ndarray) -> dict[str, Any]:
    log_odds = float(sample.log_odds[inside].mean())
    return {
        "rule": rule,
        "share": float(inside.mean()),
        "n": int(inside.sum()),
        "log_odds": log_odds,
        "probability": float(probability_from_logits(sample.log_odds[inside]).mean()),
    }


__all__ = ["Question", "surrogate_tree"]
