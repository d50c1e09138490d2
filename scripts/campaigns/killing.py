"""Children of one server are killed, again and again, while customers are asking."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import statistics
import time
from collections.abc import Callable

from scripts.campaigns.results import BACK_SECONDS, Result, progress
from scripts.campaigns.servers import Setting, answers_and_restarts
from scripts.serving_load import Clients, Outcome


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
    back: list[float] = []
    most = 0
    begun_at = time.monotonic()
    with setting.server() as running:
        running.wait_until_ready()
        to_start = time.monotonic() - begun_at
        clients = Clients(running.port, setting.rows, connections=connections)

        async def campaign() -> Outcome:
            asking = asyncio.create_task(clients.run())
            outcome = clients.outcome
            nonlocal most
            for turn in range(times):
                progress(result.title, turn, times)
                await asyncio.to_thread(running.wait_until_whole, spares=not hurry)
                if turn and running.roles[role] > 1:  # the one before is there, but it may still be loading
                    await asyncio.sleep(to_start)
                before = len(outcome.seconds)
                await _until(lambda before=before: len(outcome.seconds) > before + 50, 30.0)
                failed, begun = outcome.lost + outcome.codes["worker_lost"], time.monotonic()
                os.kill(running.children(role)[turn % running.roles[role]], signal.SIGKILL)
                known = len(outcome.seconds)

                def is_back(begun: float = begun, known: int = known) -> bool:
                    return any(came - took > begun for came, took in outcome.seconds[known:])

                if not await _until(is_back, 30.0):
                    result.broken.append(f"turn {turn}: nobody is answered any more")
                    break
                back.append(next(came for came, took in outcome.seconds[known:] if came - took > begun) - begun)
                await asyncio.sleep(0.3)
                most = max(most, outcome.lost + outcome.codes["worker_lost"] - failed)
            clients.stop()
            return await asking

        outcome = asyncio.run(campaign())
        time.sleep(1.5)  # a process writes its numbers once a second
        counted, restarts = answers_and_restarts(running.url, role)
        result.hold(running.process.poll() is None, "the server has ended")
    result.hold_answers(
        outcome, allowed=(200, 503) if role == "worker" else (200,), lost=connections * times if role == "http" else 0
    )
    strange_codes = set(outcome.codes) - {"worker_lost"}
    result.hold(not strange_codes, f"there were refusals with {sorted(strange_codes)}")
    result.hold(most <= connections, f"one death failed {most} requests of {connections} connections")
    result.hold(max(back, default=math.inf) <= back_seconds, f"back only after {max(back, default=math.inf):.2f} s")
    result.hold(restarts == len(back), f"/metrics counts {restarts} restarts")
    result.hold(counted <= outcome.answered, f"/metrics counts {counted} answers, clients {outcome.answered}")
    if role == "worker":
        result.hold(counted == outcome.answered, f"/metrics counts {counted} answers, clients {outcome.answered}")
    result.figures = {"killed": len(back), "connections": connections}
    result.add(outcome)
    result.figures |= {
        "most requests failed by one death": most,
        "seconds to the next answer, median": f"{statistics.median(back or [math.nan]):.3f}",
        "seconds to the next answer, longest": f"{max(back, default=math.nan):.3f}",
        "answers counted by /metrics": f"{counted:,} of {outcome.answered:,}",
        "restarts counted by /metrics": restarts,
    }
    return result


async def _until(is_so: Callable[[], bool], patience: float) -> bool:
    until = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(0.01)
    return True
