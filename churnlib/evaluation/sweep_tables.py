"""The end of a sweep on the terminal: its configurations compared, and its runs one by one where seeds differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from textwrap import wrap
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from churnlib.evaluation.comparison import CHOSEN_BY, Configuration, Run, backend
from churnlib.evaluation.layout import ABSENT, add_figures, figure, plain_table, width
from churnlib.evaluation.settings import settings

BEST, PARETO = "★", "◆"

WIDEST_NAME = 16
"""Characters of a model's name or setting on a line; longer ones are broken."""

GAP = 2
"""Blanks between two columns."""

RUNS_FIGURES = {"roc_auc": "ROC AUC", "log_loss": "log loss", "f1": "F1"}


def runs_table(rows: Iterable[Mapping[str, Any]], *, title: str | None = None) -> Table:
    """List runs with their test figures.

    Args:
        rows: One mapping per run: ``overrides`` (list of "key=value"), ``model``, ``seed``, ``metrics`` (the content
            of the run's ``metrics.json`` or its part "test"; None for a failed run), ``seconds`` and ``state``
            ("finished", "stopped" or "failed: reason").
        title: Line above the table.
    """
    runs = list(rows)
    told = settings(runs)
    table = plain_table(title)
    table.add_column("run", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold")
    if any(told):
        table.add_column("setting", min_width=width(word for text in told for word in text.split()))
    for heading in ("seed", *RUNS_FIGURES.values(), "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, (run, setting) in enumerate(zip(runs, told, strict=True)):
        lead = [str(number), escape(str(run["model"])), *([escape(setting)] if any(told) else [])]
        seed = ABSENT if run["seed"] is None else str(run["seed"])
        table.add_row(*lead, seed, *_run_figures(run))
    return table


def _run_figures(run: Mapping[str, Any]) -> list[str]:
    seconds = ABSENT if run.get("seconds") is None else f"{run['seconds']:.1f}"
    if run["state"] != "finished":
        return [_state(run), *[ABSENT] * (len(RUNS_FIGURES) - 1), seconds]
    metrics = run.get("metrics") or {}
    test = metrics.get("test", metrics) or {}  # a run without test rows has none
    return [*(figure(test.get(key)) for key in RUNS_FIGURES), seconds]


def _state(run: Mapping[str, Any]) -> str:
    return run["state"].split(":")[0]


# --- the comparison ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the comparison, with a cell for each configuration; of one group as many as fit stand together."""

    group: str
    heading: str
    cells: Sequence[str]

    @property
    def width(self) -> int:
        return max(width(self.cells), max(map(len, self.heading.split())))


class ComparisonTable:
    """Configurations side by side, the best on top; columns that do not fit the terminal stand in a table below.

    Args:
        configurations: As `compare` returns them.
        runs: All runs of the sweep; those that did not finish have a row too.
    """

    def __init__(self, configurations: Sequence[Configuration], runs: Sequence[Run]) -> None:
        self.configurations = configurations
        self.unfinished = [run for run in runs if run["state"] != "finished"]
        self.n_runs = len(runs)
        told = settings(runs)
        self._setting = {run["number"]: setting for run, setting in zip(runs, told, strict=True)}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        title: str | None = f"{self.n_runs} runs, by log loss on validation rows"
        unfinished: list[str] = [_state(run) for run in self.unfinished]
        for block in _blocks(_columns(self.configurations), options.max_width - self._lead_width()):
            yield self._table(block, unfinished, title)
            yield ""
            title, unfinished = None, []
        yield from (Text(line) for line in self._notes())

    # The first two columns, which each table repeats.

    def _leads(self) -> list[tuple[str, str]]:
        """Return what stands in front of each row: runs with marks, model with setting."""
        groups = [(f"{_marks(one)} {_numbers(one.runs)}", one.runs[0]) for one in self.configurations]
        groups += [(str(run["number"]), run) for run in self.unfinished]
        return [(numbers, "\n".join(_name_lines(run, self._setting[run["number"]]))) for numbers, run in groups]

    def _lead_width(self) -> int:
        numbers, names = zip(*self._leads(), strict=True)
        return max(width(numbers), len("run")) + GAP + max(width(names), len("model"))

    def _table(self, block: Sequence[_Column], unfinished: Sequence[str], title: str | None) -> Table:
        table = plain_table(title)
        leads = self._leads()[: len(self.configurations) + len(unfinished)]
        columns = [[*column.cells, *(ABSENT for _ in unfinished)] for column in block]
        columns[0][len(self.configurations) :] = unfinished
        table.add_column("run", justify="right", no_wrap=True)
        table.add_column("model", no_wrap=True)
        for column, cells in zip(block, columns, strict=True):
            add_figures(table, column.heading, cells)
        for (numbers, name), *cells in zip(leads, *columns, strict=True):
            table.add_row(numbers, escape(name), *map(escape, cells))
        return table

    # What a reader must know to read it.

    def _notes(self) -> Iterator[str]:
        if self.configurations:
            yield (
                f"{BEST} best: lowest log loss on validation rows. Test rows only report; choosing by them would make "
                "the winner look better than it is."
            )
            yield f"{PARETO} no other is better in validation log loss, time of an answer and time of training at once."
            yield from self._spreads()
            yield (
                "Times and sizes were measured in these runs, once, on this machine; what training grows with is known "
                "of the method, and not measured."
            )
            yield from self._answered()
            if any(run["metrics"].get("together", 1) > 1 for one in self.configurations for run in one.runs):
                yield "Runs that were trained in one pass have their share of its seconds."
        for shows, because, names in self._families():
            yield f"{', '.join(names)}: {shows}; {because}."
        reasons: dict[str, list[str]] = {}
        for run in self.unfinished:
            reasons.setdefault(run["state"], []).append(str(run["number"]))
        for state, numbers in reasons.items():
            yield f"{'run' if len(numbers) == 1 else 'runs'} {', '.join(numbers)} {state}"

    def _answered(self) -> Iterator[str]:
        found = {run["number"]: backend(run) for one in self.configurations for run in one.runs}
        itself = sorted(number for number, name in found.items() if name == "torch")
        if "onnx" in found.values():
            runs = f"{'run' if len(itself) == 1 else 'runs'} {', '.join(map(str, itself))}"
            others = f", but for {runs}: by the model as trained" if itself else ""
            yield f"Answers were timed as scoring and serving give them: by ONNX Runtime on one thread{others}."

    def _spreads(self) -> Iterator[str]:
        if any(len(one.runs) == 1 for one in self.configurations):
            yield (
                "In parentheses: 95% interval; the difference to the best is in test log loss, paired customer by "
                "customer, and with 0 in its interval these customers cannot tell the two apart."
            )
        if any(len(one.runs) > 1 for one in self.configurations):
            yield "Runs that differ in their seed alone share a row: mean ± standard deviation over the seeds."

    def _families(self) -> list[tuple[str, str, list[str]]]:
        """Return how models can be read, why, and which they are, each once."""
        found: dict[tuple[str, str], list[str]] = {}
        for one in self.configurations:
            names = found.setdefault((one.family.shows, one.family.because), [])
            if (name := str(one.runs[0]["model"])) not in names:
                names.append(name)
        return [(shows, because, names) for (shows, because), names in found.items()]


def _columns(configurations: Sequence[Configuration]) -> list[_Column]:
    """Return the five criteria, as one or more columns each; where no run finished, what became of them."""
    if not configurations:
        return [_Column("state", "state", ())]
    cells = {
        ("quality", "validation log loss"): lambda one: _quality(one, CHOSEN_BY),
        ("quality", "test log loss"): lambda one: _quality(one, "log_loss"),
        ("quality", "difference to best"): _difference,
        ("quality", "test ROC AUC"): lambda one: _quality(one, "roc_auc"),
        ("quality", "test F1"): lambda one: _quality(one, "f1"),
        ("training", "training"): lambda one: _with_unit(one, "fit_seconds", "s", "training_rows_per_second", "rows/s"),
        ("inference", "one answer"): lambda one: _with_unit(one, "p50_ms", "ms", "p95_ms", "ms p95"),
        ("inference", "batch rows/s"): lambda one: _number(one.mean("rows_per_second")),
        ("scale", "bundle"): lambda one: _megabytes(one.mean("bundle_bytes")),
        ("scale", "training grows with"): lambda one: "\n".join(wrap(one.family.grows_with, WIDEST_NAME)),
        ("interpretability", "explained by"): lambda one: one.family.shows,
    }
    return [_Column(group, heading, [cell(one) for one in configurations]) for (group, heading), cell in cells.items()]


def _blocks(columns: Sequence[_Column], space: int) -> list[list[_Column]]:
    """Deal columns to tables that fit; a group that fits a table of its own is not broken."""
    blocks: list[list[_Column]] = [[]]
    for place, column in enumerate(columns):
        used = sum(one.width + GAP for one in blocks[-1])
        starts = place == 0 or columns[place - 1].group != column.group
        group = sum(one.width + GAP for one in columns if one.group == column.group)
        needed = group if starts and group <= space else column.width + GAP
        if blocks[-1] and used + needed > space:
            blocks.append([])
        blocks[-1].append(column)
    return blocks


def _marks(configuration: Configuration) -> str:
    return (BEST if configuration.best else "") + (PARETO if configuration.pareto else "")


def _numbers(runs: Sequence[Run]) -> str:
    return "\n".join(wrap(", ".join(str(run["number"]) for run in runs), 8))


def _name_lines(run: Run, setting: str) -> list[str]:
    """Break a model's name at its underscores and its setting at blanks."""
    name = wrap(str(run["model"]).replace("_", "_ "), WIDEST_NAME)
    lines = [line for told in setting.split("\n") if told for line in wrap(told, WIDEST_NAME)]
    return [*(line.replace("_ ", "_") for line in name), *lines]


# --- cells ------------------------------------------------------------------------------------------------------------


def _quality(one: Configuration, name: str) -> str:
    """Return the figure above its interval, or above its deviation over the seeds."""
    deviation = one.deviation(name)
    if deviation is not None:
        return f"{figure(one.mean(name))}\n± {deviation:.4f}"
    test = one.runs[0]["metrics"].get("test") or {}
    interval = (test.get("intervals") or {}).get(name)
    shown = figure(one.mean(name))
    return shown if interval is None or len(one.runs) > 1 else f"{shown}\n({interval[0]:.3f}–{interval[1]:.3f})"


def _difference(one: Configuration) -> str:
    found = [difference for difference in one.differences if difference is not None]
    if not found or len(found) < len(one.runs):
        return "" if one.best else ABSENT
    if len(found) == 1:
        low, high = found[0].interval
        return f"{found[0].value:+.4f}\n({low:+.3f} … {high:+.3f})"
    values = [difference.value for difference in found]
    return f"{mean(values):+.4f}\n± {stdev(values):.4f}"


def _with_unit(one: Configuration, name: str, unit: str, below: str, its_unit: str) -> str:
    return f"{_number(one.mean(name))} {unit}\n{_number(one.mean(below))} {its_unit}"


def _megabytes(size: float | None) -> str:
    return ABSENT if size is None else f"{_number(size / 1e6)} MB"


def _number(value: float | None) -> str:
    """Write a figure with two or three digits that count, larger ones in full."""
    if value is None:
        return ABSENT
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
