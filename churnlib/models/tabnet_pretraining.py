"""Self-supervised pretraining of a TabNet: hide raw columns of a row and let a decoder guess them from the others.

After the paper (Arik & Pfister, arXiv 1908.07442, section 3.5 and figure 4c): the encoder sees the columns that are
left, its first attention is kept off the hidden ones, and a decoder of one feature transformer per step, summed over
the steps, rebuilds the row. No labels are needed. Layout and letters as in `churnlib.models.tabnet`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from churnlib.models.ghost_norm import GhostBatchNorm
from churnlib.models.tabnet import FeatureTransformer, TabNet, glu_weights


class TabNetDecoder(nn.Module):
    """Rebuilds the input from the parts of the decision.

    Args:
        encoder: The network that decides; gives the sizes and the kind of normalisation.
        n_shared: Layers of each step's transformer whose weights all steps share.
        n_independent: Layers with weights of their own.
        generator: Source of the initial weights; PyTorch's global one when None.

    Shape:
        By step (n_d, M * B) -> (in_features, M * B)
    """

    def __init__(
        self,
        encoder: TabNet,
        *,
        n_shared: int = 1,
        n_independent: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        virtual_batch_size, momentum = encoder.virtual_batch_size, encoder.momentum

        def norm(channels: int) -> GhostBatchNorm:
            return GhostBatchNorm(
                channels, virtual_batch_size=virtual_batch_size, momentum=momentum, n_members=encoder.n_members
            )

        self.shared = glu_weights(encoder.n_d, encoder.n_d, range(n_shared))
        self.steps = nn.ModuleList(
            FeatureTransformer(encoder.n_d, encoder.n_d, n_shared=n_shared, n_independent=n_independent, norm=norm)
            for _ in range(encoder.n_steps)
        )
        self.out = nn.Parameter(torch.empty(encoder.in_features, encoder.n_d))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws the weights anew; the first guesses are small."""
        for parameter in self.parameters():
            if parameter.ndim == 2:
                gain = 0.1 if parameter is self.out else 2.0**0.5
                parameter.normal_(0.0, gain * parameter.shape[1] ** -0.25, generator=generator)

    def forward(self, decisions: list[Tensor]) -> Tensor:
        """Returns the rebuilt rows; see the class for shapes."""
        shared = list(self.shared)
        parts = [step(part, shared) for step, part in zip(self.steps, decisions, strict=True)]
        return self.out @ sum(parts[1:], start=parts[0])


def draw_hidden(n_columns: int, n_rows: int, share: float, generator: torch.Generator) -> Tensor:
    """Draws which raw columns of which rows are hidden, (n_columns, n_rows) float32 of 0 and 1.

    >>> draw_hidden(3, 2, 1.0, torch.Generator().manual_seed(0))
    tensor([[1., 1.],
            [1., 1.],
            [1., 1.]])
    """
    return (torch.rand(n_columns, n_rows, generator=generator) < share).float()


def reconstruction_loss(rebuilt: Tensor, x: Tensor, hidden: Tensor) -> Tensor:
    """Returns the mean squared error of the hidden entries, in units of their column's variance over the batch.

    So columns count alike whatever their scale, and 1 is what guessing each column's mean gets (paper, section 3.5,
    but for a constant factor). A column that is constant in the batch has nothing to guess and does not count.

    Args:
        rebuilt: (D, M * B) float32, a member's rows side by side.
        x: (D, B) float32, what was there.
        hidden: (D, B) float32, 1 for the entries that count.

    Example:
        One column 0, 2 (variance 1): a guess of 1 for both is off by one standard deviation.

        >>> reconstruction_loss(torch.ones(1, 2), torch.tensor([[0.0, 2.0]]), torch.ones(1, 2))
        tensor(1.)
    """
    n_members = rebuilt.shape[1] // x.shape[1]
    variance = x.var(dim=1, keepdim=True, correction=0)
    weight = hidden * (variance > 1e-12)
    error = (rebuilt - x.repeat(1, n_members)).square() / variance.clamp(min=1e-12)
    return (error * weight.repeat(1, n_members)).sum() / (weight.sum() * n_members).clamp(min=1.0)


class TabNetPretraining(nn.Module):
    """A TabNet with a decoder behind it: rows and what to hide of them in, the loss out.

    Args:
        encoder: The network to pretrain; its last layer takes no part.
        generator: Source of the decoder's initial weights; PyTorch's global one when None.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> pretraining = TabNetPretraining(TabNet(4, groups=[0, 1, 2, 2]), generator=generator)
        >>> pretraining(torch.randn(5, 4), draw_hidden(3, 5, 0.5, generator)).shape
        torch.Size([])
    """

    def __init__(self, encoder: TabNet, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = TabNetDecoder(encoder, generator=generator)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Returns the loss of rebuilding rows (B, in_features) whose columns ``hidden`` (K, B) were not seen."""
        _, decisions = self.encoder.decide(x, hidden)
        return reconstruction_loss(self.decoder(decisions).float(), x.detach().T, hidden[self.encoder.input_groups])
