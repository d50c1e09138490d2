"""Which device and which arithmetic the training loop uses; predictions and metrics are float32 whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from churnlib.errors import ConfigError

WIDE = 1_000_000
"""Parameters from which mixed precision pays on a GPU; below, steps are bound by their overhead."""


def resolve_precision(precision: str, accelerator: str, model: Mapping[str, Any]) -> str:
    """Return the trainer's precision: ``auto`` is mixed on a GPU for wide networks, else float32."""
    if precision != "auto":
        return precision
    import torch

    on_gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    widths = [width for width in (model.get("hidden_sizes") or []) if isinstance(width, int)]
    n_weights = sum(a * b for a, b in pairwise(widths))
    return "bf16-mixed" if on_gpu and n_weights >= WIDE else "32-true"


def check_accelerator(accelerator: str) -> None:
    """Refuse a device that this machine does not have, before anything is read or written.

    Raises:
        ConfigError: If PyTorch sees no such device.
    """
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not has.get(accelerator, accelerator != "gpu" or any(has.values())):
        raise ConfigError(
            f"trainer.accelerator={accelerator}: PyTorch sees none on this machine; take trainer.accelerator=auto, or "
            "trainer=default instead of trainer=gpu"
        )
