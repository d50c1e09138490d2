"""A picture of a customer table: each customer a point, similar customers close together (t-SNE).

For looking at only. Neighbours mean something; distances between clusters, their sizes and the axes do not, and another
seed draws another map: nothing here becomes a feature (van der Maaten and Hinton, JMLR 9, 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import polars as pl

from churnlib.data.coercion import coerce
from churnlib.data.steps import Training
from churnlib.data.steps.proxies import Logistic
from churnlib.data.steps.selection import SELECTABLE
from churnlib.errors import ConfigError, DataError
from churnlib.schema import infer_schema

MOST_ROWS = 5_000
"""Customers on a map at most: its cost grows faster than their number, and more points hide each other."""

SIZE, MARGIN, LEGEND = 640, 24, 44
"""Of the picture, in pixels: the side of the square, the blank around it, and the height below it."""

LOW, HIGH = np.array([0x2C, 0x7F, 0xB8]), np.array([0xD9, 0x48, 0x01])
"""Colours of the lowest and the highest value: blue and orange, which the colour-blind can tell apart."""


@dataclass(frozen=True, slots=True)
class CustomerMap:
    """Customers on a plane.

    Attributes:
        rows: ``(n,)`` int64 row number of each customer in the table.
        places: ``(n, 2)`` float64 coordinates.
        colour: ``(n,)`` float64 what the points are coloured by; None for one colour.
        name: What that is called.
    """

    rows: np.ndarray
    places: np.ndarray
    colour: np.ndarray | None = None
    name: str = ""

    def svg(self) -> str:
        """Return the picture, which needs nothing beside itself."""
        low, span = self.places.min(axis=0), np.maximum(np.ptp(self.places, axis=0), 1e-12)
        pixels = MARGIN + (self.places - low) / span * (SIZE - 2 * MARGIN)
        shade, legend = self._shades()
        points = "".join(
            f'<circle cx="{x:.1f}" cy="{SIZE - y:.1f}" r="2.6" fill="rgb({r},{g},{b})"/>'
            for (x, y), (r, g, b) in zip(pixels.tolist(), shade.tolist(), strict=True)
        )
        height = SIZE + (LEGEND if legend else 0)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {height}" width="{SIZE}" height="{height}" '
            f'font-family="sans-serif" font-size="13"><title>{len(self.rows):,} customers</title>'
            f'<rect width="100%" height="100%" fill="white"/><g fill-opacity="0.7">{points}</g>{legend}</svg>\n'
        )

    def save(self, path: str | Path) -> None:
        """Write the picture to a file."""
        Path(path).write_text(self.svg(), encoding="utf-8")

    def _shades(self) -> tuple[np.ndarray, str]:
        """Return ``(n, 3)`` red, green and blue from 0 to 255, and the legend."""
        if self.colour is None:
            return np.tile(LOW, (len(self.rows), 1)), ""
        low, high = float(self.colour.min()), float(self.colour.max())
        share = (self.colour - low) / max(high - low, 1e-12)
        shade = np.rint(LOW + share[:, None] * (HIGH - LOW)).astype(int)
        ends = [f"rgb({','.join(map(str, end.tolist()))})" for end in (LOW, HIGH)]
        bar, left, width = SIZE + 18, 300, 160
        legend = (
            f'<defs><linearGradient id="shade"><stop offset="0" stop-color="{ends[0]}"/>'
            f'<stop offset="1" stop-color="{ends[1]}"/></linearGradient></defs>'
            f'<text x="{MARGIN}" y="{bar + 3}">{escape(self.name)}</text>'
            f'<rect x="{left}" y="{bar - 8}" width="{width}" height="12" fill="url(#shade)"/>'
            f'<text x="{left - 8}" y="{bar + 3}" text-anchor="end">{low:.3g}</text>'
            f'<text x="{left + width + 8}" y="{bar + 3}">{high:.3g}</text>'
        )
        return shade, legend


def tsne_map(
    table: pl.DataFrame,
    *,
    colour: Sequence[float] | np.ndarray | None = None,
    name: str = "churn probability",
    drop: Sequence[str] = (),
    rows: int = MOST_ROWS,
    perplexity: float = 30.0,
    seed: int = 0,
) -> CustomerMap:
    """Lay customers out on a plane.

    Args:
        table: Customers as they come; numbers are standardised, categories become 0/1 columns, gaps the mean.
        colour: One number per row of the table, such as its predicted probability or label.
        name: What that number is called in the legend.
        drop: Columns that do not count, such as the target.
        rows: Customers on the map at most, drawn at random; up to 5,000.
        perplexity: About how many neighbours a customer is compared with.
        seed: Of the draw and the map.

    Raises:
        ConfigError: If there are more rows on the map than it can show, or not one colour per row.
        DataError: If there are too few rows.
    """
    if not 4 <= rows <= MOST_ROWS:
        raise ConfigError(f"a map shows between 4 and {MOST_ROWS:,} customers, got rows={rows}")
    if colour is not None and len(colour) != len(table):
        raise ConfigError(f"colour has {len(colour):,} numbers for {len(table):,} customers; give one for each")
    if len(table) < 4:
        raise DataError(f"{len(table)} customers make no map; give 4 or more")
    from sklearn.manifold import TSNE

    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(len(table), min(rows, len(table)), replace=False))
    places = TSNE(perplexity=min(perplexity, (len(drawn) - 1) / 3), init="pca", random_state=seed).fit_transform(
        _inputs(table[drawn], drop)
    )
    shades = None if colour is None else np.asarray(colour, dtype=np.float64)[drawn]
    return CustomerMap(drawn, places.astype(np.float64), shades, name)


def _inputs(table: pl.DataFrame, drop: Sequence[str]) -> np.ndarray:
    """Return what customers are compared by, ``(n, inputs)`` float64."""
    schema = infer_schema(table, drop=drop)
    known = Training(coerce(table, schema).typed, schema.features, np.zeros(len(table), dtype=np.int64))
    names = known.names(*SELECTABLE)
    if not names:
        raise DataError("there are no numbers, dates or categories to compare the customers by")
    return Logistic(known, names).inputs(range(len(names)), np.arange(len(table)))


__all__ = ["MOST_ROWS", "CustomerMap", "tsne_map"]
