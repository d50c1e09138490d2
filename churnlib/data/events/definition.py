"""What is asked of an event table: a grid of windows, aggregations and columns, and features with own names."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from churnlib.errors import BundleError, ConfigError

ALL = "all"
"""In the place of a window's days: everything up to the snapshot."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
FEATURE_OPTIONS = ("aggregation", "column", "window", "value")
OPTIONS = ("id", "time", "format", "windows", "aggregations", "columns", "features")
"""What a definition says; where the table lies and how it is delimited is said beside it, and no part of a model."""


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What an aggregation needs, and what it gives where there is no event.

    Attributes:
        column: ``number``, ``category``, ``optional`` (a number, or none: the events are counted) or ``none``.
        window: ``any``, ``days`` (not all of the past) or ``whole days``.
        empty: Value of a row without events; None for a missing one.
        reach: Windows that it looks back.
    """

    column: str
    window: str = "any"
    empty: float | None = None
    reach: int = 1


AGGREGATIONS: Mapping[str, Aggregation] = {
    "count": Aggregation("none", empty=0.0),
    "active_days": Aggregation("none", empty=0.0),
    "recency": Aggregation("none"),
    "sum": Aggregation("number", empty=0.0),
    "mean": Aggregation("number"),
    "max": Aggregation("number"),
    "min": Aggregation("number"),
    "std": Aggregation("number"),
    "slope": Aggregation("number"),
    "daily_mean": Aggregation("number", "days", empty=0.0),
    "daily_max": Aggregation("number", "whole days", empty=0.0),
    "change": Aggregation("optional", "days", reach=2),
    "ratio": Aggregation("optional", "days", reach=2),
    "distinct": Aggregation("category", empty=0.0),
    "share": Aggregation("category"),
}


@dataclass(frozen=True, slots=True)
class EventFeature:
    """One column that is made from events.

    Attributes:
        name: Of the column.
        aggregation: One of :data:`AGGREGATIONS`.
        column: Of the event table; None where the events themselves are counted.
        window: Days before the snapshot; None for all of the past.
        value: Category whose share is wanted.
    """

    name: str
    aggregation: str
    column: str | None = None
    window: float | None = None
    value: str | None = None

    @property
    def empty(self) -> float | None:
        """Value of a row without events in its windows; None for a missing one."""
        if self.aggregation == "change" and self.column is None:
            return 0.0
        return AGGREGATIONS[self.aggregation].empty

    @property
    def reach(self) -> float | None:
        """Days that events may be old to count, None for all."""
        return None if self.window is None else self.window * AGGREGATIONS[self.aggregation].reach


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """What is made from one event table.

    Attributes:
        name: What the user calls the table.
        id: Its column that names the customer; None: as in the customer table.
        time: Its column with the date of each event.
        features: The new columns, in their order.
        format: strftime pattern of dates that come as text or whole numbers.
    """

    name: str
    id: str | None
    time: str
    features: tuple[EventFeature, ...]
    format: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(feature.name for feature in self.features)

    @property
    def nullable(self) -> tuple[str, ...]:
        """Names of the new columns that are missing where there are no events."""
        return tuple(feature.name for feature in self.features if feature.empty is None)

    @property
    def reach(self) -> float | None:
        """Days that the oldest event which counts may be old, None for any age."""
        reaches = [feature.reach for feature in self.features]
        return None if None in reaches else max(reach for reach in reaches if reach is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON-ready values."""
        return {**asdict(self), "features": [asdict(feature) for feature in self.features]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EventDefinition:
        """Build a definition from what :meth:`to_dict` returned.

        Raises:
            BundleError: If the values are none, or a newer release wrote them.
        """
        try:
            features = tuple(EventFeature(**feature) for feature in values["features"])
            definition = cls(**{**values, "features": features})
        except (KeyError, TypeError) as error:
            raise BundleError(f"the event columns cannot be read ({error!r}); train again with this release") from error
        for feature in definition.features:
            if feature.aggregation not in AGGREGATIONS:
                raise BundleError(f"the event column {feature.name!r} needs a newer release of churnlib; install it")
        return definition


def read_definition(name: str, options: Mapping[str, Any]) -> EventDefinition:
    """Read what the user wants from an event table.

    Args:
        name: What the user calls the table; the columns of the grid begin with it.
        options: ``time``; then a grid of ``windows`` (days, or ``all``), ``aggregations`` and ``columns``, or
            ``features`` by name (``{aggregation: mean, column: gb, window: 30}``), or both; ``id`` and ``format``.

    Raises:
        ConfigError: If an option is unknown, missing or impossible.

    >>> grid = {"time": "day", "windows": [7, 30], "aggregations": ["count", "mean"], "columns": ["gb"]}
    >>> read_definition("usage", grid).names
    ('usage_count_7d', 'usage_count_30d', 'usage_gb_mean_7d', 'usage_gb_mean_30d')
    """
    where = f"data.events.{name}"
    if not NAME.fullmatch(name):
        raise ConfigError(f"data.events names a table {name!r}; take letters, digits and _ only")
    said = {key: value for key, value in options.items() if value is not None}
    for key in said:
        if key not in OPTIONS:
            raise ConfigError(f"unknown option {where}.{key}{_nearest(key, OPTIONS)}")
    if not said.get("time"):
        raise ConfigError(f"{where}.time is missing; name the column with the date of each event")
    features = [*_grid(name, where, said), *_named(where, said.get("features", {}))]
    if not features:
        raise ConfigError(f"{where} asks for no column; give windows and aggregations, or features")
    names = [feature.name for feature in features]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where} makes the column {twice!r} twice; leave one out")
    text = {key: None if said.get(key) is None else str(said[key]) for key in ("id", "format")}
    return EventDefinition(name, text["id"], str(said["time"]), tuple(features), text["format"])


