"""A server is told to end while customers are asking."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from scripts.campaigns.processes import descendants, is_alive
from scripts.campaigns.results import Result, progress
from scripts.campaigns.servers import Server, Setting
from scripts.serving_load import Clients, Outcome, during


def end_under_load(
    setting: Setting,
    *,
    how: str = "term",
    times: int = 1,
    connections: int = 16,
) -> Result:
    """Send SIGTERM to servers under load: to the first process, the whole group, or as PID 1 of a namespace."""
    result = Result(f"SIGTERM, {how}, {' '.join(setting.words)}")
    prefix: Sequence[str] = ()
    if how == "pid1":
        prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
        if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
            result.skipped = "a PID namespace is not permitted here (needs unshare and root)"
            return result
    total, seconds = Outcome(), []
    for turn in range(times):
        progress(result.title, turn, times)
        with setting.server(prefix=prefix) as running:
            running.wait_until_ready()
            family = {running.main_pid, *descendants(running.main_pid)}
            ended: list[float] = []

            def act(running: Server = running, ended: list[float] = ended) -> None:
                begun = time.monotonic()
                if how == "group":
                    os.killpg(running.process.pid, signal.SIGTERM)
                else:
                    os.kill(running.main_pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    running.process.wait(40)
                ended.append(time.monotonic() - begun)

            clients = Clients(running.port, setting.rows, connections=connections)
            outcome = asyncio.run(during(clients, act, before=0.1 + 0.3 * (turn % 10) / 10, after=0.02))
            status = running.process.poll()
            result.hold(status == 0, f"turn {turn}: exit status {status}: {running.output.read_text()[-300:]}")
            left = [pid for pid in family if is_alive(pid)]
            result.hold(not left, f"turn {turn}: processes {left} are left")
            result.hold(outcome.lost == outcome.hung == 0, f"turn {turn}: lost {outcome.lost}, hung {outcome.hung}")
            seconds += ended
            _join(total, outcome)
    result.hold_answers(total, allowed=(200, 503))
    result.figures = {"servers ended": times, "connections": connections}
    result.add(total)
    result.figures["seconds to the end, median and longest"] = f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"
    return result


def _join(total: Outcome, one: Outcome) -> None:
    for name in ("statuses", "versions", "codes"):
        getattr(total, name).update(getattr(one, name))
    for name in ("lost", "hung", "refused", "wrong", "mixed"):
        setattr(total, name, getattr(total, name) + getattr(one, name))
    total.seconds += one.seconds
    total.refusals += one.refusals
