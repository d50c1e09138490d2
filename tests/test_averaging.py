"""Averages of the weights: what they are, who sees them, and what a resumed run makes of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from made import made_prepared
from torch.optim.swa_utils import AveragedModel

from churnlib import ChurnDataModule, ChurnModule
from churnlib.compose import compose
from churnlib.models.losses import cross_entropy
from churnlib.training.averaging import WeightAveraging
from churnlib.training.best_weights import BestWeights
from churnlib.training.checkpoints import AtomicCheckpointIO, RunCheckpoint
from churnlib.training.fitting import fit as fit_run

BATCH_NORM = {"_target_": "churnlib.models.mlp.PlainMLP", "hidden_sizes": [16], "dropout": 0.1}
TABLE = made_prepared(300)


class Steps(L.Callback):
    """Keeps the weights after every step, as the optimizer leaves them, and Torch's own average of them."""

    def __init__(self) -> None:
        self.after: list[dict[str, torch.Tensor]] = []
        self.epoch: list[int] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        network: torch.nn.Module = pl_module.network  # type: ignore[assignment]
        self.swa = AveragedModel(network, use_buffers=False)

        def keep(*_: Any) -> None:
            self.after.append({name: p.detach().clone() for name, p in network.named_parameters()})
            self.epoch.append(trainer.current_epoch)
            self.swa.update_parameters(network)

        trainer.optimizers[0].register_step_post_hook(keep)


def fit(*callbacks: L.Callback, max_epochs: int = 4, ckpt_path: Any = None, chunk: int = 32, folder: Any = None) -> Any:
    torch.manual_seed(0)
    module = ChurnModule(BATCH_NORM, optimizer=lambda groups: torch.optim.Adam(groups, lr=0.03), chunk=chunk)
    keeper = RunCheckpoint(
        dirpath=folder, filename="best", monitor="val/log_loss", save_last=True, save_on_train_epoch_end=True,
        enable_version_counter=False,
    )  # fmt: skip
    trainer = L.Trainer(
        max_epochs=max_epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[*callbacks, *([keeper] if folder else [])], plugins=[AtomicCheckpointIO()],
        enable_checkpointing=folder is not None, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, ChurnDataModule(TABLE, batch_size=32), ckpt_path=ckpt_path, weights_only=True)
    return module


def parameters(module: Any) -> dict[str, torch.Tensor]:
    return dict(module.network.named_parameters())


@pytest.mark.parametrize("chunk", [1, 32])
def test_the_equal_average_is_torchs_own(chunk: int):
    steps = Steps()
    module = fit(WeightAveraging("equal", start=0.0), steps, chunk=chunk)
    assert len(steps.after) == 4 * 7 and module.chunk == chunk
    torch.testing.assert_close(parameters(module), dict(steps.swa.module.named_parameters()))


def test_the_equal_average_begins_where_it_is_told():
    steps = Steps()
    module = fit(WeightAveraging("equal", start=0.5), steps)
    tail = [weights for weights, epoch in zip(steps.after, steps.epoch, strict=True) if epoch >= 2]
    wanted = {name: torch.stack([weights[name] for weights in tail]).mean(0) for name in tail[0]}
    torch.testing.assert_close(parameters(module), wanted)


def test_the_exponential_average_is_its_recurrence():
    steps = Steps()
    module = fit(WeightAveraging("exponential", decay=0.8), steps)
    average = steps.after[0]
    for n, weights in enumerate(steps.after):
        keep = min(0.8, (1 + n) / (10 + n))
        average = {name: keep * average[name] + (1 - keep) * weights[name] for name in weights}
    torch.testing.assert_close(parameters(module), average)


def test_training_goes_on_from_the_weights_and_not_from_their_average():
    plain, averaged = Steps(), Steps()
    fit(plain)
    fit(WeightAveraging(), averaged)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(plain.after, averaged.after, strict=True) for name in a)


