"""What is kept and counted of an answer for many customers, whichever door it leaves by, as it is of a single one.

Who was answered is recorded; a request that is refused in the end, after its customers were scored, leaves no record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from churnlib.serving.answering.jobs import REQUEST_ID
from churnlib.serving.answering.scored import Scored
from churnlib.serving.answering.served import Served
from churnlib.serving.answers import Answer, kind_of_warning

if TYPE_CHECKING:
    from churnlib.serving.seeing.recording import Recorder


def accounted(
    served: Served,
    scored: Scored,
    body: dict[str, Any] | bytes,
    query: Mapping[str, str],
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """Return an answer with what the metrics count of it, and record its customers.

    Args:
        served: The model.
        scored: The customers.
        body: What the client gets.
        query: Holds the request's id.
        headers: Further response headers.
    """
    if served.recorder is not None:
        _record(served.recorder, served.predictor.version, scored, query.get(REQUEST_ID, ""))
    warned: Counter[str] = Counter()
    for each in scored.warnings:
        warned[kind_of_warning(each.message)] += _answered_among(each.rows, scored)
    refused = Counter(problem.code for problem in scored.problems.values())
    return Answer(
        200, body, headers, decisions=scored.decisions, warned=[*(+warned).items()], refused=[*refused.items()]
    )


def _answered_among(rows: list[int] | None, scored: Scored) -> int:
    """Return how many of some customers, of all when None, were not refused."""
    if rows is None:
        return len(scored) - len(scored.problems)
    return sum(row not in scored.problems for row in rows) if scored.problems else len(rows)


def _record(recorder: Recorder, version: str, scored: Scored, request_id: str) -> None:
    """Keep the answers under the id of their request; who was refused has none."""
    kept = [row for row in range(len(scored)) if row not in scored.problems]
    if not kept:
        return
    *names, decision = scored.results
    probabilities = np.array([[scored.results[name][row] for name in names] for row in kept], dtype=np.float64)
    recorder.record(
        version,
        [request_id] * len(kept),
        [scored.ids[row] for row in kept],
        probabilities[:, 0] if len(names) == 1 else probabilities,
        [scored.results[decision][row] for row in kept],
    )


__all__ = ["accounted"]
