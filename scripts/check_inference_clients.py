"""A round trip between our server and clients of the Open Inference Protocol that others wrote.

    python scripts/check_inference_clients.py bundle=DIR [kserve_python=PATH] [mlserver_python=PATH] [engine=inline]

The Pythons are those of environments with ``kserve`` (its ``InferenceRESTClient``) and ``mlserver`` (its types and
codecs), which bring too many packages for the tests' own::

    python -m venv ENV && ENV/bin/python -m pip install kserve          (or: mlserver 'pandas<3')

The server runs with keys. Twenty made-up customers, gaps among them, must get the bundle's own probabilities. (Triton's
client is in ``tests/test_serving_protocol.py``.)
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_serving import TOLERANCE, make_key, running, served
from scripts.words import options_of

CUSTOMERS = 20


def main(words: list[str]) -> int:
    """Ask by each client that is there and return 1 if one is answered otherwise than the bundle answers."""
    defaults = {"bundle": "outputs/latest/bundle", "kserve_python": "", "mlserver_python": "", "engine": "inline"}
    options = options_of(words, defaults, __doc__)
    known = served("", options["bundle"])
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = folder / "customers.json"
        path.write_text(json.dumps(columns_of(known.customers[:CUSTOMERS])))
        key = make_key(folder)
        with running(options["engine"], options["bundle"], folder, key) as (url, _, _):
            for name in ("kserve", "mlserver"):
                if not options[f"{name}_python"]:
                    print(f"{name}: not asked; name its Python, {name}_python=PATH")
                    continue
                script = Path(__file__).with_name("inference_clients.py")
                command = [options[f"{name}_python"], str(script), name, url, key, str(path)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
                if done.returncode:
                    print(f"{name}: {done.stderr.strip().splitlines()[-1]}")
                    failed = 1
                    continue
                said = json.loads(done.stdout.splitlines()[-1])
                failed |= judge(name, said, known.answers[:CUSTOMERS])
    return failed


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns, null where a row has no such cell."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def judge(name: str, said: dict[str, Any], wanted: list[float]) -> int:
    """Print how a client's answers compare with the bundle's; return 1 if they differ, or a probe says no."""
    failed = 0
    for how in ("JSON", "bytes"):
        if how in said:
            found = said[how].pop("probability")
            far = max(abs(a - b) for a, b in zip(found, wanted, strict=True))
            failed |= int(not far <= TOLERANCE)
            print(f"{name}, tensors in {how}: {len(found)} customers, largest difference {far:.1e}, {said.pop(how)}")
    print(f"{name}: {said}")
    return failed | int(not all(said.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
