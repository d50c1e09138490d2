"""Compiling the network's forward and backward pass, where the run is longer than that takes.

``torch.compile`` joins operators, which makes the steps of a network of many small ones faster, and costs minutes
first, which a run of seconds never gets back. So the first steps are measured, and the decision is made once. On the
processor only TabNet gains: the time of the other networks goes into matrix products, which stay as they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import Tensor

from churnlib.data.batches import IndexBatches
from churnlib.models.module import ChurnModule

if TYPE_CHECKING:
    from churnlib.models.network import ChurnNetwork

_log = logging.getLogger(__name__)

WHEN = ("auto", "true", "false")

RARE = 0.1
"""Share of the batches below which a size is not worth its own compilation."""
WARM_STEPS, MEASURED_STEPS = 8, 32
"""Steps that pass before the measurement, and steps that are measured."""
GAINS = {"TabNet": (180.0, 0.4)}
"""By class of network what compilation costs (seconds), and the share of a step's time that it saves.

Measured by ``scripts/bench_training.py compile=MODEL`` on two busy cores. Of networks that are not here nothing is
known to be saved: ``mlp`` and ``mlp_plain`` took as long as before. On a GPU neither has been measured.
"""
EXPECTED = 0.5
"""Share of the epochs that are allowed which a run takes: early stopping usually ends it."""


class CompileWhenLong(L.Callback):
    """Compiles the network's training pass at the first step, or once measured steps say that the run is long enough.

    Validation and everything after training run as they always do: the same network, uncompiled. Altered rows
    (``augment``) and batches of a rare size too. Without dropout the results agree within the rounding of float32; with
    it compiled code draws other random numbers (:mod:`churnlib.models.dropout`), as from another seed.

    A resumed run does what the interrupted one had decided. So bits are equal after a kill in a compiled run as well,
    but for a kill in the very first epoch, before which nothing was written down.

    Args:
        when: ``auto``, ``true`` or ``false``.

    Attributes:
        decision: What was decided and why, in a sentence; None before.
        compiled: Whether the training pass is compiled.
        seconds: What compiling it took.
    """

    def __init__(self, when: str = "auto") -> None:
        if when not in WHEN:
            raise ValueError(f"when must be one of {', '.join(WHEN)}, got {when!r}")
        self.when = when
        self.decision: str | None = None if when != "false" else "not compiled: it was not asked for"
        self.compiled, self.seconds = False, 0.0
        self._wanted = when == "true"
        self._steps, self._seconds, self._last = 0, 0.0, 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compile at once if that is what was asked for, or decided before the run was interrupted."""
        if self._wanted and self.decision is None and isinstance(pl_module, ChurnModule):
            self._compile(pl_module, "it was asked for" if self.when == "true" else "as before the run was resumed")

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """What lies between two epochs is no step."""
        self._last = 0.0

    def on_step_start(self, trainer: L.Trainer, pl_module: ChurnModule) -> None:
        """Measure the step before, and decide after enough of them; called by the module."""
        if self.decision is not None:
            return
        if _name(pl_module) not in GAINS:
            self._say(f"not compiled: nothing is known to be gained by it for {_name(pl_module)}")
            return
        now = _clock(pl_module, wait=self._steps in (WARM_STEPS, WARM_STEPS + MEASURED_STEPS))
        if self._last and self._steps > WARM_STEPS:
            self._seconds += now - self._last
        self._last = now
        self._steps += 1
        if self._steps > WARM_STEPS + MEASURED_STEPS:
            self._decide(trainer, pl_module)

    def _decide(self, trainer: L.Trainer, pl_module: ChurnModule) -> None:
        remaining = pl_module.total_steps() - trainer.global_step
        seconds = EXPECTED * remaining * self._seconds / MEASURED_STEPS
        cost, saved = GAINS[_name(pl_module)]
        if seconds * saved > cost:
            self._compile(pl_module, f"about {seconds:,.0f} s of training were ahead")
        else:
            self._say(f"not compiled: of about {seconds:,.0f} s of training ahead it would save less than it costs")

    def _compile(self, pl_module: ChurnModule, why: str) -> None:
        batches = pl_module.trainer.train_dataloader
        assert pl_module.network is not None
        if not hasattr(pl_module.network, "forward_with_penalty"):
            self._say("not compiled: several networks in one pass run as they are")
            return
        if not isinstance(batches, IndexBatches):
            self._say("not compiled: data loaders of one's own do not say how many rows a batch has")
            return
        context = pl_module.trainer.precision_plugin.train_step_context
        try:
            self.seconds = compile_training(pl_module.network, batch_sizes(batches), context=context)
        except Exception as error:  # whatever keeps a compiler from working must not keep the run from training
            self._say(f"not compiled: the compiler failed ({_first_line(error)}); training goes on without it")
            _log.debug("the compiler's error", exc_info=error)
            return
        self.compiled = True
        self._say(f"compiled in {self.seconds:.0f} s, because {why}")

    def _say(self, decision: str) -> None:
        self.decision = decision
        _log.info("%s", decision)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the network its own pass back: copies, checkpoints and exports know nothing of the compiled one."""
        if isinstance(pl_module, ChurnModule) and pl_module.network is not None:
            pl_module.network.__dict__.pop("forward_with_penalty", None)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:  # noqa: D102
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:  # noqa: D102
        return {"decision": self.decision, "compiled": self.compiled}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:  # noqa: D102
        if self.when == "auto":
            self._wanted = state_dict["compiled"]
            self.decision = None if self._wanted else state_dict["decision"]


def batch_sizes(batches: IndexBatches) -> list[int]:
    """Return the numbers of rows that batches have, but for one that only a few of them have.

    >>> batch_sizes(IndexBatches([torch.zeros(7_001)], batch_size=256))  # 27 batches of 250 rows, and one of 251
    [250]
    """
    size, longer = divmod(batches.n_rows, batches.n_batches)
    counts = {size + 1: longer, size: batches.n_batches - longer}
    return [rows for rows, count in counts.items() if count >= RARE * batches.n_batches]


def compile_training(network: ChurnNetwork, sizes: Sequence[int], *, context: Callable[[], Any]) -> float:
    """Let the network's training pass run compiled for batches of some sizes, and return the seconds that it took.

    Args:
        network: On its device, in training mode. Its ``forward_with_penalty`` is replaced on this object alone.
        sizes: Rows of a batch; each is compiled for itself, which makes the fastest code. Others run as before.
        context: Context manager of a step (mixed precision); the compiled pass is one for it.

    Raises:
        Exception: Whatever the compiler raises; the network is then as before.
    """
    started = time.perf_counter()
    plain = type(network).forward_with_penalty.__get__(network)
    device: torch.device = network.offset.device  # type: ignore[assignment]
    how: dict[str, Any] = (
        {"mode": "reduce-overhead"} if device.type == "cuda" else {"options": {"fallback_random": True}}
    )
    fast = torch.compile(plain, dynamic=False, **how)
    inputs = network.inputs
    kept = [buffer.clone() for buffer in network.buffers()]
    try:
        # Forward and backward are compiled when they first run: on rows made up for it, which leave nothing behind.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            for rows in sizes:
                numeric = torch.zeros(rows, inputs.n_numeric, device=device)
                codes = torch.zeros(rows, inputs.n_categorical, dtype=torch.int64, device=device)
                with context():
                    plain(numeric, codes)  # what a network keeps from its first step is no reason to compile twice
                    logits, penalty = fast(numeric, codes)
                (logits.mean() + penalty).backward()
    finally:
        for parameter in network.parameters():
            parameter.grad = None
        with torch.no_grad():
            for buffer, before in zip(network.buffers(), kept, strict=True):
                buffer.copy_(before)

    def forward(numeric: Tensor, codes: Tensor, alter: Any = None) -> tuple[Tensor, Tensor | float]:
        if alter is not None or len(numeric) not in sizes:
            return plain(numeric, codes, alter)
        return fast(numeric, codes)

    network.forward_with_penalty = forward  # type: ignore[method-assign]
    return time.perf_counter() - started


def _name(module: ChurnModule) -> str:
    assert module.network is not None
    return type(module.network.body).__name__


def _clock(module: ChurnModule, *, wait: bool) -> float:
    """Return the time in seconds; waiting, after all that the device has been told to do."""
    if wait and module.device.type == "cuda":
        torch.cuda.synchronize(module.device)
    return time.perf_counter()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160].rstrip(" .:")
