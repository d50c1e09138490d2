"""What a campaign has found, and which promises were broken."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.serving_load import Outcome, percentile

BACK_SECONDS = 2.0
"""Within this a server answers again after a child was killed, or after an overload."""


@dataclass
class Result:
    """What one campaign found.

    Attributes:
        title: Of its table.
        figures: Its lines.
        broken: Promises that were broken, a sentence each.
        skipped: Why it did not run.
    """

    title: str
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    skipped: str = ""

    def hold(self, promise: bool, otherwise: str) -> None:
        """Note a broken promise."""
        if not promise:
            self.broken.append(otherwise)

    def add(self, outcome: Outcome) -> None:
        """Write down what became of the requests."""
        self.figures |= {
            "answers": ", ".join(f"{status}: {count:,}" for status, count in sorted(outcome.statuses.items())),
            "refusals by code": ", ".join(f"{code}: {count:,}" for code, count in sorted(outcome.codes.items())),
            "lost": outcome.lost,
            "hung": outcome.hung,
            "connections refused by the kernel": outcome.refused,
            "wrong customer": outcome.wrong,
        }

    def hold_answers(self, outcome: Outcome, *, allowed: Sequence[int] = (200,), lost: int = 0) -> None:
        """Hold what every campaign promises: nothing lost, nothing hanging, no answer for another customer."""
        self.hold(outcome.lost <= lost, f"{outcome.lost} requests were lost")
        self.hold(outcome.hung == 0, f"{outcome.hung} requests hung")
        self.hold(outcome.wrong == 0, f"{outcome.wrong} answers were for another customer")
        self.hold(outcome.mixed == 0, f"{outcome.mixed} answers were of two versions")
        strange = set(outcome.statuses) - set(allowed)
        self.hold(not strange, f"there were answers with status {sorted(strange)}")
        self.hold(bool(outcome.seconds), "nobody was answered")


def show(result: Result) -> None:
    """Print one table."""
    table = Table(title=result.title, title_justify="left", show_header=False)
    if result.skipped:
        table.add_row("skipped", result.skipped)
    for name, value in result.figures.items():
        table.add_row(name, str(value))
    for sentence in result.broken[:20]:
        table.add_row("[red]broken[/]", sentence.replace("[", r"\["))
    if not result.broken and not result.skipped:
        table.add_row("[green]held[/]", "every promise")
    Console(width=150, highlight=False).print(table)


def milliseconds(seconds: Sequence[float]) -> str:
    """Return the median and the 99th percentile of latencies."""
    return f"{percentile(seconds, 0.5) * 1e3:.1f}, {percentile(seconds, 0.99) * 1e3:.1f}"


def progress(title: str, turn: int, times: int) -> None:
    """Say on a terminal how far a campaign is."""
    if sys.stderr.isatty():
        print(f"{title}: {turn + 1} of {times}", end="\r", file=sys.stderr)
