"""FT-Transformer: each column of the table is a token, and tokens attend to each other (arXiv 2106.11959).

Sizes in the comments:

    B, F, T, D    rows, input features, tokens (raw columns), width of a token
    W             input features of the widest raw column
    H             attention heads
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.dropout import Dropout


class FTTransformer(nn.Module):
    """Feature tokenizer and transformer, as its authors published it in ``rtdl_revisiting_models``.

    Each raw column becomes a token by a linear map of its own with a bias: of a scaled number, that is the authors'
    token of a number; of one-hot columns, their token of a category (an embedding with a bias); a column that comes as
    a number with its indicator, or as an embedding, becomes one token in the same way. A further token, CLS, collects
    what decides. Blocks normalise before attention and before the gated layers, except before the very first
    attention; the last block computes the CLS token alone.

    Its cost grows with the number of columns times ``n_blocks * d_token ** 2``: a few times an MLP's at the sizes in
    ``conf/``, hundreds of times at the authors', which are the defaults here.

    Args:
        in_features: ``F``; columns of the input.
        out_features: Logits per row.
        groups: For each input feature the number of the raw column it belongs to. ``None``: each is a column.
        n_blocks: Attention and gated layers, one after the other, at least 1.
        d_token: ``D``; a multiple of ``n_heads``.
        n_heads: ``H``.
        ffn_multiplier: Width of the gated layers by that of a token; 4/3 has as many weights as 2 without gates.
        attention_dropout: Probability of dropping an attention weight, in [0, 1).
        ffn_dropout: Probability of dropping a unit of the gated layers, in [0, 1).
        residual_dropout: Probability of dropping a number that a layer adds to a token, in [0, 1).
        generator: Source of the initial weights; PyTorch's global one when None. Dropout always draws from that one.

    Shape:
        ``(batch, in_features)`` float32 -> ``(batch, out_features)``, float32 under autocast too.

    Raises:
        ValueError: If an argument is outside its range.

    Example:
        >>> network = FTTransformer(4, groups=[0, 1, 2, 2], d_token=8, n_heads=2).eval()
        >>> network.tokenizer(torch.randn(5, 4)).shape  # CLS and three columns
        torch.Size([5, 4, 8])
        >>> network(torch.randn(5, 4)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int = 1,
        *,
        groups: Sequence[int] | None = None,
        n_blocks: int = 3,
        d_token: int = 192,
        n_heads: int = 8,
        ffn_multiplier: float = 4 / 3,
        attention_dropout: float = 0.2,
        ffn_dropout: float = 0.1,
        residual_dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        d_hidden = int(d_token * ffn_multiplier)
        sizes = {"in_features": in_features, "out_features": out_features, "n_blocks": n_blocks, "n_heads": n_heads}
        _check_sizes(**sizes, d_hidden=d_hidden)
        if d_token < 1 or d_token % n_heads:
            raise ValueError(f"d_token must be a multiple of n_heads = {n_heads}, got {d_token}")
        dropouts = {"attention": attention_dropout, "ffn": ffn_dropout, "residual": residual_dropout}
        for name, probability in dropouts.items():
            if not 0.0 <= probability < 1.0:
                raise ValueError(f"{name}_dropout must be in [0, 1), got {probability}; 0 is for none")
        self.tokenizer = Tokenizer(range(in_features) if groups is None else groups, d_token, in_features=in_features)
        self.blocks = nn.ModuleList(
            Block(d_token, d_hidden, n_heads=n_heads, first=number == 0, dropouts=dropouts)
            for number in range(n_blocks)
        )
        self.norm = nn.LayerNorm(d_token)
        self.head = nn.Linear(d_token, out_features)
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, from the same distributions as the authors."""
        self.tokenizer.reset_parameters(generator)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                module.weight.uniform_(-bound, bound, generator=generator)
                module.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        for block in self.blocks:
            for linear in (block.query, block.key_value, block.mix):
                linear.bias.zero_()  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of rows; see the class for shapes."""
        tokens = self.tokenizer(x)  # B T+1 D
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens, tokens)
        cls = last(tokens[:, :1], tokens)[:, 0]  # B D
        # In half precision, logits of different customers would be equal.
        with torch.autocast(x.device.type, enabled=False):
            return self.head(F.relu(self.norm(cls.to(self.norm.weight.dtype))))


