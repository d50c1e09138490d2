"""``train``: one run, or with ``-m`` many and a table of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from churnlib.commands.application import SWEEP_FLAGS, exit_status, run_hydra, say
from churnlib.compose import from_hydra
from churnlib.config import TrainConfig
from churnlib.errors import ChurnlibError, ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from churnlib.training.fitted import Ready

HYDRAS_OWN = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
)
"""Launcher and sweeper that know all runs beforehand and start them here, one after the other."""


def main(words: Sequence[str]) -> int:
    """Run the command with the words of the command line and return its exit status."""
    return exit_status(lambda: _sweep(words) if set(SWEEP_FLAGS) & set(words) else run_hydra("train", _run, words))


# --- one run --------------------------------------------------------------------------------------------------------


def _run(composed: DictConfig) -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise ConfigError("a sweep needs -m on the command line; hydra.mode alone does not start one")
    _train(from_hydra(composed))


def _train(config: TrainConfig, *, path: Path | None = None, ready: Ready | None = None) -> dict[str, Any]:
    """Train and return the metrics.

    Args:
        config: The run's options.
        path: Folder of the run, if the configuration does not say.
        ready: What was trained beforehand, together with other runs.
    """
    from rich.console import Console

    from churnlib.training.run_folder import RunFolder

    folder = RunFolder(path or config.output_dir, ckpt_path=config.ckpt_path)
    # Imported last: a mistyped option is answered without waiting for it.
    from churnlib.training.train import train

    try:
        return train(config, folder=folder, console=Console(), ready=ready).metrics
    except (KeyboardInterrupt, SystemExit) as stop:
        # Lightning ends a training that was stopped with Ctrl-C by leaving the program.
        raise KeyboardInterrupt(_farewell(folder)) from stop


def _farewell(folder: Any) -> str:
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
        waiting: list[Job] = []
        try:
            run_hydra("train", lambda composed: _take(composed, root, Path(scratch), waiting), hydra_words)
            _run_waiting(waiting, Path(scratch))
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


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: From 0.
        overrides: The words that were given to it.
        model: Name of its model's configuration.
        seed: Its seed.
        folder: Of the run.
        config: Its options, or what is wrong with them.
    """

    number: int
    overrides: Sequence[str]
    model: str
    seed: int | None
    folder: Path
    config: TrainConfig | Exception


def _take(composed: DictConfig, root: Path, scratch: Path, waiting: list[Job]) -> None:
    """Let a run wait until all are known; one that another launcher starts, in a process of its own, runs at once."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    try:
        config: TrainConfig | Exception = from_hydra(composed)
    except Exception as error:  # of this run alone
        config = error
    number = int(hydra.job.num)
    overrides = [word for word in hydra.overrides.task if not word.startswith("output_dir=")]
    if isinstance(config, TrainConfig) and not any(word.lstrip("+").startswith("report=") for word in overrides):
        config = replace(config, report=False)  # one of the runs will be chosen: its report can be made then
    model = str(hydra.runtime.choices.get("model"))
    job = Job(number, overrides, model, composed.seed, root / str(number), config)
    if (hydra.launcher._target_, hydra.sweeper._target_) == HYDRAS_OWN:
        waiting.append(job)
    else:
        _run_job(job, scratch)


def _run_waiting(jobs: Sequence[Job], scratch: Path) -> None:
    """Run what has waited, in order; those that can share a pass are trained when the first of them has its turn."""
    from churnlib.training.together import shareable

    configs = {job.number: job.config for job in jobs if isinstance(job.config, TrainConfig)}
    group_of = {number: group for group in shareable(configs) for number in group}
    ready: dict[int, Ready] = {}
    tried: set[int] = set()
    for job in jobs:
        if job.number in group_of and job.number not in ready and job.number not in tried:
            # Those behind it, too: a pass takes as many as fit into memory.
            group = [number for number in group_of[job.number] if number >= job.number]
            ready |= _pass({number: configs[number] for number in group}, job.folder)
            tried.add(job.number)
        _run_job(job, scratch, ready.pop(job.number, None))


def _pass(configs: Mapping[int, TrainConfig], folder: Path) -> dict[int, Ready]:
    """Train runs together; none if something is in the way, which they will say one by one."""
    from rich.console import Console

    from churnlib.training.together import fit_together

    if len(configs) < 2:
        return {}
    Console().rule(f"runs {', '.join(map(str, configs))} in one pass")
    try:
        return fit_together(configs, folder)
    except ChurnlibError as error:
        say(f"They are trained one after the other: {error}")
    except Exception:
        # One after the other they do without what is broken here; whoever mends it needs to see where it happened.
        traceback.print_exc()
    return {}


def _run_job(job: Job, scratch: Path, ready: Ready | None = None) -> None:
    """Run one combination and keep what became of it."""
    from rich.console import Console

    from churnlib.training.sweeps import FINISHED, Outcome

    Console().rule(f"run {job.number}: {' '.join(job.overrides)}")
    started, metrics, state = time.perf_counter(), {}, "stopped"
    try:
        if isinstance(job.config, Exception):
            raise job.config
        if job.config.ckpt_path is not None:
            raise ConfigError("ckpt_path cannot be used with -m; go on with one run at a time")
        metrics = _train(job.config, path=job.folder, ready=ready)
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
            number=job.number,
            overrides=job.overrides,
            model=job.model,
            seed=job.seed,
            state=state,
            seconds=time.perf_counter() - started + (0.0 if ready is None else ready.seconds),
            folder=str(job.folder),
            metrics=metrics,
        ).save(scratch)
