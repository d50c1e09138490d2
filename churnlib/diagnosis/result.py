"""What an examination found: for a program, for a terminal, and for a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from html import escape as html_escape
from typing import TYPE_CHECKING, Any, NamedTuple

from churnlib.evaluation.ceiling.expected import OF_CAMPAIGN, PROFIT

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

MARKS = {"alarm": "bold red", "look": "yellow", "note": "dim", "good": "green"}
NAMES = {
    "f1": "F1", "roc_auc": "ROC AUC", "average_precision": "average precision", "log_loss": "log loss",
    "top_decile_lift": "lift of the first tenth", "profit": "profit per customer",
    "mpc": "maximum profit", "empc": "expected maximum profit", "empb": "maximum profit by own values",
}  # fmt: skip


class Section(NamedTuple):
    """A table of the report.

    Attributes:
        title: Line above it.
        headings: Of the columns.
        rows: Texts.
        text_columns: How many columns from the left hold words.
    """

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    text_columns: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What an examination found; everything in it is JSON-ready.

    Attributes:
        name: Of the table.
        target: Its target.
        rows: Of the table as it came.
        examined: Rows that were answered for out of fold.
        sampled: Whether these were drawn from more.
        features: Columns that were read.
        positives: Churners among the rows examined.
        folds: Of the baselines.
        by: How the folds were dealt, ``random``, ``time`` or ``column`` (then at random).
        baselines: Figures out of fold, by model.
        best: The one with the lowest log loss.
        attainable: Estimates by figure, see :class:`churnlib.evaluation.ceiling.attainable.Estimate`.
        balanced_f1: Best F1 of the same probabilities on rows resampled to half and half.
        as_it_stands: With what was flagged: ``f1`` (an estimate), ``baselines``, ``best``; None without an alarm.
        limit: Best F1 of the true probabilities, of simulated customers.
        sufficiency: See :class:`churnlib.diagnosis.sufficiency.Sufficiency`.
        remedies: What would help, see :class:`churnlib.diagnosis.remedies.Remedy`.
        columns: How well each column alone tells churners from others, the best first.
        flags: What makes results too good, see :class:`churnlib.diagnosis.flags.Flag`.
        checks: Outcome of each leak check.
        cleaning: What was done to the rows.
        goal: How the goal stands, see :func:`churnlib.evaluation.ceiling.goal.judge`.
        claim: What somebody says a model shows.
        currency: Of the money.
        verdicts: Sentences with ``level`` and ``text``.
    """

    name: str
    target: str
    rows: int
    examined: int
    sampled: bool
    features: int
    positives: int
    folds: int
    by: str
    baselines: Mapping[str, Mapping[str, float | None]]
    best: str
    attainable: Mapping[str, Mapping[str, Any]]
    balanced_f1: float
    as_it_stands: Mapping[str, Any] | None
    limit: Mapping[str, float] | None
    sufficiency: Mapping[str, Any]
    remedies: list[dict[str, Any]]
    columns: Mapping[str, Mapping[str, float]]
    flags: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    cleaning: list[str]
    goal: dict[str, Any] | None
    claim: float | None
    currency: str | None
    verdicts: list[dict[str, str]] = field(default_factory=list)

    @property
    def too_good(self) -> bool:
        """Whether something makes results on this table too good to be true."""
        return bool(self.causes)

    @property
    def causes(self) -> list[str]:
        """Why, each cause once: ``leak``, ``resampled before the split``, ``shared rows``, ``claim``."""
        return list(dict.fromkeys(flag["cause"] for flag in self.flags if flag["level"] == "alarm"))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON-ready values."""
        return {**asdict(self), "too_good": self.too_good, "causes": self.causes}

    def lines(self) -> list[str]:
        """Return the verdicts as sentences."""
        return [one["text"] for one in self.verdicts]

    def sections(self) -> Iterator[Section]:
        """Yield the tables of the report."""
        figures = ("roc_auc", "average_precision", "log_loss", "f1")
        dealt = "each learns from all that is older" if self.by == "time" else "dealt at random"
        yield Section(
            f"Honest baselines, each customer answered for by who has not seen it ({self.folds} folds, {dealt})",
            ("model", *(NAMES[figure] for figure in figures)),
            [(model, *(_number(own[figure]) for figure in figures)) for model, own in self.baselines.items()],
        )
        money = {PROFIT, *OF_CAMPAIGN}
        shown = [name for name in self.attainable if name not in money or self.currency is not None]
        tests = next(iter(self.attainable.values()))["test_rows"]
        yield Section(
            f"What can be attained with what {self.best} finds (95 % intervals)",
            ("figure", "best", "all such customers", f"a test set of {tests:,}"),
            [
                (
                    NAMES.get(name, name) + (f", {self.currency}" if name in money else ""),
                    _number(one["value"]),
                    f"{one['low']:.3f}–{one['high']:.3f}",
                    f"{one['test_low']:.3f}–{one['test_high']:.3f}",
                )
                for name, one in ((name, self.attainable[name]) for name in shown)
            ],
        )
        points = self.sufficiency["points"]
        yield Section(
            f"Do the rows suffice? {self.sufficiency['model']} on parts of them",
            ("training rows", "ROC AUC", "log loss", "F1"),
            [(f"{p['rows']:,}", _number(p["roc_auc"]), _number(p["log_loss"]), _number(p["f1"])) for p in points],
        )
        for have, title in ((False, "What would help most"), (True, "What helps already")):
            rows = [
                (r["what"], f"{r['gain']:+.3f}", f"{r['low']:+.3f} to {r['high']:+.3f}", r["how"])
                for r in self.remedies
                if r["have"] is have
            ]
            if rows:
                yield Section(title, ("to do" if not have else "", "F1", "from–to", "how this is known"), rows)

    def heading(self) -> str:
        """Return the first line of the report."""
        rate = self.positives / max(self.examined, 1)
        drawn = f", {self.examined:,} of them examined" if self.examined < self.rows else ""
        return f"{self.name}: {self.rows:,} rows{drawn}, {self.features} columns, {rate:.1%} leave"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.markup import escape
        from rich.text import Text

        from churnlib.evaluation.layout import plain_table

        yield Text(self.heading(), style="bold")
        for one in self.verdicts:
            yield Text.assemble((f"{one['level']:<6}", MARKS[one["level"]]), one["text"])
        for section in self.sections():
            yield ""
            table = plain_table(section.title)
            for place, heading in enumerate(section.headings):
                words = place == 0 or heading.startswith("how")
                table.add_column(heading, justify="left" if words else "right", overflow="fold", no_wrap=not words)
            for row in section.rows:
                table.add_row(*map(escape, row))
            yield table

    def _repr_html_(self) -> str:
        """Return the report for a notebook."""
        said = "".join(
            f"<li><b>{html_escape(one['level'])}</b> {html_escape(one['text'])}</li>" for one in self.verdicts
        )
        tables = "".join(_html(section) for section in self.sections())
        return f"<div><p><b>{html_escape(self.heading())}</b></p><ul>{said}</ul>{tables}</div>"


def _html(section: Section) -> str:
    head = "".join(f"<th>{html_escape(heading)}</th>" for heading in section.headings)
    rows = "".join("<tr>" + "".join(f"<td>{html_escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows)
    caption = f"<caption>{html_escape(section.title)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


__all__ = ["Diagnosis", "Section"]
