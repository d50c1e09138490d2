"""Load on a server that runs, with limits: the exit status is 1 when answers fail or come late.

    python -m pip install -r deploy/load/requirements.txt
    CUSTOMERS=outputs/latest/bundle/golden.json locust -f deploy/load/locustfile.py --headless \
        --host http://127.0.0.1:8000 --users 32 --spawn-rate 32 --run-time 60s

From the environment:

    CUSTOMERS      a JSON list of customers, or a bundle's golden.json (required)
    CHURNLIB_KEY   key of the server, if it wants one
    RATE           requests per second of each user (1); 0 for as many as it can, which measures this machine too
    BULK_SHARE     share of requests that are bulk, of 100 customers each (0)
    MAX_P99_MS     most milliseconds that 99 of 100 single customers may wait (250)
    MAX_FAILURES   largest share of requests that may fail, 503 included (0.001)
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, constant_throughput, events, task
from locust.env import Environment

RATE = float(os.environ.get("RATE", "1"))
BULK_SHARE = float(os.environ.get("BULK_SHARE", "0"))
MAX_P99_MS = float(os.environ.get("MAX_P99_MS", "250"))
MAX_FAILURES = float(os.environ.get("MAX_FAILURES", "0.001"))
SINGLE, BULK = "/predict", "/predict/batch"


def read_customers() -> list[bytes]:
    """Return the bodies of requests, each the JSON of a customer."""
    found = json.loads(Path(os.environ["CUSTOMERS"]).read_text(encoding="utf-8"))
    rows = [customer.get("row", customer) for customer in found]
    return [json.dumps({name: value for name, value in row.items() if value is not None}).encode() for row in rows]


CUSTOMERS = read_customers()
BATCH = b'{"instances": [' + b", ".join((CUSTOMERS * 100)[:100]) + b"]}"


class Client(FastHttpUser):
    """A system that asks about one customer after another on a connection that it keeps."""

    wait_time = constant_throughput(RATE) if RATE > 0 else constant(0)
    headers: dict[str, str]

    def on_start(self) -> None:
        """Take the key."""
        key = os.environ.get("CHURNLIB_KEY")
        self.headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}

    @task
    def ask(self) -> None:
        """Ask for one customer, or for a hundred."""
        bulk = random.random() < BULK_SHARE
        body = BATCH if bulk else random.choice(CUSTOMERS)
        self.client.post(BULK if bulk else SINGLE, data=body, headers=self.headers)


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """Set the exit status by the limits."""
    total, single = environment.stats.total, environment.stats.get(SINGLE, "POST")
    p99 = single.get_response_time_percentile(0.99)
    reasons = []
    if total.num_requests == 0:
        reasons.append("nothing was asked")
    if total.fail_ratio > MAX_FAILURES:
        reasons.append(f"{total.fail_ratio:.2%} of requests failed, allowed are {MAX_FAILURES:.2%}")
    if single.num_requests and p99 > MAX_P99_MS:
        reasons.append(f"one in a hundred customers waited {p99:.0f} ms or longer, allowed are {MAX_P99_MS:.0f} ms")
    for reason in reasons:
        print(f"FAILED  {reason}")
    if not reasons:
        print(f"ok  {total.num_requests} requests, p99 {p99:.0f} ms, {total.fail_ratio:.2%} failed")
    environment.process_exit_code = 1 if reasons else 0
