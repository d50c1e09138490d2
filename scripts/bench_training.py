"""What the trainer costs: the default network trained by churnlib, and by a loop written by hand.

    python scripts/bench_training.py                       IBM Telco, 10 epochs, 5 repeats (about 3 minutes)
    python scripts/bench_training.py data=mlc model=mlp_plain epochs=5 repeats=3

Three ways, the same seeds: a loop over resident tensors in plain PyTorch; Lightning with a batch per call (chunk 1);
and Lightning with chunks of steps, the default. All take the same steps, with the same optimizer, schedule and
clipping, and compute the validation loss after each epoch; the weights must be equal bit for bit. Lightning's two also
compute ROC AUC and average precision. The ways take turns, and each figure is the median over the repeats.

Seconds are those of the processor, on one thread: what else the machine does then counts little. The bar is a ratio of
at most 1.15 between the chunks and the loop.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from churnlib.build import build_optimizer, build_scheduler
from churnlib.compose import compose
from churnlib.data.customers import Customers
from churnlib.data.datamodule import ChurnDataModule
from churnlib.models.losses import cross_entropy
from churnlib.models.module import INITIAL_ROWS, ChurnModule
from churnlib.models.parameter_groups import fused, parameter_groups, scaled
from churnlib.models.stepping import CHUNK
from churnlib.training.train import read_customers

BAR = 1.15


def main(words: list[str]) -> int:
    """Run what the words choose and print one table; return 1 if the bar is missed or the weights differ."""
    options = {"epochs": 10, "repeats": 5}
    options |= {key: int(value) for key, _, value in (word.partition("=") for word in words) if key in options}
    chosen = [word for word in words if word.partition("=")[0] not in options]
    if not any(word.startswith("data=") for word in chosen):
        chosen.append("data=telco")
    quieten()
    torch.set_num_threads(1)
    config = compose([*chosen, "trainer.accelerator=cpu"])
    customers = read_customers(config)
    ways: dict[str, Callable[[], tuple[float, Any]]] = {
        "a loop written by hand": lambda: by_hand(config, customers, options["epochs"]),
        "Lightning, a batch per call": lambda: by_lightning(config, customers, options["epochs"], chunk=1),
        f"churnlib, {CHUNK} steps per call": lambda: by_lightning(config, customers, options["epochs"], chunk=CHUNK),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    weights: dict[str, Any] = {}
    for repeat in range(options["repeats"] + 1):
        for name, way in ways.items():
            taken, weights[name] = way()
            if repeat:  # the first warms up
                seconds[name].append(taken)
    return show(seconds, weights, rows=len(customers.rows("train")) * options["epochs"], words=chosen)


def by_hand(config: Any, customers: Customers, epochs: int) -> tuple[float, Any]:
    """Train with a plain loop; return the seconds and the weights."""
    torch.manual_seed(0)
    data = ChurnDataModule(customers, batch_size=config.trainer.batch_size)
    module = ChurnModule(config.model)
    module.build(data.input_spec(), class_counts=data.class_counts())
    network = module.network
    assert network is not None
    network.initialize(*data.sample(INITIAL_ROWS))
    optimizer = fused(scaled(build_optimizer(config.optimizer)(parameter_groups(network))))
    batches, validation = data.train_dataloader(), data.val_dataloader()
    make_schedule = build_scheduler(config.scheduler)
    schedule = make_schedule(optimizer, epochs * len(batches))["scheduler"] if make_schedule else None
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    started = time.process_time()
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        network.train()
        for numeric, codes, label in batches:
            logits, penalty = network.forward_with_penalty(numeric, codes)
            members = len(logits) // len(label)
            rows = cross_entropy(logits, label.repeat_interleave(members) if members > 1 else label)
            rows = rows.view(-1, members).mean(1) if members > 1 else rows
            optimizer.zero_grad()
            (rows.mean() + penalty).backward()
            torch.nn.utils.clip_grad_norm_(parameters, config.trainer.gradient_clip_val)
            optimizer.step()
            if schedule is not None:
                schedule.step()
        network.eval()
        with torch.no_grad():
            for numeric, codes, label in validation:
                cross_entropy(network(numeric, codes), label).mean()
    return time.process_time() - started, network.state_dict()


class Clock(L.Callback):
    """Measures the training loop alone, as the plain loop is measured."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self.started = time.process_time()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self.seconds = time.process_time() - self.started


def by_lightning(config: Any, customers: Customers, epochs: int, *, chunk: int) -> tuple[float, Any]:
    """Train with the library; return the seconds and the weights."""
    torch.manual_seed(0)
    data = ChurnDataModule(customers, batch_size=config.trainer.batch_size)
    module = ChurnModule(
        config.model,
        chunk=chunk,
        optimizer=build_optimizer(config.optimizer),
        scheduler=build_scheduler(config.scheduler),
    )
    clock = Clock()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        gradient_clip_val=config.trainer.gradient_clip_val,
        callbacks=[clock],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10**9,
    )
    trainer.fit(module, data)
    assert module.network is not None
    return clock.seconds, module.network.state_dict()


def show(seconds: dict[str, list[float]], weights: dict[str, Any], *, rows: int, words: list[str]) -> int:
    """Print the table; return 1 if the bar is missed or the weights differ."""
    table = Table(title=f"Training, {' '.join(words)}, one thread (torch {torch.__version__})")
    for header in ("way", "rows/s", "ratio (paired median)", "weights"):
        table.add_column(header, justify="left" if header == "way" else "right")
    hand = next(iter(seconds))
    missed = False
    for name, taken in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(taken, seconds[hand], strict=True))
        same = all(torch.equal(a, b) for a, b in zip(weights[name].values(), weights[hand].values(), strict=True))
        missed |= not same or (name.startswith("churnlib") and ratio > BAR)
        table.add_row(
            name, f"{rows / statistics.median(taken):,.0f}", f"{ratio:.3f}", "same bits" if same else "DIFFER"
        )
    console = Console(width=110)
    console.print(table)
    console.print(f"{'MISSED' if missed else 'met'}: at most {BAR:g} times the loop, with the same weights")
    return int(missed)


def quieten() -> None:
    """Leave out what Lightning says about itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
