"""Who is told of each request: metrics, logs, traces; nobody by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from churnlib.serving.problems import refuse

if TYPE_CHECKING:
    from churnlib.serving.answers import Answer
    from churnlib.serving.front import Request


class Watching(Protocol):
    """Is told of each request, on the event loop: it must be quick."""

    def answered(self, request: Request, answer: Answer) -> None:
        """A request was answered."""
        ...

    def left(self, request: Request) -> None:
        """A client left before it was answered."""
        ...

    def batch(self, rows: int, queue_seconds: float, model_seconds: float) -> None:
        """The model has answered a batch."""
        ...

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return what ``GET /metrics`` answers, and its media type."""
        ...


class Unwatched:
    """Nobody is told."""

    def answered(self, request: Request, answer: Answer) -> None:
        """Do nothing."""

    def left(self, request: Request) -> None:
        """Do nothing."""

    def batch(self, rows: int, queue_seconds: float, model_seconds: float) -> None:
        """Do nothing."""

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """Say that there is nothing."""
        raise refuse(404, "not_found", "this server counts nothing")
