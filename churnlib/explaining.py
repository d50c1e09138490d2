"""Explaining a file of any size: what scoring it gives, and each customer's reasons beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
from rich.console import Console

from churnlib.config.explain import ExplainConfig
from churnlib.data.sources import scan_table
from churnlib.explanation.effects import Explainer
from churnlib.explanation.reasons import explain
from churnlib.explanation.wording import Wording
from churnlib.predictor import Predictor
from churnlib.reading import Reading
from churnlib.scoring import Scored, score_file


def explain_file(config: ExplainConfig, console: Console | None = None) -> Scored:
    """Explain a table with a bundle and write one answer per row.

    Args:
        config: Bundle, input, output and options.
        console: Where to show progress and the summary.

    Raises:
        ConfigError: If an option is wrong.
        BundleError: If the bundle cannot be used.
        DataError: If the table lacks a column, or (``on_error=raise``) has rows that cannot be scored; nothing is
            written then.
    """
    return score_file(config, console, answering=lambda predictor: _answering(config, predictor))


def _answering(config: ExplainConfig, predictor: Predictor) -> Callable[[Reading], pl.DataFrame]:
    background = None if config.background is None else scan_table(config.background).collect()
    chance = {"samples": config.samples, "pairs": config.pairs, "seed": config.seed, "horizon": config.horizon}
    explainer = Explainer(predictor, method=config.method, background=background, **chance)
    wording = Wording.from_config(config.reasons)
    in_cells = Path(config.output or "").suffix.lower() == ".csv"

    def answer(reading: Reading) -> pl.DataFrame:
        said = explain(
            predictor, reading, top=config.top, target=config.target, wording=wording, explainer=explainer,
            on_error="null",
        )  # fmt: skip
        return flat(said, config.top) if in_cells else said

    return answer


def flat(said: pl.DataFrame, top: int) -> pl.DataFrame:
    """Return answers with a column for each cell, for files that hold no lists: ``reason_1``, its ``_code``, ...

    Args:
        said: What :func:`~churnlib.explanation.reasons.explain` returned.
        top: Reasons of each customer at most.
    """
    fields = {"": "text", "_feature": "feature", "_effect": "effect", "_actionable": "actionable", "_code": "code"}
    reason = pl.col("reasons")
    cells = [
        reason.list.get(place, null_on_oob=True).struct.field(name).alias(f"reason_{place + 1}{end}")
        for place in range(top)
        for end, name in fields.items()
    ]
    return said.with_columns(cells).drop("reasons")


__all__ = ["explain_file", "flat"]
