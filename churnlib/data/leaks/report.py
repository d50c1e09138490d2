"""What the checks have found, for the terminal, for a file, and for a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from churnlib.errors import DataError

CERTAIN, SUSPECTED = "certain", "suspected"
AS_IT_WAS = "take the table as it was before, and let training rows alone be resampled (resample=smote)"

DOUBTFUL = ("filled for churners only", "known names")
"""Checks whose suspicion alone is a reason to look, and not to distrust every result."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason to take something for a leak.

    Attributes:
        evidence: What was seen, with counts and intervals, as part of a sentence.
        column: The column; None for what concerns whole rows.
        severity: ``certain`` or ``suspected``.
        read: Whether the model would read the column; what is kept out of it does no harm.
        figures: The numbers in the evidence.
        remedy: What to do about it, where no column is to be left out.
    """

    evidence: str
    column: str | None = None
    severity: str = SUSPECTED
    read: bool = True
    figures: dict[str, Any] = field(default_factory=dict)
    remedy: str = "deal the rows again"


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: What was checked.
        evidence: What was seen where nothing was found, or could not be checked.
        findings: What was found.
        applies: False where the table has nothing to check.
    """

    name: str
    evidence: str
    findings: tuple[Finding, ...] = ()
    applies: bool = True

    @property
    def said(self) -> str:
        """The evidence, with the columns in front if some were found."""
        found = [repr(finding.column) for finding in self.findings if finding.column is not None]
        return f"{', '.join(dict.fromkeys(found))}: {self.evidence}" if found else self.evidence

    @property
    def verdict(self) -> str:
        """``pass``, ``leak``, ``kept out`` (found, but in nothing that the model reads) or ``no case``."""
        if self.findings:
            return "leak" if any(finding.read for finding in self.findings) else "kept out"
        return "pass" if self.applies else "no case"


@dataclass(frozen=True, slots=True)
class LeakReport:
    """All checks of a table.

    Attributes:
        checks: In the order in which they are shown.
        rows: Training rows that were looked at.
        allowed: Columns of which the user says that they are no leaks.
    """

    checks: tuple[Check, ...]
    rows: int
    allowed: tuple[str, ...] = ()

    @property
    def leaks(self) -> list[Finding]:
        """What was found in what the model reads, strongest evidence first."""
        found = [finding for check in self.checks for finding in check.findings if finding.read]
        return sorted(found, key=lambda finding: finding.severity != CERTAIN)

    @property
    def columns(self) -> list[str]:
        """Columns that the model reads and better would not."""
        return list(dict.fromkeys(finding.column for finding in self.leaks if finding.column is not None))

    def reasons(self) -> dict[str, list[tuple[str, Finding]]]:
        """Return the checks and findings about each column that the model reads, or, about rows, of each check."""
        found: dict[str, list[tuple[str, Finding]]] = {}
        for check in self.checks:
            for finding in check.findings:
                if finding.read:
                    found.setdefault(finding.column or check.name, []).append((check.name, finding))
        return found

    @property
    def alarms(self) -> list[str]:
        """Columns, and kinds of rows, that make a result too good to be true rather than doubtful."""
        return [subject for subject, reasons in self.reasons().items() if is_alarm(reasons)]

    def lines(self) -> list[str]:
        """Return one sentence with the word "leak" for each thing that was found.

        All reasons to suspect a column stand in one sentence.
        """
        found = [finding for check in self.checks for finding in check.findings]
        subjects = dict.fromkeys((finding.column, finding.read) for finding in found)
        return [_line([one for one in found if (one.column, one.read) == subject]) for subject in subjects]

    def refuse(self) -> None:
        """Stop a run that shall not go on with a leak.

        Raises:
            DataError: With what was found and the remedy, if anything was.
        """
        if not self.leaks:
            return
        if not self.columns:
            raise DataError(f"leaks=error: {self.leaks[0].evidence}; {self.leaks[0].remedy}, or go on with leaks=warn")
        names = ", ".join(map(repr, self.columns))
        listed = ",".join(self.columns)
        raise DataError(
            f"leaks=error: {names} would tell the model who left; leave out with data.drop=[{listed}] what was not "
            f"known on the day of the prediction, and name with leaks.allow=[{listed}] what was"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        checks = [{"check": check.name, "verdict": check.verdict, **asdict(check)} for check in self.checks]
        for check in checks:
            del check["name"]
        return {"rows": self.rows, "allowed": list(self.allowed), "columns": self.columns, "checks": checks}


def is_alarm(reasons: Sequence[tuple[str, Finding]]) -> bool:
    """Whether reasons are more than doubtful: one that is not, or two that are."""
    sure = any(finding.severity == CERTAIN or name not in DOUBTFUL for name, finding in reasons)
    return sure or len(reasons) > 1


def _line(findings: Sequence[Finding]) -> str:
    first = findings[0]
    reasons = "; ".join(finding.evidence for finding in findings)
    if first.column is None:
        return f"leak: {reasons}; {first.remedy}"
    if not first.read:
        return f"leak kept out: {first.column!r} is not read by the model, and shall not be: {reasons}"
    sure = any(finding.severity == CERTAIN for finding in findings)
    remedy = f"leave it out with data.drop=[{first.column}]"
    if not sure:
        remedy += f", unless it was known on the day of the prediction (leaks.allow=[{first.column}])"
    return f"{'leak' if sure else 'suspected leak'}: {first.column!r}: {reasons}; {remedy}"
