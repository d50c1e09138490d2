"""Where a TabNet looked, as a picture: a diagnosis of the network, with the warning that belongs to it."""

from __future__ import annotations

from collections.abc import Collection
from html import escape

import numpy as np

from churnlib.inside import Masks

WARNING = (
    "Where the network looked, not why it answered: the correlation of masks with measured effects was 0.33 and 0.53"
)

CELL, HEIGHT, LEFT, TOP = 64, 22, 220, 46
"""Of the picture, in pixels: the width and height of a cell, and the room for names and headings."""

DARK = (0x8C, 0x2D, 0x04)
"""Colour of a mask of the largest value; white is 0."""

OTHERS = "other columns"


def mask_picture(masks: Masks, *, hidden: Collection[str] = (), most: int = 30) -> str:
    """Draw the mean mask of each step, and of the steps weighted by their part in the decision, as SVG.

    Args:
        masks: Of :meth:`churnlib.predictor.Predictor.masks`; rows that could not be scored are left out.
        hidden: Columns that are not named: their masks are in the last line, with those of columns beyond the most
            looked at.
        most: Columns that have a line of their own.
    """
    seen = ~np.isnan(masks.importance[:, 0])
    if not seen.any():
        raise ValueError("there is no customer whose masks could be drawn")
    means = np.concatenate([masks.steps[:, seen].mean(axis=1), masks.importance[seen].mean(axis=0)[None]])
    order = np.argsort(-means[-1], kind="stable")
    named = [place for place in order if masks.columns[place] not in hidden][:most]
    rest = np.setdiff1d(np.arange(len(masks.columns)), named)
    names = [masks.columns[place] for place in named] + ([OTHERS] if len(rest) else [])
    lines = means[:, named].T
    if len(rest):
        lines = np.concatenate([lines, means[:, rest].sum(axis=1)[None]])
    headings = [*(f"step {number}" for number in range(1, len(means))), "together"]
    return _drawn(names, headings, lines)


def _drawn(names: list[str], headings: list[str], lines: np.ndarray) -> str:
    width, height = max(LEFT + len(headings) * CELL + 10, 560), TOP + len(names) * HEIGHT + 10
    most = max(float(lines.max()), 1e-12)
    body = [
        f'<text x="{LEFT + place * CELL + CELL / 2:g}" y="{TOP - 8}" text-anchor="middle">{heading}</text>'
        for place, heading in enumerate(headings)
    ]
    for row, name in enumerate(names):
        y = TOP + row * HEIGHT
        shown = name if len(name) <= 28 else f"{name[:27]}…"
        body.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(shown)}</text>')
        for place, value in enumerate(lines[row].tolist()):
            share = value / most
            shade = ",".join(str(round(255 + share * (end - 255))) for end in DARK)
            ink = "white" if share > 0.6 else "black"
            x = LEFT + place * CELL
            body.append(
                f'<rect x="{x}" y="{y}" width="{CELL - 2}" height="{HEIGHT - 2}" fill="rgb({shade})"/>'
                f'<text x="{x + CELL / 2 - 1:g}" y="{y + 15}" text-anchor="middle" fill="{ink}">{value:.1%}</text>'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12"><title>{WARNING}</title>'
        f'<rect width="100%" height="100%" fill="white"/><text x="8" y="16" font-size="11">{WARNING}</text>'
        f"{''.join(body)}</svg>\n"
    )


__all__ = ["WARNING", "mask_picture"]
