"""Many customers, scored: the results of a table, who was refused and why, what was unusual, whom a person should see.

All doors but the one for a single customer go through here, so that the list of objections, the rules of the schema,
warnings and ``human_review`` hold in each of them as they hold there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from churnlib.errors import RowErrors
from churnlib.serving.answering.served import Served, log_failure, objections
from churnlib.serving.answering.tables import CustomerTable, Warned, chunks
from churnlib.serving.answers import named_warnings, problems_by_row
from churnlib.serving.problems import INTERNAL, NOT_READ, Problem, shown

CELLS_AT_A_TIME = 1_000_000
"""Cells of a request that are in the model's memory at one time; polars takes milliseconds for a table of any size."""


@dataclass(slots=True)
class Scored:
    """The customers of one request with their answers, in the order in which they came.

    Attributes:
        ids: What the client calls each, as sent.
        results: Columns of the answer as the predictor calls them, JSON-ready; None of who was refused.
        review: ``(n,)`` bool, whom a person should look at before anything follows.
        problems: By place who was refused, and why.
        warnings: What was unusual.
    """

    ids: list[Any]
    results: dict[str, list[Any]]
    review: np.ndarray
    problems: dict[int, Problem] = field(default_factory=dict)
    warnings: list[Warned] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def warnings_of_rows(self) -> dict[int, list[tuple[str, str]]]:
        """Return fields and messages by place, for all who have any."""
        by_row: dict[int, list[tuple[str, str]]] = {}
        for warned in self.warnings:
            for row in range(len(self)) if warned.rows is None else warned.rows:
                by_row.setdefault(row, []).append((warned.field, warned.message))
        return by_row

    @property
    def decisions(self) -> list[int | str]:
        """What was predicted of those who were not refused, for the metrics."""
        *_, decisions = self.results.values()
        return [one for one in decisions if one is not None] if self.problems else decisions

    def rows(self) -> list[dict[str, Any]]:
        """Return an answer for each customer: what ``POST /predict`` says of one, or ``{"error": ...}``."""
        names = ("customer_id", *self.results)
        values = zip(self.ids, *self.results.values(), strict=True)
        if len(names) == 3:  # two classes: a literal dict takes half the time
            first, second = names[1:]
            answers = [{"customer_id": a, first: b, second: c} for a, b, c in values]
        else:
            answers = [dict(zip(names, each, strict=True)) for each in values]
        for row in np.flatnonzero(self.review).tolist():
            answers[row]["human_review"] = True
        for row, warnings in self.warnings_of_rows().items():
            answers[row]["warnings"] = named_warnings(warnings)
        for row, problem in self.problems.items():
            answers[row] = {"error": item_error(problem)}
        return answers

    def alone(self, version: str, said: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer of a customer who came alone and was not refused, as ``POST /predict`` gives it.

        Args:
            version: Of the model.
            said: What else is said of the results.
        """
        [answer] = self.rows()
        results = {name: answer.pop(name) for name in ("customer_id", *self.results)}
        return {**results, **(said or {}), "model_version": version, **answer}


def item_error(problem: Problem) -> dict[str, Any]:
    """Return a refusal as it stands among other customers' answers, whose request has one id for all."""
    return {"code": problem.code, "message": problem.message, "field": problem.field}


def score(served: Served, table: CustomerTable) -> Scored:
    """Score the customers of a request.

    Args:
        served: The model.
        table: The customers; who is refused already stays so.

    Raises:
        RequestError: 503 if the list of objections cannot be read.
    """
    for place, problem in objections(served.opt_out, table.ids).items():
        table.problems.setdefault(place, problem)
    size = max(1, CELLS_AT_A_TIME // max(1, len(table.columns)))
    parts = [(start, _score_chunk(served, part)) for start, part in chunks(table, size)]
    scored = _joined(parts)
    scored.warnings = [*table.warnings, *scored.warnings]
    scored.review = _reviewed(served, scored)
    return scored


def _score_chunk(served: Served, table: CustomerTable) -> Scored:
    """Score who is not refused yet, and put their answers at their places."""
    asked = [place for place in range(len(table)) if place not in table.problems] if table.problems else None
    if asked is None:
        return _together(served, table.ids, table.columns)
    columns = {name: [values[place] for place in asked] for name, values in table.columns.items()}
    found = _together(served, [table.ids[place] for place in asked], columns)
    problems = dict(sorted((table.problems | {asked[row]: problem for row, problem in found.problems.items()}).items()))
    warnings = [Warned(each.field, each.message, [asked[row] for row in each.rows or ()]) for each in found.warnings]
    results: dict[str, list[Any]] = {}
    for name, values in found.results.items():
        results[name] = [None] * len(table)
        for place, value in zip(asked, values, strict=True):
            results[name][place] = value
    return Scored(table.ids, results, np.zeros(len(table), dtype=bool), problems, warnings)


def _together(served: Served, ids: list[Any], columns: Mapping[str, list[Any]]) -> Scored:
    """Score customers together, and in halves if that fails, so that a failure stays with the one that caused it."""
    try:
        return _ask(served, ids, columns)
    except Exception as error:
        n = len(ids)
        if n > 1:
            halves = [(0, n // 2), (n // 2, n)]
            return _joined(
                [
                    (start, _together(served, ids[start:end], {k: v[start:end] for k, v in columns.items()}))
                    for start, end in halves
                ]
            )
        if n == 0:
            raise
        if isinstance(error, RowErrors):
            problem = next(iter(problems_by_row(error.errors).values()))
        else:
            log_failure(error)
            problem = INTERNAL
        return Scored(ids, {}, np.zeros(n, dtype=bool), {0: problem})


def _ask(served: Served, ids: list[Any], columns: Mapping[str, list[Any]]) -> Scored:
    n = len(ids)
    read = served.columns.read(columns)
    problems = problems_by_row(read.errors) if read.errors else {}
    results = served.columns.answers(read)
    for row in np.flatnonzero(_not_finite(results, n) & ~read.bad).tolist():
        problems[row] = INTERNAL  # JSON has no word for it, and a null alone would be taken for an answer
        for values in results.values():
            values[row] = None
    unusual: dict[tuple[str, str], list[int]] = {}
    for warning in read.warnings:
        rows = range(n) if warning.row is None else (warning.row,)
        told = unusual.setdefault((shown(warning.column), warning.problem), [])
        told.extend(row for row in rows if row not in problems)
    warnings = [Warned(name, message, rows) for (name, message), rows in unusual.items()]
    return Scored(ids, results, np.zeros(n, dtype=bool), problems, warnings)


def _not_finite(results: Mapping[str, list[Any]], n: int) -> np.ndarray:
    """Return whose answer holds no number where there should be one, ``(n,)`` bool."""
    wrong = np.zeros(n, dtype=bool)
    for name, values in results.items():
        if "probability" in name:
            wrong |= ~np.isfinite(np.array(values, dtype=np.float64))
    return wrong


def _joined(parts: Sequence[tuple[int, Scored]]) -> Scored:
    """Put neighbouring customers together; who was refused alone has no results."""
    if len(parts) == 1:
        return parts[0][1]
    names = next((list(part.results) for _, part in parts if part.results), [])
    results: dict[str, list[Any]] = {name: [] for name in names}
    whole = Scored([], results, np.concatenate([part.review for _, part in parts]))
    unusual: dict[tuple[str, str], list[int]] = {}
    for start, part in parts:
        whole.ids += part.ids
        for name in names:
            results[name] += part.results.get(name) or [None] * len(part)
        whole.problems |= {start + row: problem for row, problem in part.problems.items()}
        for each in part.warnings:
            unusual.setdefault((each.field, each.message), []).extend(start + row for row in each.rows or ())
    whole.warnings = [Warned(name, message, rows) for (name, message), rows in unusual.items()]
    return whole


def _reviewed(served: Served, scored: Scored) -> np.ndarray:
    """Return whom a person should look at, ``(n,)`` bool."""
    odd = np.zeros(len(scored), dtype=bool)
    for warned in scored.warnings:
        if warned.message != NOT_READ:
            odd[slice(None) if warned.rows is None else warned.rows] = True
    found = scored.results.get("churn_probability")
    probability = None if found is None else np.array(found, dtype=np.float64)
    review = served.review.wanted_among(probability, odd)
    review[list(scored.problems)] = False
    return review


__all__ = ["Scored", "item_error", "score"]
