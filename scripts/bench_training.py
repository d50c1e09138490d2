"""What the trainer costs: the default network trained by churnlib, and by a loop written by hand.

    python scripts/bench_training.py                       IBM Telco, 10 epochs, 5 repeats (about 3 minutes)
    python scripts/bench_training.py data=mlc model=mlp_plain epochs=5 repeats=3
    python scripts/bench_training.py compile=mlp,mlp_plain,tabnet epochs=5
    python scripts/bench_training.py precision=mlp,mlp_plain,tabnet,ft_transformer epochs=5

Three ways, the same seeds: a loop over resident tensors in plain PyTorch; Lightning with a batch per call (chunk 1);
and Lightning with chunks of steps, the default. All take the same steps, with the same optimizer, schedule and
clipping, and compute the validation loss after each epoch; the weights must be equal bit for bit. Lightning's two also
compute ROC AUC and average precision. The ways take turns, and each figure is the median over the repeats.

Seconds are those of the processor, on one thread: what else the machine does then counts little. The bar is a ratio of
at most 1.15 between the chunks and the loop.

``compile=MODELS`` and ``precision=MODELS`` measure instead what compilation and bf16 (``bf16-mixed``, with float32 for
norm statistics, masks and the loss) do to an epoch and to the validation log loss of the last one, for each model
beside the same training without. With ``trainer.accelerator=gpu`` they run there (seconds are then those of the clock,
and compilation makes CUDA graphs), which has not been done.
"""

from __future__ import annotations

import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
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
from churnlib.training.compiling import CompileWhenLong
from churnlib.training.train import read_customers
from scripts.words import answer_help

BAR = 1.15


def main(words: list[str]) -> int:
    """Run what the words choose and print one table; return 1 if the bar is missed or the weights differ."""
    options = {"epochs": 10, "repeats": 5}
    answer_help(words, {**options, **dict.fromkeys(VARIANTS, "")}, __doc__)
    options |= {key: int(value) for key, _, value in (word.partition("=") for word in words) if key in options}
    asked = {key: value for key, _, value in (word.partition("=") for word in words) if key in VARIANTS}
    chosen = [word for word in words if word.partition("=")[0] not in {**options, **VARIANTS}]
    if not any(word.startswith("data=") for word in chosen):
        chosen.append("data=telco")
    quieten()
    torch.set_num_threads(1)
    if asked:
        for variant, models in asked.items():
            compare(variant, models.split(","), chosen, epochs=options["epochs"])
        return 0
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
    """Measures the training loop alone, as the plain loop is measured, and each epoch's steps.

    Args:
        now: The clock; that of the processor unless a device works beside it.
    """

    def __init__(self, now: Callable[[], float] = time.process_time) -> None:
        self.now = now
        self.epochs: list[float] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self.started = self.now()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self.epoch_started = self.now()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self.epochs.append(self.now() - self.epoch_started)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: D102
        self.seconds = self.now() - self.started


def by_lightning(config: Any, customers: Customers, epochs: int, *, chunk: int) -> tuple[float, Any]:
    """Train with the library; return the seconds and the weights."""
    clock = Clock()
    module = trained(config, customers, epochs, chunk=chunk, callbacks=[clock])
    assert module.network is not None
    return clock.seconds, module.network.state_dict()


def trained(
    config: Any, customers: Customers, epochs: int, *, chunk: int, callbacks: Sequence[L.Callback], **options: Any
) -> ChurnModule:
    """Train with the library, the options being the trainer's."""
    torch.manual_seed(0)
    data = ChurnDataModule(customers, batch_size=config.trainer.batch_size)
    module = ChurnModule(
        config.model,
        chunk=chunk,
        optimizer=build_optimizer(config.optimizer),
        scheduler=build_scheduler(config.scheduler),
    )
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator=config.trainer.accelerator,
        devices=1,
        gradient_clip_val=config.trainer.gradient_clip_val,
        callbacks=list(callbacks),
        **options,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10**9,
    )
    trainer.fit(module, data)
    return module


VARIANTS = {"compile": "compiled", "precision": "bf16-mixed"}
"""What may be compared, and what the other training is called."""


def compare(variant: str, models: list[str], words: list[str], *, epochs: int) -> None:
    """Train each model as it is and with compilation or bf16, and print both."""
    table = Table(title=f"float32 beside {VARIANTS[variant]}: {' '.join(words)}, {epochs} epochs, one thread "
                  f"(torch {torch.__version__})")  # fmt: skip
    for header in ("model", "ms an epoch", VARIANTS[variant], "ratio", "first costs s", "log loss", "difference"):
        table.add_column(header, justify="left" if header == "model" else "right")
    for model in models:
        config = compose(["trainer.accelerator=cpu", f"model={model}", *words])
        customers = read_customers(config)
        (before, plain, _), (after, other, cost) = (
            variant_of(config, customers, epochs, variant if changed else None) for changed in (False, True)
        )
        loss, changed = plain.curve[-1]["val/log_loss"], other.curve[-1]["val/log_loss"]
        figures = (f"{before * 1e3:,.0f}", f"{after * 1e3:,.0f}", f"{before / after:.2f}", f"{cost:.0f}")
        table.add_row(model, *figures, f"{loss:.4f}", f"{changed - loss:+.4f}")
    Console(width=110).print(table)


def variant_of(config: Any, customers: Customers, epochs: int, variant: str | None) -> tuple[float, ChurnModule, float]:
    """Train in one way; return the median seconds of an epoch, the module, and the seconds that compiling took."""
    on_cpu = config.trainer.accelerator == "cpu"
    compiler = CompileWhenLong("true" if variant == "compile" else "false")
    clock = Clock(time.process_time if on_cpu else synchronized)
    precision: Any = VARIANTS["precision"] if variant == "precision" else "32-true"
    module = trained(config, customers, epochs, chunk=CHUNK, callbacks=[compiler, clock], precision=precision)
    if variant == "compile" and not compiler.compiled:
        raise SystemExit(f"{config.model['_target_']}: {compiler.decision}")
    return statistics.median(clock.epochs), module, compiler.seconds


def synchronized() -> float:
    """Return the clock's time once the device has done all that it was told to."""
    torch.cuda.synchronize()
    return time.perf_counter()


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