class Tokenizer(nn.Module):
    """One token for each raw column, and CLS before them.

    The token of a column is ``bias + sum(x[i] * weight[i])`` over the input features ``i`` that it consists of. Columns
    have few features each, so all are brought to the width of the widest with zeros and multiplied at once.

    Args:
        groups: For each input feature the number of its raw column; numbers may be left out.
        d_token: Width of a token.
        in_features: Number of input features.

    Shape:
        ``(batch, in_features)`` -> ``(batch, n_columns + 1, d_token)``.
    """

    columns: Tensor
    undecayed = ("weight", "bias")  # as in the authors' parameter groups; see churnlib.models.parameter_groups

    def __init__(self, groups: Sequence[int], d_token: int, *, in_features: int) -> None:
        super().__init__()
        if len(groups) != in_features:
            raise ValueError(f"groups must have one number for each of the {in_features} input features, got {groups}")
        members = [[i for i, group in enumerate(groups) if group == column] for column in sorted(set(groups))]
        width = max(map(len, members))
        # Feature `in_features` is the zero that is appended to each row. Derived from the arguments, so not state.
        padded = [[*column, *[in_features] * (width - len(column))] for column in members]
        self.register_buffer("columns", torch.tensor(padded), persistent=False)  # T W
        self.cls = nn.Parameter(torch.empty(d_token))
        self.weight = nn.Parameter(torch.empty(in_features, d_token))
        self.bias = nn.Parameter(torch.empty(len(members), d_token))

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all vectors uniformly from +-1/sqrt(d_token)."""
        bound = len(self.cls) ** -0.5
        for parameter in (self.cls, self.weight, self.bias):
            parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens of rows."""
        inputs = F.pad(x, (0, 1))[:, self.columns]  # B T W
        weight = F.pad(self.weight, (0, 0, 0, 1))[self.columns]  # T W D
        tokens = torch.einsum("btw,twd->btd", inputs, weight.to(x.dtype)) + self.bias.to(x.dtype)
        return torch.cat([self.cls.to(x.dtype).expand(x.shape[0], 1, -1), tokens], dim=1)


class Block(nn.Module):
    """Attention, then gated linear layers (ReGLU), each added to its input.

    Args:
        d_token: Width of a token.
        d_hidden: Width of the gated layers.
        n_heads: Attention heads.
        first: Whether nothing stands before: then attention reads the tokens as they are, without which, say the
            authors, training fails.
        dropouts: Probabilities by place: attention, ffn, residual.

    Shape:
        Queries ``(batch, n_queries, d_token)``, the first of the tokens ``(batch, n_tokens, d_token)`` -> the shape of
        the queries.
    """

    def __init__(self, d_token: int, d_hidden: int, *, n_heads: int, first: bool, dropouts: dict[str, float]) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_dropout = dropouts["attention"]
        self.attention_norm = None if first else nn.LayerNorm(d_token)
        self.query = nn.Linear(d_token, d_token)
        self.key_value = nn.Linear(d_token, 2 * d_token)
        self.mix = nn.Linear(d_token, d_token)
        self.ffn_norm = nn.LayerNorm(d_token)
        self.gated = nn.Linear(d_token, 2 * d_hidden)
        self.ffn_dropout = Dropout(dropouts["ffn"])
        self.ffn_out = nn.Linear(d_hidden, d_token)
        self.residual_dropout = Dropout(dropouts["residual"])

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Return what becomes of the queries."""
        x = queries + self.residual_dropout(self._attend(queries, tokens))
        value, gate = self.gated(self.ffn_norm(x)).chunk(2, dim=-1)
        return x + self.residual_dropout(self.ffn_out(self.ffn_dropout(value * F.relu(gate))))

    def _attend(self, queries: Tensor, tokens: Tensor) -> Tensor:
        if self.attention_norm is not None:
            tokens = self.attention_norm(tokens)
            queries = tokens[:, : queries.shape[1]]
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        heads = [self._split(part) for part in (self.query(queries), key, value)]  # B H T D/H
        dropout = self.attention_dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(*heads, dropout_p=dropout)
        return self.mix(attended.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")
