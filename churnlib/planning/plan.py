"""A plan: who is made which offer, what that is expected to cost and to gain, and how sure of that one can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnlib.config.folder import config_dir
from churnlib.config.levers import LeversConfig
from churnlib.config.money import MoneyConfig
from churnlib.config.plan import SegmentsConfig
from churnlib.errors import ConfigError
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.explanation.wording import Wording
from churnlib.planning.economics import Answers, Economics
from churnlib.planning.groups import Groups, by_columns, by_reason, by_tree
from churnlib.planning.knapsack import Allocation, allocate
from churnlib.planning.levers import Levers, outside_training
from churnlib.planning.reasons import main_reasons, of_groups
from churnlib.planning.scoring import OfferScorer
from churnlib.planning.segments import SCHEMA, segment_table
from churnlib.planning.tables import ALONE, customer_table, plan_summary, total_of
from churnlib.planning.uncertainty import Uncertainty, calibration_error
from churnlib.predictor import Predictor, load
from churnlib.reading import Reading
from churnlib.schema import parsing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS_AT_ONCE = 16_384

REASONED = 30
"""Customers of a group whose reasons say which one is its main reason."""


@dataclass(frozen=True)
class Plan:
    """Who is made which offer.

    Attributes:
        customers: One row per customer, in the order of the table; see docs/plan.md for its columns.
        segments: One row per group of customers, the most value at risk first.
        summary: Totals, what each offer comes to, the limits and their prices, the assumptions: JSON-ready.
    """

    customers: pl.DataFrame
    segments: pl.DataFrame
    summary: Mapping[str, Any]

    @property
    def contacts(self) -> pl.DataFrame:
        """Customers who are made an offer, the largest gain first, without the offers that were not chosen."""
        made = self.customers.filter(pl.col("offer") != ALONE).drop("options")
        return made.sort("expected_gain", descending=True, maintain_order=True)

    def write(self, folder: str | Path) -> Path:
        """Write plan.parquet, plan.csv, segments.csv and plan.json into a folder that is not there yet.

        Raises:
            DataError: If something stands there, or it cannot be written.
        """
        from churnlib.planning.files import write_plan

        return write_plan(self, folder)

    def render(self) -> Any:
        """Return the plan for a terminal."""
        from churnlib.planning.display import plan_tables

        return plan_tables(self)


@dataclass
class Planner:
    """Takes customers bit by bit, and makes the plan at the end.

    Attributes:
        predictor: The model.
        levers: What can be offered.
        money: What a customer is worth, and what offers cost that have no cost of their own.
        held_out: ``label`` and ``churn_probability`` of rows that the model did not learn from: a run's
            ``predictions.parquet``. None leaves the model's own error out of the intervals.
        experiments: Uplift models by the folder that levers name; read from there when None.
    """

    predictor: Predictor
    levers: LeversConfig | Mapping[str, Any]
    money: MoneyConfig
    held_out: pl.DataFrame | None = None
    experiments: Mapping[str, Predictor] | None = None
    _answers: list[Answers] = field(default_factory=list, init=False, repr=False)
    _typed: list[pl.DataFrame] = field(default_factory=list, init=False, repr=False)
    _labels: list[Ints] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self.offers = Levers.of(self.levers, self.predictor)
        self.campaign = Campaign.of(self.money)
        named = {one.experiment for one in self.offers.offers if one.experiment is not None}
        models = _experiments(sorted(named)) if self.experiments is None else self.experiments
        money = self.money
        self.scorer = OfferScorer(
            self.predictor, self.offers, self.campaign, money.column, money.times, experiments=models
        )

    def take(self, reading: Reading) -> None:
        """Score some customers with all their offers; those before stay as they are."""
        self._answers.append(self.scorer.answers(reading))
        self._typed.append(reading.typed)
        self._labels.append(_labels(reading.frame, self.predictor))

    def plan(
        self,
        ids: pl.Series | None = None,
        *,
        budget: float | None = None,
        capacity: float | None = None,
        segments: SegmentsConfig | None = None,
        wording: Wording | None = None,
        explain: str = "auto",
        reasoned: int = REASONED,
        settle: bool = True,
        seed: int = 0,
    ) -> Plan:
        """Choose the offers.

        Args:
            ids: Names of the customers taken, in order; their numbers from 0 when None.
            budget: Money that may be spent, as expected; None for no limit.
            capacity: What the team can do, in units of the offers' effort; None for no limit.
            segments: How customers are put into groups.
            wording: How reasons are worded.
            explain: auto, true or false: whether each of those who get an offer has his main reason.
            reasoned: Customers of a group whose reasons say which one is its main reason.
            settle: Whether customers in doubt are settled by an exact solver, see :mod:`churnlib.planning.knapsack`;
                without, the plan may gain a little less than the best, as its ``gap`` says.
            seed: Of what is drawn.
        """
        answers, typed = Answers.joined(self._answers), pl.concat(self._typed)
        label = np.concatenate(self._labels)
        uncertainty = self._uncertainty()
        money = Economics.of(answers, self.offers.offers, self.campaign, uncertainty)
        found = _allocated(money, budget=budget, capacity=capacity, settle=settle)
        names = pl.Series("customer_id", np.arange(len(typed))) if ids is None else ids.alias("customer_id")
        causal = self._causal()
        customers = customer_table(names, money, found.chosen, uncertainty, causal)
        reasons = main_reasons(self.predictor, typed, found.chosen, wording, explain=explain, seed=seed)
        groups, why = self._groups(answers, typed, segments or SegmentsConfig(), wording, reasoned, seed)
        gain = np.where(found.chosen >= 0, money.gain[np.arange(len(typed)), np.maximum(found.chosen, 0)], np.nan)
        table = pl.DataFrame(schema=SCHEMA)
        if groups is not None:
            table = segment_table(
                groups, risk=answers.risk, value=answers.value, label=label, gain=gain, reasons=why,
                uncertainty=uncertainty,
            )  # fmt: skip
            segment = [*groups.names, None]
            customers = customers.with_columns(
                pl.Series("segment", [segment[place] for place in groups.number.tolist()], dtype=pl.String)
            )
        customers = customers.with_columns(pl.Series("main_reason", reasons, dtype=pl.String))
        said = outside_training(self.offers, typed, self.predictor)
        summary = plan_summary(
            money, found, uncertainty, causal=causal, limits={"budget": budget, "capacity": capacity},
            currency=self.money.currency, cautions=[*said, *self._cautions()],
        )  # fmt: skip
        return Plan(customers, table, summary)

    def course(self, budgets: Sequence[float], *, capacity: float | None = None) -> list[dict[str, float]]:
        """Say what a plan of each budget comes to, so that one sees what more money would bring.

        Customers in doubt are not settled by the exact solver: a curve needs no last per mille.

        Args:
            budgets: Money that may be spent.
            capacity: As of :meth:`plan`.

        Returns:
            For each: ``budget``, and of all offers together ``offers``, ``expected_gain`` with ``gain_low`` and
            ``gain_high``, ``expected_cost``, ``cost_if_all_accept``, ``effort`` and ``churn_prevented``.
        """
        uncertainty = self._uncertainty()
        money = Economics.of(Answers.joined(self._answers), self.offers.offers, self.campaign, uncertainty)
        found = []
        for budget in budgets:
            chosen = _allocated(money, budget=budget, capacity=capacity, settle=False).chosen
            rows = np.flatnonzero(chosen >= 0)
            found.append({"budget": float(budget), **total_of(money, rows, chosen[rows], uncertainty)})
        return found

    def _uncertainty(self) -> Uncertainty:
        calibration = None
        if self.held_out is not None and len(self.held_out):
            rows = self.held_out
            calibration = calibration_error(rows["label"].to_numpy(), rows["churn_probability"].to_numpy())
        money = self.money
        effects = {name: _effect_error(model) for name, model in self.scorer.experiments.items()}
        return Uncertainty.of(
            calibration=calibration,
            acceptance=(money.alpha, money.beta) if money.acceptance is None else None,
            effects=effects,
            members=self.scorer.members,
        )

    def _causal(self) -> NDArray[np.bool_]:
        """Say for each offer whether an experiment that was truly one backs it, ``(k,)``."""
        backed = {
            name: bool(model.metrics.get("checks", {}).get("randomised"))
            for name, model in self.scorer.experiments.items()
        }
        return np.array([backed.get(one.experiment or "", False) for one in self.offers.offers], dtype=bool)

    def _cautions(self) -> list[str]:
        """Return sentences on what the figures do not rest on."""
        said = []
        causal = self._causal()
        experiments = np.array([one.experiment is not None for one in self.offers.offers])
        if not causal.all():
            said.append(
                "what an offer without an experiment does is what the model says of customers who are like that "
                "already, or an assumption: not what causes them to stay; test it on a part chosen at random "
                "(docs/uplift.md)"
            )
        said += [
            f"{offer.name}: its treatment was not given at random, as the checks of {offer.experiment} say; its effect "
            "is no proof"
            for offer, is_causal, tested in zip(self.offers.offers, causal, experiments, strict=True)
            if tested and not is_causal
        ]
        if self.held_out is None:
            said.append("no test rows were given: intervals leave out how far the model's probabilities are off")
        return said

    def _groups(
        self,
        answers: Answers,
        typed: pl.DataFrame,
        how: SegmentsConfig,
        wording: Wording | None,
        reasoned: int,
        seed: int,
    ) -> tuple[Groups | None, list[str | None]]:
        """Return the groups, and the main reason of each."""
        if how.by == "none":
            return None, []
        risk = answers.risk
        if how.by == "reason":
            every = np.where(np.isfinite(risk), 0, -1)
            reasons = main_reasons(self.predictor, typed, every, wording, explain="true", seed=seed)
            at_risk = risk * answers.value
            groups = by_reason(at_risk, [one or "no strong reason" for one in reasons], fewest=how.fewest)
            return groups, of_groups(groups, reasons)
        if how.by == "columns":
            groups = by_columns(typed, np.isfinite(risk), how.columns, fewest=how.fewest)
        else:
            schema = self.predictor.schema
            groups = by_tree(typed, schema, risk, leaves=how.leaves, fewest=how.fewest, seed=seed)
        some = _sample(groups, reasoned, seed=seed)
        reasons = main_reasons(self.predictor, typed, some, wording, explain="some", seed=seed)
        return groups, of_groups(groups, reasons)


def _sample(groups: Groups, most: int, *, seed: int) -> Ints:
    """Return 0 for some customers of each group, -1 for the others, ``(n,)``."""
    rng = np.random.default_rng(seed)
    found = np.full(len(groups.number), -1, dtype=np.int64)
    for place in range(len(groups.names)):
        mine = np.flatnonzero(groups.number == place)
        found[mine if len(mine) <= most else rng.choice(mine, most, replace=False)] = 0
    return found


def plan(
    predictor: Predictor,
    table: Any,
    *,
    levers: LeversConfig | Mapping[str, Any],
    money: MoneyConfig | Mapping[str, Any] | None = None,
    budget: float | None = None,
    capacity: float | None = None,
    held_out: pl.DataFrame | None = None,
    segments: SegmentsConfig | Mapping[str, Any] | None = None,
    wording: Wording | Mapping[str, Any] | None = None,
    on_error: str = "raise",
    **options: Any,
) -> Plan:
    """Plan a campaign: choose for each customer the offer that gains most, or none, within a budget and a capacity.

    Args:
        predictor: The model.
        table: A polars or pandas frame, a list of dicts, a dict of columns, or a reading of one.
        levers: What can be offered: what ``conf/levers/*.yaml`` holds.
        money: What a customer is worth and an offer costs: what ``conf/money/*.yaml`` holds; what is left out is as in
            ``conf/money/default.yaml``.
        budget: Money that may be spent, as expected; None for no limit.
        capacity: What the team can do, in units of the levers' ``effort``; None for no limit.
        held_out: ``label`` and ``churn_probability`` of rows that the model did not learn from (a run's
            ``predictions.parquet``); without them intervals leave out how far the model's probabilities are off.
        segments: How customers are put into groups.
        wording: How reasons are worded, see :func:`churnlib.explain`.
        on_error: ``raise``, or ``null``: rows that cannot be scored get empty results.
        **options: ``explain`` and ``seed`` of :meth:`Planner.plan`, and ``experiments`` of :class:`Planner`.

    Raises:
        ConfigError: If a lever, a limit or an option is impossible.
        RowErrors: If rows cannot be scored and ``on_error`` is ``raise``.
    """
    check_limits(budget, capacity)
    planner = Planner(
        predictor, levers, as_money(money), held_out=held_out, experiments=options.pop("experiments", None)
    )
    reading = table if isinstance(table, Reading) else predictor.read(table)
    if on_error == "raise":
        predictor.check(reading)
    frame = reading.frame
    if len(frame) <= ROWS_AT_ONCE:
        planner.take(reading)
    else:
        for part in frame.iter_slices(ROWS_AT_ONCE):
            planner.take(predictor.read(part))
    how = segments if isinstance(segments, SegmentsConfig) else SegmentsConfig(**(segments or {}))
    words = wording if isinstance(wording, Wording) or wording is None else Wording.from_mapping(wording)
    ids = predictor.customer_ids(frame)
    return planner.plan(ids, budget=budget, capacity=capacity, segments=how, wording=words, **options)


def check_limits(budget: float | None, capacity: float | None) -> None:
    """Refuse limits that are none.

    Raises:
        ConfigError: If one is below 0 or no number.
    """
    for name, limit in (("budget", budget), ("capacity", capacity)):
        if limit is not None and not 0 <= limit < np.inf:
            raise ConfigError(f"{name} must be a number of at least 0, or left out for no limit, got {limit!r}")


def as_money(given: MoneyConfig | Mapping[str, Any] | None) -> MoneyConfig:
    """Return what a customer is worth and an offer costs; what is not given is as in ``conf/money/default.yaml``.

    Raises:
        ConfigError: If an option is unknown or out of its range.
    """
    if isinstance(given, MoneyConfig):
        return given
    import yaml

    standard = yaml.safe_load((config_dir() / "money" / "default.yaml").read_text(encoding="utf-8"))
    try:
        return MoneyConfig(**{**standard, **(given or {})})
    except TypeError as error:
        raise ConfigError(f"money cannot be read: {error}") from error


def _experiments(folders: Sequence[str]) -> dict[str, Predictor]:
    """Load the uplift models that levers name."""
    from churnlib.models.uplift import UpliftModel

    found = {}
    for folder in folders:
        model = load(folder, backend="torch")
        if not isinstance(model.bundle.model, UpliftModel):
            raise ConfigError(
                f"levers name the experiment {folder}, which holds a {model.model_name} and no uplift model; give the "
                "bundle that churnlib uplift has written"
            )
        found[folder] = model
    return found


def _effect_error(model: Predictor) -> Floats | None:
    """Return how far an experiment's effects may be off, ``(2, 2)``; None where its rows do not say."""
    error = model.metrics.get("effect_line", {}).get("error")
    return None if error is None else np.asarray(error, dtype=np.float64)


def _labels(frame: pl.DataFrame, predictor: Predictor) -> Ints:
    """Return who is known to have left (1) or stayed (0), -1 where the table does not say, ``(n,)``."""
    target, n = predictor.schema.target, len(frame)
    if target is None or target not in frame.columns or not parsing.is_plain(frame.schema[target]):
        return np.full(n, -1, dtype=np.int64)
    cell = parsing.truth(parsing.cell_of(target), frame.schema[target])
    names = pl.DataFrame({"name": list(predictor.classes)}).select(parsing.truth(pl.first(), pl.String())).to_series()
    label = cell.replace_strict(names, [0, 1], default=-1, return_dtype=pl.Int64).fill_null(-1)
    return frame.select(label.alias("label")).to_series().to_numpy()


def _allocated(money: Economics, *, budget: float | None, capacity: float | None, settle: bool = True) -> Allocation:
    n, k = money.gain.shape
    effort = np.broadcast_to(money.effort, (n, k))
    use = np.stack([np.nan_to_num(money.cost), effort])
    limits = np.array([np.inf if limit is None else limit for limit in (budget, capacity)])
    return allocate(money.gain, use, limits, settle=settle)


__all__ = ["ALONE", "Plan", "Planner", "as_money", "check_limits", "plan"]
