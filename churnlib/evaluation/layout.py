"""What the tables of results have in common: one look, and how figures are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap

from rich import box
from rich.markup import escape
from rich.table import Table

ABSENT = "–"


def plain_table(title: str | None, caption: str | None = None) -> Table:
    """Return a table without columns, with a line below its heading and no others."""
    return Table(
        title=None if title is None else escape(title),
        caption=None if caption is None else escape(caption),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def add_figures(table: Table, name: str, cells: Sequence[str]) -> None:
    """Add a column of figures that never shrinks or breaks; its heading is broken to the width of the figures."""
    widest = max(width(cells), max(map(len, name.split())))
    table.add_column(escape("\n".join(wrap(name, widest))), justify="right", no_wrap=True, min_width=widest)


def width(texts: Iterable[str]) -> int:
    """Return the length of the longest line, 0 without texts."""
    return max((len(line) for text in texts for line in text.split("\n")), default=0)


def figure(value: float | None) -> str:
    """Write a metric with four digits; a dash if there is none.

    >>> figure(0.84920839), figure(None)
    ('0.8492', '–')
    """
    return ABSENT if value is None else f"{value:.4f}"
