"""A customer's reasons: the columns with the largest effects, in words.

Columns that say the same share one reason. A column that was declared sensitive is never named, in no group, text or
code; where it would have been among the reasons, the answer says so and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.one_row import OneRow, OneRowReader
from churnlib.errors import ConfigError
from churnlib.explanation.effects import Effects, Explainer
from churnlib.explanation.wording import LOWERS, RAISES, ColumnWording, Wording
from churnlib.predictor import Predictor
from churnlib.reading import Reading
from churnlib.row_predictor import ReadRow
from churnlib.schema import Kind, Schema, near_misses

REASON = pl.Struct(
    {
        "feature": pl.String(),
        "value": pl.String(),
        "effect": pl.Float64(),
        "direction": pl.String(),
        "text": pl.String(),
        "actionable": pl.Boolean(),
        "code": pl.String(),
    }
)
"""A reason as it is written: the effect in log-odds, everything else for people."""

COLUMNS = {
    "reasons": pl.List(REASON),
    "base": pl.Float64(),
    "log_odds": pl.Float64(),
    "explanation_error": pl.Float64(),
    "stability": pl.Float64(),
    "sensitive_among_reasons": pl.Boolean(),
    "method": pl.String(),
    "fidelity": pl.Float64(),
    "explained_class": pl.String(),
}
"""What is said of a customer beside the probability; the last one for more than two classes only, and the one before
with ``method=linear`` only."""

TOP = 3
EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Speaker:
    """What may be named, and how.

    Attributes:
        names: Columns and labels of groups that a reason may be about, in table order.
        members: For each the places of its columns among those of the effects.
        codes: For each its code.
        hidden: Places of the sensitive columns.
        wording: How reasons are spoken of.
        schema: Kinds of the columns.
        columns: Names of the columns of the effects.
    """

    names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    codes: tuple[str, ...]
    hidden: tuple[int, ...]
    wording: Wording
    schema: Schema
    columns: tuple[str, ...]

    @classmethod
    def of(cls, predictor: Predictor, columns: Sequence[str], wording: Wording) -> Speaker:
        """Return what may be named of a model's columns.

        Raises:
            ConfigError: If the wording names a column that the model does not know, or one in two groups.
        """
        schema = predictor.schema
        _check_names(wording, schema)
        hidden = [name for name in columns if schema[name].sensitive]
        free = [name for name in columns if name not in hidden]
        found = predictor.bundle.profile.get("alike", ()) if wording.merge == "found" else ()
        declared = wording.groups if wording.merge != "none" else {}
        groups = _groups(free, declared, found)
        place = {name: number for number, name in enumerate(columns)}
        names = tuple(groups)
        members = tuple(tuple(place[one] for one in those) for those in groups.values())
        given = [wording.columns.get(name, ColumnWording()).code for name in names]
        codes = tuple(code or f"R{number:02d}" for number, code in enumerate(given, start=1))
        return cls(names, members, codes, tuple(place[name] for name in hidden), wording, schema, tuple(columns))

    def summed(self, values: np.ndarray) -> np.ndarray:
        """Return the effects of what may be named, ``(n, len(names))``, from those of the columns, ``(n, K)``."""
        share = np.zeros((values.shape[1], len(self.names)))
        for place, columns in enumerate(self.members):
            share[list(columns), place] = 1.0
        return values @ share

    def reasons(self, values: np.ndarray, rows: Sequence[Mapping[str, Any]], top: int, outcomes: Sequence[str]) -> Said:
        """Put effects into words.

        Args:
            values: ``(n, K)`` effects.
            rows: The typed cells of each customer by column.
            top: Reasons at most.
            outcomes: The explained class of each customer.
        """
        effects = self.summed(values)
        order = np.argsort(-np.abs(effects), axis=1, kind="stable")[:, :top]
        size = np.abs(np.take_along_axis(effects, order, axis=1))
        strong = size >= self.wording.min_effect  # of NaN False: rows that cannot be scored have no reasons
        said = [
            [
                self._reason(int(place), float(effects[row, place]), cells, outcome)
                for place, counts in zip(order[row], strong[row], strict=True)
                if counts
            ]
            for row, (cells, outcome) in enumerate(zip(rows, outcomes, strict=True))
        ]
        return Said(said, self._concealed(values, size, top))

    def _concealed(self, values: np.ndarray, size: np.ndarray, top: int) -> np.ndarray:
        """Say where a sensitive column would have been among the reasons, ``(n,)`` bool."""
        if not self.hidden:
            return np.zeros(len(values), dtype=bool)
        largest = np.abs(values[:, list(self.hidden)]).max(axis=1)
        last = size[:, top - 1] if size.shape[1] >= top else np.zeros(len(values))
        return (largest >= self.wording.min_effect) & (largest >= last)

    def _reason(self, place: int, effect: float, cells: Mapping[str, Any], outcome: str) -> dict[str, Any]:
        name, names = self.names[place], [self.columns[member] for member in self.members[place]]
        own = self.wording.columns.get(name, ColumnWording())
        texts = [self.wording.value(self.schema[one], cells[one]) for one in names]
        value = texts[0]
        if len(names) > 1:
            value = ", ".join(f"{self.wording.label(one)} {text}" for one, text in zip(names, texts, strict=True))
        return {
            "feature": name,
            "value": value,
            "effect": effect,
            "direction": RAISES if effect > 0 else LOWERS,
            "text": self.wording.text(name, value, effect, outcome),
            "actionable": own.actionable,
            "code": self.codes[place],
        }


@dataclass(frozen=True, slots=True)
class Said:
    """Reasons in words.

    Attributes:
        reasons: Of each customer, the largest effect first.
        concealed: ``(n,)`` bool, whether a sensitive column would have been among them.
    """

    reasons: list[list[dict[str, Any]]]
    concealed: np.ndarray


def explain(
    predictor: Predictor,
    table: Any,
    *,
    top: int | None = TOP,
    target: str | None = None,
    wording: Wording | Mapping[str, Any] | None = None,
    explainer: Explainer | None = None,
    on_error: str = "raise",
    **options: Any,
) -> pl.DataFrame:
    """Say why the model gives each customer its probability: what the model looked at, not what causes churn.

    Args:
        predictor: The model.
        table: A polars or pandas frame, a list of dicts, a dict of columns, or a reading of one.
        top: Reasons of each customer at most; None for all.
        target: Of more than two classes the one to explain; each row's most probable one when None.
        wording: Words, labels, groups and the smallest effect that counts, or what ``conf/reasons/*.yaml`` holds.
        explainer: One that is kept from call to call; built of ``options`` when None.
        on_error: ``raise``, or ``null``: rows that cannot be scored get empty results.
        **options: Of :class:`~churnlib.explanation.effects.Explainer`: ``method``, ``samples``, ``pairs``,
            ``background``, ``seed``, ``horizon``.

    Returns:
        One row per row given, in the same order: what :meth:`~churnlib.predictor.Predictor.predict` returns, then
        ``reasons`` (a list of structs, see :data:`REASON`, the largest effect first), ``base`` (mean log-odds of the
        background customers), ``log_odds`` (of the probability), ``explanation_error`` (what base and the effects of
        all columns add up to, minus ``log_odds``), ``stability`` (in [0, 1]), ``sensitive_among_reasons`` (whether a
        sensitive column, which is never named, would have been among them) and ``method``; for more than two classes
        also ``explained_class``; with ``method=linear`` also ``fidelity`` (how well the line follows the model near the
        customer, at most 1).

    Raises:
        RowErrors: If rows cannot be scored and ``on_error`` is ``raise``.
        ConfigError: If an option is impossible.
        BundleError: If there are no background customers.
    """
    reading = table if isinstance(table, Reading) else predictor.read(table)
    if on_error == "raise":
        predictor.check(reading)
    explainer = explainer or Explainer(predictor, **options)
    speaker = Speaker.of(predictor, explainer.mixer.names, as_wording(wording))
    effects = explainer.effects(reading, target=target)
    top = len(speaker.names) if top is None else top
    if top < 1:
        raise ConfigError(f"top must be 1 or above, or None for all reasons, got {top}")
    cells = reading.typed.select(list(effects.names)).to_dicts()
    said = _answer(predictor, speaker, effects, cells, top)
    answers = predictor.answers(reading, horizon=None if explainer.curve is None else explainer.curve.horizon)
    return pl.concat([answers, pl.DataFrame(said, schema=_columns(effects))], how="horizontal")


def _columns(effects: Effects) -> dict[str, pl.DataType]:
    """Return the columns that are said of these effects."""
    absent = {"explained_class": effects.target is None, "fidelity": effects.fidelity is None}
    return {name: dtype for name, dtype in COLUMNS.items() if not absent.get(name, False)}


def as_wording(given: Wording | Mapping[str, Any] | None) -> Wording:
    """Return a wording, whatever way it is given."""
    return given if isinstance(given, Wording) else Wording.from_mapping(given or {})


class RowExplainer:
    """Gives one customer's reasons at a time, for a server: everything that does not depend on the customer is ready.

    Args:
        predictor: The model.
        wording: See :func:`explain`.
        **options: Of :class:`~churnlib.explanation.effects.Explainer`.
    """

    def __init__(
        self, predictor: Predictor, *, wording: Wording | Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        self.predictor = predictor
        self.explainer = Explainer(predictor, **options)
        self.speaker = Speaker.of(predictor, self.explainer.mixer.names, as_wording(wording))
        self._reader = OneRowReader(predictor.schema, predictor.bundle.preparation)

    def read(self, row: Mapping[str, Any]) -> OneRow:
        """Read a customer's cells by the names of the columns, and say what is wrong with them."""
        return self._reader.read(row)

    def explain(self, row: OneRow | ReadRow, *, top: int | None = TOP, target: str | None = None) -> dict[str, Any]:
        """Return the reasons of a customer who can be scored, JSON-ready.

        Args:
            row: What :meth:`read` returned, or that of a :class:`~churnlib.row_predictor.RowPredictor` of the model.
            top: Reasons at most; None for all.
            target: Of more than two classes the one to explain; the most probable one when None.

        Returns:
            What :func:`explain` adds to a probability, by the same names.
        """
        cells = {name: _cell(value, self.predictor.schema[name].kind) for name, value in row.typed.items()}
        mixer = self.explainer.mixer
        typed = self.predictor.read([cells], rules=False).typed if len(mixer.several) else None
        effects = self.explainer.of_customers(mixer.customer(row, typed), target=target)
        top = len(self.speaker.names) if top is None else top
        return _answer(self.predictor, self.speaker, effects, [cells], top)[0]


def _cell(value: Any, kind: Kind) -> Any:
    """Return a cell of one row as a cell of a table."""
    return EPOCH + timedelta(microseconds=value) if kind is Kind.datetime and value is not None else value


def _answer(
    predictor: Predictor, speaker: Speaker, effects: Effects, cells: Sequence[Mapping[str, Any]], top: int
) -> list[dict[str, Any]]:
    """Return what is said of each customer; nothing but nulls of those who cannot be scored.

    Row by row, as texts are made: it takes a hundredth of the time that the effects take.
    """
    classes, target = predictor.classes, effects.target
    outcomes = [classes[-1]] * len(cells) if target is None else [classes[place] for place in target.tolist()]
    said = speaker.reasons(effects.values, cells, top, outcomes)
    answers = []
    for row, outcome in enumerate(outcomes):
        if np.isnan(effects.log_odds[row]):
            answers.append(dict.fromkeys(_columns(effects)))
            continue
        answer = {
            "reasons": said.reasons[row],
            "base": float(effects.base[row]),
            "log_odds": float(effects.log_odds[row]),
            "explanation_error": float(effects.error[row]),
            "stability": float(effects.stability[row]),
            "sensitive_among_reasons": bool(said.concealed[row]),
            "method": str(effects.method[row]),
        }
        if effects.fidelity is not None:
            answer["fidelity"] = float(effects.fidelity[row])
        answers.append(answer if target is None else {**answer, "explained_class": outcome})
    return answers


def _groups(
    names: Sequence[str], declared: Mapping[str, Sequence[str]], found: Sequence[Sequence[str]]
) -> dict[str, list[str]]:
    """Return columns by the name under which they are spoken of, in table order; declared groups count more."""
    under = {one: label for label, those in declared.items() for one in those}
    for those in found:
        left = [one for one in those if one in names and one not in under]
        if len(left) > 1:
            under |= dict.fromkeys(left, " and ".join(left))
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(under.get(name, name), []).append(name)
    return groups


def _check_names(wording: Wording, schema: Schema) -> None:
    known = [column.name for column in schema.columns]
    for label, those in wording.groups.items():
        for name in those:
            if name not in schema:
                near = near_misses(name, known)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"reasons.groups.{label} names {name!r}, which is no column of this model{hint}")
    several = [name for those in wording.groups.values() for name in those]
    twice = next((name for name in several if several.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"reasons.groups names {twice!r} twice; a column belongs to one group")


__all__ = ["REASON", "TOP", "RowExplainer", "Said", "Speaker", "explain"]
