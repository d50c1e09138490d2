"""Children of one server are killed, again and again, while customers are asking."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.campaigns.results import BACK_SECONDS, Result, progress
from scripts.campaigns.servers import Server, Setting, answers_and_restarts
from scripts.serving_load import Clients, Outcome

_PATIENCE_SECONDS = 30.0
_FAILING_SECONDS = 0.3
"""Time after the next answer in which all that a death has failed is known."""

_RESTING_SECONDS = 0.05
"""Time between two requests of a client while a process starts: at full speed they would take the processor from it."""


def kill_under_load(
    setting: Setting,
    *,
    role: str = "http",
    times: int = 1,
    connections: int = 16,
    hurry: bool = False,
    back_seconds: float = BACK_SECONDS,
) -> Result:
    """Kill children of one server again and again, while customers are asking.

    An HTTP process takes its open connections with it: their requests are lost, and no others. A worker's questions get
    503 from the HTTP process. Each death meets a server that is whole, with its spares; in a hurry the next one comes
    before another spare is ready.
    """
    result = Result(f"kill -9 of {role} processes, {' '.join(setting.words)}")
    with setting.server() as running:
        running.wait_until_ready()
        clients = Clients(running.port, setting.rows, connections=connections)
        deaths = _Deaths(running, clients, role, spares=not hurry)
        asyncio.run(_kill(deaths, times, result))
        time.sleep(1.5)  # a process writes its numbers once a second
        counted, restarts = answers_and_restarts(running.url, role)
        result.hold(running.process.poll() is None, "the server has ended")
    _hold_deaths(result, deaths, times, back_seconds)
    _hold_counts(result, deaths, counted, restarts)
    _describe(result, deaths, counted, restarts)
    return result


@dataclass
class _Deaths:
    """The deaths of one campaign.

    Attributes:
        running: The server.
        clients: Who ask it meanwhile.
        role: Of the processes that are killed.
        spares: Whether each death waits for the spares.
        back: Seconds from each death to the first answer of a request that came after it.
        most: Most requests failed by one death.
    """

    running: Server
    clients: Clients
    role: str
    spares: bool
    back: list[float] = field(default_factory=list)
    most: int = 0

    @property
    def failed(self) -> int:
        """Requests that no process has answered."""
        return self.clients.outcome.lost + self.clients.outcome.codes["worker_lost"]

    async def add(self, turn: int) -> bool:
        """Kill one process of a server that is whole; returns whether anybody was answered afterwards."""
        self.clients.pause = _RESTING_SECONDS
        await asyncio.to_thread(self.running.wait_until_whole, spares=self.spares)
        self.clients.pause = 0.0
        seconds = self.clients.outcome.seconds
        before = len(seconds)
        await _until(lambda: len(seconds) > before + 50)
        failed, begun, known = self.failed, time.monotonic(), len(seconds)
        os.kill(self.running.children(self.role)[turn % self.running.roles[self.role]], signal.SIGKILL)

        def since() -> float | None:
            return next((came for came, took in seconds[known:] if came - took > begun), None)

        if not await _until(lambda: since() is not None):
            return False
        self.back.append((since() or math.inf) - begun)
        await asyncio.sleep(_FAILING_SECONDS)
        self.most = max(self.most, self.failed - failed)
        return True


async def _kill(deaths: _Deaths, times: int, result: Result) -> None:
    asking = asyncio.create_task(deaths.clients.run())
    for turn in range(times):
        progress(result.title, turn, times)
        if not await deaths.add(turn):
            result.broken.append(f"turn {turn}: nobody is answered any more")
            break
    deaths.clients.stop()
    await asking


def _hold_deaths(result: Result, deaths: _Deaths, times: int, back_seconds: float) -> None:
    """Hold what a death may cost."""
    outcome, connections = deaths.clients.outcome, deaths.clients.connections
    if deaths.role == "worker":
        result.hold_answers(outcome, allowed=(200, 503))
    else:
        result.hold_answers(outcome, lost=connections * times)
    strange_codes = set(outcome.codes) - {"worker_lost"}
    longest = max(deaths.back, default=math.inf)
    result.hold(not strange_codes, f"there were refusals with {sorted(strange_codes)}")
    result.hold(deaths.most <= connections, f"one death failed {deaths.most} requests of {connections} connections")
    result.hold(longest <= back_seconds, f"back only after {longest:.2f} s")


def _hold_counts(result: Result, deaths: _Deaths, counted: int, restarts: int) -> None:
    """Hold that the server counts no more than there was, and without a dead HTTP process all of it."""
    answered = deaths.clients.outcome.answered
    is_right = counted == answered if deaths.role == "worker" else counted <= answered
    result.hold(restarts == len(deaths.back), f"/metrics counts {restarts} restarts")
    result.hold(is_right, f"/metrics counts {counted} answers, clients {answered}")


def _describe(result: Result, deaths: _Deaths, counted: int, restarts: int) -> None:
    outcome: Outcome = deaths.clients.outcome
    result.figures = {"killed": len(deaths.back), "connections": deaths.clients.connections}
    result.add(outcome)
    result.figures |= {
        "most requests failed by one death": deaths.most,
        "seconds to the next answer, median": f"{statistics.median(deaths.back or [math.nan]):.3f}",
        "seconds to the next answer, longest": f"{max(deaths.back, default=math.nan):.3f}",
        "answers counted by /metrics": f"{counted:,} of {outcome.answered:,}",
        "restarts counted by /metrics": restarts,
    }


async def _until(is_so: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.01)
    return True
