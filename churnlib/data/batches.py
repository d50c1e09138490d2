"""Batches of rows from tensors that already lie on the device: an epoch costs one gather, not one call per row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor


class Chunk:
    """Several training batches in one, so that what a trainer does around each batch is done once for all of them.

    Args:
        batches: In the order of training.
    """

    def __init__(self, batches: Sequence[tuple[Tensor, ...]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return iter(self.batches)

    def to(self, device: torch.device, **_: object) -> Chunk:
        """Return itself: :class:`IndexBatches` keeps its rows on the trainer's device already."""
        return self


def chunked(batches: Iterator[Any], size: int) -> Iterator[Any]:
    """Yield batches in :class:`Chunk` of so many; with 1 as they are."""
    if size == 1:
        yield from batches
        return
    while several := tuple(islice(batches, size)):
        yield Chunk(several)


class IndexBatches:
    """An iterable of batches for a Lightning trainer.

    Batches differ in size by one row at most (7,000 rows in batches of 256 are 28 batches of 250), so there is no tiny
    last batch whose gradient or batch statistics are noise, and no row is left out.

    The order of an epoch depends on the seed and the epoch's number alone: a resumed run sees the batches that the
    interrupted one would have seen.

    Args:
        tensors: Of equal length, on any device.
        batch_size: Largest number of rows in a batch.
        shuffle: A new order for each epoch.
        seed: Of the orders.
        most: Rows of a shuffled epoch at most, others each time; all when None.
        weights: ``(n,)`` how likely each row is drawn for a shuffled epoch, which may then hold it several times; each
            row once when None.

    Attributes:
        chunk: With more than 1, batches come as :class:`Chunk` of so many.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        most: int | None = None,
        weights: Tensor | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        lengths = {len(tensor) for tensor in tensors}
        if len(lengths) != 1:
            raise ValueError(f"expected one or more tensors of equal length, got the lengths {sorted(lengths)}")
        self.tensors = tuple(tensors)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.most = most
        self.weights = weights
        self.epoch = 0
        self.chunk = 1

    @property
    def n_rows(self) -> int:
        """Number of rows in an epoch."""
        n = len(self.tensors[0])
        return n if self.most is None else min(n, self.most)

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch, whether they come in chunks or not."""
        return -(-self.n_rows // self.batch_size)

    def __len__(self) -> int:
        return -(-self.n_batches // self.chunk)

    def to(self, device: torch.device) -> IndexBatches:
        """Move the rows to a device, once."""
        self.tensors = tuple(tensor.to(device) for tensor in self.tensors)
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        yield from chunked(self.batches(), self.chunk)

    def batches(self) -> Iterator[tuple[Tensor, ...]]:
        """Return the batches of the epoch, one by one."""
        tensors = self.tensors
        if self.shuffle:
            # Drawn on the host, so that every device sees the same order.
            generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
            order = self._order(generator).to(tensors[0].device)
            tensors = tuple(tensor.index_select(0, order) for tensor in tensors)
        if self.n_batches:
            yield from zip(*(tensor.tensor_split(self.n_batches) for tensor in tensors), strict=True)

    def _order(self, generator: torch.Generator) -> Tensor:
        if self.weights is None:
            return torch.randperm(len(self.tensors[0]), generator=generator)[: self.n_rows]
        # Numbers drawn along the cumulated weights: torch.multinomial takes no more than 2**24 rows.
        ends = self.weights.double().cumsum(0)
        drawn = torch.rand(self.n_rows, dtype=torch.float64, generator=generator) * ends[-1]
        return torch.searchsorted(ends, drawn, right=True).clamp_max(len(ends) - 1)


class MemberBatches:
    """The batches of several members side by side: a batch is a tuple of one batch for each, all of one length.

    Args:
        members: With as many rows in an epoch as each other.

    Attributes:
        chunk: As in :class:`IndexBatches`.
        active: Members that take part.
    """

    def __init__(self, members: Sequence[IndexBatches]) -> None:
        if len({(one.n_rows, one.n_batches) for one in members}) != 1:
            raise ValueError(f"members need equally many rows, got {[one.n_rows for one in members]}")
        self.members = list(members)
        self.active = list(range(len(members)))
        self.chunk = 1

    @property
    def n_batches(self) -> int:
        """Number of batches in an epoch, whether they come in chunks or not."""
        return self.members[0].n_batches

    def __len__(self) -> int:
        return -(-self.n_batches // self.chunk)

    def to(self, device: torch.device) -> MemberBatches:
        """Move the rows to a device, once."""
        for one in self.members:
            one.to(device)
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch: each member's own."""
        for one in self.members:
            one.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        yield from chunked(zip(*(self.members[number].batches() for number in self.active), strict=True), self.chunk)
