"""``POST /explain`` and ``POST /predict?reasons=3``: one customer's answer, and why the model gives it.

A server that answers by ONNX Runtime explains by sampled orders of the columns, which need nothing but the model's
answers: explaining loads no torch into a process that was started without it. One that answers by torch explains as
``churnlib explain`` does.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from churnlib.errors import ChurnlibError
from churnlib.serving.answering.accounting import accounted
from churnlib.serving.answering.requests import parse_row
from churnlib.serving.answering.scored import score
from churnlib.serving.answering.served import Served, answered
from churnlib.serving.answering.tables import table_of_rows
from churnlib.serving.answers import Answer
from churnlib.serving.problems import Problem, RequestError, refuse

if TYPE_CHECKING:
    from churnlib.explanation.reasons import RowExplainer
    from churnlib.predictor import Predictor

MOST = 100
"""Reasons that ``reasons=`` may ask for; ``POST /explain`` gives all there are."""

_log = logging.getLogger(__name__)


class Reasons:
    """Says why, with everything that does not depend on the customer ready after the first question.

    Args:
        predictor: The model.
        wording: Words, labels and groups, as ``conf/reasons/*.yaml`` holds them.
        method: See :class:`~churnlib.explanation.effects.Explainer`; what suits the server's backend when None.
    """

    def __init__(
        self, predictor: Predictor, *, wording: Mapping[str, Any] | None = None, method: str | None = None
    ) -> None:
        self._predictor, self._wording = predictor, wording
        self._method = method or ("shapley" if predictor.backend == "onnx" else "auto")
        self._lock = threading.Lock()
        self._explainer: RowExplainer | None = None
        self._refused: Problem | None = None

    def explain(self, row: Mapping[str, Any], *, top: int | None, target: str | None = None) -> dict[str, Any]:
        """Return what is said of a customer who can be scored, by the names of ``churnlib explain``.

        Args:
            row: A value for each column that the model reads, by the schema's names.
            top: Reasons at most; None for all.
            target: Of more than two classes the one to explain; the most probable one when None.

        Raises:
            RequestError: 501 if this model's answers are not explained, 422 if there is no such class.
        """
        explainer = self._ready()
        classes = self._predictor.classes
        if target is not None and (len(classes) == 2 or target not in classes):
            there = f"the classes are {', '.join(classes)}" if len(classes) > 2 else "a model of two classes has none"
            raise refuse(422, "invalid_parameter", f"target is no class to explain; {there}", field="target")
        return explainer.explain(explainer.read(row), top=top, target=target)

    def _ready(self) -> RowExplainer:
        with self._lock:
            if self._refused is not None:
                raise RequestError(self._refused)
            if self._explainer is None:
                from churnlib.explanation.reasons import RowExplainer

                try:
                    self._explainer = RowExplainer(self._predictor, wording=self._wording, method=self._method)
                except ChurnlibError as error:  # of the model, not of a customer: it will be the same next time
                    _log.warning("no reasons are given: %s", error)
                    self._refused = Problem(501, "not_explained", str(error))
                    raise RequestError(self._refused) from None
            return self._explainer


@answered
def explain(served: Served, body: bytes, query: Mapping[str, str]) -> Answer:
    """Answer ``POST /explain``: what ``POST /predict`` says of a customer, and all reasons.

    Args:
        served: The model.
        body: One customer, as ``POST /predict`` takes him.
        query: ``reasons``, the most that are wanted (1 to :data:`MOST`; all when absent), and ``target``, of more than
            two classes the one to explain; and the request's id, for the record.
    """
    top = _top(query.get("reasons"))
    table = table_of_rows(served.reader, [parse_row(body)])
    scored = score(served, table)
    if scored.problems:
        return Answer.refusal(scored.problems[0])
    row = {name: cells[0] for name, cells in table.columns.items()}
    said = served.reasons.explain(row, top=top, target=query.get("target"))
    return accounted(served, scored, scored.alone(served.predictor.version, said), query)


def _top(given: str | None) -> int | None:
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 4 and 1 <= int(given) <= MOST):
        raise refuse(422, "invalid_parameter", f"reasons must be a whole number from 1 to {MOST}", field="reasons")
    return int(given)


__all__ = ["Reasons", "explain"]
