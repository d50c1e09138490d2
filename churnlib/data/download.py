"""One file from the network, once: checked by its SHA-256, in its place whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

TIMEOUT_SECONDS = 30
"""Longest wait for the server's next bytes."""

CHUNK_BYTES = 1 << 16


class DownloadFailed(Exception):
    """A file could not be downloaded; the text says why, in a few words."""


def download(url: str, path: Path, *, sha256: str, progress: bool = True) -> Path:
    """Download a file unless it is there with the right checksum.

    Args:
        url: Address of the file.
        path: Where to put it; its folder is made.
        sha256: Checksum of the whole file, as hexadecimal digits. A file at ``path`` with another one is replaced.
        progress: Whether to show a bar, on a terminal.

    Returns:
        ``path``.

    Raises:
        DownloadFailed: If the file cannot be had, has another checksum, or cannot be written; nothing is left behind.
    """
    import pooch
    from requests.exceptions import RequestException

    try:
        with _quiet_pooch(), _Bar(f"downloading {path.name}", shown=progress) as bar:
            downloader: Any = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK_BYTES, timeout=TIMEOUT_SECONDS)  # type: ignore[arg-type]
            pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=downloader)
    except RequestException as error:
        status = getattr(error.response, "status_code", None)
        raise DownloadFailed(f"the server answered {status}" if status else "no connection") from error
    except ValueError as error:
        raise DownloadFailed("what the address serves has another SHA-256") from error
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise DownloadFailed(f"the folder {path.parent} cannot be written: {problem}") from error
    return path


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Keep pooch from telling the terminal where it downloads from; the bar says so."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


class _Bar:
    """A progress bar of rich with the methods that pooch calls; it appears with the first bytes, on a terminal only."""

    def __init__(self, description: str, *, shown: bool) -> None:
        self.total = 0  # bytes; set by pooch, 0 where the server does not say
        self._description = description
        self._shown = shown
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, n: int) -> None:
        """Count ``n`` more bytes."""
        if self._progress is None:
            self._start()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=n)

    def reset(self) -> None:
        """Count from 0 again."""
        if self._progress is not None and self._task is not None:
            self._progress.reset(self._task, total=self.total or None)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        console = Console(stderr=True)
        if not (self._shown and console.is_terminal):
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(self._description, total=self.total or None)
        self._progress.start()
