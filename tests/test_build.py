"""Configuration becomes objects."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from churnlib.build import (
    build_callbacks,
    build_logger,
    build_optimizer,
    build_scheduler,
    check_components,
    close_logger,
    instantiate,
)
from churnlib.compose import compose
from churnlib.errors import ConfigError
from churnlib.models.schedules import cosine_factor
from churnlib.progress import EpochProgress


def weights() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.zeros(2))]


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "sgd"])
def test_optimizers_have_the_configured_values(name):
    spec = compose([f"optimizer={name}", "optimizer.lr=0.25", "optimizer.weight_decay=0.5"]).optimizer
    optimizer = build_optimizer(spec)([{"params": weights()}])
    assert type(optimizer).__name__.lower() == name
    for key, value in spec.items():
        assert key == "_target_" or optimizer.defaults[key] == pytest.approx(value)


@pytest.mark.parametrize("name", ["cosine", "onecycle", "plateau"])
@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "sgd"])
def test_every_schedule_moves_every_optimizer(name, optimizer):
    config = compose([f"optimizer={optimizer}", f"scheduler={name}", "optimizer.lr=0.5"])
    steps = 40
    built = build_optimizer(config.optimizer)(weights())
    schedule = build_scheduler(config.scheduler)(built, steps)
    momentum = built.param_groups[0].get("momentum", 0)
    rates = []
    for _ in range(steps):
        rates.append(built.param_groups[0]["lr"])
        built.step()
        schedule["scheduler"].step(*([1.0] if name == "plateau" else []))
    assert max(rates) == pytest.approx(0.5) and rates[-1] < 0.1
    assert schedule["interval"] == ("epoch" if name == "plateau" else "step")
    assert schedule.get("monitor") == ("val/log_loss" if name == "plateau" else None)
    if optimizer == "rmsprop":
        assert built.param_groups[0].get("momentum", 0) == momentum == 0


def test_the_cosine_is_the_papers():
    """Equation 5 of Loshchilov and Hutter (2017), from 1 to 0.1, after a warm-up of 10 of 110 steps."""
    for step in range(10, 110):
        paper = 0.1 + 0.5 * (1 - 0.1) * (1 + math.cos(math.pi * (step - 10) / 100))
        assert cosine_factor(step, 110, warmup=1 / 11, final=0.1) == pytest.approx(paper)
    assert [cosine_factor(step, 110, warmup=1 / 11) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])


def test_no_schedule_is_none():
    assert build_scheduler(compose(["scheduler=none"]).scheduler) is None


def test_callbacks_write_into_the_run_folder(tmp_path):
    config = compose(["callbacks.early_stopping.patience=3"])
    stopping, checkpoint, progress = build_callbacks(config.callbacks, tmp_path, progress=True)
    assert isinstance(stopping, EarlyStopping) and stopping.patience == 3
    assert isinstance(checkpoint, ModelCheckpoint) and Path(checkpoint.dirpath) == tmp_path / "checkpoints"
    assert isinstance(progress, EpochProgress)
    absolute = {"checkpoint": {**config.callbacks["checkpoint"], "dirpath": str(tmp_path / "elsewhere")}}
    (checkpoint,) = build_callbacks(absolute, tmp_path / "run")
    assert Path(checkpoint.dirpath) == tmp_path / "elsewhere"


def test_callbacks_that_are_null_are_left_out(tmp_path):
    assert build_callbacks(compose(["callbacks=none"]).callbacks, tmp_path) == []


def test_loggers_write_into_the_run_folder(tmp_path):
    logger = build_logger(compose([]).logger, tmp_path)
    assert isinstance(logger, CSVLogger) and Path(logger.log_dir).parent == tmp_path / "logs"
    close_logger(logger)
    assert build_logger(compose(["logger=none"]).logger, tmp_path) is False
    close_logger(False)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_weights_and_biases_needs_no_account_and_keeps_runs_apart(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    spec = compose(["logger=wandb"]).logger
    ids = []
    for name in ("0", "1"):
        folder = tmp_path / "sweep" / name
        folder.mkdir(parents=True)
        logger = build_logger(spec, folder)
        assert isinstance(logger, WandbLogger) and logger.experiment.name == f"sweep/{name}"
        ids.append(logger.experiment.id)
        logger.log_metrics({"loss": 1.0})
        close_logger(logger)
        assert list(folder.glob("wandb/offline-run-*"))
    assert len(set(ids)) == 2


def test_a_class_that_cannot_be_built_is_one_sentence():
    with pytest.raises(ConfigError, match=r"optimizer cannot be built from torch\.optim\.Adamm: .*Adamm"):
        instantiate("optimizer", {"_target_": "torch.optim.Adamm", "_partial_": True})
    mistyped = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "a", "patiense": 1}
    with pytest.raises(ConfigError, match=r"callbacks\.x cannot be built from .*EarlyStopping.*patiense"):
        instantiate("callbacks.x", mistyped)
    with pytest.raises(ConfigError, match="logger needs a mapping with _target_"):
        instantiate("logger", {"save_dir": "."})


def test_classes_of_ones_own_are_checked_before_anything_runs(tmp_path, monkeypatch):
    (tmp_path / "my_callbacks.py").write_text("class Mine:\n    def __init__(self, often): ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = compose([])
    config.callbacks["mine"] = {"_target_": "my_callbacks.Mine", "often": 1}
    check_components(config)
    config.callbacks["mine"] = {"_target_": "my_callbacks.Mine", "oftn": 1}
    with pytest.raises(ConfigError, match=r"callbacks\.mine\.oftn is no argument of .*Mine; did you mean often\?"):
        check_components(config)
    config.callbacks["mine"] = {"_target_": "my_callbacks.Yours"}
    with pytest.raises(ConfigError, match=r"callbacks\.mine\._target_=my_callbacks\.Yours cannot be imported"):
        check_components(config)
    config.callbacks["mine"] = 3
    with pytest.raises(ConfigError, match=r"callbacks\.mine needs a mapping with _target_"):
        check_components(config)
