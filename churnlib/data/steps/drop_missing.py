"""``drop_missing``: columns with more gaps than values, proposed for dropping, and dropped once confirmed."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from churnlib.data.missing import MOSTLY_MISSING, mostly_missing
from churnlib.data.steps.step import Fitted, Learned, Step, Training, number
from churnlib.errors import ConfigError
from churnlib.schema import FEATURE_KINDS
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True)
class DropMissing(Step):
    """Drop columns that are nearly empty, after somebody has looked at them.

    That a value is missing may say more than the value would: each proposal comes with the share of gaps and the ROC
    AUC of the gap alone. Nothing is dropped unless ``confirm`` is true, or the column is listed.

    Attributes:
        above: Share of gaps in the training rows above which a column is proposed, in [0, 1].
        confirm: Drop all that are proposed.
        columns: Drop these, whatever their share.
        indicator: Keep ``NAME_missing`` (0 or 1) of each dropped column.
    """

    word = "drop_missing"
    above: float = MOSTLY_MISSING
    confirm: bool = False
    columns: tuple[str, ...] = ()
    indicator: bool = False

    def __post_init__(self) -> None:
        self.check_range("above", 0, 1)

    def fit(self, training: Training) -> Learned:
        """Look for columns with many gaps."""
        listed = training.choose(self.columns, FEATURE_KINDS, option=self.option("columns")) if self.columns else ()
        names = training.names(*FEATURE_KINDS)
        found = {g.column: g for g in mostly_missing(training.rows, names, training.label, above=self.above)}
        asked = mostly_missing(training.rows, listed, training.label, above=-1.0)
        known = {gaps.column: gaps for gaps in asked} | found
        dropped = tuple(name for name in names if name in listed or (self.confirm and name in found))
        if len(dropped) == len(names):
            raise ConfigError(f"the step {self.word!r} would leave no column; list fewer of them")
        taken = [f"{name}_missing" for name in dropped if self.indicator and f"{name}_missing" in training.rows.columns]
        if taken:
            raise ConfigError(f"{self.option('indicator')} needs the column {taken[0]!r}, which is there already")
        said = [f"{gaps}: {self._verdict(gaps.column, dropped)}" for gaps in known.values()]
        flags = tuple(number(f"{name}_missing", note=f"gaps of {name}") for name in dropped) if self.indicator else ()
        fitted = FittedDropMissing(dropped, bool(self.indicator))
        return Learned(fitted, (*training.kept(*dropped), *flags), said=tuple(said))

    def _verdict(self, name: str, dropped: tuple[str, ...]) -> str:
        return "dropped" if name in dropped else f"kept; drop it with columns: [{name}] or confirm: true"


@dataclass(frozen=True)
class FittedDropMissing(Fitted):
    """Columns that are taken away.

    Attributes:
        dropped: Their names.
        indicator: Whether a flag of their gaps stays.
    """

    dropped: tuple[str, ...]
    indicator: bool

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        if self.indicator:
            flags = (cell_of(name).is_null().cast(pl.Float64).alias(f"{name}_missing") for name in self.dropped)
            rows = rows.with_columns(flags)
        return rows.drop(self.dropped)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {f"{name}_missing": (name,) for name in self.dropped} if self.indicator else {}
