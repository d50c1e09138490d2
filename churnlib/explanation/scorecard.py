"""A scorecard: an additive model written down so that a person can add up a customer's score by hand.

A customer's score is the base and one number of points for each term: for each column, by the bin or the category that
the customer is in, and for each pair of columns, by both. Points are log-odds on a scale of one's own, as is usual in
credit scoring: each ``points_to_double`` points double the odds of leaving, and at score 0 they are even, so that

    probability of leaving = 1 / (1 + 2 ** (-score / points_to_double)).

Points of a column are 0 on average over the training customers; the base is what the average customer starts from.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich import box
from rich.markup import escape
from rich.table import Table

from churnlib.calibration import additive
from churnlib.data.inputs import FIRST_KNOWN, MISSING, UNSEEN
from churnlib.data.preparation import Encoded
from churnlib.errors import ConfigError
from churnlib.models.network_model import NetworkModel
from churnlib.predictor import Predictor

MISSING_LABEL, OTHER_LABEL = "missing", "any other value"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the bins or categories that a column's value can fall into.

    Attributes:
        label: For a reader.
        low: Smallest number of the bin; None for the first bin, and where the choice is no bin.
        value: Category; None where the choice is no category.
        number: Stands for the bin when the model is asked: in the table's units, NaN for missing.
        code: Stands for the category when the model is asked.
    """

    label: str
    low: float | None = None
    value: str | None = None
    number: float = math.nan
    code: int = MISSING

    @property
    def is_missing(self) -> bool:
        """Whether it stands for no value."""
        return self.value is None and self.code == MISSING and math.isnan(self.number)


@dataclass(frozen=True, slots=True)
class Term:
    """A column, or a pair of columns, with its points.

    Attributes:
        columns: Names, one or two.
        choices: Of each column: bins in order (the first has no lower end), categories, then what stands for
            everything else.
        points: One number per choice of the column, or ``(choices of the first, choices of the second)``.
    """

    columns: tuple[str, ...]
    choices: tuple[tuple[Choice, ...], ...]
    points: np.ndarray

    @property
    def spread(self) -> float:
        """Points between the best and the worst choice."""
        return float(np.ptp(self.points))

    def of(self, row: Mapping[str, Any]) -> float:
        """Return the points of a customer, ``{column: number, text or None}``."""
        places = (_place(found, row.get(name)) for name, found in zip(self.columns, self.choices, strict=True))
        return float(self.points[tuple(places)])


