"""Many networks in one: members that share nearly all weights, run in one pass, and answer together.

After TabM (Gorishniy et al. 2025, arXiv 2410.24210). Each row is given to ``k`` members at once. What makes them
different is small: a scale per member on the inputs (``mini``), or scales on the inputs and outputs of every linear
layer (``full``, BatchEnsemble: Wen et al. 2020, arXiv 2002.06715), and always a linear layer of each member's own at
the end. Trained on the *mean of the members' losses*, they err in different places; their mean probability is better
and better calibrated than that of one network as large.

A trunk needs to know nothing of it: between :class:`MemberInputs` and :class:`MemberHeads` a batch of ``B`` rows is one
of ``B * k`` rows, the members of row 0 first. A batch normalisation in the trunk therefore shares its statistics
among the members.

How a body tells the rest of churnlib that it has members: it returns logits with three dimensions,
``(batch, k, out_features)``. :class:`~churnlib.models.network.ChurnNetwork` gives training all of them and everybody
else their combination (:func:`combine`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.initialization import ACTIVATIONS, check_activation

MEMBERS = ("mini", "full")


def combine(logits: Tensor) -> Tensor:
    """Return the logits of the members' mean probability.

    >>> one = torch.tensor([[[0.0], [math.log(3.0)]]])  # probabilities 1/2 and 3/4
    >>> combine(one).sigmoid()
    tensor([[0.6250]])
    >>> combine(one[:, :1]).item()  # the only member
    0.0

    Args:
        logits: ``(batch, k, out)`` float32; with one output log-odds, with more one column per class.

    Returns:
        ``(batch, out)`` float32: the log-odds of the mean probability, or the logarithms of the mean probabilities.
        Computed without leaving the logarithms, so that very sure customers still differ.
    """
    if logits.shape[2] == 1:
        # The 1/k of both means cancels.
        return F.logsigmoid(logits).logsumexp(1) - F.logsigmoid(-logits).logsumexp(1)
    return F.log_softmax(logits, dim=2).logsumexp(1) - math.log(logits.shape[1])


class MemberInputs(nn.Module):
    """One copy of each row per member, each member's copy scaled column by column.

    Args:
        in_features: Columns of the input.
        n_members: Members, ``k``.
        groups: What each column belongs to (its raw column); columns of a group start with the same scale, so that a
            member does not tear the one-hot columns or the curves of a raw column apart. Each on its own when None.
        signs: Start from -1 or 1 rather than from a normal distribution. TabM takes signs where numbers come as they
            are and normal scales where numbers come as embeddings.
        kept: Columns that every member sees as they are: masks, which say what is there and are no quantities.
        generator: Source of the scales; PyTorch's global one when None.

    Shape:
        ``(batch, in_features)`` -> ``(batch * k, in_features)``
    """

    lr_factors: Mapping[str, float]
    scaled: Tensor | None

    def __init__(
        self,
        in_features: int,
        *,
        n_members: int,
        groups: Sequence[int] | None = None,
        signs: bool = False,
        kept: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check_members(n_members)
        if groups is not None and len(groups) != in_features:
            raise ValueError(f"groups must have an entry for each of the {in_features} columns, got {len(groups)}")
        self.signs = signs
        names = {group: place for place, group in enumerate(dict.fromkeys(groups or range(in_features)))}
        self._places = [names[group] for group in (groups or range(in_features))]
        scaled = torch.tensor([column not in set(kept) for column in range(in_features)])
        # Follows from the arguments, so not part of the state; moves with the module.
        self.register_buffer("scaled", scaled if kept else None, persistent=False)
        self.weight = nn.Parameter(torch.empty(n_members, in_features))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all scales anew, one per member and group."""
        drawn = torch.empty(len(self.weight), len(set(self._places))).normal_(generator=generator)
        self.weight.copy_((drawn.sign() if self.signs else drawn)[:, self._places])

    def forward(self, x: Tensor) -> Tensor:
        """Return the members' rows; see the class for shapes."""
        scale = self.weight if self.scaled is None else torch.where(self.scaled, self.weight, 1.0)
        return (x.unsqueeze(1) * scale).flatten(0, 1)


class MemberHeads(nn.Module):
    """A linear layer per member, all in one batched product.

    Args:
        in_features: Width of the trunk's outputs.
        out_features: Logits per row and member.
        n_members: Members, ``k``.
        scale: Size of the initial weights; 1 is that of :class:`torch.nn.Linear`. Biases start at 0.
        generator: Source of the initial weights; PyTorch's global one when None.

    Shape:
        ``(batch * k, in_features)`` -> ``(batch, k, out_features)``
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        n_members: int,
        scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        _check_members(n_members)
        self.scale = scale
        self.weight = nn.Parameter(torch.empty(n_members, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(n_members, 1, out_features))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew."""
        bound = self.scale * self.weight.shape[1] ** -0.5
        self.weight.uniform_(-bound, bound, generator=generator)
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; see the class for shapes."""
        members = x.unflatten(0, (-1, len(self.weight))).transpose(0, 1)  # (k, batch, in_features)
        return torch.baddbmm(self.bias, members, self.weight).transpose(0, 1)


class LinearBatchEnsemble(nn.Module):
    """A linear layer whose members differ by scales of inputs and outputs and by the bias.

    Member ``i`` computes ``((x * input_scale[i]) W^T) * output_scale[i] + bias[i]``.

    Args:
        linear: The layer to share; its weights are taken over, the scales start at 1, the biases alike.
        n_members: Members, ``k``.
        scale_inputs: Leave out for a layer whose inputs :class:`MemberInputs` has scaled already.

    Shape:
        ``(batch * k, in_features)`` -> ``(batch * k, out_features)``
    """

    input_scale: nn.Parameter | None

    def __init__(self, linear: nn.Linear, *, n_members: int, scale_inputs: bool = True) -> None:
        super().__init__()
        _check_members(n_members)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = linear.weight
        scale = nn.Parameter(torch.empty(n_members, self.in_features)) if scale_inputs else None
        self.register_parameter("input_scale", scale)
        self.output_scale = nn.Parameter(torch.empty(n_members, self.out_features))
        bias = torch.zeros(self.out_features) if linear.bias is None else linear.bias.detach()
        self.bias = nn.Parameter(bias.expand(n_members, -1).clone())
        self.reset_scales()

    @torch.no_grad()
    def reset_scales(self) -> None:
        """Make the members alike again, but for their biases."""
        if self.input_scale is not None:
            self.input_scale.fill_(1.0)
        self.output_scale.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs; see the class for shapes."""
        members = x.unflatten(0, (-1, len(self.bias)))
        if self.input_scale is not None:
            members = members * self.input_scale
        shared = F.linear(members, self.weight)
        return torch.addcmul(self.bias, shared, self.output_scale).flatten(0, 1)


