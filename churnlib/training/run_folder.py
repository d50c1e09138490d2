"""The folder of one run: made when there is something to write, finished when ``metrics.json`` lies in it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from churnlib.config import TrainConfig, to_yaml
from churnlib.errors import ConfigError
from churnlib.pages.writing import json_ready

METRICS = "metrics.json"
CONFIG = "config.yaml"
LEAKS = "leaks.json"
CHECKPOINTS = "checkpoints"

OUTPUTS = Path("outputs")
"""Where dated folders go, and ``latest``, which points to the newest finished run; below the working directory."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; numbers that JSON lacks (NaN, infinity) become null.

    Args:
        path: File, replaced if it exists.
        value: Mappings, sequences, text, numbers (numpy's too), paths.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def holds_run(path: Path) -> bool:
    """Whether a run, finished or not, has written into this folder."""
    return any((path / name).exists() for name in (METRICS, CONFIG, CHECKPOINTS))


def dated(root: Path = OUTPUTS) -> Path:
    """Return ``root/<date>/<time>`` for now, or with a number behind it where another run has just taken that name."""
    base = root / datetime.now().strftime("%Y-%m-%d/%H-%M-%S")
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


class RunFolder:
    """Where one run writes. Nothing is written before :meth:`create`.

    Args:
        path: The folder; a dated one under ``outputs/`` when None, or the checkpoint's run when that is given.
        ckpt_path: Checkpoint to go on with; only with one of its own may a folder already hold a run.
        latest: Link that shall point to the run once it is finished; None for no link.

    Raises:
        ConfigError: If the folder holds a run already, or the checkpoint is missing.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        ckpt_path: str | Path | None = None,
        latest: Path | None = OUTPUTS / "latest",
    ) -> None:
        resumed = None if ckpt_path is None else _run_of(Path(ckpt_path))
        chosen = resumed if path is None else Path(path)
        # The date is that of the start, but the name is taken in create(): two runs may start in the same second.
        self._dated = chosen is None
        self.path = dated() if chosen is None else chosen
        self.latest = latest
        self._resumes = resumed is not None and resumed.resolve() == self.path.resolve()
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"output_dir={self.path} is a file; name a folder")
        if not self._resumes and holds_run(self.path):
            raise ConfigError(_refusal(self.path))

    def create(self, config: TrainConfig) -> Path:
        """Make the folder and write ``config.yaml`` into it.

        Raises:
            ConfigError: If the folder cannot be written to.
        """
        try:
            self._make_folder()
            (self.path / CONFIG).write_text(to_yaml(config), encoding="utf-8")
            # A run that goes on is unfinished until it ends again.
            (self.path / METRICS).unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot write to the run folder {self.path} ({error.strerror}); choose output_dir=DIR"
            ) from error
        return self.path

    def make(self) -> Path:
        """Make the folder alone, for what is left of a run that cannot start.

        Raises:
            ConfigError: If it cannot be made.
        """
        try:
            self._make_folder()
        except OSError as error:
            raise ConfigError(
                f"cannot write to the run folder {self.path} ({error.strerror}); choose output_dir=DIR"
            ) from error
        return self.path

    def _make_folder(self) -> None:
        if not self._dated:
            self.path.mkdir(parents=True, exist_ok=True)
            return
        while True:
            try:
                self.path.mkdir(parents=True)
            except FileExistsError:
                self.path = dated(self.path.parent.parent)
            else:
                return

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write ``metrics.json``, the last file of a run, and let ``outputs/latest`` point here."""
        write_json(self.path / METRICS, metrics)
        if self.latest is not None:
            # The run is safe by now: where links are not to be had, it ends well without one.
            with contextlib.suppress(OSError):
                _point(self.latest, self.path)


def _run_of(ckpt_path: Path) -> Path | None:
    """Return the folder of the run that wrote the checkpoint, None if it lies elsewhere."""
    if not ckpt_path.is_file():
        raise ConfigError(
            f"ckpt_path={ckpt_path} does not exist; a run keeps its checkpoints in DIR/{CHECKPOINTS}/last.ckpt"
        )
    return ckpt_path.parent.parent if ckpt_path.parent.name == CHECKPOINTS else None


def _refusal(path: Path) -> str:
    last = path / CHECKPOINTS / "last.ckpt"
    if (path / METRICS).exists() or not last.exists():
        return f"output_dir={path} holds a run already; choose another folder or remove that one"
    return (
        f"output_dir={path} holds an unfinished run; go on with ckpt_path={last}, choose another folder, "
        "or remove that one"
    )


def _point(link: Path, folder: Path) -> None:
    """Let the link point to the folder, by one rename so that it always points somewhere."""
    link.parent.mkdir(parents=True, exist_ok=True)
    target, base = folder.resolve(), link.parent.resolve()
    partial = link.with_name(f".{link.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    # Relative within the same tree, so that the tree can be moved.
    partial.symlink_to(target.relative_to(base) if target.is_relative_to(base) else target, target_is_directory=True)
    try:
        partial.replace(link)
    except OSError:
        partial.unlink()
        raise
