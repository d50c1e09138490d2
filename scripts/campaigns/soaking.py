"""Half the capacity for long: what grows?"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from scripts.campaigns.processes import descendants, resident_of
from scripts.campaigns.results import Result
from scripts.campaigns.servers import Setting
from scripts.serving_load import Arrivals, Clients, during


def soak(
    setting: Setting,
    *,
    minutes: float = 30.0,
    every: float = 1.0,
    connections: int = 8,
) -> Result:
    """Half the capacity for long: memory and descriptors of each process must stay where they were."""
    result = Result(f"soak, {minutes:g} minutes, {' '.join(setting.words)}")
    with setting.server() as running:
        running.wait_until_ready()
        running.wait_until_whole()
        full = asyncio.run(
            during(Clients(running.port, setting.rows, connections=connections), lambda: time.sleep(2.4))
        )
        rate = full.statuses[200] / 3.0 / 2
        samples: dict[int, list[tuple[float, float, int]]] = {}

        def watch() -> None:
            begun = time.monotonic()
            while (now := time.monotonic() - begun) < minutes * 60:
                for pid in (running.main_pid, *descendants(running.main_pid)):
                    with suppress(OSError):
                        open_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                        samples.setdefault(pid, []).append((now, resident_of(pid), open_files))
                time.sleep(every)

        roles = {running.main_pid: "main"}
        for role in running.roles:
            roles |= dict.fromkeys(running.children(role), role) | dict.fromkeys(running.waiting(role), f"spare {role}")
        clients = Arrivals(running.port, setting.rows, rate=rate, connections=4 * connections)
        outcome = asyncio.run(during(clients, watch))
        result.hold(running.process.poll() is None, "the server has ended")
    result.hold_answers(outcome)
    result.figures = {"requests/s": f"{rate:,.0f}"}
    result.add(outcome)
    for pid, found in samples.items():
        kept = found[len(found) // 5 :]  # caches and arenas fill first
        slope, error = _slope([now / 3600 for now, _, _ in kept], [resident / 1e6 for _, resident, _ in kept])
        grown = statistics.median(r for _, r, _ in kept[-5:]) - statistics.median(r for _, r, _ in kept[:5])
        files = [number for _, _, number in kept]
        role = roles.get(pid, "restarted")
        result.figures[f"memory of {role}, MB"] = f"{kept[0][1] / 1e6:.1f} to {kept[-1][1] / 1e6:.1f}"
        result.figures[f"slope of {role}, MB/hour"] = f"{slope:+.2f} ± {error:.2f}"
        result.figures[f"descriptors of {role}"] = f"{min(files)} to {max(files)}"
        leaks = slope - error > 0 and grown > max(1e6, 0.01 * kept[0][1])
        result.hold(not leaks, f"the memory of {role} grows by {slope:.1f} ± {error:.1f} MB/hour")
        result.hold(files[-1] <= files[0] + 2, f"the descriptors of {role} grew from {files[0]} to {files[-1]}")
        result.hold(role != "restarted", "a process was restarted")
    return result


def _slope(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the slope of a straight line and half its 95 % interval.

    Neighbouring measurements are alike, which would make the interval too narrow: the line is laid through the means of
    twenty stretches.
    """
    size = max(1, len(x) // 20)
    xs = [statistics.fmean(x[start : start + size]) for start in range(0, len(x) - size + 1, size)]
    ys = [statistics.fmean(y[start : start + size]) for start in range(0, len(y) - size + 1, size)]
    line = statistics.linear_regression(xs, ys)
    spread = sum((each - statistics.fmean(xs)) ** 2 for each in xs)
    rest = sum((b - line.intercept - line.slope * a) ** 2 for a, b in zip(xs, ys, strict=True)) / max(1, len(xs) - 2)
    return line.slope, 2.1 * math.sqrt(rest / spread)
