"""The rows of several networks that are trained in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightning as L
import torch
from torch import Tensor

from churnlib.data.batches import IndexBatches, MemberBatches
from churnlib.data.datamodule import ChurnDataModule
from churnlib.models.input_layer import InputLayer
from churnlib.models.network import ChurnNetwork

SIDES = ("train", "validation")

Rows = tuple[Tensor, ...]
"""A member's rows: what its input layer reads or, where that has nothing to learn, what it returned; and the labels."""


def learns(inputs: InputLayer) -> bool:
    """Whether an input layer has weights; without any, what it returns for a row never changes."""
    return any(True for _ in inputs.parameters())


@dataclass(frozen=True, slots=True)
class Validation:
    """The members' validation rows.

    Attributes:
        rows: Of each member, filled up to equal length.
        counts: How many rows of each count.
    """

    rows: tuple[Rows, ...]
    counts: tuple[int, ...]

    def to(self, device: torch.device, **_: object) -> Validation:
        """Return the rows on a device."""
        return replace(self, rows=tuple(tuple(part.to(device) for part in one) for one in self.rows))


class Once:
    """A loader of one batch.

    Args:
        batch: The batch.
    """

    def __init__(self, batch: Validation) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Validation]:
        yield self.batch


class StackedData(L.LightningDataModule):
    """The members' rows, as their input layers read them or, where those have nothing to learn, as they return them.

    Args:
        tables: A data module for each member.
        networks: Of the same members.
    """

    def __init__(self, tables: Sequence[ChurnDataModule], networks: Sequence[ChurnNetwork]) -> None:
        super().__init__()
        most = min(len(table.learning_rows) for table in tables)
        train, held_out = ([_rows(*pair, side) for pair in zip(tables, networks, strict=True)] for side in SIDES)
        options = {"batch_size": tables[0].batch_size, "shuffle": True, "most": most}
        self._batches = MemberBatches(
            [
                IndexBatches(rows, seed=table.seed, weights=table.draw_weights(), **options)
                for table, rows in zip(tables, train, strict=True)
            ]
        )
        counts = tuple(len(rows[-1]) for rows in held_out)
        self._held_out = Validation(tuple(_filled(rows, max(counts)) for rows in held_out), counts)

    def train_dataloader(self) -> MemberBatches:  # noqa: D102
        trainer: Any = self.trainer
        self._batches.to(trainer.strategy.root_device).chunk = trainer.lightning_module.chunk
        return self._batches

    def val_dataloader(self) -> Once:  # noqa: D102
        return Once(self._held_out)


@torch.no_grad()
def _rows(table: ChurnDataModule, network: ChurnNetwork, side: str) -> Rows:
    numeric, codes, label = map(torch.from_numpy, table.arrays(side)[:3])
    parts = numeric, codes
    return (*parts, label) if learns(network.inputs) else (network.inputs(*parts), label)


def _filled(rows: Rows, n: int) -> Rows:
    """Return the rows with zeros below them, ``n`` in all."""
    return tuple(torch.cat([part, part.new_zeros(n - len(part), *part.shape[1:])]) for part in rows)
