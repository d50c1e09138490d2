"""Ghost batch normalisation against a loop of ordinary batch normalisations over the groups."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from churnlib.models.ghost_norm import GhostBatchNorm, momentum_from_tensorflow, split_rows

CHANNELS = 5


def filled(norm: GhostBatchNorm) -> GhostBatchNorm:
    """Gives scales, shifts and running statistics values that an error would show in."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        norm.weight.normal_(1, 0.5, generator=generator)
        norm.bias.normal_(0, 0.5, generator=generator)
        norm.running_mean.normal_(0, 1, generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
    return norm


def loop_norm(norm: GhostBatchNorm) -> nn.BatchNorm1d:
    """PyTorch's row-major batch normalisation with the same state."""
    plain = nn.BatchNorm1d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    plain.load_state_dict({**norm.state_dict(), "num_batches_tracked": torch.tensor(0)})
    return plain


def by_loop(plain: nn.BatchNorm1d, rows: Tensor, virtual_batch_size: int) -> Tensor:
    """The obvious code: cut the rows, normalise one chunk after the other, join."""
    chunks = rows.tensor_split(max(1, len(rows) // virtual_batch_size))
    return torch.cat([plain(chunk) for chunk in chunks])


def sample(rows: int, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(rows, CHANNELS, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)
    return (x * torch.tensor([1, 2, 5, 0.1, 1]) + torch.tensor([0, 1, -2, 0, 0.5])).to(dtype)


@pytest.mark.parametrize("rows", range(2, 25))
def test_equals_a_loop_over_the_groups_for_every_batch_size(rows: int) -> None:
    check_against_loop(rows, torch.float64, tolerance=1e-10)


@pytest.mark.parametrize("rows", [8, 16, 21, 24])
def test_equals_the_loop_in_float32(rows: int) -> None:
    check_against_loop(rows, torch.float32, tolerance=1e-6)


def check_against_loop(rows: int, dtype: torch.dtype, *, tolerance: float) -> None:
    """Compares outputs, running statistics and all gradients, to `tolerance` of their size."""
    norm = filled(GhostBatchNorm(CHANNELS, virtual_batch_size=8, momentum=0.3)).to(dtype)
    plain = loop_norm(norm).to(dtype)
    ours, theirs = sample(rows, dtype).requires_grad_(), sample(rows, dtype).requires_grad_()
    upstream = torch.randn(rows, CHANNELS, generator=torch.Generator().manual_seed(0)).to(dtype)

    y = norm(ours.T.contiguous()).T
    expected = by_loop(plain, theirs, 8)
    (y * upstream).sum().backward()
    (expected * upstream).sum().backward()

    pairs = {
        "output": (y, expected),
        "running mean": (norm.running_mean, plain.running_mean),
        "running variance": (norm.running_var, plain.running_var),
        "gradient of weight": (norm.weight.grad, plain.weight.grad),
        "gradient of bias": (norm.bias.grad, plain.bias.grad),
        "gradient of input": (ours.grad, theirs.grad),
    }
    for name, (actual, wanted) in pairs.items():
        assert actual is not None and wanted is not None
        error = (actual - wanted).abs().max() / wanted.abs().max().clamp(min=1)
        assert error < tolerance, name


def test_equals_the_loop_over_many_batches_of_changing_size() -> None:
    norm = filled(GhostBatchNorm(CHANNELS, virtual_batch_size=4, momentum=0.1))
    plain = loop_norm(norm)
    for rows in (16, 16, 9, 4, 30, 16, 3):
        torch.testing.assert_close(norm(sample(rows).T).T, by_loop(plain, sample(rows), 4), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(norm.running_mean, plain.running_mean, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(norm.running_var, plain.running_var, atol=1e-6, rtol=1e-6)


def test_groups_are_those_of_tensor_split_and_never_smaller_than_asked() -> None:
    for size in (2, 3, 8):
        for rows in range(1, 6 * size):
            groups = [width for count, width in split_rows(rows, size) for _ in range(count)]
            chunks = torch.arange(rows).tensor_split(max(1, rows // size))
            assert groups == [len(chunk) for chunk in chunks]
            assert len(groups) == 1 or (min(groups) >= size and max(groups) < 2 * size)


def test_a_batch_of_one_uses_the_running_statistics_and_leaves_them() -> None:
    norm = filled(GhostBatchNorm(CHANNELS, virtual_batch_size=8))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    row = sample(1)
    expected = (row - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(row.T).T, expected, atol=1e-6, rtol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_evaluation_treats_each_row_alone() -> None:
    norm = filled(GhostBatchNorm(CHANNELS, virtual_batch_size=4)).eval()
    x = sample(11)
    together = norm(x.T).T
    alone = torch.cat([norm(row[:, None]).T for row in x])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


def test_none_means_ordinary_batch_norm() -> None:
    norm = filled(GhostBatchNorm(CHANNELS, virtual_batch_size=None))
    plain = loop_norm(norm)
    torch.testing.assert_close(norm(sample(300).T).T, plain(sample(300)), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(norm.running_var, plain.running_var)


@pytest.mark.parametrize("rows", [1, 6, 8, 24, 27])
def test_statistics_stay_float32_under_autocast(rows: int) -> None:
    norm = filled(GhostBatchNorm(CHANNELS, virtual_batch_size=8))
    exact = filled(GhostBatchNorm(CHANNELS, virtual_batch_size=8))
    half = sample(rows, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = norm(half.T.contiguous())
    expected = exact(half.float().T.contiguous())
    assert y.dtype == norm.running_mean.dtype == norm.running_var.dtype == torch.float32
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(norm.running_mean, exact.running_mean, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(norm.running_var, exact.running_var, atol=1e-5, rtol=1e-6)


def test_a_double_network_computes_in_double() -> None:
    norm = GhostBatchNorm(CHANNELS, virtual_batch_size=4).double()
    x = sample(8, torch.float64)
    assert norm(x.T).dtype == torch.float64
    expected = x[:4].var(dim=0) * 0.02 * 0.98 + x[4:].var(dim=0) * 0.02 + 0.98**2
    torch.testing.assert_close(norm.running_var, expected)


def test_momentum_of_tensorflow_is_the_share_kept() -> None:
    assert momentum_from_tensorflow(0.7) == 0.3
    assert momentum_from_tensorflow(0.98) == 0.02


@pytest.mark.parametrize("arguments", [{"virtual_batch_size": 1}, {"momentum": 0.0}, {"momentum": 1.5}])
def test_impossible_arguments_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        GhostBatchNorm(3, **arguments)  # type: ignore[arg-type]
