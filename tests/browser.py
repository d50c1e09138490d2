"""Debian's chromium, driven over its DevTools protocol: a page at a width, light or dark, with or without scripts."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

SCREENSHOTS = "CHURNLIB_SCREENSHOTS"
"""Environment variable: a folder in which the pictures of pages are kept."""


def find_chromium() -> str:
    """The browser's program; the test is skipped where there is none."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no chromium is installed")
    return found


class Page:
    """A tab of the browser.

    Attributes:
        complaints: What the page or the browser wrote into the console, exceptions included.
    """

    def __init__(self, socket: ClientConnection, session: str, numbers: Iterator[int]) -> None:
        self._socket, self._session, self._numbers = socket, session, numbers
        self.complaints: list[str] = []
        self._asked: dict[str, str] = {}
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; what the browser tells meanwhile is kept."""
        number = next(self._numbers)
        self._socket.send(
            json.dumps({"id": number, "method": method, "params": parameters, "sessionId": self._session})
        )
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._keep(message)

    def _keep(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.complaints.append(" ".join(str(one.get("value")) for one in told["args"]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"].get("exception") or told["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith(("file:", "data:")):
            self._asked[told["requestId"]] = told["request"]["url"]
        elif method == "Network.loadingFailed" and told.get("blockedReason") == "csp":
            self._asked.pop(told["requestId"], None)

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for and was not refused, but for files and its own data."""
        return list(self._asked.values())

    def show(
        self, file: Path, *, width: int = 1400, dark: bool = False, scripts: bool = True, paper: bool = False
    ) -> None:
        """Open a file and wait until it is drawn."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=file.as_uri())
        for _ in range(200):
            if self.run("document.readyState") == "complete" and self.run("location.href").startswith("file:"):
                break
            time.sleep(0.05)
        self.wait()

    def wait(self) -> None:
        """Let what waits for the next picture happen."""
        self.call(
            "Page.captureScreenshot",
            format="jpeg",
            quality=1,
            clip={"x": 0, "y": 0, "width": 4, "height": 4, "scale": 1},
        )

    def run(self, expression: str) -> Any:
        """Return what an expression gives in the page, even where its own scripts are off."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def picture(self, name: str) -> bytes:
        """Return the whole page as PNG, and keep it where the environment names a folder."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 16_000), "scale": 1}
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        picture = base64.b64decode(told["data"])
        if folder := os.environ.get(SCREENSHOTS):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.png").write_bytes(picture)
        return picture


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with one tab, gone at the end."""
    profile = folder / "profile"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
             f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]  # fmt: skip
    process = subprocess.Popen([find_chromium(), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        for _ in range(600):
            if port_file.is_file() and len(port_file.read_text().splitlines()) == 2:
                break
            assert process.poll() is None, "chromium ended at once"
            time.sleep(0.1)
        port, path = port_file.read_text().splitlines()
        numbers = itertools.count(1)
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=2**28, open_timeout=60) as socket:
            target = _root(socket, numbers, "Target.createTarget", url="about:blank")["targetId"]
            attached = _root(socket, numbers, "Target.attachToTarget", targetId=target, flatten=True)
            yield Page(socket, attached["sessionId"], numbers)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _root(socket: ClientConnection, numbers: Iterator[int], method: str, **parameters: Any) -> dict[str, Any]:
    number = next(numbers)
    socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
    while True:
        message = json.loads(socket.recv(timeout=60))
        if message.get("id") == number:
            return message["result"]
