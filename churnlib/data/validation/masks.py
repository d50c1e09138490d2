"""The rows of a table that break each rule."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from churnlib.schema.parsing import cell_of
from churnlib.schema.rules import Check, Rule


def broken(typed: pl.DataFrame, rules: Sequence[Rule], unreadable: pl.DataFrame | None = None) -> pl.DataFrame:
    """Return a Boolean column for each rule that some row breaks, by the rule's name.

    Args:
        typed: The columns that the rules read, as :func:`churnlib.data.coercion.coerce` returns them.
        rules: Of rows.
        unreadable: Masks of the cells that could not be read, by column.
    """
    wanted = [rule for rule in rules if rule.check is not Check.readable]
    masks = list(typed.select(broken_by(rule).fill_null(False).alias(rule.name) for rule in wanted))
    if unreadable is not None:
        masks += [
            unreadable[rule.column].alias(rule.name)
            for rule in rules
            if rule.check is Check.readable and rule.column in unreadable.columns
        ]
    return pl.DataFrame([mask for mask in masks if mask.any()])


def broken_by(rule: Rule) -> pl.Expr:
    """Return whether a row breaks the rule; null or false if not."""
    cell, limit = cell_of(rule.column), rule.limit
    if rule.check is Check.required:
        return cell.is_null()
    if rule.check is Check.min:
        return _comparable(cell, limit) < pl.lit(limit)
    if rule.check is Check.max:
        return _comparable(cell, limit) > pl.lit(limit)
    if rule.check is Check.whole:
        return cell != cell.floor()
    if rule.check is Check.values:
        assert isinstance(limit, tuple)
        return ~cell.is_in(list(limit))
    if rule.check is Check.pattern:
        # \z and no $: nothing may stand behind, not even a line break.
        return ~cell.str.contains(rf"\A(?:{limit})\z")
    assert rule.check is Check.holds
    return ~pl.sql_expr(str(limit))


def _comparable(cell: pl.Expr, limit: object) -> pl.Expr:
    """A whole limit is that of a date, in microseconds."""
    return cell.to_physical() if isinstance(limit, int) else cell


def columns_of(rule: Rule) -> tuple[str, ...]:
    """Return the columns that a rule reads."""
    return tuple(pl.sql_expr(str(rule.limit)).meta.root_names()) if rule.check is Check.holds else (rule.column,)


def kept_when_scoring(rules: Sequence[Rule], read: Sequence[str]) -> tuple[Rule, ...]:
    """Return the rules that a row can be asked when it is scored, where only some columns are read."""
    return tuple(rule for rule in rules if rule.check is not Check.readable and set(columns_of(rule)) <= set(read))


__all__ = ["broken", "broken_by", "columns_of", "kept_when_scoring"]