def test_validation_and_the_best_epoch_see_the_average(tmp_path: Path):
    module = fit(WeightAveraging(decay=0.9), folder=tmp_path)
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    lowest = min(module.curve, key=lambda epoch: epoch["val/log_loss"])
    assert best["epoch"] + 1 == lowest["epoch"]
    module.load_state_dict(best["state_dict"])
    numeric, codes, label = next(iter(ChurnDataModule(TABLE).val_dataloader()))
    with torch.no_grad():
        loss = cross_entropy(module.eval()(numeric, codes), label).mean()
    assert float(loss) == pytest.approx(lowest["val/log_loss"], abs=1e-6)


@pytest.mark.parametrize("first", [True, False])
def test_the_best_weights_in_memory_are_averages_whichever_callback_comes_first(first: bool, tmp_path: Path):
    with_files = fit(WeightAveraging(), folder=tmp_path)
    with_files.load_state_dict(torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"])
    callbacks = [WeightAveraging(), BestWeights()]
    in_memory = fit(*(callbacks if first else callbacks[::-1]))
    torch.testing.assert_close(in_memory.state_dict(), with_files.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["exponential", "equal"])
def test_a_resumed_run_ends_as_the_whole_one(kind: str, tmp_path: Path):
    class CopyEach(L.Callback):
        def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch:
                shutil.copytree(tmp_path / "run", tmp_path / f"after-{trainer.current_epoch}")

    fit(WeightAveraging(kind), CopyEach(), folder=tmp_path / "run", max_epochs=5)
    wanted = {name: torch.load(tmp_path / "run" / f"{name}.ckpt", weights_only=True) for name in ("best", "last")}
    for epoch in (1, 2, 4):
        folder = tmp_path / f"after-{epoch}"
        torch.manual_seed(99)
        fit(WeightAveraging(kind), folder=folder, max_epochs=5, ckpt_path=folder / "last.ckpt")
        for name, checkpoint in wanted.items():
            found = torch.load(folder / f"{name}.ckpt", weights_only=True)
            torch.testing.assert_close(found["state_dict"], checkpoint["state_dict"], rtol=0, atol=0)
            kept, other = ([*c["callbacks"].values()] for c in (found, checkpoint))
            assert [one.get("n_averaged") for one in kept] == [one.get("n_averaged") for one in other]


def test_averaged_statistics_of_batch_normalisation_are_nearly_those_of_the_averaged_network():
    averaging = WeightAveraging(decay=0.9)
    module = fit(averaging, max_epochs=12)
    norm = module.network.body.blocks[0].norm
    assert norm.num_batches_tracked == 12 * 7  # a count, taken over and not averaged
    kept = norm.running_var.clone(), norm.running_mean.clone()
    numeric, codes, _ = ChurnDataModule(TABLE).sample(10_000)
    norm.reset_running_stats()
    norm.momentum = None  # a plain mean, here of one batch of all rows
    module.train()
    module(numeric, codes)
    spread = norm.running_var.sqrt()
    assert ((kept[1] - norm.running_mean).abs() < 0.25 * spread).all()
    assert ((kept[0].sqrt() / spread - 1).abs() < 0.35).all()


def test_the_command_averages_where_it_is_asked_to(tmp_path: Path):
    words = ["logger=none", "trainer.progress=false", "trainer.max_epochs=3", "model.hidden_sizes=[8]", "seed=1"]
    states = []
    for callbacks in ("default", "averaging"):
        config = compose([*words, f"callbacks={callbacks}"])
        states.append(
            fit_run(config, ChurnDataModule(TABLE, batch_size=64), tmp_path / callbacks).model.network.state_dict()
        )
    assert any(not torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "mean"}, "kind must be one of exponential, equal, got 'mean'"),
        ({"decay": 1.0}, "decay must be between 0 and 1, got 1.0"),
        ({"start": 1.0}, r"start must be in \[0, 1\), got 1.0"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        WeightAveraging(**arguments)
