"""What answers customers needs to know of the model behind the server, whichever engine holds it."""

from __future__ import annotations

import logging
import traceback
from functools import wraps
from typing import TYPE_CHECKING, Any, Protocol

from churnlib.errors import ChurnlibError
from churnlib.serving.answers import Answer
from churnlib.serving.problems import INTERNAL, NO_OPT_OUT_LIST, OPTED_OUT, WITHOUT_NAME, Problem, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from churnlib.column_predictor import ColumnPredictor
    from churnlib.data.opt_out import WatchedOptOut
    from churnlib.predictor import Predictor
    from churnlib.serving.answering.reasons import Reasons
    from churnlib.serving.answering.review import Review
    from churnlib.serving.answering.rows import RowReader
    from churnlib.serving.seeing.recording import Recorder

_log = logging.getLogger(__name__)


class Served(Protocol):
    """The model behind the server, and how its answers are given.

    Attributes:
        predictor: The model.
        columns: The same, for many customers in columns.
        reader: Takes customers out of JSON objects.
        review: Says which answers a person should look at.
        opt_out: The customers who have objected to being scored; None where there is no list.
        reasons: What says why; built when first asked.
        recorder: Is given every prediction; None for no record.
    """

    @property
    def predictor(self) -> Predictor: ...  # noqa: D102
    @property
    def columns(self) -> ColumnPredictor: ...  # noqa: D102
    @property
    def reader(self) -> RowReader: ...  # noqa: D102
    @property
    def review(self) -> Review: ...  # noqa: D102
    @property
    def opt_out(self) -> WatchedOptOut | None: ...  # noqa: D102
    @property
    def reasons(self) -> Reasons: ...  # noqa: D102
    @property
    def recorder(self) -> Recorder | None: ...  # noqa: D102


def objections(opt_out: WatchedOptOut | None, ids: Sequence[Any]) -> dict[int, Problem]:
    """Return who must not be scored: customers who have objected, and those without a name while there is a list.

    Args:
        opt_out: The list; None where there is none.
        ids: What the client calls each customer.

    Raises:
        RequestError: 503 if the list is lost: who has objected meanwhile is not known.
    """
    if opt_out is None:
        return {}
    try:
        listed = opt_out.current()
    except ChurnlibError as error:
        _log.error("nobody is scored: %s", error)  # names the file, and no customer
        raise RequestError(NO_OPT_OUT_LIST) from None
    from churnlib.data.opt_out import names_of

    refused: dict[int, Problem] = {}
    for place, name in enumerate(names_of(ids)):
        if name is None:
            refused[place] = WITHOUT_NAME
        elif name in listed.names:
            refused[place] = OPTED_OUT
    return refused


def log_failure(error: Exception) -> None:
    """Log where a request failed; the text of the error is left out, since it may quote the customer's values."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("a request failed with %s at\n%s", type(error).__name__, frames)


def answered(job: Callable[..., Answer]) -> Callable[..., Answer]:
    """Return a door that answers whatever happens: a refusal is told, a failure is logged and told as one."""

    @wraps(job)
    def door(*args: Any, **options: Any) -> Answer:
        try:
            return job(*args, **options)
        except RequestError as error:
            return Answer.refusal(error.problem)
        except Exception as error:
            log_failure(error)
            return Answer.refusal(INTERNAL)

    return door


__all__ = ["Served", "answered", "log_failure", "objections"]
