"""Asks a running server about the golden customers of its bundle, and exits with 1 at the first wrong answer.

    python deploy/ci/smoke.py http://127.0.0.1:8000 model/bundle

A bundle's golden customers are made up, with the probabilities that the model gave them when it was trained: a server
that answers them alike has the right model and runs it right. The key, if the server wants one, comes from the
environment: CHURNLIB_KEY. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

TOLERANCE = 1e-5
"""Processors round differently; what a decision hangs on is far larger."""


class WrongAnswerError(Exception):
    """The server does not do what it should."""


def expect(condition: bool, text: str) -> None:
    """Raise WrongAnswerError with the text unless the condition holds."""
    if not condition:
        raise WrongAnswerError(text)


def main() -> int:
    """Run the checks in turn; print each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("bundle", type=Path, help="folder of the bundle that the server should have")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds until the server must be ready")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    golden = json.loads((arguments.bundle / "golden.json").read_text(encoding="utf-8"))
    try:
        print(f"ok  ready after {wait_until_ready(url, arguments.patience):.1f} s")
        print(f"ok  {check_golden(url, golden)} of {len(golden)} golden customers answered, all as expected")
        check_refusal(url)
        print("ok  a broken request is refused")
    except WrongAnswerError as error:
        print(f"FAILED  {error}", file=sys.stderr)
        return 1
    return 0


def wait_until_ready(url: str, patience: float) -> float:
    """Return the seconds until ``/health`` said 200."""
    started = time.monotonic()
    while (status := ask(url, "/health")[0]) != 200:
        late = time.monotonic() - started > patience
        expect(not late, f"/health still says {status or 'nothing'} after {patience:g} s")
        time.sleep(0.1)
    return time.monotonic() - started


def check_golden(url: str, golden: list[dict[str, Any]]) -> int:
    """Return how many golden customers were answered; their columns were drawn one by one, so rules may refuse some."""
    answered = 0
    for customer in golden:
        row = {name: value for name, value in customer["row"].items() if value is not None}
        status, answer = ask(url, "/predict", json.dumps(row).encode())
        expect(status in (200, 422), f"/predict says {status or 'nothing'} to a golden customer: {answer}")
        if status == 200:
            answered += 1
            found = [value for name, value in answer.items() if "probability" in name]
            expected = customer["probability"]
            for one, other in zip(found, expected if isinstance(expected, list) else [expected], strict=True):
                expect(abs(one - other) <= TOLERANCE, f"a golden customer has {other}, the server says {one}")
    expect(answered > 0, "no golden customer was answered")
    return answered


def check_refusal(url: str) -> None:
    """Half a JSON object is the client's mistake, not the server's."""
    status, answer = ask(url, "/predict", b'{"customer_id": ')
    expect(status == 400, f"/predict says {status or 'nothing'} to broken JSON")
    expect(isinstance(answer, dict) and "code" in answer.get("error", {}), f"broken JSON has no code: {answer}")


def ask(url: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Return status and decoded body; status 0 where nobody answers."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("CHURNLIB_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url + path, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, decoded(response.read())
    except urllib.error.HTTPError as error:
        return error.code, decoded(error.read())
    except OSError:
        return 0, None


def decoded(body: bytes) -> Any:
    """Return what JSON says, or the text that is none."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
