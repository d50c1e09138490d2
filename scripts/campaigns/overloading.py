"""Ten times the capacity is offered, by the clock."""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.campaigns.processes import resident
from scripts.campaigns.results import BACK_SECONDS, Result, milliseconds
from scripts.campaigns.servers import Setting
from scripts.serving_load import Arrivals, Clients, Outcome, percentile

SLOW_SECONDS = 0.01
SLOW_MODULE = f"""
import time
from churnlib.models.mlp import {{name}}

class Slow({{name}}):
    def forward(self, *args, **kwargs):
        time.sleep({SLOW_SECONDS})
        return super().forward(*args, **kwargs)
"""
"""A network that takes its time and not the processor's, so that ten times its capacity can honestly be offered."""


def overload(
    setting: Setting,
    *,
    seconds: float = 60.0,
    times: float = 10.0,
    connections: int = 32,
    back_seconds: float = BACK_SECONDS,
) -> Result:
    """Offer ten times the capacity, by the clock: a request's time runs from when it was due."""
    result = Result(f"overload, {' '.join(setting.words)}")

    async def ask(clients: Clients, during_seconds: float) -> tuple[Outcome, float]:
        task = asyncio.create_task(clients.run())
        begun = time.monotonic()
        await asyncio.sleep(during_seconds)
        clients.stop()
        lag = clients.behind if isinstance(clients, Arrivals) else 0.0
        return await task, lag / (time.monotonic() - begun)

    with setting.server() as running:
        running.wait_until_ready()
        running.wait_until_whole()
        port = running.port
        _, _ = asyncio.run(ask(Clients(port, setting.rows, connections=4), 1.0))
        span = max(2.0, seconds / 10)
        full, _ = asyncio.run(ask(Clients(port, setting.rows, connections=4), span))
        capacity = full.statuses[200] / span
        normal, _ = asyncio.run(ask(Arrivals(port, setting.rows, rate=capacity * 0.8, connections=connections), span))
        rate = capacity * times
        much = Arrivals(port, setting.rows, rate=rate, connections=max(64, min(1000, int(rate * 0.4))))
        memory = resident(running.main_pid)
        outcome, lag = asyncio.run(ask(much, seconds))
        grown = resident(running.main_pid) - memory
        ended, back = time.monotonic(), math.inf
        while back == math.inf and time.monotonic() < ended + 10:
            after, _ = asyncio.run(ask(Clients(port, setting.rows, connections=2), 0.1))
            if not after.refusals and after.seconds:
                back = time.monotonic() - ended
    usual = percentile([took for _, took in normal.seconds], 0.99)
    accepted = [took for _, took in outcome.seconds]
    p99 = percentile(accepted, 0.99)
    offered = (outcome.answered + outcome.hung + outcome.lost) / seconds
    result.hold_answers(outcome, allowed=(200, 503))
    result.hold(max(accepted, default=math.inf) <= 2.0 + 0.1, f"an answer took {max(accepted, default=math.inf):.2f} s")
    result.hold(bool(outcome.refusals), "nobody was refused: this was no overload")
    result.hold(p99 <= 3 * usual, f"p99 of the accepted is {p99 * 1e3:.1f} ms, {p99 / usual:.1f} times the usual")
    result.hold(back <= back_seconds, f"recovered only after {back:.2f} s")
    result.figures = {
        "capacity, requests/s": f"{capacity:,.0f}",
        "offered, requests/s": f"{offered:,.0f} ({offered / capacity:.1f} times)",
        "connections": much.connections,
        "clients behind their plan, share of the time": f"{max(0.0, lag):.1%}",
    }
    result.add(outcome)
    refused = outcome.refusals
    result.figures |= {
        "answered, requests/s": f"{len(accepted) / seconds:,.0f}",
        "p50, p99 usual, ms": milliseconds([took for _, took in normal.seconds]),
        "p50, p99 of the accepted, ms": f"{milliseconds(accepted)} ({p99 / usual:.1f} times)",
        "slowest accepted, ms": f"{max(accepted, default=math.nan) * 1e3:.0f}",
        "p50, p99 of the refused, ms": milliseconds(refused),
        "seconds until all are answered again": f"{back:.2f}",
        "memory grew by, MB": f"{grown / 1e6:.1f}",
    }
    return result


def slow_setting(setting: Setting) -> Setting:
    """Return a setting whose network takes 10 ms for each customer, and hardly any processor time."""
    words = ("trust=slow_network", "backend=torch", "max_batch_size=1", "max_wait=0.03")
    return replace(setting, bundle=_slow_bundle(setting.bundle, setting.folder), words=(*setting.words, *words))


def _slow_bundle(bundle: str | Path, folder: Path) -> Path:
    from churnlib.bundle import read_bundle, write_bundle
    from churnlib.models.network import build_network
    from churnlib.models.network_model import NetworkModel

    read = read_bundle(bundle)
    model: Any = read.model
    name = str(model.spec["_target_"]).rsplit(".", 1)[1]
    (folder / "slow_network.py").write_text(SLOW_MODULE.format(name=name))
    sys.path.insert(0, str(folder))
    spec = {**model.spec, "_target_": "slow_network.Slow"}
    network = build_network(spec, model.input_spec, n_classes=len(read.schema.classes), trust=("slow_network",))
    network.load_state_dict(model.network.state_dict())
    path = Path(tempfile.mkdtemp(dir=folder)) / "slow"
    write_bundle(replace(read, model=NetworkModel(network, spec, model.input_spec), onnx=None), path)
    return path