def batch_ensemble(module: nn.Module, *, n_members: int) -> int:
    """Give every linear layer inside a module members of its own, in place.

    Args:
        module: Any module; layers that compute a linear map without being a :class:`torch.nn.Linear` stay shared.
        n_members: Members, ``k``.

    Returns:
        The number of layers changed.
    """
    changed = 0
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, LinearBatchEnsemble(child, n_members=n_members))
            changed += 1
        else:
            changed += batch_ensemble(child, n_members=n_members)
    return changed


class Members(nn.Module):
    """Members of any network: TabNet, GRU, or one of the user's own.

    The trunk is built with ``out_features=trunk_features``: what it would give as logits becomes the representation
    that the members' heads read, through an activation.

    Args:
        in_features: Columns of the input.
        out_features: Logits per row.
        trunk: From the sizes ``in_features``, ``out_features``, ``n_numeric``, ``groups`` and, if given, ``sequences``
            to the shared network, ``(rows, in_features)`` -> ``(rows, trunk_features)``. In a configuration a mapping
            with ``_target_`` and its arguments; the network takes those of the sizes that its constructor asks for.
        n_numeric: How many of the first columns are numbers.
        groups: Raw column of each input.
        sequences: For each sequence the columns of its steps and of their masks, where the trunk reads histories. A
            member starts with one sign for all steps of a sequence, and sees the masks as they are.
        n_members: Members, ``k``.
        members: ``mini``: scales on the inputs alone; ``full``: also on every linear layer of the trunk.
        trunk_features: Width of the trunk's output.
        activation: Between trunk and heads; a key of ``ACTIVATIONS``.

    Shape:
        ``(batch, in_features)`` float32 -> ``(batch, k, out_features)``, float32 under autocast too.

    Raises:
        ValueError: If an argument is outside its range, or ``full`` is asked of a trunk without linear layers.

    Example:
        >>> def trunk(in_features, out_features, **sizes):
        ...     return nn.Linear(in_features, out_features)
        >>> Members(6, 1, trunk=trunk, n_members=4)(torch.randn(5, 6)).shape
        torch.Size([5, 4, 1])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        trunk: Callable[..., nn.Module],
        n_numeric: int = 0,
        groups: Sequence[int] | None = None,
        sequences: Sequence[tuple[Sequence[int], Sequence[int]]] | None = None,
        n_members: int = 16,
        members: str = "mini",
        trunk_features: int = 64,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_kind(members)
        self.activation = check_activation(activation)
        together = list(range(in_features) if groups is None else groups)
        for steps, _ in sequences or ():
            for step in steps:
                together[step] = together[steps[0]]
        masks = [column for _, columns in sequences or () for column in columns]
        self.inputs = MemberInputs(in_features, n_members=n_members, groups=together, signs=True, kept=masks)
        sizes = {"in_features": in_features, "n_numeric": n_numeric, "groups": groups}
        sizes |= {} if sequences is None else {"sequences": sequences}
        self.trunk = trunk(out_features=trunk_features, **sizes)
        if members == "full" and not batch_ensemble(self.trunk, n_members=n_members):
            raise ValueError(f"{type(self.trunk).__name__} has no torch.nn.Linear inside; take members='mini' for it")
        self.heads = MemberHeads(trunk_features, out_features, n_members=n_members)

    def initialize(self, x: Tensor) -> None:
        """Let the trunk place what depends on training rows, ``(n, in_features)`` float32, as its members see them."""
        if hasattr(self.trunk, "initialize"):
            with torch.no_grad():
                self.trunk.initialize(self.inputs(x))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return the members' logits; see the class for shapes."""
        return self._decide(self.trunk(self.inputs(x)))

    def forward_with_penalty(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """Return the members' logits and what the trunk adds to the loss (TabNet's sparsity), 0 for most."""
        if not hasattr(self.trunk, "forward_with_penalty"):
            return self(x), 0.0
        hidden, penalty = self.trunk.forward_with_penalty(self.inputs(x))  # type: ignore[operator]
        return self._decide(hidden), penalty

    def _decide(self, hidden: Tensor) -> Tensor:
        # In half precision, logits of different customers would be equal.
        with torch.autocast(hidden.device.type, enabled=False):
            return self.heads(ACTIVATIONS[self.activation](hidden.float()))


def check_kind(members: str) -> str:
    """Return the kind of members, or refuse it.

    Raises:
        ValueError: If there is no such kind.
    """
    if members not in MEMBERS:
        raise ValueError(f"members must be one of {', '.join(MEMBERS)}, got {members!r}")
    return members


def _check_members(n_members: int) -> None:
    if n_members < 1:
        raise ValueError(f"n_members must be at least 1, got {n_members}")
