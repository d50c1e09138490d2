"""The model is changed while customers are asking, and changed back, with bad bundles between."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

from scripts.campaigns.results import Result, progress
from scripts.campaigns.servers import ROOT, Setting
from scripts.serving_load import Clients, during


def reload_under_load(
    setting: Setting,
    *,
    times: int = 1,
    rollback: bool = False,
    connections: int = 16,
) -> Result:
    """Change the model under load, by SIGHUP and by the admin address in turn; or back, with bad bundles between."""
    result = Result(f"{'rollback and bad bundles' if rollback else 'reload'}, {' '.join(setting.words)}")
    folder = setting.folder
    key, file = _admin_key(folder)
    bundles = [Path(setting.bundle).resolve(), other_bundle(setting.bundle, folder)]
    damaged = Path(tempfile.mkdtemp(dir=folder)) / "damaged"
    shutil.copytree(bundles[1], damaged)
    schema = damaged / "schema.json"
    schema.write_bytes(schema.read_bytes() + b" ")
    link = folder / "current"
    link.unlink(missing_ok=True)
    link.symlink_to(bundles[0])
    seconds: list[float] = []
    with setting.server(f"keys={file}", "admin=true", bundle=link) as running:
        running.wait_until_ready()
        versions = [_version(running.url)]

        def order(word: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
            data = b"" if body is None else json.dumps(body).encode()
            return _post(f"{running.url}/admin/{word}", data, key)

        def change(turn: int) -> None:
            target = bundles[(turn + 1) % 2]
            begun, before = time.monotonic(), _version(running.url)
            if turn % 3 == 2:
                status, said = order("reload", {"bundle": str(target)})
                result.hold(status == 200, f"turn {turn}: {status} {said}")
            else:
                replaced = folder / "next"
                replaced.symlink_to(target)
                replaced.replace(link)
                if turn % 3:
                    status, said = order("reload")
                    result.hold(status == 200, f"turn {turn}: {status} {said}")
                else:
                    os.kill(running.main_pid, signal.SIGHUP)
                    until = time.monotonic() + 30
                    while _version(running.url) == before and time.monotonic() < until:
                        time.sleep(0.01)
            seconds.append(time.monotonic() - begun)
            versions.append(_version(running.url))
            result.hold(versions[-1] != versions[-2], f"turn {turn}: the version has not changed")

        def back(turn: int) -> None:
            status, said = order("reload", {"bundle": str(bundles[1])})
            result.hold(status == 200, f"turn {turn}: reload: {status} {said}")
            for bad in (damaged, folder / "missing"):
                status, said = order("reload", {"bundle": str(bad)})
                message = said.get("error", {}).get("message", "")
                is_said = status == 409 and re.search(r"nothing has changed: .*(is damaged|no folder)", message)
                result.hold(bool(is_said), f"turn {turn}: {bad.name}: {status} {said}")
                result.figures.setdefault(f"said of a {bad.name} bundle", message.replace(str(folder), "..."))
            middle = _version(running.url)
            begun = time.monotonic()
            status, said = order("rollback")
            seconds.append(time.monotonic() - begun)
            result.hold(status == 200, f"turn {turn}: rollback: {status} {said}")
            versions.append(_version(running.url))
            result.hold(versions[-1] == versions[0] != middle, f"turn {turn}: {versions[0]}, {middle}, {versions[-1]}")

        def act() -> None:
            for turn in range(times):
                progress(result.title, turn, times)
                (back if rollback else change)(turn)

        clients = Clients(
            running.port, setting.rows, connections=connections, headers=f"Authorization: Bearer {key}\r\n", pause=0.002
        )
        outcome = asyncio.run(during(clients, act))
    result.hold_answers(outcome)
    result.hold(len(outcome.versions) == 2, f"versions {dict(outcome.versions)}")
    result.figures = {"changes": times, "connections": connections, **result.figures}
    result.add(outcome)
    result.figures["answers by version"] = ", ".join(f"{v}: {n:,}" for v, n in outcome.versions.items())
    result.figures["seconds of a change, median and longest"] = f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"
    return result


def other_bundle(bundle: str | Path, folder: Path) -> Path:
    """Write the same model with another threshold, which makes another version."""
    from churnlib.bundle import read_bundle, write_bundle

    path = Path(tempfile.mkdtemp(dir=folder)) / "other"
    read = read_bundle(bundle)
    write_bundle(replace(read, threshold=0.5 if read.threshold is None else read.threshold * 0.9), path)
    return path


def _admin_key(folder: Path) -> tuple[str, Path]:
    file = folder / "keys"
    file.unlink(missing_ok=True)
    words = ["key", "name=campaign", "scopes=predict,metrics,admin", f"file={file}"]
    done = subprocess.run(
        [sys.executable, "-c", "from churnlib.cli import main; main()", *words],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return re.findall(r"churn_\S+", done.stdout)[0], file


def _version(url: str) -> str:
    with urllib.request.urlopen(f"{url}/health", timeout=30) as response:
        return json.load(response)["model_version"]


def _post(url: str, body: bytes, key: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
