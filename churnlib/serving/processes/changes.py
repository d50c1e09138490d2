"""Changes of the model that all processes follow: each prepares it, and when all have, all serve it.

One change at a time: orders wait for the one before, and for the start of the server, as long as their clients do. A
process that was starting meanwhile catches up with the others; that is a change too, and nobody is refused for it.
Until then it answers nobody: who was told that a change is done is answered by the new model alone.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churnlib.serving.options import ServeOptions
from churnlib.serving.processes.children import Child, Children

if TYPE_CHECKING:
    from churnlib.serving.seeing.metrics import Metrics

_MOST_WAITING = 16
"""Orders that wait for their turn."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Order:
    """What an operator wants.

    Attributes:
        word: reload or rollback.
        bundle: The folder to read; empty for the configured one.
        asked_by: The HTTP process, and its number of the order; None for SIGHUP.
        until: When nobody waits for it any more, on the monotonic clock.
    """

    word: str
    bundle: str = ""
    asked_by: tuple[Child, int] | None = None
    until: float = float("inf")


@dataclass(slots=True, eq=False)
class Change:
    """A change that is under way.

    Attributes:
        bundle: The folder that is read; None for the way back.
        asked_by: As of its order.
        children: Who follows it.
        waiting_for: Who of them has not answered yet.
        number: Of all changes; answers name it.
        catches_up: Whether it is one that the other processes have made already, before these were there.
        is_commit: Whether the answers are those to ``commit``.
        failed: What went wrong.
        version: Of the model.
    """

    bundle: str | None
    asked_by: tuple[Child, int] | None
    children: list[Child]
    waiting_for: list[Child]
    number: int
    catches_up: bool = False
    is_commit: bool = False
    failed: str = ""
    version: str = ""


