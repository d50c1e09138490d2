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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.campaigns.results import Result, progress
from scripts.campaigns.servers import ROOT, Server, Setting
from scripts.serving_load import Clients, during

_LOOKS = 4
"""Connections that ask which version is served: each may find another HTTP process."""


def reload_under_load(
    setting: Setting,
    *,
    times: int = 1,
    rollback: bool = False,
    connections: int = 16,
) -> Result:
    """Change the model under load, by SIGHUP and by the admin address in turn; or back, with bad bundles between."""
    result = Result(f"{'rollback and bad bundles' if rollback else 'reload'}, {' '.join(setting.words)}")
    key, file = _admin_key(setting.folder)
    bundles = _Bundles.of(setting)
    with setting.server(f"keys={file}", "admin=true", bundle=bundles.link) as running:
        running.wait_until_ready()
        operator = _Operator(running, key, bundles, result)

        def act() -> None:
            for turn in range(times):
                progress(result.title, turn, times)
                (operator.go_back if rollback else operator.change)(turn)

        headers = f"Authorization: Bearer {key}\r\n"
        clients = Clients(running.port, setting.rows, connections=connections, headers=headers, pause=0.002)
        outcome = asyncio.run(during(clients, act))
    result.hold_answers(outcome)
    result.hold(len(outcome.versions) == 2, f"versions {dict(outcome.versions)}")
    result.figures = {"changes": times, "connections": connections, **result.figures}
    result.add(outcome)
    seconds = operator.seconds
    result.figures["answers by version"] = ", ".join(f"{v}: {n:,}" for v, n in outcome.versions.items())
    result.figures["seconds of a change, median and longest"] = f"{statistics.median(seconds):.2f}, {max(seconds):.2f}"
    return result


@dataclass(frozen=True)
class _Bundles:
    """What is served in turn.

    Attributes:
        good: Two versions of one model.
        bad: Folders that must not be served: a damaged bundle, and none.
        link: Leads to what the server reads.
    """

    good: tuple[Path, Path]
    bad: tuple[Path, Path]
    link: Path

    @classmethod
    def of(cls, setting: Setting) -> _Bundles:
        """Make them; the link leads to the first version."""
        folder = setting.folder
        first, second = Path(setting.bundle).resolve(), other_bundle(setting.bundle, folder)
        damaged = Path(tempfile.mkdtemp(dir=folder)) / "damaged"
        shutil.copytree(second, damaged)
        schema = damaged / "schema.json"
        schema.write_bytes(schema.read_bytes() + b" ")
        found = cls((first, second), (damaged, folder / "missing"), folder / "current")
        found.lead_to(first)
        return found

    def lead_to(self, bundle: Path) -> None:
        """Let the link lead to another bundle, so that it always leads to one."""
        following = self.link.with_name("next")
        following.symlink_to(bundle)
        following.replace(self.link)


class _Operator:
    """Who changes the model.

    Args:
        running: The server.
        key: For the admin address.
        bundles: What is served in turn.
        result: Is told what was not as promised.

    Attributes:
        seconds: What each change took.
    """

    def __init__(self, running: Server, key: str, bundles: _Bundles, result: Result) -> None:
        self._running, self._key, self._bundles, self._result = running, key, bundles, result
        self._versions: list[str] = []
        self.seconds: list[float] = []
        self._versions.append(self._served())

    def change(self, turn: int) -> None:
        """Change to the other version: by SIGHUP, by an order, or by an order that names the bundle."""
        target = self._bundles.good[(turn + 1) % 2]
        begun = time.monotonic()
        if turn % 3 == 2:
            self._must(turn, "reload", target)
        else:
            self._bundles.lead_to(target)
            if turn % 3:
                self._must(turn, "reload")
            else:
                self._hang_up()
        self._changed(begun)
        before, now = self._versions[-2:]
        self._result.hold(now != before, f"turn {turn}: the version has not changed")

    def go_back(self, turn: int) -> None:
        """Change to the second version, try the bad bundles, and go back."""
        self._must(turn, "reload", self._bundles.good[1])
        for bad in self._bundles.bad:
            self._must_be_refused(turn, bad)
        middle, begun = self._served(), time.monotonic()
        self._must(turn, "rollback")
        self._changed(begun)
        first, now = self._versions[0], self._versions[-1]
        self._result.hold(now == first != middle, f"turn {turn}: {first}, {middle}, {now}")

    def _changed(self, begun: float) -> None:
        self.seconds.append(time.monotonic() - begun)
        self._versions.append(self._served())

    def _served(self) -> str:
        """Return the version that is served; all HTTP processes must name the same one."""
        found = {_version(self._running.url) for _ in range(_LOOKS)}
        self._result.hold(len(found) == 1, f"{len(self._versions)} changes: /health names {sorted(found)}")
        return found.pop()

    def _order(self, word: str, bundle: Path | None) -> tuple[int, dict[str, Any]]:
        body = b"" if bundle is None else json.dumps({"bundle": str(bundle)}).encode()
        return _post(f"{self._running.url}/admin/{word}", body, self._key)

    def _must(self, turn: int, word: str, bundle: Path | None = None) -> None:
        status, said = self._order(word, bundle)
        self._result.hold(status == 200, f"turn {turn}: {word}: {status} {said}")

    def _must_be_refused(self, turn: int, bad: Path) -> None:
        status, said = self._order("reload", bad)
        message = said.get("error", {}).get("message", "")
        is_said = status == 409 and re.search(r"nothing has changed: .*(is damaged|no folder)", message)
        self._result.hold(bool(is_said), f"turn {turn}: {bad.name}: {status} {said}")
        shown = message.replace(str(self._bundles.link.parent), "...")
        self._result.figures.setdefault(f"said of a {bad.name} bundle", shown)

    def _hang_up(self) -> None:
        """Have the server read the link again, and wait until all of it has: nobody answers a signal."""
        os.kill(self._running.main_pid, signal.SIGHUP)
        until, url = time.monotonic() + 30, self._running.url
        while any(_version(url) == self._versions[-1] for _ in range(_LOOKS)) and time.monotonic() < until:
            time.sleep(0.01)


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
