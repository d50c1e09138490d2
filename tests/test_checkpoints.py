"""Checkpoints of runs that are killed, moved and resumed."""

import importlib.util
import shutil
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from made import made_prepared

from churnlib import ChurnDataModule, ChurnModule
from churnlib.models.schedules import plateau
from churnlib.training.best_weights import BestWeights
from churnlib.training.checkpoints import AtomicCheckpointIO, RunCheckpoint, StayStopped

SMALL_MLP = {"_target_": "churnlib.models.mlp.PlainMLP", "hidden_sizes": [16], "dropout": 0.2}
TABLE = made_prepared(300)


def fit(folder, *callbacks, max_epochs=6, ckpt_path=None, module=None, **options):
    """Train with the callbacks of a run; the optimizer is fast, so that the best epoch is not the last."""
    torch.manual_seed(0)
    module = module or ChurnModule(
        SMALL_MLP,
        optimizer=lambda groups: torch.optim.Adam(groups, lr=0.03),
        scheduler=lambda optimizer, steps: plateau(optimizer, steps, patience=0),
    )
    keeper = RunCheckpoint(
        dirpath=folder, filename="best", monitor="val/log_loss", save_last=True, save_on_train_epoch_end=True,
        enable_version_counter=False,
    )  # fmt: skip
    trainer = L.Trainer(
        max_epochs=max_epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[*callbacks, keeper, StayStopped()], plugins=[AtomicCheckpointIO()], **options,
    )  # fmt: skip
    trainer.fit(module, ChurnDataModule(TABLE, batch_size=32), ckpt_path=ckpt_path, weights_only=True)
    return trainer


def load(path):
    return torch.load(path, weights_only=True)


def equal(first, second):
    states = first["state_dict"], second["state_dict"]
    return all(torch.equal(a, b) for a, b in zip(*(state.values() for state in states), strict=True))


class Told(ChurnModule):
    """Logs the validation log losses that it is told."""

    def log(self, name, value, **options):
        value = torch.tensor(self.told[self.current_epoch]) if name == "val/log_loss" else value
        super().log(name, value, **options)


class CopyEach(L.Callback):
    """Keeps the checkpoints as they stood when each epoch began."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch:
            shutil.copytree(self.folder, self.folder.with_name(f"after-{trainer.current_epoch}"))


def test_the_last_checkpoint_is_that_of_the_last_epoch_and_the_best_that_of_the_best(tmp_path):
    trainer = fit(tmp_path / "run")
    last, best = load(tmp_path / "run" / "last.ckpt"), load(tmp_path / "run" / "best.ckpt")
    losses = [epoch["val/log_loss"] for epoch in trainer.lightning_module.curve]
    assert last["epoch"] == 5 and len(losses) == 6
    assert best["epoch"] == losses.index(min(losses)) < 5


@pytest.mark.parametrize(
    ("losses", "best"), [([0.7, 0.5, 0.5, 0.6, 0.5], 1), ([0.7, 0.7, 0.7, 0.7, 0.7], 0), ([0.7, 0.6, 0.6, 0.5, 0.5], 3)]
)
def test_of_equal_epochs_the_first_is_the_best_with_files_in_memory_and_after_a_kill(tmp_path, losses, best):
    def told():
        module = Told(SMALL_MLP, optimizer=lambda groups: torch.optim.Adam(groups, lr=0.03))
        module.told = losses
        return module

    run = tmp_path / "run"
    fit(run, CopyEach(run), module=told(), max_epochs=5)
    kept = load(run / "best.ckpt")
    assert kept["epoch"] == best
    for epoch in range(1, 5):
        folder = tmp_path / f"after-{epoch}"
        fit(folder, module=told(), max_epochs=5, ckpt_path=folder / "last.ckpt")
        assert equal(load(folder / "best.ckpt"), kept), epoch
    in_memory = told()
    fit(tmp_path / "other", BestWeights(), module=in_memory, max_epochs=5)
    assert equal({"state_dict": in_memory.state_dict()}, kept)


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_resumed_after_any_epoch_ends_as_the_whole_one(tmp_path, moved):
    """The schedule by epochs, the best epoch and the curve go on as well, and in a folder of another name too."""
    run = tmp_path / "run"
    whole = fit(run, CopyEach(run))
    wanted = {name: load(run / f"{name}.ckpt") for name in ("best", "last")}
    for epoch in (1, 3, 5):
        folder = tmp_path / "moved" if moved else run
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tmp_path / f"after-{epoch}", folder)
        torch.manual_seed(99)  # another process would stand elsewhere
        resumed = fit(folder, ckpt_path=folder / "last.ckpt")
        for name, checkpoint in wanted.items():
            assert equal(load(folder / f"{name}.ckpt"), checkpoint), (epoch, name)
        assert resumed.lightning_module.curve == whole.lightning_module.curve
        assert resumed.global_step == whole.global_step


def test_a_run_goes_on_whoever_steps(tmp_path):
    """A callback that sees batches lets Lightning step, and the count of steps goes on."""

    class Sees(L.Callback):
        def on_train_batch_end(self, *_):
            pass

    whole = fit(tmp_path / "whole", max_epochs=4)
    fit(tmp_path / "parts", max_epochs=2)
    resumed = fit(tmp_path / "parts", Sees(), max_epochs=4, ckpt_path=tmp_path / "parts" / "last.ckpt")
    assert resumed.lightning_module.automatic_optimization and not whole.lightning_module.automatic_optimization
    assert resumed.global_step == whole.global_step
    assert equal(load(tmp_path / "parts" / "last.ckpt"), load(tmp_path / "whole" / "last.ckpt"))


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    stop = {"monitor": "val/log_loss", "patience": 1, "min_delta": 1.0}
    first = fit(tmp_path, EarlyStopping(**stop), max_epochs=9)
    assert first.current_epoch == 2
    before = load(tmp_path / "last.ckpt")
    again = fit(tmp_path, EarlyStopping(**stop), max_epochs=9, ckpt_path=tmp_path / "last.ckpt")
    assert again.global_step == first.global_step
    assert equal(load(tmp_path / "last.ckpt"), before)
    assert load(tmp_path / "last.ckpt")["epoch"] == before["epoch"] == 1


def test_a_checkpoint_that_is_broken_off_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1}, path)

    def half(checkpoint, file):
        file.write(b"half of a checkpoint")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            AtomicCheckpointIO().save_checkpoint({"epoch": 2}, path)
    assert load(path) == {"epoch": 1}
    AtomicCheckpointIO().save_checkpoint({"epoch": 3}, path)
    assert load(path) == {"epoch": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_runs_killed_at_random_moments_end_as_the_whole_one(tmp_path):
    """A part of the campaign of scripts/check_resume.py."""
    script = Path(__file__).parents[1] / "scripts" / "check_resume.py"
    spec = importlib.util.spec_from_file_location("check_resume", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # What is drawn of a finished run is no part of it; without it more of the kills meet the training.
    assert module.campaign(tmp_path, [*module.SMALL, "report=false"], runs=1, kills=2, seed=1) == 0
