"""What can be offered: levers checked against a model's columns, alone and together, and what they make of a row.

An offer is one lever or several that go together. It can be made to a customer if the conditions of all its levers
hold, each of them changes something, its cost is known, and no rule of the table is broken that was kept before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from operator import and_, or_
from typing import Any

import numpy as np
import polars as pl

from churnlib.config.levers import LeverConfig, LeversConfig
from churnlib.data.row_expressions import row_expression
from churnlib.data.validation.masks import broken
from churnlib.errors import ConfigError
from churnlib.predictor import Predictor
from churnlib.schema import Kind, Role, near_misses, parsing, unknown_column

MOST_OFFERS = 200
"""Offers with all combinations; each is scored for each customer."""

JOINED = " + "


@dataclass(frozen=True, slots=True)
class Offer:
    """One lever, or several that go together.

    Attributes:
        name: Of its levers, joined.
        label: What people call it.
        levers: Names of its levers.
        changes: New cells by column, as an expression over the typed row; empty where no column is changed.
        conditions: Expressions that must all be true.
        saves: Assumed share of those who accept, of those who would leave, who stay; None where the model or an
            experiment says what becomes of them.
        experiment: Folder of the uplift model that says it.
        costs: For each lever a fixed cost, a share, the column that the share is of, and how often it is paid; None
            for the cost that ``money`` gives.
        contact_cost: Of offering it; None for that of ``money``.
        effort: Of offering it, in units of the capacity.
        acceptance: Of those who would leave; None for that of ``money``.
        stayers: Acceptance of those who would stay.
    """

    name: str
    label: str
    levers: tuple[str, ...]
    changes: Mapping[str, pl.Expr]
    conditions: tuple[pl.Expr, ...]
    saves: float | None
    experiment: str | None
    costs: tuple[tuple[float, float, str | None, float] | None, ...]
    contact_cost: float | None
    effort: float
    acceptance: float | None
    stayers: float

    def changed(self, typed: pl.DataFrame, recompute: Mapping[str, pl.Expr]) -> pl.DataFrame:
        """Return the rows as they would be with the offer; columns that follow from others are computed anew."""
        rows = typed.with_columns(expression.alias(column) for column, expression in self.changes.items())
        for column, expression in recompute.items():
            if column not in self.changes and set(expression.meta.root_names()) & set(self.changes):
                rows = rows.with_columns(expression.cast(typed.schema[column]).alias(column))
        return rows

    def possible(self, typed: pl.DataFrame) -> np.ndarray:
        """Say of whom the conditions hold and whom each column of the offer changes, ``(n,)`` bool."""
        tests = [condition.fill_null(False) for condition in self.conditions]
        tests += [new.ne_missing(parsing.cell_of(column)) for column, new in self.changes.items()]
        if not tests:
            return np.ones(len(typed), dtype=bool)
        return typed.select(reduce(and_, tests).alias("possible")).to_series().to_numpy()

    def cost(self, typed: pl.DataFrame, standard: np.ndarray) -> np.ndarray:
        """Return what it costs each customer who accepts, ``(n,)``; NaN where a column that says so is empty.

        Args:
            typed: The rows before the offer.
            standard: ``(n,)`` what an offer without a cost of its own costs.
        """
        total = np.zeros(len(typed))
        for one in self.costs:
            if one is None:
                total = total + standard
                continue
            fixed, share, column, periods = one
            total = total + fixed
            if column is not None:
                total = total + share * periods * typed[column].fill_null(np.nan).to_numpy()
        return np.where(total >= 0, total, np.nan)


@dataclass(frozen=True, slots=True)
class Levers:
    """All offers.

    Attributes:
        offers: Single levers first, as configured, then those that go together.
        recompute: Columns that follow from others.
        config: What they were made from.
    """

    offers: tuple[Offer, ...]
    recompute: Mapping[str, pl.Expr]
    config: LeversConfig

    @classmethod
    def of(cls, given: LeversConfig | Mapping[str, Any], predictor: Predictor) -> Levers:
        """Check levers against the columns of a model, and combine them.

        Raises:
            ConfigError: With the lever, the column or value, and the remedy.
        """
        config = given if isinstance(given, LeversConfig) else _config(given)
        if not config.offers:
            raise ConfigError("levers.offers is empty: name at least one thing that can be offered")
        columns = _Columns(predictor)
        singles = [columns.offer(name, lever) for name, lever in config.offers.items()]
        recompute = {name: columns.recomputed(name, text) for name, text in config.recompute.items()}
        offers = (*singles, *_together(singles, config))
        if len(offers) > MOST_OFFERS:
            raise ConfigError(
                f"levers.together={config.together} makes {len(offers):,} offers of {len(singles)} levers, and "
                f"{MOST_OFFERS} is the most; let fewer go together, or name more in levers.exclude"
            )
        return cls(offers, recompute, config)

    def possible(self, offer: Offer, typed: pl.DataFrame, predictor: Predictor) -> tuple[np.ndarray, pl.DataFrame]:
        """Say to whom an offer can be made, and return all rows as they would be with it."""
        changed = offer.changed(typed, self.recompute)
        can = offer.possible(typed)
        rules = predictor.schema.rules
        if rules and offer.changes:
            after, before = broken(changed, rules), broken(typed, rules)
            for name in after.columns:
                kept = ~before[name] if name in before.columns else pl.Series([True]).new_from_index(0, len(typed))
                can = can & ~(after[name] & kept).to_numpy()
        return can, changed


def check_model(predictor: Predictor) -> None:
    """Refuse a model that no plan can be made with.

    Raises:
        ConfigError: If it says when customers leave, or has other than two classes.
    """
    if predictor.bundle.hazards is not None:
        raise ConfigError("a plan needs a model of whether customers leave (task=classify); this one says when")
    if len(predictor.classes) != 2:
        raise ConfigError(
            f"a plan needs a model of two classes, who leaves and who stays; this one has {len(predictor.classes)}"
        )


def check_levers(levers: LeversConfig, predictor: Predictor) -> None:
    """Refuse levers that cannot be offered to customers of a model; none at all are fine.

    Args:
        levers: What can be offered.
        predictor: The model, fitted or not: what counts are its columns and classes.

    Raises:
        ConfigError: With the lever and the remedy.
    """
    if levers.offers:
        check_model(predictor)
        Levers.of(levers, predictor)


def _config(given: Mapping[str, Any]) -> LeversConfig:
    try:
        return LeversConfig(**given)
    except TypeError as error:
        raise ConfigError(f"levers cannot be read: {error}") from error


def _together(singles: list[Offer], config: LeversConfig) -> list[Offer]:
    """Return the combinations of levers that change columns, none of them twice, and are not excluded."""
    able = [one for one in singles if one.changes]
    apart = [set(those) for those in config.exclude]
    found = []
    for count in range(2, min(config.together, len(able)) + 1):
        for some in combinations(able, count):
            names = {one.levers[0] for one in some}
            columns = [column for one in some for column in one.changes]
            if len(columns) == len(set(columns)) and not any(len(names & those) > 1 for those in apart):
                found.append(_joined(some))
            if len(singles) + len(found) > 50 * MOST_OFFERS:
                return found  # too many whatever comes
    return found


def _joined(some: tuple[Offer, ...]) -> Offer:
    """Return the offer of several levers: one contact, and whoever accepts takes all of it.

    Those who would leave accept as seldom as the least liked of them, and those who would stay as often as the best
    liked: neither makes a combination look better than its parts.
    """
    own = [one.acceptance for one in some if one.acceptance is not None]
    contacts = [one.contact_cost for one in some if one.contact_cost is not None]
    return Offer(
        name=JOINED.join(one.name for one in some),
        label=JOINED.join(one.label for one in some),
        levers=tuple(one.levers[0] for one in some),
        changes={column: new for one in some for column, new in one.changes.items()},
        conditions=tuple(condition for one in some for condition in one.conditions),
        saves=None,
        experiment=None,
        costs=tuple(cost for one in some for cost in one.costs),
        contact_cost=max(contacts) if contacts else None,
        effort=max(one.effort for one in some),
        acceptance=min(own) if own else None,
        stayers=max(one.stayers for one in some),
    )


class _Columns:
    """What may be changed and read of a model's columns."""

    def __init__(self, predictor: Predictor) -> None:
        self.schema = predictor.schema
        self.names = [column.name for column in self.schema.columns]
        known = {one.name: one.values for one in predictor.bundle.preparation.vocabularies}
        self.known = {name: values for name, values in known.items() if name in self.schema}
        typed = predictor.read(pl.DataFrame(schema=dict.fromkeys(self.names, pl.String)), rules=False).typed
        self.readable = {name: dtype for name, dtype in typed.schema.items() if not self.schema[name].sensitive}

    def offer(self, name: str, lever: LeverConfig) -> Offer:
        where = f"levers.offers.{name}"
        changes = {
            column: self._new(f"{where}.{word}", word, column, value)
            for column, (word, value) in lever.changes.items()
        }  # fmt: skip
        if lever.cost_column is not None:
            self._numeric(f"{where}.cost_column", lever.cost_column)
        own = lever.cost is not None or lever.cost_share is not None
        cost = (lever.cost or 0.0, lever.cost_share or 0.0, lever.cost_column, lever.periods) if own else None
        conditions = () if lever.where is None else (self._expression(f"{where}.where", lever.where, pl.Boolean),)
        return Offer(
            name=name,
            label=lever.label or name,
            levers=(name,),
            changes=changes,
            conditions=conditions,
            saves=lever.saves,
            experiment=lever.experiment,
            costs=(cost,),
            contact_cost=lever.contact_cost,
            effort=lever.effort,
            acceptance=lever.acceptance,
            stayers=lever.stayers,
        )

    def recomputed(self, column: str, text: str) -> pl.Expr:
        option = f"levers.recompute.{column}"
        self._numeric(option, column)
        return self._expression(option, text, pl.Float64)

    def _expression(self, option: str, text: str, wanted: Any) -> pl.Expr:
        barred = {
            one.name: "which is sensitive: an offer must not rest on it" for one in self.schema.columns if one.sensitive
        }
        expression = row_expression(text, self.readable, option=option, barred=barred)
        dtype = pl.DataFrame(schema=self.readable).select(expression.alias("value")).schema["value"]
        if (dtype == pl.Boolean) != (wanted == pl.Boolean) or (wanted == pl.Float64 and not dtype.is_numeric()):
            said = "true or false" if wanted == pl.Boolean else "a number"
            raise ConfigError(f"{option} must give {said} for each row, and it gives {dtype}: {text!r}")
        return expression

    def _feature(self, option: str, column: str) -> None:
        """Refuse a column that the model does not read: changing it changes nothing."""
        if column not in self.schema:
            raise ConfigError(unknown_column(column, self.names, option=option).replace("the table", "the model"))
        known = self.schema[column]
        if known.sensitive:
            raise ConfigError(f"{option} names {column!r}, which is sensitive; an offer cannot change it")
        if known.role is not Role.feature:
            raise ConfigError(
                f"{option} names {column!r}, which the model does not read (its role is {known.role}): changing it "
                "would change no answer; name a column that is a feature"
            )

    def _numeric(self, option: str, column: str) -> None:
        self._feature(option, column)
        if self.schema[column].kind is not Kind.numeric:
            raise ConfigError(f"{option} names {column!r}, which is {self.schema[column].kind}; name a numeric column")

    def _new(self, option: str, word: str, column: str, value: Any) -> pl.Expr:
        """Return the changed cell."""
        option = f"{option}.{column}"
        if word != "set":
            self._numeric(option, column)
            neutral = 1.0 if word == "multiply" else 0.0
            if float(value) == neutral:
                raise ConfigError(f"{option}={value} changes nothing; leave it out or give another number")
            cell = parsing.cell_of(column)
            return cell * float(value) if word == "multiply" else cell + float(value)
        self._feature(option, column)
        kind = self.schema[column].kind
        if kind in (Kind.sequence, Kind.text, Kind.identifier):
            raise ConfigError(f"{option}: a column of the kind {kind} cannot be set; levers change numbers and words")
        given = pl.Series(column, [value] if isinstance(value, int | float | str | bool) else [str(value)])
        cell = given.to_frame().select(parsing.as_kind(pl.first(), given.dtype, kind, self.schema[column].formats))
        new = cell.to_series()
        if new[0] is None:
            raise ConfigError(f"{option}={value!r} cannot be read as {kind}; give a value as the table has it")
        values = self.schema[column].order or self.known.get(column)
        if values is not None and new[0] not in values:
            near = near_misses(str(value), list(values))
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, list(values)[:8]))}"
            raise ConfigError(f"{option}={value!r} is no value of {column!r} that training has seen; {hint}")
        return pl.lit(new[0], dtype=new.dtype)


def outside_training(levers: Levers, typed: pl.DataFrame, predictor: Predictor) -> list[str]:
    """Say which levers take numbers to where the model has seen no customer.

    Args:
        levers: All offers.
        typed: Some rows.
        predictor: The model, whose profile knows the range of each column.
    """
    said = []
    columns = predictor.bundle.profile.get("columns", {})
    for offer in levers.offers:
        for column, new in offer.changes.items():
            quantiles = columns.get(column, {}).get("quantiles") or []
            if len(offer.levers) > 1 or not quantiles or isinstance(quantiles[0], str) or not len(typed):
                continue
            cell = parsing.cell_of(column)
            low, high = float(quantiles[0]), float(quantiles[-1])
            beyond = or_((new < low) & (cell >= low), (new > high) & (cell <= high))
            share = typed.select(beyond.fill_null(False).mean().alias("share")).item()
            if share > 0:
                said.append(
                    f"{offer.name} takes {column} beyond what training has seen ({low:g} to {high:g}) for {share:.1%} "
                    "of the customers: there the model guesses"
                )
    return said


__all__ = ["Levers", "Offer", "check_levers", "check_model", "outside_training"]