@dataclass(frozen=True, slots=True)
class Scorecard:
    """An additive model as points.

    Attributes:
        model: Name and version of the model.
        leaves: The class whose probability it gives.
        base: Points that every customer has.
        points_to_double: Points that double the odds of leaving.
        decimals: Decimals of the points; None for unrounded ones.
        terms: Columns, then pairs, those with the largest spread first.
    """

    model: tuple[str, str]
    leaves: str
    base: float
    points_to_double: float
    decimals: int | None
    terms: tuple[Term, ...]

    def score(self, row: Mapping[str, Any]) -> float:
        """Add up a customer's points.

        Args:
            row: Column and value: a number (of a date the days that the model counts, of an ordinal its place in the
                order, from 0), a category as text, a truth value as ``True`` or ``False``, None for missing.
        """
        return self.base + sum(term.of(row) for term in self.terms)

    def probability(self, score: float) -> float:
        """Return the probability of leaving that a score stands for.

        >>> card = Scorecard(("additive", ""), "left", 0.0, 20.0, 1, ())
        >>> card.probability(0.0), card.probability(20.0)  # odds of 1 : 1 and of 2 : 1
        (0.5, 0.6666666666666666)
        """
        return 1.0 / (1.0 + 2.0 ** (-score / self.points_to_double))

    @property
    def rounding(self) -> float:
        """The most that rounding can move a customer's log-odds."""
        if self.decimals is None:
            return 0.0
        return (1 + len(self.terms)) * 0.5 * 10.0**-self.decimals * math.log(2.0) / self.points_to_double

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per choice: ``term``, ``first``, ``second`` (of pairs) and ``points``."""
        listed = []
        for term in self.terms:
            for place in np.ndindex(term.points.shape):
                labels = [found[i].label for found, i in zip(term.choices, place, strict=True)]
                first, second = (*labels, None)[:2]
                listed.append({"term": _name(term), "first": first, "second": second, "points": term.points[place]})
        return listed

    def to_dict(self) -> dict[str, Any]:
        """Return the card as JSON-ready values."""
        return {
            "model": self.model[0],
            "version": self.model[1],
            "probability_of": self.leaves,
            "formula": "1 / (1 + 2 ** (-score / points_to_double))",
            "base": self.base,
            "points_to_double": self.points_to_double,
            "rounding_moves_log_odds_by_at_most": self.rounding,
            "terms": [
                {
                    "columns": list(term.columns),
                    "choices": [[_choice_dict(choice) for choice in found] for found in term.choices],
                    "points": term.points.tolist(),
                }
                for term in self.terms
            ],
        }

    def table(self) -> Table:
        """Return the card for the terminal: one line per choice, the strongest terms first."""
        table = Table(
            title=f"Points for {escape(self.leaves)}: {self.points_to_double:g} double the odds",
            caption=f"everybody has {self.base:.{self._shown}f}; probability = 1 / (1 + 2^(-score/"
            f"{self.points_to_double:g}))",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
            title_justify="left",
            caption_justify="left",
        )
        for name in ("term", "value"):
            table.add_column(name, overflow="fold")
        table.add_column("points", justify="right", no_wrap=True)
        for term in self.terms:
            name = _name(term)
            for place in np.ndindex(term.points.shape):
                labels = [found[i].label for found, i in zip(term.choices, place, strict=True)]
                table.add_row(escape(name), escape(" × ".join(labels)), f"{term.points[place]:+.{self._shown}f}")
                name = ""
            table.add_section()
        return table

    @property
    def _shown(self) -> int:
        return 3 if self.decimals is None else self.decimals


def scorecard(predictor: Predictor, *, points_to_double: float = 20.0, decimals: int | None = 1) -> Scorecard:
    """Write an additive model down as points.

    Args:
        predictor: Over a bundle that was trained with ``model=additive``, for two classes.
        points_to_double: Points that double the odds of leaving, above 0.
        decimals: Decimals of the points; None leaves them as they are, so that the score gives the model's probability
            to float32's precision.

    Raises:
        ConfigError: If the model is not additive, has more than two classes, or was not trained on a table, or if its
            calibration leaves no sum a sum.
    """
    model = predictor.model
    if not (isinstance(model, NetworkModel) and model.is_additive):
        what = (
            predictor.model_name
            if isinstance(model, NetworkModel)
            else f"{predictor.model_name} ({type(model).__name__})"
        )
        raise ConfigError(f"a scorecard needs one additive model, and this is {what}; train with model=additive")
    if len(predictor.classes) != 2:
        raise ConfigError(f"a scorecard is for two classes, and this model has {len(predictor.classes)}")
    straight = additive(predictor.bundle.calibration)
    if straight is None:
        raise ConfigError(
            f"a scorecard is a sum, which calibration={predictor.bundle.calibration.method} bends; train with "
            "calibration=temperature or platt"
        )
    per_log_odds = points_to_double / math.log(2.0)
    names = predictor.bundle.preparation.feature_names
    single, paired = model.borders()
    terms = []
    for place, term in enumerate(model.terms):
        borders = single if len(term) == 1 else paired
        choices = tuple(_choices(predictor, column, borders) for column in term)
        values = model.contributions(*_rows(predictor, term, choices))[:, place, 0]
        points = np.reshape(_rounded(straight.terms(values) * per_log_odds, decimals),
                            [len(found) for found in choices])  # fmt: skip
        terms.append(Term(tuple(names[column] for column in term), choices, points))
    intercept = straight.log_odds(model.intercept())[0] * per_log_odds
    terms.sort(key=lambda term: (len(term.columns), -term.spread))
    base = float(_rounded(np.array([intercept]), decimals)[0])
    version = (predictor.model_name, predictor.version)
    return Scorecard(version, predictor.classes[1], base, points_to_double, decimals, tuple(terms))


def write_scorecard(card: Scorecard, path: str | Path) -> None:
    """Write a card as JSON (everything), or as CSV with one line per choice (the base is its first line).

    Raises:
        ConfigError: If the name ends in neither, or the file cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise ConfigError(f"output={target} must end in .json or .csv")
    try:
        if suffix == ".json":
            target.write_text(json.dumps(card.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            base = {"term": "base", "first": None, "second": None, "points": card.base}
            pl.DataFrame([base, *card.rows()], schema_overrides={"second": pl.String}).write_csv(target)
    except OSError as error:
        raise ConfigError(f"output={target} cannot be written ({error.strerror or error})") from error


# --- the choices of a column ----------------------------------------------------------------------------------------


def _choices(predictor: Predictor, column: int, borders: np.ndarray) -> tuple[Choice, ...]:
    """Return what a column's value may be: bins of a number, values of a category, and the rest."""
    preparation = predictor.bundle.preparation
    name = preparation.feature_names[column]
    may_lack = name not in predictor.schema.required()
    if column < len(preparation.numeric):
        bins = _bins(borders[column][~np.isnan(borders[column])], preparation.orders.get(name, ()))
        return (*bins, Choice(MISSING_LABEL)) if may_lack else bins
    values = preparation.categorical[column - len(preparation.numeric)].values
    known = tuple(Choice(value, value=value, code=FIRST_KNOWN + i) for i, value in enumerate(values))
    rest = Choice(OTHER_LABEL, code=UNSEEN)
    return (*known, rest, Choice(MISSING_LABEL, code=MISSING)) if may_lack else (*known, rest)


def _bins(edges: np.ndarray, order: Sequence[str]) -> tuple[Choice, ...]:
    """Return the bins between borders, with a number inside each."""
    if not len(edges):
        return (Choice("any number", number=0.0),)
    texts = [_text(edge, order) for edge in edges]
    between = [float(a) / 2 + float(b) / 2 for a, b in pairwise(edges)]
    inside = [float(edges[0]) - max(1.0, abs(float(edges[0]))), *between,
              float(edges[-1]) + max(1.0, abs(float(edges[-1])))]  # fmt: skip
    labels = [f"below {texts[0]}", *(f"{a} to below {b}" for a, b in pairwise(texts)),
              f"{texts[-1]} or more"]  # fmt: skip
    lows = [None, *(float(text) for text in (_text(edge, ()) for edge in edges))]
    return tuple(Choice(label, low=low, number=x) for label, low, x in zip(labels, lows, inside, strict=True))


def _text(edge: np.float32, order: Sequence[str]) -> str:
    """Write a border with the digits that a float32 needs; of an ordinal column by the first value beyond it."""
    if order:
        return repr(order[min(math.ceil(edge), len(order) - 1)])
    return np.format_float_positional(edge, unique=True, trim="-")


def _rows(predictor: Predictor, term: tuple[int, ...], choices: tuple[tuple[Choice, ...], ...]) -> tuple[Any, Any]:
    """Return encoded rows, one for each combination of the choices; what other columns hold does not matter."""
    n_numeric = len(predictor.bundle.preparation.numeric)
    combinations = list(product(*choices))
    rows = Encoded(
        np.zeros((len(combinations), n_numeric), dtype=np.float32),
        np.zeros((len(combinations), len(predictor.bundle.preparation.categorical)), dtype=np.int64),
    )
    for i, combination in enumerate(combinations):
        for column, choice in zip(term, combination, strict=True):
            if column < n_numeric:
                rows.numeric[i, column] = choice.number
            else:
                rows.codes[i, column - n_numeric] = choice.code
    return rows.numeric, rows.codes


def _place(choices: Sequence[Choice], value: Any) -> int:
    """Return which choice a value is.

    Raises:
        ValueError: If it is missing in a column that must not lack it.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        place = next((i for i, choice in enumerate(choices) if choice.is_missing), None)
        if place is None:
            raise ValueError("the card has no points for a missing value of this column, which is required")
        return place
    if not math.isnan(choices[0].number):
        return bisect.bisect_right([choice.low for choice in choices if choice.low is not None], float(value))
    text = str(value).lower() if isinstance(value, bool) else str(value)
    rest = next(i for i, choice in enumerate(choices) if choice.code == UNSEEN)
    return next((i for i, choice in enumerate(choices) if choice.value == text), rest)


def _rounded(points: np.ndarray, decimals: int | None) -> np.ndarray:
    points = points.astype(np.float64)  # float32 would be written with digits that nobody asked for: 32.099998
    # Adding 0 makes of -0.0 a plain 0.
    return points if decimals is None else np.round(points, decimals) + 0.0


def _name(term: Term) -> str:
    return " × ".join(term.columns)


def _choice_dict(choice: Choice) -> dict[str, Any]:
    """Return a choice as a reader of the file needs it."""
    if choice.value is not None:
        return {"label": choice.label, "value": choice.value}
    return {"label": choice.label} if choice.low is None else {"label": choice.label, "from": choice.low}
