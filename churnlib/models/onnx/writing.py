"""A fitted model as the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from churnlib.models.fitted import FittedModel
from churnlib.models.onnx.graph import CannotExport, Graph
from churnlib.models.onnx.running import FLOPS
from churnlib.models.onnx.work import work_of


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Encoded rows as values of a graph; see :class:`~churnlib.models.fitted.FittedModel` for what they hold.

    Attributes:
        numeric: ``(batch, n_numeric)`` float32.
        codes: ``(batch, n_categorical)`` int64.
        n_numeric: Numbers of a row.
        cardinalities: Codes of each categorical column, missing and unseen included.
    """

    numeric: str
    codes: str
    n_numeric: int
    cardinalities: tuple[int, ...]

    def of_member(
        self,
        graph: Graph,
        numeric: Sequence[int] | None,
        codes: Sequence[Sequence[int]] | None,
        categorical: Sequence[int] | None = None,
    ) -> EncodedRows:
        """Return the rows as a member of an ensemble reads them, which knows other columns and values.

        Args:
            graph: Where to add what makes them.
            numeric: The place of each of its numbers; None for the same.
            codes: For each categorical column a table from the code to its own; None for the same.
            categorical: The place of each of its categorical columns; None for the same.
        """
        rows = self
        if categorical is not None:
            picked = graph.add("Gather", self.codes, graph.constant(list(categorical), np.int64), axis=1)
            known = tuple(self.cardinalities[place] for place in categorical)
            rows = replace(rows, codes=picked, cardinalities=known)
        if numeric is not None:
            places = graph.constant(list(numeric), np.int64)
            picked = graph.add("Gather", self.numeric, places, axis=1)
            rows = replace(rows, numeric=picked, n_numeric=len(numeric))
        if codes:
            starts = np.cumsum([0, *map(len, codes)])[:-1]
            table = graph.constant([own for of_column in codes for own in of_column], np.int64)
            places = graph.add("Add", rows.codes, graph.constant(starts, np.int64))
            own = tuple(max(of_column) + 1 for of_column in codes)
            rows = replace(rows, codes=graph.add("Gather", table, places, axis=0), cardinalities=own)
        return rows


def to_onnx(model: FittedModel, *, n_numeric: int, cardinalities: Sequence[int], n_outputs: int) -> bytes:
    """Write a model down as an ONNX file, the same bytes for the same model.

    Args:
        model: A network, a baseline, or an ensemble of them.
        n_numeric: Numbers of a row.
        cardinalities: Codes of each categorical column, missing and unseen included.
        n_outputs: Logits of a row.

    Returns:
        A graph from ``numeric``, ``(batch, n_numeric)`` float32 with NaN for missing, and ``codes``, ``(batch,
        n_categorical)`` int64, to ``logits``, ``(batch,)`` for one of them, else ``(batch, n_outputs)``,
        float32. What one row takes (:mod:`churnlib.models.onnx.work`) is noted in the file.

    Raises:
        CannotExport: If the model, or a part of it, has no form in ONNX here.
    """
    graph = Graph()
    rows = EncodedRows(
        graph.input("numeric", np.float32, n_numeric),
        graph.input("codes", np.int64, len(cardinalities)),
        n_numeric,
        tuple(cardinalities),
    )
    logits = graph.cast(draw(graph, model, rows), np.float32)
    shape = ["batch"] if n_outputs == 1 else ["batch", n_outputs]
    work = work_of(graph.build(logits, shape))
    return graph.build(logits, shape, notes={FLOPS: str(work.total)})


def draw(graph: Graph, model: FittedModel, rows: EncodedRows) -> str:
    """Add a model to a graph and return its logits, float32 or float64.

    Raises:
        CannotExport: If it has no form there.
    """
    if not hasattr(model, "draw"):
        raise CannotExport(f"a {type(model).__name__} has no form in ONNX here")
    return model.draw(graph, rows)  # type: ignore[attr-defined]
