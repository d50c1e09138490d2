"""Numeric embeddings against loops over columns, and their promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from churnlib.models.numeric_embedding import PeriodicEmbedding, PiecewiseLinearEmbedding

EMBEDDINGS = [PeriodicEmbedding, PiecewiseLinearEmbedding]


def made(cls, n_features: int = 3, **options):
    """An embedding whose every weight is random."""
    embedding = cls(n_features, generator=torch.Generator().manual_seed(1), **options)
    with torch.no_grad():
        for parameter in embedding.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    return embedding


def rows(n: int = 7, n_features: int = 3) -> torch.Tensor:
    return 2 * torch.randn(n, n_features, generator=torch.Generator().manual_seed(0))


def test_periodic_curves_are_mixed_cosines_of_each_column() -> None:
    embedding, x = made(PeriodicEmbedding, embedding_dim=4, n_frequencies=5), rows()
    curves = []
    for column in range(3):
        w, b = embedding.frequency[column, 0], embedding.phase[column, 0]
        cosines = torch.cos(2 * math.pi * x[:, [column]] * w + b)
        curves.append(cosines @ embedding.weight[column] + embedding.bias[column])
    torch.testing.assert_close(embedding(x), torch.cat([x, *curves], dim=1))


def test_piecewise_curves_are_broken_lines_through_their_values_at_the_knots() -> None:
    embedding, x = made(PiecewiseLinearEmbedding, embedding_dim=2, n_bins=6, bound=3.0), rows()
    slope, bias, weight = (p.detach().double().numpy() for p in (embedding.slope, embedding.bias, embedding.weight))
    knots = np.linspace(-3, 3, 7)
    for column in range(3):
        at_knots = np.concatenate([[0.0], np.cumsum(weight[column, :, 0])])
        bent = np.interp(x[:, column].double().numpy(), knots, at_knots)
        expected = bent + x[:, column].numpy() * slope[column, 0, 0] + bias[column, 0, 0]
        np.testing.assert_allclose(embedding(x)[:, 3 + column].detach().numpy(), expected, atol=1e-5)


def test_piecewise_curves_start_straight() -> None:
    embedding = PiecewiseLinearEmbedding(2, n_bins=8, generator=torch.Generator().manual_seed(0))
    x = torch.linspace(-3, 3, 31).unsqueeze(1).expand(-1, 2)
    bends = embedding(x).diff(n=2, dim=0)
    assert bends.abs().max().item() < 1e-5


def test_periodic_frequencies_start_at_their_scale() -> None:
    for scale in (0.05, 0.5):
        embedding = PeriodicEmbedding(200, frequency_scale=scale, generator=torch.Generator().manual_seed(0))
        assert embedding.frequency.std().item() == pytest.approx(scale, rel=0.05)
        assert embedding.phase.abs().max().item() <= math.pi


@pytest.mark.parametrize("cls", EMBEDDINGS)
@pytest.mark.parametrize(("n_features", "embedding_dim"), [(1, 2), (3, 4), (5, 8)])
def test_the_values_come_first_and_the_width_is_as_announced(cls, n_features: int, embedding_dim: int) -> None:
    embedding, x = made(cls, n_features, embedding_dim=embedding_dim), rows(4, n_features)
    assert embedding(x).shape == (4, embedding.out_features) == (4, n_features * embedding_dim)
    assert torch.equal(embedding(x)[:, :n_features], x)


@pytest.mark.parametrize("cls", EMBEDDINGS)
def test_a_column_moves_its_own_curves_only(cls) -> None:
    embedding, x = made(cls, embedding_dim=4), rows()
    other = x.clone()
    other[:, 1] += 0.5
    moved = (embedding(x) != embedding(other)).any(dim=0)
    assert moved.nonzero().flatten().tolist() == [1, 6, 7, 8]


@pytest.mark.parametrize("cls", EMBEDDINGS)
def test_one_row_equals_many(cls) -> None:
    embedding, x = made(cls), rows(50)
    torch.testing.assert_close(torch.cat([embedding(row) for row in x.split(1)]), embedding(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("cls", EMBEDDINGS)
def test_an_empty_batch_passes(cls) -> None:
    assert made(cls)(rows(0)).shape == (0, 12)


@pytest.mark.parametrize("cls", EMBEDDINGS)
def test_a_generator_fixes_the_weights(cls) -> None:
    first, second, other = (cls(3, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    x = rows()
    assert torch.equal(first(x), second(x))
    assert not torch.equal(first(x), other(x))


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (PeriodicEmbedding, {"n_features": 0}, "n_features must be at least 1, got 0"),
        (PeriodicEmbedding, {"embedding_dim": 1}, "embedding_dim must be at least 2, got 1"),
        (PeriodicEmbedding, {"n_frequencies": 0}, "n_frequencies must be at least 1, got 0"),
        (PeriodicEmbedding, {"frequency_scale": 0.0}, "frequency_scale must be above 0, got 0.0"),
        (PeriodicEmbedding, {"frequency_scale": float("nan")}, "frequency_scale must be above 0, got nan"),
        (PiecewiseLinearEmbedding, {"embedding_dim": 1}, "embedding_dim must be at least 2, got 1"),
        (PiecewiseLinearEmbedding, {"n_bins": 0}, "n_bins must be at least 1, got 0"),
        (PiecewiseLinearEmbedding, {"bound": -1.0}, "bound must be above 0, got -1.0"),
    ],
)
def test_impossible_arguments_are_refused(cls, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**{"n_features": 2, **arguments})


# --- bins at quantiles, and the package of the embeddings' authors ---------------------------------------------------


def counts_and_amounts(n: int = 400) -> torch.Tensor:
    """A column of few values, a skewed one, and a constant one."""
    generator = torch.Generator().manual_seed(3)
    counts = torch.randint(0, 4, (n,), generator=generator).float()
    amounts = torch.empty(n).exponential_(generator=generator)
    return torch.stack([counts, amounts, torch.full((n,), 2.0)], dim=1)


def test_bins_lie_at_the_quantiles_of_training_rows() -> None:
    x, embedding = counts_and_amounts(), PiecewiseLinearEmbedding(3, n_bins=10)
    embedding.initialize(x)
    quantiles = np.quantile(x[:, 1].double().numpy(), np.linspace(0, 1, 11))
    np.testing.assert_allclose(embedding.knots[1, 0].numpy(), quantiles[:-1], rtol=1e-6)
    np.testing.assert_allclose((embedding.knots + embedding.widths)[1, 0].numpy(), quantiles[1:], rtol=1e-6)


def test_columns_with_fewer_values_than_bins_bend_at_each_value() -> None:
    x, embedding = counts_and_amounts(), made(PiecewiseLinearEmbedding, embedding_dim=2, n_bins=10)
    embedding.initialize(x)
    slope, bias, weight = (p.detach().double().numpy() for p in (embedding.slope, embedding.bias, embedding.weight))
    at_counts = np.concatenate([[0.0], np.cumsum(weight[0, :3, 0])])
    expected = np.interp(x[:, 0], range(4), at_counts) + slope[0, 0, 0] * x[:, 0].numpy() + bias[0, 0, 0]
    curves = embedding(x)[:, 3:].detach().numpy()
    np.testing.assert_allclose(curves[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(curves[:, 2], slope[2, 0, 0] * 2.0 + bias[2, 0, 0], atol=1e-5)


def test_bins_travel_with_the_weights() -> None:
    first, second = made(PiecewiseLinearEmbedding), PiecewiseLinearEmbedding(3)
    first.initialize(counts_and_amounts())
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(rows()), first(rows()), rtol=0, atol=0)


def test_piecewise_curves_are_those_of_the_authors_package() -> None:
    """Where both are the same function: between the lowest and the highest training value."""
    rtdl = pytest.importorskip("rtdl_num_embeddings", reason="rtdl_num_embeddings, of the extra dev, is not installed")
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    bins = rtdl.compute_bins(x, n_bins=8)
    theirs = rtdl.PiecewiseLinearEmbeddings(bins, 5, activation=False, version="B")
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    ours = PiecewiseLinearEmbedding(3, embedding_dim=6, n_bins=8)
    ours.initialize(x)
    state = theirs.state_dict()
    ours.load_state_dict(
        {"weight": state["linear.weight"], "slope": state["linear0.weight"].unsqueeze(1),
         "bias": state["linear0.bias"].unsqueeze(1)},
        strict=False,
    )  # fmt: skip
    for column, edges in enumerate(bins):
        torch.testing.assert_close(ours.knots[column, 0], edges[:-1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours(x)[:, 3:].view(300, 3, 5), theirs(x), atol=1e-5, rtol=1e-5)


def test_periodic_curves_are_those_of_the_authors_package() -> None:
    """Their sines are cosines of another phase; they have no ReLU here, as RealMLP has none."""
    rtdl = pytest.importorskip("rtdl_num_embeddings", reason="rtdl_num_embeddings, of the extra dev, is not installed")
    theirs = rtdl.PeriodicEmbeddings(3, 5, n_frequencies=4, frequency_init_scale=0.3, activation=False, lite=False)
    ours = PeriodicEmbedding(3, embedding_dim=6, n_frequencies=8)
    state = theirs.state_dict()
    frequency = state["periodic.weight"].repeat(1, 2).unsqueeze(1)
    phase = torch.tensor([0.0] * 4 + [-math.pi / 2] * 4).expand(3, 1, 8)
    ours.load_state_dict(
        {"frequency": frequency, "phase": phase, "weight": state["linear.weight"],
         "bias": state["linear.bias"].unsqueeze(1)}
    )  # fmt: skip
    torch.testing.assert_close(ours(rows())[:, 3:].view(7, 3, 5), theirs(rows()), atol=1e-5, rtol=1e-5)
