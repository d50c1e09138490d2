"""The LightningDataModule: a customer table in, batches for any network out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import numpy as np
import polars as pl
import torch

from churnlib.data.batches import IndexBatches
from churnlib.data.customers import Customers, prepare_customers
from churnlib.data.events import gather_events, read_definition
from churnlib.data.history import read_events, with_history
from churnlib.data.resampling import LearningRows, learning_rows
from churnlib.data.rows_at_a_time import evaluation_rows
from churnlib.data.sources import read_table, table_from
from churnlib.data.table_spec import TableSpec


class ChurnDataModule(L.LightningDataModule):
    """Reads, cleans, splits and prepares a customer table, and serves it as batches.

    A batch is ``(numeric, codes, label)``: ``(batch, n_numeric)`` float32 with NaN for missing, ``(batch,
    n_categorical)`` int64, ``(batch,)`` int64. Rows lie on the trainer's device; there are no workers.

    Example:
        >>> import polars as pl
        >>> rows = {"tenure": list(range(40)), "plan": ["a", "b"] * 20, "churn": ["no", "no", "yes", "no"] * 10}
        >>> data = ChurnDataModule(pl.DataFrame(rows), target="churn", batch_size=14)
        >>> data.setup()
        >>> [len(label) for numeric, codes, label in data.train_dataloader()]
        [14, 14]

    Args:
        table: A path or glob of CSV or Parquet files, a polars or pandas frame, a list of dicts, or what
            :func:`~churnlib.data.customers.prepare_customers` returned.
        target: Column that says who left.
        positive, id, time, drop, columns, split, preprocess, seed: See
            :func:`~churnlib.data.customers.prepare_customers`; ``seed`` also fixes the order of the batches.
        history: A long table of months or events to gather into list columns: the arguments of
            :func:`~churnlib.data.history.read_events` (``table``, ``id``, ``time``, ``columns``, ...), the id being
            called as in the customer table when left out.
        events: Event tables to make columns from, by name: ``table`` (a path or a frame) and the options of
            :func:`~churnlib.data.events.read_definition`.
        separator: Delimiter of a CSV file; detected when left out.
        batch_size: Largest number of rows in a training batch.
        row_weights: ``(n,)`` float32, how much each training row counts in the loss; training batches then end with
            ``(batch,)`` of them.
        resample: How training rows are resampled, see :func:`~churnlib.data.resampling.learning_rows`; validation and
            test rows never are.
        learning_rows: What the training batches hold in place of the training rows.
    """

    def __init__(
        self,
        table: Any,
        *,
        target: str | None = None,
        positive: str | None = None,
        id: str | None = None,  # noqa: A002
        time: str | None = None,
        drop: Sequence[str] = (),
        columns: Mapping[str, Mapping[str, Any]] | None = None,
        split: Mapping[str, Any] | None = None,
        preprocess: Mapping[str, Any] | None = None,
        history: Mapping[str, Any] | None = None,
        events: Mapping[str, Mapping[str, Any]] | None = None,
        separator: str | None = None,
        batch_size: int = 256,
        seed: int = 42,
        row_weights: np.ndarray | None = None,
        resample: Mapping[str, Any] | None = None,
        learning_rows: LearningRows | None = None,
    ) -> None:
        super().__init__()
        others = learning_rows is not None or (resample is not None and resample["name"] != "none")
        if row_weights is not None and others:
            raise ValueError(
                "row_weights are those of the training rows; they do not go with resample or learning_rows"
            )
        self.resample = resample
        self._learning_rows = learning_rows
        self.row_weights = row_weights
        self.batch_size = batch_size
        self.seed = seed
        self._customers: Customers | None = table if isinstance(table, Customers) else None
        if self._customers is None and target is None:
            raise ValueError("target is missing: name the column that says who left")
        self._table = table
        self._separator = separator
        self._history = history
        self._events = events or {}
        self._spec = TableSpec(
            target=target or "", positive=positive, id=id, time=time, drop=drop, columns=columns or {}
        )
        self._split, self._preprocess = split, preprocess
        self._batches: dict[str, IndexBatches] = {}

    @property
    def customers(self) -> Customers:
        """The prepared table; read on first use."""
        if self._customers is None:
            is_path = isinstance(self._table, str) or hasattr(self._table, "__fspath__")
            frame = read_table(str(self._table), separator=self._separator) if is_path else table_from(self._table)
            given = {name: dict(options) for name, options in self._events.items()}
            tables = {name: options.pop("table", None) for name, options in given.items()}
            wanted = [read_definition(name, options) for name, options in given.items()]
            if wanted:
                frame = gather_events(frame, wanted, tables, **self._snapshot()).frame
            self._customers = prepare_customers(
                self._with_history(frame),
                replace(self._spec, events=wanted),
                split=self._split,
                preprocess=self._preprocess,
                seed=self.seed,
            )
        return self._customers

    def _snapshot(self) -> dict[str, Any]:
        """Return which columns say whose row it is and of what date, and how the dates are read."""
        spec = self._spec
        given = None if spec.time is None else spec.format_of(spec.time)
        return {"id": spec.id, "time": spec.time, "formats": (given,) if given else None}

    def _with_history(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._history is None:
            return frame
        preprocess = self._preprocess or {}
        most = {"most": preprocess["max_steps"]} if "max_steps" in preprocess else {}
        options: dict[str, Any] = {"id": self._spec.id, **self._history}
        events = read_events(**options)
        return with_history(frame, events, **self._snapshot(), **most)

    def setup(self, stage: str | None = None) -> None:
        """Read and prepare the table (once)."""
        _ = self.customers

    def input_spec(self) -> dict[str, Any]:
        """Return the arguments of the networks' input layer."""
        return self.customers.preparation.input_spec()

    @property
    def n_classes(self) -> int:
        """Number of classes of the target."""
        return len(self.customers.schema.classes)

    @property
    def learning_rows(self) -> LearningRows:
        """What the training batches hold: the training rows, resampled if that is wanted; drawn on first use."""
        if self._learning_rows is None:
            self._learning_rows = learning_rows(self.customers, self.resample, seed=self.seed)
        return self._learning_rows

    def class_counts(self) -> np.ndarray:
        """Return how often each class is seen in an epoch, ``(n_classes,)`` int64."""
        return self.learning_rows.class_counts

    def class_ratios(self) -> tuple[float, ...]:
        """Return how often each class is seen for each time that it comes among the training rows."""
        return self.learning_rows.ratios

    def hazards(self) -> list[float] | None:
        """Return the share of training rows that leaves in each interval of time; None where classes are learned."""
        customers = self.customers
        if customers.lifetimes is None:
            return None
        return customers.lifetimes.life_table(customers.rows("train")).tolist()

    def sample(self, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return numbers, codes and labels of up to ``n`` training rows, on the CPU; the seed chooses them."""
        encoded = self.customers.encoded["train"]
        generator = np.random.default_rng(self.seed)
        rows = np.sort(generator.choice(len(encoded), n, replace=False)) if n < len(encoded) else slice(None)
        arrays = encoded.numeric, encoded.codes, self.customers.labels("train")
        numeric, codes, label = (torch.from_numpy(array[rows].copy()) for array in arrays)
        return numeric, codes, label

    def train_dataloader(self) -> IndexBatches:  # noqa: D102
        batches = self._on_device("train", batch_size=self.batch_size, shuffle=True)
        if self.trainer is not None:
            # Asked for again at each epoch by the hook below; a resumed run starts in the middle.
            batches.set_epoch(self.trainer.current_epoch)
            # A module that takes several steps at a call says how many; any other gets batch by batch.
            batches.chunk = getattr(self.trainer.lightning_module, "chunk", 1)
        return batches

    def val_dataloader(self) -> IndexBatches:  # noqa: D102
        return self._on_device("validation")

    def test_dataloader(self) -> IndexBatches:  # noqa: D102
        return self._on_device("test")

    def _on_device(self, side: str, *, batch_size: int | None = None, shuffle: bool = False) -> IndexBatches:
        if side not in self._batches:
            batch_size = batch_size or evaluation_rows(len(self.customers.preparation.feature_names))
            options: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "seed": self.seed}
            if side == "train":
                options["weights"] = self.draw_weights()
            tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in self.arrays(side)]
            self._batches[side] = IndexBatches(tensors, **options)
        if self.trainer is not None:
            self._batches[side].to(self.trainer.strategy.root_device)
        return self._batches[side]

    def draw_weights(self) -> torch.Tensor | None:
        """Return how likely each training row is drawn for a batch, ``(n,)`` float64; None for each once an epoch."""
        weights = self.learning_rows.weights
        return None if weights is None else torch.from_numpy(weights)

    def arrays(self, side: str) -> list[np.ndarray]:
        """Return what the batches of a side are taken from: numbers, codes, labels and, if there are some, weights."""
        if side != "train" or self.customers.lifetimes is not None:  # which goes with neither resampling nor weights
            encoded = self.customers.encoded[side]
            return [encoded.numeric, encoded.codes, self.customers.targets(side)]
        rows = self.learning_rows
        weights = [] if self.row_weights is None else [self.row_weights]
        return [rows.encoded.numeric, rows.encoded.codes, rows.label if rows.soft is None else rows.soft, *weights]
