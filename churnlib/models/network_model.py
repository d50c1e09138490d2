"""A trained network as a model that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from churnlib.models.fitted import WEIGHTS, Kept
from churnlib.models.network import ChurnNetwork, build_network


@dataclass(frozen=True, slots=True)
class NetworkModel:
    """A network with what it was built from.

    Attributes:
        network: In evaluation mode, float32, on the CPU.
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
        with torch.inference_mode():
            return self.network(torch.from_numpy(numeric), torch.from_numpy(codes)).numpy()

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

    def keep(self) -> Kept:
        """Write the network down: what it was built from, and its weights."""
        from safetensors.torch import save

        offset = self.network.offset.tolist()  # type: ignore[operator]
        values = {"network": dict(self.spec), "input": dict(self.input_spec), "offset": offset}
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.network.state_dict().items()}
        return Kept("network.json", values, {WEIGHTS: save(state)})


def restore(
    values: Mapping[str, Any], states: Mapping[str, bytes], *, n_classes: int, trust: Sequence[str]
) -> NetworkModel:
    """Build the network that was written down; see :func:`churnlib.models.fitted.restore`."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    spec, input_spec = values["network"], values["input"]
    network = build_network(spec, input_spec, n_classes=n_classes, offset=values["offset"], trust=trust)
    try:
        network.load_state_dict(load(states[WEIGHTS]))
    except SafetensorError as error:
        raise ValueError("the weights cannot be read; copy the bundle again") from error
    return NetworkModel(network, spec, input_spec)
