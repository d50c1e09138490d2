"""TabNet: a network that decides in steps, each of which looks at a few columns (Arik & Pfister, arXiv 1908.07442).

Inputs and outputs are row-major, ``(batch, features)``. Inside, everything is feature-major, ``(features, batch)``,
because then ghost batch normalisation is one native call (see `churnlib.models.ghost_norm`), a gated unit splits
contiguous halves and a linear layer is ``weight @ x``. Sizes in the comments:

    B, D, K     rows, features (of the input and its embeddings), attention groups (raw columns)
    H           width of the feature transformers, n_d + n_a
    M           members; their rows lie side by side, (features, M * B), so that all of them are one batch
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.dropout import Dropout
from churnlib.models.ghost_norm import GhostBatchNorm, momentum_from_tensorflow
from churnlib.models.numeric_embedding import embed_numbers, embedded_groups, make_embedding
from churnlib.models.rows import check_rows
from churnlib.models.sparsemax import entmax15, negative_entropy, sparsemax

SQRT_HALF = 0.5**0.5  # keeps the variance of a residual sum; a Python number, so the device is never asked for it

MASKS: Mapping[str, Callable[[Tensor, int], Tensor]] = MappingProxyType({"sparsemax": sparsemax, "entmax": entmax15})


def _preset(
    width: int | tuple[int, int], sparsity: float, virtual: int, tf_momentum: float, steps: int, gamma: float
) -> Mapping[str, Any]:
    n_d, n_a = width if isinstance(width, tuple) else (width, width)
    return MappingProxyType(
        {
            "n_d": n_d,
            "n_a": n_a,
            "n_steps": steps,
            "gamma": gamma,
            "lambda_sparse": sparsity,
            "virtual_batch_size": virtual,
            "momentum": momentum_from_tensorflow(tf_momentum),
        }
    )


#: The paper's networks by the name of their data set (its appendix), as keywords of `TabNet`. The momentum is converted
#: to PyTorch's convention. Batches there are large: 16,384 rows for Covertype and the small network for Higgs, 8,192
#: for its larger one, KDD and Census, 4,096 for Poker, Adult, Sarcos and Rossmann; Adam, learning rate 0.02 (Poker and
#: KDD 0.01, Rossmann 0.002, the larger one for Higgs 0.025) with decay.
TABNET_PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        #             n_d = n_a, or both; lambda, B_v, m_TF, steps, gamma
        "covertype": _preset(64, 1e-4, 512, 0.7, 5, 1.5),
        "poker": _preset(16, 1e-6, 1024, 0.95, 4, 1.5),
        "sarcos_small": _preset(8, 1e-4, 256, 0.9, 3, 1.2),
        "sarcos_medium": _preset(64, 1e-4, 128, 0.8, 7, 1.5),
        "sarcos_large": _preset(128, 1e-4, 128, 0.8, 5, 1.5),
        "higgs_small": _preset((24, 26), 1e-6, 512, 0.6, 5, 1.5),
        "higgs_medium": _preset((96, 32), 1e-6, 256, 0.9, 8, 2.0),
        "rossmann": _preset(32, 1e-3, 512, 0.8, 5, 1.2),
        "kdd_churn": _preset(32, 1e-3, 256, 0.9, 7, 1.2),
        "census": _preset(48, 1e-3, 256, 0.9, 5, 1.5),
        "adult": _preset(16, 1e-4, 128, 0.98, 5, 1.5),
    }
)


class FeatureTransformer(nn.Module):
    """A stack of gated layers, linear -> ghost batch norm -> GLU, of which the first use weights shared by all steps.

    The shared weights come with the call, not with the module: each tensor has one owner and one name in a checkpoint.
    Normalisations are never shared (the steps' statistics differ).

    Args:
        in_features: ``D``; read by the first layer.
        width: ``H``; output of every layer.
        n_shared: Layers with shared weights, first.
        n_independent: Layers with weights of their own, after them.
        norm: Makes the normalisation of so many channels.
    """

    def __init__(
        self, in_features: int, width: int, *, n_shared: int, n_independent: int, norm: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.weights = glu_weights(in_features, width, range(n_shared, n_shared + n_independent))
        self.norms = nn.ModuleList(norm(2 * width) for _ in range(n_shared + n_independent))

    def forward(self, x: Tensor, shared: Sequence[Tensor]) -> Tensor:
        """Maps (D, B) to (H, B); ``shared`` are the weights of the first layers."""
        for layer, (weight, norm) in enumerate(zip([*shared, *self.weights], self.norms, strict=True)):
            y = F.glu(norm(weight @ x), dim=0)  # (2H, B) -> (H, B)
            x = y if layer == 0 else (x + y).mul_(SQRT_HALF)  # the first layer changes the width: no residual
        return x


class AttentiveTransformer(nn.Module):
    """Chooses the columns of a step: linear -> ghost batch norm -> times the prior -> sparsemax.

    Args:
        n_a: Features of the state it reads.
        n_groups: ``K``; entries of the mask.
        mask: ``"sparsemax"`` or ``"entmax"``.
        norm: Makes the normalisation of so many channels.
    """

    def __init__(self, n_a: int, n_groups: int, *, mask: str, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_groups, n_a))
        self.norm = norm(n_groups)
        self.mask = mask

    def forward(self, state: Tensor, prior: Tensor | None) -> Tensor:
        """Maps the state (n_a, B) and the prior scales (K, B), ``None`` for all ones, to a mask (K, B) float32."""
        scores = self.norm(self.weight @ state)
        if prior is not None:
            scores = scores * prior
        return MASKS[self.mask](scores, 0)


class TabNet(nn.Module):
    """Attentive, interpretable network for tables, after the paper.

    An initial transformer reads all features; then each step's attention picks columns by a sparse mask, a feature
    transformer reads the masked features, and ReLU of its first ``n_d`` outputs adds to the decision while the other
    ``n_a`` steer the next attention. A column used with weight ``M`` is scaled by ``gamma - M`` in later attentions.

    Weights start normal with standard deviation ``fan_in ** -0.25`` (times ``sqrt(2)`` before a gate), the gains of the
    reference port: a normalisation follows, so the scale sets only how fast the weight's direction turns under Adam.
    The last layer, which no normalisation follows, starts at ``(n_d * n_steps) ** -0.5``.

    Args:
        in_features: ``D``; columns of the input.
        out_features: Logits per row.
        n_d: Width of the decision.
        n_a: Width of the attention's state.
        n_steps: Decision steps, at least 1.
        gamma: Relaxation, at least 1; at 1 a column may be used fully in one step only.
        n_shared: Layers of each feature transformer whose weights all steps share.
        n_independent: Layers with weights of their own.
        virtual_batch_size: Rows of a ghost batch; ``None`` normalises over the whole batch.
        momentum: Of all batch normalisations, in PyTorch's convention (1 minus TensorFlow's).
        mask: ``"sparsemax"`` (the paper) or ``"entmax"`` (1.5-entmax, less abrupt).
        epsilon: Keeps the logarithm of the mask entropy finite.
        lambda_sparse: Weight of the mask entropy in the penalty.
        groups: For each input feature the number of the raw column it belongs to, ``0 .. K-1``, each used. All features
            of a column (one-hot values, coordinates of an embedding) then get the same attention. ``None``: one each.
        dropout: Probability of dropping an output of the decision before the last layer (not in the paper).
        input_dropout: Probability of replacing an input feature of a row by its mean (not in the paper).
        attention_scale: Initial scale of the attention's normalisation (1 in the paper). A small one starts with nearly
            even masks, which sharpen as training finds what to look at, instead of with a random choice of columns.
        n_numeric: How many of the first input features are scaled numbers, to be embedded.
        numeric_embedding: ``"periodic"`` or ``"piecewise"``: each number becomes several features, which share its
            attention (`churnlib.models.numeric_embedding`; not in the paper). ``None``: itself alone.
        embedding_dim: Features that each number becomes, itself included.
        n_frequencies: Cosines per number, of the periodic embedding.
        frequency_scale: Size of the initial frequencies, of the periodic embedding.
        n_bins: Bins per number, of the piecewise embedding; of equal width, which suits this network better than
            quantiles: on MLC those cost 0.004 (standard error 0.002) in log loss and 0.012 (0.004) in F1.
        n_members: ``M``; more than one makes an ensemble whose members share all matrices but the last and have
            normalisations of their own, scales on the inputs (1 or -1 at the start, by column), and so masks of their
            own (not in the paper; after TabM, arXiv 2410.24210). The logits then are (B, M, out_features).
        generator: Source of the initial weights; ``None`` uses PyTorch's global one.

    Example:
        >>> network = TabNet(4, groups=[0, 1, 2, 2], generator=torch.Generator().manual_seed(0)).eval()
        >>> rows = torch.randn(5, 4)
        >>> network(rows).shape
        torch.Size([5, 1])
        >>> masks, importance = network.explain(rows)
        >>> masks.shape, importance.shape
        (torch.Size([3, 5, 3]), torch.Size([5, 3]))
    """

    groups: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        n_d: int = 8,
        n_a: int = 8,
        n_steps: int = 3,
        gamma: float = 1.3,
        n_shared: int = 2,
        n_independent: int = 2,
        virtual_batch_size: int | None = 128,
        momentum: float = 0.02,
        mask: Literal["sparsemax", "entmax"] = "sparsemax",
        epsilon: float = 1e-15,
        lambda_sparse: float = 1e-3,
        groups: Sequence[int] | None = None,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        attention_scale: float = 1.0,
        n_numeric: int = 0,
        numeric_embedding: Literal["periodic", "piecewise"] | None = None,
        embedding_dim: int = 4,
        n_frequencies: int = 16,
        frequency_scale: float = 0.1,
        n_bins: int = 24,
        n_members: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "out_features": out_features, "n_d": n_d, "n_a": n_a}
        _check_sizes(**sizes, n_steps=n_steps, n_members=n_members)
        _check_arguments(gamma=gamma, layers=n_shared + n_independent, mask=mask)
        self.in_features, self.out_features = in_features, out_features
        self.n_d, self.n_a, self.n_steps, self.n_members = n_d, n_a, n_steps, n_members
        self.gamma, self.epsilon, self.lambda_sparse = gamma, epsilon, lambda_sparse
        self.attention_scale = attention_scale
        self.virtual_batch_size, self.momentum = virtual_batch_size, momentum
        self.input_groups = list(range(in_features) if groups is None else groups)
        self.n_groups = _count_groups(self.input_groups, in_features)
        self.embedding = make_embedding(
            numeric_embedding,
            n_numeric,
            embedding_dim=embedding_dim,
            n_frequencies=n_frequencies,
            frequency_scale=frequency_scale,
            n_bins=n_bins,
        )
        of_features = embedded_groups(self.input_groups, self.embedding)
        n_features, width = len(of_features), n_d + n_a
        # Derived from the arguments, so not part of the state; moves with the module. Nothing to look up for one each.
        one_each = of_features == list(range(n_features))
        self.register_buffer("groups", None if one_each else torch.tensor(of_features), persistent=False)

        norm = partial(GhostBatchNorm, virtual_batch_size=virtual_batch_size, momentum=momentum, n_members=n_members)
        layers = {"n_shared": n_shared, "n_independent": n_independent, "norm": norm}
        self.input_norm = GhostBatchNorm(n_features, virtual_batch_size=None, momentum=momentum)
        self.member_scale = None if n_members == 1 else nn.Parameter(torch.empty(n_features, n_members, 1))
        self.shared = glu_weights(n_features, width, range(n_shared))
        self.initial = FeatureTransformer(n_features, width, **layers)
        self.attentions = nn.ModuleList(
            AttentiveTransformer(n_a, self.n_groups, mask=mask, norm=norm) for _ in range(n_steps)
        )
        self.steps = nn.ModuleList(FeatureTransformer(n_features, width, **layers) for _ in range(n_steps))
        self.input_dropout = Dropout(input_dropout)
        self.dropout = Dropout(dropout)
        # No bias, as in the paper.
        self.head = nn.Parameter(torch.empty(*([n_members] if n_members > 1 else []), out_features, n_d))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws the weights anew, in the order of `named_parameters`."""
        if self.embedding is not None:
            self.embedding.reset_parameters(generator)
        for name, parameter in self.named_parameters():
            if parameter is self.head:
                parameter.normal_(0.0, (self.n_d * self.n_steps) ** -0.5, generator=generator)
            elif parameter is self.member_scale:
                # One sign for a raw column: a member sees it as it is or turned over, not torn apart.
                sign = torch.randint(2, (self.n_groups, self.n_members, 1), generator=generator) * 2.0 - 1.0
                parameter.copy_(sign if self.groups is None else sign[self.groups.cpu()])
            elif parameter.ndim == 2 and not name.startswith("embedding"):
                gain = 1.0 if name.startswith("attentions") else 2.0**0.5
                parameter.normal_(0.0, gain * parameter.shape[1] ** -0.25, generator=generator)
            # Scales and shifts of the normalisations start at one and zero.
        for attention in self.attentions:
            nn.init.constant_(attention.norm.weight, self.attention_scale)  # type: ignore[union-attr,arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Maps rows (B, in_features) float32 to logits (B, out_features) float32, (B, M, out_features) of members."""
        _, decisions = self.decide(x)
        return self._logits(decisions)

    def forward_with_penalty(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As `forward`, with the sparsity penalty to be added to the loss, a float32 scalar.

        ``lambda_sparse`` times the mean over steps and rows of the mask's entropy, ``-sum(M log(M + epsilon))``: zero
        when each step looks at one column, ``log(K)`` at most (paper, section 3.3).
        """
        masks, decisions = self.decide(x)
        total = torch.stack([negative_entropy(mask, self.epsilon) for mask in masks]).sum()
        return self._logits(decisions), total * (-self.lambda_sparse / (self.n_steps * masks[0].shape[1]))

    @torch.no_grad()
    def explain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Says where the network looked, step by step and on the whole; always in evaluation mode.

        A mask is where a step looked, not what moved the answer: measured against Shapley values, masks are a poor
        attribution. Use them as a diagnosis of the network.

        Args:
            x: Rows (B, in_features).

        Returns:
            The masks (n_steps, B, K), each row of each step summing to one, and their aggregate (B, K), rows summing to
            one, in which a step counts by its part in the decision, the sum of its ReLU outputs (paper, section 3.4). A
            row to whose decision no step adds anything gets the plain mean of its masks. Members: the mean of theirs.
        """
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            masks, decisions = self.decide(x)
        finally:
            for module in training:
                module.training = True
        mask = torch.stack(masks)  # (n_steps, K, M * B)
        weight = torch.stack(decisions).float().sum(dim=1, keepdim=True)  # (n_steps, 1, M * B)
        weight = torch.where(weight.sum(dim=0) > 0, weight, 1.0)
        aggregate = (weight * mask).sum(dim=0) / weight.sum(dim=0)
        of_members = (self.n_members, len(x))
        return mask.unflatten(2, of_members).mean(2).transpose(1, 2), aggregate.unflatten(1, of_members).mean(1).T

    def decide(self, x: Tensor, hidden: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """Runs the steps without the last layer.

        Args:
            x: Rows (B, in_features).
            hidden: (K, B) float32, 1 where a raw column of a row shall not be seen: its features are replaced by their
                means and the first attention is kept off it (paper, section 3.5). ``None`` hides nothing.

        Returns:
            By step the masks (K, M * B) and the parts of the decision (n_d, M * B), a member's rows side by side.
        """
        features, shown = self._features(x), None
        if hidden is not None:
            shown = 1.0 - hidden.repeat(1, self.n_members)
            features = features * self._per_feature(shown)
        shared = list(self.shared)
        widths = [self.n_d, self.n_a]
        _, state = self.initial(features, shared).split(widths)  # (n_a, M * B)
        prior = shown
        masks: list[Tensor] = []
        decisions: list[Tensor] = []
        for step, (attention, transformer) in enumerate(zip(self.attentions, self.steps, strict=True)):
            if step > 0:
                used = self.gamma - masks[-1]
                prior = used if prior is None else prior * used
            mask = attention(state, prior)
            decision, state = transformer(features * self._per_feature(mask), shared).split(widths)
            masks.append(mask)
            decisions.append(F.relu(decision))
        return masks, decisions

    def _features(self, x: Tensor) -> Tensor:
        """Embeds, normalises and scales the inputs: (B, in_features) to (D, M * B)."""
        check_rows(x, self.in_features)
        features = self.input_norm(embed_numbers(x, self.embedding).T.contiguous())  # (D, B)
        if self.member_scale is not None:
            features = (features.unsqueeze(1) * self.member_scale).flatten(1)  # (D, M * B)
        # Dropped after the normalisation: a zero is then the mean, and the running statistics stay those of the data.
        return self.input_dropout(features)

    def _per_feature(self, columns: Tensor) -> Tensor:
        """Gives each feature the value of its raw column: (K, B) to (D, B)."""
        return columns if self.groups is None else columns.index_select(0, self.groups)

    def _logits(self, decisions: list[Tensor]) -> Tensor:
        """Adds the steps' parts and applies the last layer in float32: half-precision logits would tie customers."""
        total = sum(decisions[1:], start=decisions[0])
        with torch.autocast(total.device.type, enabled=False):
            total = self.dropout(total).to(self.head.dtype)
            if self.n_members == 1:
                return total.T @ self.head.T
            members = total.unflatten(1, (self.n_members, total.shape[1] // self.n_members)).movedim(
                0, 2
            )  # (M, B, n_d)
            return (members @ self.head.mT).transpose(0, 1)


def glu_weights(in_features: int, width: int, layers: range) -> nn.ParameterList:
    """Makes weights (2H, D) for the first layer of a transformer and (2H, H) for the others, still to be drawn."""
    return nn.ParameterList(
        nn.Parameter(torch.empty(2 * width, in_features if layer == 0 else width)) for layer in layers
    )


def _count_groups(groups: Sequence[int], in_features: int) -> int:
    n_groups = max(groups, default=-1) + 1
    if len(groups) != in_features or set(groups) != set(range(n_groups)):
        raise ValueError(
            f"groups must name for each of the {in_features} input features a column from 0 on without gaps, "
            f"got {len(groups)} entries with the values {sorted(set(groups))[:20]}"
        )
    return n_groups


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def _check_arguments(*, gamma: float, layers: int, mask: str) -> None:
    if gamma < 1.0:
        raise ValueError(f"gamma must be at least 1, got {gamma}; below, a prior scale turns negative")
    if layers < 1:
        raise ValueError("n_shared + n_independent must be at least 1, got 0 layers in each feature transformer")
    if mask not in MASKS:
        raise ValueError(f"mask must be one of {sorted(MASKS)}, got {mask!r}")
