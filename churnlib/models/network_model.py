"""A trained network as a model that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from churnlib.errors import ConfigError
from churnlib.models.bins import UNREACHED
from churnlib.models.fitted import WEIGHTS, Kept
from churnlib.models.network import ChurnNetwork, build_network

if TYPE_CHECKING:
    from churnlib.models.onnx.graph import Graph
    from churnlib.models.onnx.writing import EncodedRows


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """A network with what it was built from.

    Attributes:
        network: In evaluation mode, float32, on the CPU unless :meth:`move` was called.
        spec: ``_target_`` and arguments of its body.
        input_spec: Arguments of its input layer.
    """

    network: ChurnNetwork
    spec: Mapping[str, Any]
    input_spec: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return logits, float32; see :class:`~churnlib.models.fitted.FittedModel`."""
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            inputs = (torch.from_numpy(each).to(device) for each in (numeric, codes))
            return self.network(*inputs).cpu().numpy()

    def move(self, device: str) -> None:
        """Let :meth:`logits` be computed elsewhere, on ``cuda`` say; what else a network can tell stays on the CPU.

        Raises:
            ConfigError: If torch has no such device here.
        """
        try:
            self.network.to(device)
            torch.zeros(1, device=device).cpu()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            self.network.to("cpu")
            raise ConfigError(f"torch cannot use device={device} here; take device=cpu") from error

    def draw(self, graph: Graph, rows: EncodedRows) -> str:
        """Add the network to an ONNX graph and return its logits."""
        from churnlib.models.onnx.operators import draw_module

        sizes = {"n_numeric": rows.n_numeric, "n_categorical": len(rows.cardinalities)}
        return draw_module(graph, self.network, rows.numeric, rows.codes, **sizes)

    @property
    def has_masks(self) -> bool:
        """Whether the network says where it looked, as a TabNet does."""
        return hasattr(self.network.body, "explain")

    def masks(self, numeric: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the body's ``explain`` says of encoded rows: masks by step, and their aggregate."""
        body: Any = self.network.body
        with torch.inference_mode():
            masks, aggregate = body.explain(self.network.inputs(torch.from_numpy(numeric), torch.from_numpy(codes)))
        return masks.numpy(), aggregate.numpy()

    @property
    def is_additive(self) -> bool:
        """Whether the logit is a sum of one part per column, as of model=additive."""
        return hasattr(self.network.body, "parts")

    @property
    def terms(self) -> list[tuple[int, ...]]:
        """The raw columns of each part of an additive network: one each, then the pairs that were chosen."""
        body: Any = self.network.body
        inputs = self.network.inputs
        columns = [(column,) for column in range(inputs.n_numeric + inputs.n_categorical)]
        return [*columns, *(term for term in body.terms if len(term) == 2)]

    def contributions(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return what each of the terms of an additive network adds to the logits beyond the intercept.

        Args:
            numeric: See :meth:`logits`.
            codes: See :meth:`logits`.

        Returns:
            ``(n, terms, outputs)``; 0 on average over the training rows once :meth:`settle` has seen them.
        """
        body: Any = self.network.body
        with torch.inference_mode():
            parts = body.parts(self.network.inputs(torch.from_numpy(numeric), torch.from_numpy(codes))) - body.center
        # A column without inputs (a category with no value in training) and a pair that was not found have no part.
        part_of = {term: parts[:, place] for place, term in enumerate(body.terms)}
        nothing = torch.zeros_like(parts[:, 0])
        return torch.stack([part_of.get(term, nothing) for term in self.terms], dim=1).numpy()

    def intercept(self) -> np.ndarray:
        """Return the logits of an additive network where all parts are 0, ``(outputs,)``."""
        body: Any = self.network.body
        with torch.inference_mode():
            return (body.bias + body.center.sum(0) - self.network.offset).numpy()  # type: ignore[operator]

    def borders(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the borders of an additive network's bins, in the table's units, NaN where a column uses fewer.

        Returns:
            ``(n_numeric, K)`` float32 of the columns' curves, and of the pairs' tables (none without pairs).

        Raises:
            ConfigError: If no training rows have placed them.
        """
        body: Any = self.network.body
        single = body.bins.edges.numpy()
        if body.n_numeric and bool(np.isnan(single).all()) and bool((body.bins.knots < UNREACHED).any()):
            raise ConfigError("no training rows have placed the bins; train with a ChurnDataModule")
        return single, body.pair_bins.edges.numpy() if body.n_pairs else single[:, :0]

    def settle(self, numeric: np.ndarray, codes: np.ndarray) -> None:
        """Show an additive network all training rows, from whose mean its parts are counted; logits stay the same."""
        body: Any = self.network.body
        if hasattr(body, "settle"):
            with torch.no_grad():
                body.settle(self.network.inputs(torch.from_numpy(numeric), torch.from_numpy(codes)))

    def keep(self) -> Kept:
        """Write the network down: what it was built from, and its weights."""
        from safetensors.torch import save

        offset = self.network.offset.tolist()  # type: ignore[operator]
        values = {"network": dict(self.spec), "input": dict(self.input_spec), "offset": offset}
        values |= {"hazards": True} if self.network.hazards else {}
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.network.state_dict().items()}
        return Kept("network.json", values, {WEIGHTS: save(state)})


def restore(
    values: Mapping[str, Any], states: Mapping[str, bytes], *, n_classes: int, trust: Sequence[str]
) -> NetworkModel:
    """Build the network that was written down; see :func:`churnlib.models.fitted.restore`."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    spec, input_spec = values["network"], values["input"]
    offset = values["offset"]
    intervals = {"n_intervals": len(offset)} if values.get("hazards") else {}
    network = build_network(spec, input_spec, n_classes=n_classes, offset=offset, trust=trust, **intervals)
    try:
        network.load_state_dict(load(states[WEIGHTS]))
    except SafetensorError as error:
        raise ValueError("the weights cannot be read; copy the bundle again") from error
    return NetworkModel(network, spec, input_spec)
