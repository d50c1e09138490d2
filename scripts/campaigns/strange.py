"""Strange requests: made from the server's own document, and damaged on the wire."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from scripts.campaigns.processes import resident, resident_of
from scripts.campaigns.results import Result
from scripts.campaigns.servers import Setting, statuses
from scripts.fuzz_http import Target, attack

_MOST_GROWTH = 30.0
"""MB that a process may grow in the second half of the turns: a large request leaves room behind it now and then."""

_EXAMPLES, _MOST_TURNS = 150, 20
"""Requests for each operation in one turn of schemathesis, and turns; each has a seed of its own."""


def fuzz(setting: Setting, *, requests: int = 10_000) -> Result:
    """Have schemathesis make requests, good and bad, from the server's own document."""
    result = Result(f"schemathesis, {' '.join(setting.words)}")
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        result.skipped = "schemathesis is not installed (pip install schemathesis)"
        return result
    with setting.server() as running:
        running.wait_until_ready()
        running.wait_until_whole()
        with urllib.request.urlopen(f"{running.url}/openapi.json", timeout=30) as response:
            document = json.load(response)
        operations = [each for methods in document["paths"].values() for each in methods.values()]
        with_body = sum("requestBody" in each for each in operations)  # the others run out of different requests
        examples = min(_EXAMPLES, math.ceil(1.2 * requests / with_body))
        before, sent = statuses(running.url), 0
        memory: dict[str, list[float]] = {role: [] for role in running.roles}
        for turn in range(1, _MOST_TURNS + 1):
            done = _generate(program, running.url, setting.folder, examples=examples, seed=turn)
            report = done.stdout + done.stderr
            result.hold(done.returncode == 0, report[-6000:])
            found = re.search(r"([\d,]+) generated", report)
            sent += int(found[1].replace(",", "")) if found else 0
            for role, found_in in memory.items():
                found_in.append(sum(map(resident_of, running.children(role))) / 1e6)
            if sent >= requests or done.returncode or not found:
                break
        codes = {code: count - before.get(code, 0) for code, count in statuses(running.url).items()}
    bad = {code for code, count in codes.items() if code >= 500 and code != 503 and count}
    result.hold(not bad, f"the server has answered {sorted(bad)}")
    for role, after in memory.items():
        grown = after[-1] - after[len(after) // 2]
        result.hold(
            grown <= _MOST_GROWTH, f"the memory of {role} grew by {grown:.0f} MB in the second half of the turns"
        )
    result.figures = {
        "operations": len(operations),
        "requests generated": f"{sent:,}",
        "answers": ", ".join(f"{code}: {count:,}" for code, count in sorted(codes.items())),
    } | {
        f"memory of {role} after each turn, MB": ", ".join(f"{each:.0f}" for each in after)
        for role, after in memory.items()
    }
    return result


def _generate(program: Path, url: str, folder: Path, *, examples: int, seed: int) -> subprocess.CompletedProcess[str]:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [
        str(program), "run", f"{url}/openapi.json", "--checks", checks, "--phases", "fuzzing",
        "--max-examples", str(examples), "--continue-on-failure", "--request-timeout", "15", "--seed", str(seed),
        "--no-color", "--mode", "all", "--suppress-health-check", "all",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def wire(setting: Setting, *, mutations: int = 5000, seed: int = 1) -> Result:
    """Damage raw requests."""
    result = Result(f"raw HTTP, {' '.join(setting.words)}")
    with setting.server() as running:
        running.wait_until_ready()
        running.wait_until_whole()
        target = Target(running.port, "/predict", json.dumps(setting.rows[0]).encode())
        found = attack(target, count=mutations, seed=seed, memory=lambda: resident(running.main_pid))
    result.broken += found.wrong[:20]
    result.figures = {
        "damaged requests": f"{found.sent:,}",
        "without an answer": f"{found.silent:,}",
        "answers": ", ".join(f"{code}: {count:,}" for code, count in sorted(found.answers.items())),
        "memory grew by, MB": f"{found.grown / 1e6:.1f}",
    }
    return result
