"""Kill training runs at random moments, go on with each, and compare with the run that nobody killed.

    python scripts/check_resume.py                      20 runs, each killed up to 3 times (about 10 minutes)
    python scripts/check_resume.py runs=5 kills=2 model=tabnet optimizer=sgd

A kill is SIGKILL: the process gets no chance to write anything. After each, the checkpoints that are there must load;
after the last, the weights of the last and of the best epoch must be the same bits, and the metrics the same numbers.
Words other than runs, kills and seed are options of `train`. Each run is a process of its own, started from nothing:
one that was forked from a process with threads may wait for ever.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import answer_help

RUN = "--run"
"""First word of the processes that train: a folder and options follow."""

OPTIONS = {"runs": 20, "kills": 3, "seed": 0}
SMALL = [
    "data.n_customers=2000", "model.hidden_sizes=[32]", "trainer.max_epochs=25", "trainer.batch_size=64",
    "callbacks.early_stopping.patience=8", "trainer.progress=false", "trainer.accelerator=cpu", "logger=none",
]  # fmt: skip


def main(words: list[str]) -> int:
    """Run the campaign that the words choose; return 1 if any run ended otherwise than the whole one."""
    if words[:1] == [RUN]:
        run(Path(words[1]), words[2:])
        return 0
    answer_help(words, OPTIONS, __doc__)
    options = dict(OPTIONS)
    training = [word for word in words if word.partition("=")[0] not in options]
    for word in words:
        key, _, value = word.partition("=")
        if key in options:
            options[key] = int(value)
    if any(word.startswith("model=") for word in training):
        given = [word for word in SMALL if "hidden_sizes" not in word]
    else:
        given = list(SMALL)
    with tempfile.TemporaryDirectory() as folder:
        return campaign(Path(folder), [*given, *training], **options)


def campaign(folder: Path, words: list[str], *, runs: int, kills: int, seed: int) -> int:
    """Kill and resume so many runs under the folder; return 1 if one of them differs."""
    started = time.perf_counter()
    wait(run_process(folder / "whole", words))
    duration = time.perf_counter() - started
    wanted = outcome(folder / "whole")
    chance = random.Random(seed)
    print(f"the whole run takes {duration:.1f} s and {wanted['metrics']['epochs']} epochs")
    n_differ = n_kills = 0
    for number in range(runs):
        path = folder / str(number)
        # The first half is spent on starting Python and reading the table.
        died = killed_run(path, words, [chance.uniform(duration / 2, duration) for _ in range(kills)])
        same = equal(outcome(path), wanted)
        n_differ += not same
        n_kills += len(died)
        print(f"run {number}: killed after epochs {died}, {'the same' if same else 'DIFFERS'}", flush=True)
        shutil.rmtree(path)
    print(f"{runs} runs, {n_kills} kills: {runs - n_differ} ended as the whole run, {n_differ} did not")
    return int(n_differ > 0)


def killed_run(path: Path, words: list[str], moments: list[float]) -> list[int]:
    """Run to the end in spite of kills after so many seconds each; return the epochs that the checkpoints held."""
    died = []
    for moment in moments:
        process = run_process(path, words)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            died.append(epochs_kept(path))
    wait(run_process(path, words))
    return died


def run_process(path: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """Start a process that begins the run, or goes on with it; one that is finished stays as it is."""
    command = [sys.executable, __file__, RUN, str(path), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run that nobody kills."""
    if process.wait():
        raise RuntimeError(f"a run ended with status {process.returncode}: {process.args}")


def run(path: Path, words: list[str]) -> None:
    """Train under the path, from the last checkpoint if there is one."""
    from churnlib.compose import compose
    from churnlib.training.run_folder import RunFolder
    from churnlib.training.train import train

    if (path / "metrics.json").exists():
        return
    last = path / "checkpoints" / "last.ckpt"
    if not last.exists():
        shutil.rmtree(path, ignore_errors=True)  # killed before its first epoch was over
        train(compose(words), folder=RunFolder(path, latest=None))
        return
    config = compose([*words, f"ckpt_path='{last}'"])
    train(config, folder=RunFolder(path, ckpt_path=last, latest=None))


def epochs_kept(path: Path) -> int:
    """Load the checkpoints that a killed run left, and return how many epochs the last one holds."""
    kept = [load(path, name) for name in ("best", "last") if (path / "checkpoints" / f"{name}.ckpt").exists()]
    return kept[-1]["epoch"] + 1 if kept else 0


def load(path: Path, name: str) -> dict[str, Any]:
    """Read a checkpoint of a run; one that is not whole is an error."""
    import torch

    return torch.load(path / "checkpoints" / f"{name}.ckpt", weights_only=True)


def outcome(path: Path) -> dict[str, Any]:
    """Return what a finished run is compared by."""
    metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    checkpoints = {name: load(path, name) for name in ("best", "last")}
    return {
        "metrics": {name: metrics[name] for name in ("test", "validation", "epochs")},
        "curve": checkpoints["last"]["churnlib"]["curve"],
        **{name: checkpoint["state_dict"] for name, checkpoint in checkpoints.items()},
    }


def equal(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether two outcomes agree to the last bit."""
    import torch

    weights = all(
        torch.equal(found[name][key], tensor) for name in ("best", "last") for key, tensor in wanted[name].items()
    )
    return weights and found["metrics"] == wanted["metrics"] and found["curve"] == wanted["curve"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
