"""``train``: one run, or with ``-m`` many and a table of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from churnlib.commands.application import SWEEP_FLAGS, exit_status, run_hydra, say
from churnlib.compose import from_hydra
from churnlib.errors import ChurnlibError, ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from churnlib.training.run_folder import RunFolder


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: _sweep(words) if set(SWEEP_FLAGS) & set(words) else run_hydra("train", _run, words))


# --- one run --------------------------------------------------------------------------------------------------------


def _run(composed: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ConfigError("a sweep needs -m on the command line; hydra.mode alone does not start one")
    _train(composed)


def _train(composed: DictConfig, *, path: Path | None = None) -> dict[str, Any]:
    """Train as composed and return the metrics.

    Args:
        composed: The configuration.
        path: Folder of the run, if the configuration does not say.
    """
    from rich.console import Console

    from churnlib.training.run_folder import RunFolder

    config = from_hydra(composed)
    folder = RunFolder(path or config.output_dir, ckpt_path=config.ckpt_path)
    # Imported last: a mistyped option is answered without waiting for it.
    from churnlib.training.train import train

    try:
        return train(config, folder=folder, console=Console()).metrics
    except (KeyboardInterrupt, SystemExit) as stop:
        # Lightning ends a training that was stopped with Ctrl-C by leaving the program.
        raise KeyboardInterrupt(_farewell(folder)) from stop


def _farewell(folder: RunFolder) -> str:
    last = folder.path / "checkpoints" / "last.ckpt"
    return f"Stopped; go on with ckpt_path={last}" if last.exists() else "Stopped."


# --- many -----------------------------------------------------------------------------------------------------------


def _sweep(words: Sequence[str]) -> None:
    """Run every combination, then write ``sweep.json`` and print the table, whatever became of each."""
    from rich.console import Console

    from churnlib.training.run_folder import dated
    from churnlib.training.sweeps import FINISHED, check_root, close_sweep, read_outcomes

    root = _output_dir(words) or dated(Path("multirun"))
    check_root(root)
    with TemporaryDirectory(prefix="churnlib-sweep-") as scratch:
        # Hydra wants a folder for a sweep and writes into it; the runs make theirs when they have something to write.
        hydra_words = [*words, f"hydra.sweep.dir='{Path(scratch).as_posix()}'", "hydra.sweep.subdir=."]
        try:
            run_hydra("train", lambda composed: _run_of_sweep(composed, root, Path(scratch)), hydra_words)
        finally:
            outcomes = read_outcomes(Path(scratch))
            if outcomes:
                close_sweep(outcomes, root, Console())
    failed = [outcome.number for outcome in outcomes if outcome.state != FINISHED]
    if failed:
        numbers = ", ".join(map(str, failed))
        raise ConfigError(f"{len(failed)} of {len(outcomes)} runs failed: {numbers}; the reasons are above")


def _output_dir(words: Sequence[str]) -> Path | None:
    """Return the folder that the words name for the sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    given = [word for word in words if word.lstrip("+").startswith("output_dir=")]
    if not given:
        return None
    override = OverridesParser.create().parse_override(given[-1])
    if override.is_sweep_override():
        raise ConfigError("output_dir cannot be swept: every run gets a folder of its own in it, DIR/0, DIR/1, ...")
    value = override.value()
    return None if value is None else Path(str(value))


def _run_of_sweep(composed: DictConfig, root: Path, scratch: Path) -> None:
    """Run one combination and keep what became of it."""
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from churnlib.training.sweeps import FINISHED, Outcome

    hydra = HydraConfig.get()
    number = int(hydra.job.num)
    overrides = [word for word in hydra.overrides.task if not word.startswith("output_dir=")]
    Console().rule(f"run {number}: {' '.join(overrides)}")
    started, metrics, state = time.perf_counter(), {}, "stopped"
    try:
        if composed.ckpt_path is not None:
            raise ConfigError("ckpt_path cannot be used with -m; go on with one run at a time")
        metrics = _train(composed, path=root / str(number))
        state = FINISHED
    except ChurnlibError as error:
        state = f"failed: {error}"
        say(f"Error: {error}")
    except Exception as error:
        # The other runs shall not suffer from it, but whoever mends it needs to see where it happened.
        state = f"failed: {error!r}"
        traceback.print_exc()
    finally:
        Outcome(
            number=number,
            overrides=overrides,
            model=str(hydra.runtime.choices.get("model")),
            seed=composed.seed,
            state=state,
            seconds=time.perf_counter() - started,
            folder=str(root / str(number)),
            metrics=metrics,
        ).save(scratch)
