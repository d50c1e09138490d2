"""From typed columns to the two arrays a network reads, and the statistics its input layer needs.

First come the steps that the user has named (:mod:`churnlib.data.steps`), if any. Then polars turns strings and dates
into numbers; arithmetic on numbers (imputing, scaling, clipping) is described by the fitted statistics and done by
``churnlib.models.input_layer`` inside the network's graph. Everything is learned from training rows only, and kept as
JSON-ready values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from churnlib.data.inputs import FIRST_KNOWN, History, Vocabulary, as_array, as_code, as_numbers, as_steps
from churnlib.data.scaling import NumericStatistics
from churnlib.data.steps import Chain
from churnlib.data.steps.arrays import filled_by_pieces
from churnlib.errors import BundleError
from churnlib.schema.parsing import cell_of


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows as a network reads them.

    Attributes:
        numeric: ``(n, n_numeric)`` float32, missing values NaN.
        codes: ``(n, n_categorical)`` int64: 0 missing, 1 unseen, 2... known values.
    """

    numeric: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.numeric)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Fitted preparation: from typed columns to :class:`Encoded`, and the input layer's statistics.

    Attributes:
        numeric: One entry per numeric input, in the order of ``Encoded.numeric``; the steps of the histories come
            after all other numbers.
        categorical: One entry per categorical input, in the order of ``Encoded.codes``.
        clip: Whether scaled numbers are smoothly clipped to +-3.
        one_hot_max: Up to this many values a categorical column is one-hot encoded, above it is embedded.
        embedding_dim: Width of every embedding; chosen by the number of values when None.
        time: Column that dates are measured from (days before it), else days since 1970-01-01.
        orders: Declared order of each ordinal column.
        histories: The sequence columns, in the order of their inputs.
        chain: The steps that come before all this.
        seen: The categorical columns as they stand before the first step; those of ``categorical`` where there is none.
        branches: Preparations of several models that answer together, where each has learned steps of its own; what
            they make of a row then stands side by side, and ``numeric`` and ``categorical`` list it all.
    """

    numeric: tuple[NumericStatistics, ...]
    categorical: tuple[Vocabulary, ...]
    clip: bool = True
    one_hot_max: int = 10
    embedding_dim: int | None = None
    time: str | None = None
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    histories: tuple[History, ...] = ()
    chain: Chain = field(default_factory=Chain)
    seen: tuple[Vocabulary, ...] = ()
    branches: tuple[Preparation, ...] = ()

    @property
    def has_steps(self) -> bool:
        """Whether steps of the user stand between the columns of the table and the inputs."""
        return bool(self.chain or self.branches)

    def encode(self, typed: pl.DataFrame) -> Encoded:
        """Encode rows.

        Args:
            typed: Columns as :func:`churnlib.data.coercion.coerce` returns them.
        """

        def arrays(piece: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
            encoded = self.encode_prepared(self.chain.apply(piece))
            return encoded.numeric, encoded.codes

        if not self.branches:
            return Encoded(*filled_by_pieces(typed, arrays))
        each = [branch.encode(typed) for branch in self.branches]
        return Encoded(
            np.concatenate([encoded.numeric for encoded in each], axis=1),
            np.concatenate([encoded.codes for encoded in each], axis=1),
        )

    def encode_prepared(self, typed: pl.DataFrame) -> Encoded:
        """Encode rows that have been through the steps already."""
        n, dtypes = len(typed), dict(typed.schema)
        n_plain = len(self.numeric) - sum(history.n_steps for history in self.histories)
        plain = [(s.name, self.orders.get(s.name, ())) for s in self.numeric[:n_plain]]
        steps = [step for history in self.histories for step in as_steps(history)]
        parts = [
            typed.select(cell.fill_null(math.nan) for cell in as_numbers(plain, dtypes, time=self.time)),
            typed.select(step.fill_null(math.nan).alias(f"{place}") for place, step in enumerate(steps)),
        ]
        numbers = [as_array(part.cast(pl.Float32), n, np.float32) for part in parts if part.width]
        codes = typed.select(as_code(vocabulary) for vocabulary in self.categorical)
        return Encoded(
            np.concatenate(numbers, axis=1) if len(numbers) > 1 else (numbers or [np.zeros((n, 0), np.float32)])[0],
            as_array(codes, n, np.int64),
        )

    def unseen(self, typed: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return by column the row numbers with values that the training rows did not have; only columns with some."""
        wanted = [(v.name, v.values) for v in self.vocabularies]
        wanted += [] if self.has_steps else list(self.orders.items())
        masks = typed.select(~cell_of(name).is_in(values).fill_null(True) for name, values in wanted)
        return {mask.name: mask.arg_true().to_numpy() for mask in masks if mask.any()}

    def flagged(self, typed: pl.DataFrame) -> dict[str, np.ndarray]:
        """Return by flag the row numbers that a step finds unusual (of several preparations, half of them or more)."""
        each = [branch.chain.flagged(typed) for branch in self.branches] or [self.chain.flagged(typed)]
        names = dict.fromkeys(name for one in each for name in one)
        share = {name: np.mean([one[name] for one in each if name in one], axis=0) for name in names}
        return {name: np.flatnonzero(part >= 0.5) for name, part in share.items() if (part >= 0.5).any()}

    @property
    def vocabularies(self) -> tuple[Vocabulary, ...]:
        """The values that the categorical columns of the table had in the training rows."""
        return self.seen if self.has_steps else self.categorical

    def input_spec(self, *, one_hot_max: int | None = None) -> dict[str, Any]:
        """Return the arguments of ``churnlib.models.input_layer.InputLayer``: numbers and lists only.

        Args:
            one_hot_max: Overrides the fitted limit; baselines one-hot encode every column.
        """
        limit = self.one_hot_max if one_hot_max is None else one_hot_max
        keys = ("fill", "indicator", "low", "high", "center", "factor", "knots", "heights")
        return {
            **{key: [_plain(getattr(statistics, key)) for statistics in self.numeric] for key in keys},
            "clip": self.clip,
            "cardinalities": [FIRST_KNOWN + len(v.values) for v in self.categorical],
            "one_hot": [len(v.values) + v.missing <= limit for v in self.categorical],
            "has_missing": [v.missing for v in self.categorical],
            "embedding_dim": self.embedding_dim,
            "sequences": self._step_places(),
        }

    def _step_places(self) -> list[list[int]]:
        """Return for each history where its steps stand among the numeric inputs."""
        ends = len(self.numeric) - np.cumsum([0, *(history.n_steps for history in reversed(self.histories))])[::-1]
        return [list(range(start, end)) for start, end in pairwise(ends.tolist())]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the raw columns, in the order of the input layer's groups: numeric first, then categorical."""
        return (*(s.name for s in self.numeric), *(v.name for v in self.categorical))

    def origins(self, names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Return the columns of the table that each numeric and then each categorical input is made of.

        A date counts as it is measured, by its distance from the time column, which is not listed beside it.

        Args:
            names: Columns of the typed table, in table order.
        """
        each = [branch._own_origins(names) for branch in self.branches or (self,)]
        return tuple(made for side in zip(*each, strict=True) for found in side for made in found)

    def _own_origins(self, names: Sequence[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        n_plain = len(self.numeric) - sum(history.n_steps for history in self.histories)
        wanted = [statistics.name for statistics in self.numeric[:n_plain]]
        wanted += [history.name for history in self.histories for _ in range(history.n_steps)]
        found = self.chain.origins(names, [*wanted, *(vocabulary.name for vocabulary in self.categorical)])
        without = [tuple(name for name in made if name != self.time) or made for made in found]
        return without[: len(wanted)], without[len(wanted) :]

    def to_dict(self) -> dict[str, Any]:
        """Return the fitted state as JSON-ready values."""
        own = asdict(replace(self, numeric=(), chain=Chain(), branches=()))
        keys = tuple(one.name for one in fields(NumericStatistics))
        # asdict copies whatever it meets, and there may be ten thousand of these.
        numeric = tuple({key: getattr(statistics, key) for key in keys} for statistics in self.numeric)
        return {
            **own,
            "numeric": numeric,
            "chain": self.chain.to_dict(),
            "branches": [branch.to_dict() for branch in self.branches],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preparation:
        """Build a preparation from what :meth:`to_dict` returned.

        Raises:
            BundleError: If the values are no preparation.
        """
        try:
            numeric = tuple(
                NumericStatistics(**{**s, "knots": tuple(s["knots"]), "heights": tuple(s["heights"])})
                for s in values["numeric"]
            )
            categorical, seen = (
                tuple(Vocabulary(v["name"], tuple(v["values"]), v["missing"]) for v in values.get(key, ()))
                for key in ("categorical", "seen")
            )
            orders = {name: tuple(order) for name, order in values["orders"].items()}
            histories = tuple(History(**history) for history in values.get("histories", ()))
            chain = Chain.from_dict(values.get("chain", ()))
            branches = tuple(cls.from_dict(branch) for branch in values.get("branches", ()))
            read = {"numeric": numeric, "categorical": categorical, "orders": orders, "histories": histories}
            return cls(**{**values, **read, "chain": chain, "seen": seen, "branches": branches})
        except (KeyError, TypeError, AttributeError) as error:
            raise BundleError(
                f"the preparation cannot be read ({error!r}); write it again with this release"
            ) from error


def side_by_side(branches: Sequence[Preparation], *, seen: tuple[Vocabulary, ...]) -> Preparation:
    """Return a preparation that makes of a row what each of several makes of it.

    Args:
        branches: The preparations; two with equal steps are two all the same.
        seen: Values of the categorical columns in all the rows that one of them has learned from.
    """
    longest = {history.name: history for branch in branches for history in sorted(branch.histories, key=_length)}
    return Preparation(
        numeric=tuple(statistics for branch in branches for statistics in branch.numeric),
        categorical=tuple(vocabulary for branch in branches for vocabulary in branch.categorical),
        histories=tuple(longest.values()),
        seen=seen,
        branches=tuple(branches),
    )


def _length(history: History) -> int:
    return history.n_steps


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


__all__ = ["Encoded", "Preparation", "side_by_side"]