def _grid(name: str, where: str, said: Mapping[str, Any]) -> list[EventFeature]:
    """Return one feature for each cell of the grid; what needs no column, or no window, comes once for it."""
    windows = [_window(one, f"{where}.windows") for one in _list(said, "windows", where)]
    words = [_aggregation(one, f"{where}.aggregations") for one in _list(said, "aggregations", where)]
    columns = _list(said, "columns", where)
    if not words:
        if windows or columns:
            raise ConfigError(f"{where} has windows or columns but no aggregations; say which, such as [mean, max]")
        return []
    needs = [word for word in words if AGGREGATIONS[word].column in ("number", "category")]
    if needs and not columns:
        raise ConfigError(f"{where}.aggregations names {needs[0]}, which needs {where}.columns=[COLUMN]")
    if "share" in words:
        raise ConfigError(f"{where}.aggregations names share, which needs a value: declare it under {where}.features")
    made: list[EventFeature] = []
    for word in words:
        if not windows and word != "recency":
            raise ConfigError(f"{where}.aggregations names {word}, which needs {where}.windows=[DAYS]")
        over = [None] if AGGREGATIONS[word].column == "none" else list(columns or [None])
        # How long ago the last event was does not depend on a window.
        spans = [None] if word == "recency" else windows
        made += [_feature(_cell_name(name, word, *cell), word, *cell, None, where) for cell in product(over, spans)]
    return made


def _cell_name(name: str, word: str, column: str | None, window: float | None) -> str:
    parts = [name, column, word, None if word == "recency" else ALL if window is None else f"{window:g}d"]
    return "_".join(part for part in parts if part)


def _named(where: str, given: Any) -> list[EventFeature]:
    """Return the features that have names of their own; None leaves one out."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}.features must be a mapping of names to {{aggregation: ..., window: ...}}")
    made = []
    for name, options in ((str(name), options) for name, options in given.items() if options is not None):
        option = f"{where}.features.{name}"
        if not isinstance(options, Mapping):
            raise ConfigError(f"{option} must be a mapping such as {{aggregation: count, window: 90}}, got {options!r}")
        for key in options:
            if key not in FEATURE_OPTIONS:
                raise ConfigError(f"unknown option {option}.{key}{_nearest(str(key), FEATURE_OPTIONS)}")
        word = _aggregation(options.get("aggregation"), f"{option}.aggregation")
        if word != "recency" and options.get("window") is None:
            raise ConfigError(f"{option}.window is missing; give days, or {ALL}")
        window = None if options.get("window") is None else _window(options["window"], f"{option}.window")
        column, value = (None if options.get(key) is None else str(options[key]) for key in ("column", "value"))
        made.append(_feature(name, word, column, window, value, option))
    return made


def _feature(
    name: str, word: str, column: str | None, window: float | None, value: str | None, option: str
) -> EventFeature:
    """Return a feature if its parts go together."""
    rule = AGGREGATIONS[word]
    if rule.column in ("number", "category") and column is None:
        raise ConfigError(f"{option}: {word} needs a column")
    if rule.column == "none" and column is not None:
        raise ConfigError(f"{option}: {word} counts events and takes no column, got {column!r}; leave it out")
    if rule.window != "any" and window is None:
        raise ConfigError(f"{option}: {word} needs a window in days, not {ALL}")
    if rule.window == "whole days" and window is not None and window != int(window):
        raise ConfigError(f"{option}: {word} needs a window of whole days, got {window:g}")
    if (word == "share") != (value is not None):
        raise ConfigError(f"{option}: share and value=CATEGORY go together; give both or neither")
    return EventFeature(name, word, column, window, value)


def _list(said: Mapping[str, Any], key: str, where: str) -> Sequence[Any]:
    value = said.get(key, ())
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{where}.{key} must be a list, got {value!r}")
    return value


def _window(value: Any, option: str) -> float | None:
    if value == ALL:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not value > 0:
        raise ConfigError(f"{option} must be a number of days above 0, or {ALL}, got {value!r}")
    return float(value)


def _aggregation(value: Any, option: str) -> str:
    if value not in AGGREGATIONS:
        hint = _nearest(str(value), AGGREGATIONS)
        raise ConfigError(f"{option} names {value!r}, which is no aggregation{hint}")
    return str(value)


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


__all__ = ["AGGREGATIONS", "ALL", "Aggregation", "EventDefinition", "EventFeature", "read_definition"]
