"""The account of a validation: which rule, how many rows, what share. No cell of any row stands in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule and what was found.

    Attributes:
        rule: Its name.
        asked: What it asks, in words.
        rows: Rows that break it; None of a rule about the table as a whole.
        found: Of a rule about the whole table: what was measured.
        holds: Whether nothing breaks it.
    """

    rule: str
    asked: str
    rows: int | None = None
    found: str = ""
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    """What a validation found.

    Attributes:
        rows: Rows that were looked at.
        quarantined: Rows that break at least one rule.
        max_share: Share of such rows from which on the table is refused.
        entries: One for each rule.
    """

    rows: int
    quarantined: int
    max_share: float
    entries: tuple[Entry, ...]

    @property
    def share(self) -> float:
        """Share of the rows that break rules."""
        return self.quarantined / max(self.rows, 1)

    @property
    def failed(self) -> tuple[Entry, ...]:
        """The rules about the whole table that it breaks."""
        return tuple(entry for entry in self.entries if entry.rows is None and not entry.holds)

    @property
    def passes(self) -> bool:
        """Whether a run may go on."""
        return self.share <= self.max_share and not self.failed

    @property
    def refusal(self) -> str:
        """Why a run cannot go on, in one sentence."""
        if self.failed:
            first = self.failed[0]
            more = f" and {len(self.failed) - 1} more" if len(self.failed) > 1 else ""
            return f"the table breaks the rule {first.rule!r}{more} ({first.asked}; found: {first.found})"
        most = max((entry for entry in self.entries if entry.rows), key=lambda entry: entry.rows or 0)
        return (
            f"{self.quarantined:,} of {self.rows:,} rows ({self.share:.1%}) break rules, more than "
            f"data.rules.max_share={self.max_share:g} allows, most of them {most.rule!r}"
        )

    def lines(self) -> list[str]:
        """Return what a run says of it."""
        if not self.quarantined:
            return []
        return [f"{self.quarantined:,} of {self.rows:,} rows ({self.share:.2%}) break rules and are left out"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        rules = [{**asdict(entry), "share": self._share_of(entry)} for entry in self.entries]
        return {
            "rows": self.rows, "quarantined": self.quarantined, "share": self.share, "max_share": self.max_share,
            "passes": self.passes, "rules": rules,
        }  # fmt: skip

    def _share_of(self, entry: Entry) -> float | None:
        return None if entry.rows is None else entry.rows / max(self.rows, 1)

    def render(self) -> Table:
        """Return the report as a rich table."""
        from rich.markup import escape
        from rich.table import Table

        title = f"Rules: {self.quarantined:,} of {self.rows:,} rows ({self.share:.2%}) break some"
        table = Table(title=title)
        for header, justify in (("rule", "left"), ("asked", "left"), ("rows", "right"), ("share", "right")):
            table.add_column(header, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for entry in self.entries:
            share = self._share_of(entry)
            cells = (entry.found, "") if share is None else (f"{entry.rows:,}", f"{share:.2%}")
            style = "dim" if entry.holds else "yellow" if entry.rows is not None else "red"
            table.add_row(escape(entry.rule), escape(entry.asked), *map(escape, cells), style=style)
        return table


__all__ = ["Entry", "Report"]