class Changes:
    """Which model the processes serve, and what is under way to change that.

    Args:
        options: Of the server.
        children: The processes.
        count: Has the server's own numbers added to.
    """

    def __init__(
        self, options: ServeOptions, children: Children, count: Callable[[Callable[[Metrics], None]], None]
    ) -> None:
        self._options, self._children, self._count = options, children, count
        self._bundle, self._previous = self._configured(), ""
        self._waiting: deque[Order] = deque()
        self._change: Change | None = None
        self._number = 0
        self._is_open = self._is_over = False

    def bundle(self) -> str:
        """Return the folder of the model that is served, for a process that starts."""
        if self._is_open and not Path(self._bundle).is_dir():  # the link led to another since, and this one went
            self._bundle = self._configured()
        return self._bundle

    def open(self) -> None:
        """Begin to make changes: the server has started."""
        self._is_open = True
        self.go_on()

    def close(self) -> None:
        """Make no more changes: the server ends."""
        self._is_over = True
        while self._waiting:
            self._tell(self._waiting.popleft().asked_by, ok=False, refused="draining")

    def order(self, child: Child, message: Mapping[str, Any]) -> None:
        """Take an operator's order from the HTTP process that has it."""
        asked_by = child, message["number"]
        if self._is_over:
            self._tell(asked_by, ok=False, refused="draining")
        elif len(self._waiting) >= _MOST_WAITING:
            self._tell(asked_by, ok=False, refused="busy")
        else:
            self._waiting.append(Order(message["word"], message["bundle"] or "", asked_by, message["until"]))
            self.go_on()

    def hang_up(self) -> None:
        """Read the configured bundle again; SIGHUP."""
        if not self._is_over and all(order.asked_by is not None for order in self._waiting):
            self._waiting.append(Order("reload"))  # one that waits already will read what is there then
            self.go_on()

    def go_on(self) -> None:
        """Do what waits, if its time has come; call it whenever something has happened, and now and then."""
        now = time.monotonic()
        for order in [order for order in self._waiting if order.until <= now]:
            self._waiting.remove(order)
            self._tell(order.asked_by, ok=False, refused="busy")
        self._admit()
        if self._change is not None or self._is_over or not self._is_open:
            return
        ready = self._children.ready
        late = [child for child in ready if child.bundle != self._bundle]
        if late:
            self._prepare(self._bundle, None, late, catches_up=True)
        elif self._waiting and ready:
            order = self._waiting.popleft()
            back = order.word == "rollback"
            bundle = None if back else os.path.realpath(order.bundle) if order.bundle else self._configured()
            self._prepare(bundle, order.asked_by, ready)

    def done(self, child: Child, message: Mapping[str, Any]) -> None:
        """Take a process's answer: it has prepared, or committed, or could not."""
        change = self._change
        if change is None or not self._is_awaited(change, child, message):
            return
        if message["ok"]:
            change.version = message.get("version") or change.version
        elif change.is_commit:
            child.kill()  # it cannot follow the others, but its successor reads the new model
        else:
            change.failed = change.failed or message["message"]
        self._settle(change, child)

    def gone(self, child: Child) -> None:
        """Go on without a process that has died, and without what it was asked to order."""
        self._waiting = deque(order for order in self._waiting if not order.asked_by or order.asked_by[0] is not child)
        change = self._change
        if change is not None and child in change.waiting_for:
            if not change.is_commit:  # else its successor reads the new model
                change.failed = change.failed or f"the {child.role} process ended meanwhile"
            self._settle(change, child)

    def _admit(self) -> None:
        """Let processes serve that have become ready, unless they have another model than the others, or soon may."""
        change = self._change
        if change is not None and not (change.failed or change.catches_up or change.is_commit):
            return
        for child in self._children.ready:
            if not child.serves and child.bundle == self._bundle:
                child.serves = True
                child.tell(do="serve")

    def _configured(self) -> str:
        """Return the folder that the option leads to now: links are followed once, for all processes."""
        return os.path.realpath(self._options.bundle)

    def _is_awaited(self, change: Change, child: Child, message: Mapping[str, Any]) -> bool:
        """Whether an answer belongs to what is waited for, and not to the end of a change before it."""
        if child not in change.waiting_for or message["change"] != change.number:
            return False
        return change.is_commit is (message["word"] == "commit")

    def _prepare(
        self, bundle: str | None, asked_by: tuple[Child, int] | None, children: list[Child], *, catches_up: bool = False
    ) -> None:
        """Have processes prepare a model; none serves it until all have it."""
        self._number += 1
        self._change = Change(bundle, asked_by, children, list(children), self._number, catches_up)
        for child in children:
            word = "prepare_rollback" if bundle is None else "prepare"
            child.tell(do=word, change=self._number, bundle=bundle or self._previous)

    def _settle(self, change: Change, child: Child) -> None:
        """One process has answered; go on once all have."""
        change.waiting_for.remove(child)
        if change.waiting_for:
            return
        if not change.is_commit:
            self._decide(change)
        if not change.waiting_for:
            self._end(change)

    def _decide(self, change: Change) -> None:
        """All have prepared, or not: let all serve it, or none."""
        children = [child for child in change.children if child.is_ready and child.channel is not None]
        if not change.failed:
            if not change.catches_up:
                self._previous, self._bundle = self._bundle, change.bundle or self._previous
            change.is_commit, change.waiting_for = True, list(children)
        for child in children:
            child.tell(do="abort" if change.failed else "commit", change=change.number)
            if not change.failed:
                child.bundle = self._bundle

    def _end(self, change: Change) -> None:
        self._change = None
        if change.failed:
            _log.error("the model was not changed: %s", change.failed)
        if not change.catches_up:
            self._count(lambda metrics: metrics.reloaded("refused" if change.failed else "ok"))
        elif change.failed:  # their successors start with the right one
            for child in change.children:
                child.kill()
        self._tell(change.asked_by, ok=not change.failed, message=change.failed, version=change.version)
        self.go_on()

    def _tell(self, asked_by: tuple[Child, int] | None, **outcome: Any) -> None:
        if asked_by is not None:
            asked_by[0].tell(do="done", number=asked_by[1], **outcome)


__all__ = ["Changes"]
