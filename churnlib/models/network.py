"""A whole network from raw numbers and codes to logits, built from plain values.

The plain values (``_target_`` and arguments of the body, arguments of the input layer) are what checkpoints and bundles
hold; weights are loaded into what they describe.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from churnlib.models.hazards import combine_hazards
from churnlib.models.input_layer import InputLayer
from churnlib.models.members import combine

NETWORKS = {
    "mlp": "churnlib.models.mlp.MLP",
    "mlp_plain": "churnlib.models.mlp.PlainMLP",
    "realmlp": "churnlib.models.realmlp.RealMLP",
    "additive": "churnlib.models.additive.Additive",
    "tabnet": "churnlib.models.tabnet.TabNet",
    "ft_transformer": "churnlib.models.ft_transformer.FTTransformer",
    "gru": "churnlib.models.sequence.GRU",
    "lstm": "churnlib.models.sequence.LSTM",
    "cnn": "churnlib.models.sequence.CNN",
}
"""Short names of the networks that come with churnlib."""

OWN = "churnlib.models."
"""Networks under this name are always trusted."""


class ChurnNetwork(nn.Module):
    """Input layer and body: ``(batch, n_numeric)`` float32 and ``(batch, n_categorical)`` int64 to logits.

    Args:
        inputs: The input layer.
        body: A module from ``(batch, in_features)`` float32 to ``(batch, out_features)``, or to
            ``(batch, k, out_features)`` if it has members (:mod:`churnlib.models.members`).
        offset: ``(out_features,)`` subtracted from the logits outside training: undoes what class weights in the loss
            do to the probabilities (log of the weight).
        hazards: Whether the logits are those of hazards, one for each interval of time; see
            :mod:`churnlib.models.hazards`.

    Shape:
        Logits are ``(batch,)`` for two classes, ``(batch, n_classes)`` for more, ``(batch, n_intervals)`` of hazards,
        always float32.
    """

    def __init__(self, inputs: InputLayer, body: nn.Module, *, offset: Sequence[float], hazards: bool = False) -> None:
        super().__init__()
        self.inputs = inputs
        self.body = body
        self.hazards = hazards
        self.register_buffer("offset", torch.tensor(list(offset), dtype=torch.float32))

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        """Return the logits; of members the logits of their mean probability."""
        return self.answer(self.inputs(numeric, codes))

    def answer(self, x: Tensor) -> Tensor:
        """Return the logits for what the input layer has made of rows, ``(batch, in_features)``."""
        logits = self.body(x).float()
        if not self.training:
            logits = logits - self.offset
        if logits.ndim == 3:
            logits = combine_hazards(logits) if self.hazards else combine(logits)
        return _squeeze(logits)

    def forward_with_penalty(
        self, numeric: Tensor, codes: Tensor, alter: Callable[[Tensor, InputLayer], Tensor] | None = None
    ) -> tuple[Tensor, Tensor | float]:
        """Return the logits that training reads, and what the body adds to the loss (TabNet's sparsity), 0 for most.

        ``alter`` changes the body's inputs, ``(batch, in_features)`` (noise, for training).

        Members are trained each on its own: with ``k`` of them the logits are those of ``batch * k`` rows, the members
        of row 0 first, to be compared with ``label.repeat_interleave(k)``. Any mean over these rows is then the mean
        of the members' losses (and not the loss of their mean, with which they would grow alike).

        ``alter`` changes the body's inputs, ``(batch, in_features)`` (noise, for training).
        """
        x = self.inputs(numeric, codes)
        if alter is not None:
            x = alter(x, self.inputs)
        if not hasattr(self.body, "forward_with_penalty"):
            return _squeeze(_flatten_members(self.body(x).float())), 0.0
        logits, penalty = self.body.forward_with_penalty(x)  # type: ignore[operator]
        return _squeeze(_flatten_members(logits.float())), penalty

    def initialize(self, numeric: Tensor, codes: Tensor, label: Tensor | None = None) -> None:
        """Let the body place what depends on the training rows (bins, scales), before the first step.

        Args:
            numeric: ``(n, n_numeric)`` float32 training rows.
            codes: ``(n, n_categorical)`` int64 of the same rows.
            label: ``(n,)`` int64 classes of the same rows, for a body that chooses by them.
        """
        with torch.no_grad():
            if hasattr(self.body, "initialize"):
                self.body.initialize(self.inputs(numeric, codes))  # type: ignore[operator]
            if hasattr(self.body, "place"):
                self.body.place(numeric, self.inputs.scale, self.inputs(numeric, codes), label)  # type: ignore[operator]


def _flatten_members(logits: Tensor) -> Tensor:
    return logits.flatten(0, 1) if logits.ndim == 3 else logits


def _squeeze(logits: Tensor) -> Tensor:
    return logits.squeeze(1) if logits.shape[1] == 1 else logits


def network_spec(network: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return ``_target_`` and arguments of a network given by its short name or already so.

    Raises:
        ValueError: If the name is not known.
    """
    if isinstance(network, str):
        if network not in NETWORKS:
            raise ValueError(
                f"network must be one of {', '.join(NETWORKS)}, or a mapping with _target_, got {network!r}"
            )
        return {"_target_": NETWORKS[network]}
    if "_target_" not in network:
        raise ValueError(f"a network's mapping needs _target_ (the class), got the keys {sorted(network)}")
    return dict(network)


def build_network(
    spec: Mapping[str, Any],
    input_spec: Mapping[str, Any],
    *,
    n_classes: int = 2,
    n_intervals: int | None = None,
    offset: Sequence[float] | None = None,
    trust: Sequence[str] | None = None,
) -> ChurnNetwork:
    """Build a network with fresh weights.

    The body gets, of ``in_features``, ``out_features``, ``n_numeric`` (the first columns, scaled numbers),
    ``groups`` (raw column of each input) and ``sequences`` (for each sequence the columns of its steps and of their
    masks), those that its constructor asks for. An argument that is
    itself a mapping with ``_target_`` reaches it as a function from these sizes to that network
    (:class:`~churnlib.models.members.Members` has such a one).

    Args:
        spec: ``_target_`` and the body's own arguments.
        input_spec: Arguments of :class:`~churnlib.models.input_layer.InputLayer`.
        n_classes: Two classes have one logit.
        n_intervals: Intervals of time of a hazard head, which has one logit for each; None for classes.
        offset: See :class:`ChurnNetwork`; zeros when None.
        trust: Packages outside churnlib whose classes may be built; None trusts any (the user's own configuration).

    Raises:
        ValueError: If the class is not trusted, cannot be imported, or refuses its arguments.
    """
    inputs = InputLayer(**input_spec, masks=_reads_histories(spec, trust))
    out_features = n_intervals or (1 if n_classes == 2 else n_classes)
    sizes = {
        "in_features": inputs.out_features,
        "out_features": out_features,
        "n_numeric": inputs.n_numeric,
        "groups": inputs.groups,
        "sequences": inputs.sequences,
    }
    body = _body(spec, trust)(**sizes)
    offset = [0.0] * out_features if offset is None else offset
    return ChurnNetwork(inputs, body, offset=offset, hazards=n_intervals is not None)


def _body(spec: Mapping[str, Any], trust: Sequence[str] | None) -> functools.partial[nn.Module]:
    """Return a function from sizes to the network; its class and those inside are trusted before anything is built."""
    cls = _locate(spec["_target_"], trust)
    arguments = {key: value for key, value in spec.items() if key != "_target_"}
    arguments |= {key: _body(inner, trust) for key, inner in _inside(spec).items()}
    return functools.partial(_build, cls, arguments)


def _inside(spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the arguments of a network that are networks themselves."""
    return {key: value for key, value in spec.items() if isinstance(value, Mapping) and "_target_" in value}


def _reads_histories(spec: Mapping[str, Any], trust: Sequence[str] | None) -> bool:
    """Whether a network asks for sequences; one around another (`Members`) does so for the one inside."""
    cls, inside = _locate(spec["_target_"], trust), _inside(spec).values()
    if inside:
        return any(_reads_histories(one, trust) for one in inside)
    return "sequences" in inspect.signature(cls).parameters


def _build(cls: type[nn.Module], arguments: Mapping[str, Any], **sizes: Any) -> nn.Module:
    accepted = inspect.signature(cls).parameters
    return cls(**{key: value for key, value in sizes.items() if key in accepted}, **arguments)


def _locate(target: str, trust: Sequence[str] | None) -> type[nn.Module]:
    """Import a network's class; a name that is not trusted is never imported."""
    package = target.split(".", 1)[0]
    if trust is not None and not target.startswith(OWN) and package not in trust:
        raise ValueError(
            f"the network {target} is not part of churnlib; if you trust that package, say trust=[{package}]"
        )
    module_name, _, name = target.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"the network {target} cannot be imported ({error}); is its package installed?") from error
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise ValueError(f"{target} is no network: expected a subclass of torch.nn.Module, got {cls!r}")
    return cls
