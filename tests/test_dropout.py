from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from churnlib.models.dropout import LEVELS, Dropout


@pytest.mark.parametrize("p", [0.1, 0.25, 0.7])
def test_as_many_units_are_dropped_as_asked_and_the_mean_stays(p: float):
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(1_000, 501))
    n = y.numel()
    error = 5 * (p * (1 - p) / n) ** 0.5  # five standard errors of a share
    assert abs((y == 0).double().mean().item() - p) < error + 1 / LEVELS
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-4)
    assert y.double().mean().item() == pytest.approx(1, abs=error / (1 - p))


def test_units_are_dropped_independently_of_their_neighbours():
    # Four decisions come out of one draw: those four must have nothing to do with each other, nor with the next four.
    torch.manual_seed(0)
    dropped = (Dropout(0.3)(torch.ones(100_000, 8)) == 0).double()
    correlation = torch.corrcoef(dropped.T)
    assert (correlation - torch.eye(8)).abs().max() < 5 * 100_000**-0.5


def test_gradients_reach_only_the_units_that_stay():
    torch.manual_seed(0)
    x = torch.randn(7, 13, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, torch.where(y == 0, 0.0, y / x), rtol=1e-5)


def test_the_same_seed_drops_the_same_units_and_another_does_not():
    x = torch.ones(40, 40)
    first, again, other = (torch.manual_seed(seed) and Dropout(0.5)(x) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_nothing_is_dropped_outside_training_or_with_probability_zero():
    x = torch.randn(3, 5)
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("shape", [(0, 4), (1,), (3, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_and_dtype_are_kept(shape: tuple[int, ...], dtype: torch.dtype):
    y = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert (y.shape, y.dtype) == (shape, dtype)


def test_the_training_of_a_linear_model_ends_where_pytorchs_dropout_ends():
    # Dropout of inputs is, in the mean, a ridge penalty: both must find the same one.
    torch.manual_seed(0)
    x, weight = torch.randn(4_000, 3), torch.tensor([1.0, -2.0, 0.5])
    y = x @ weight
    found = []
    for drop in (Dropout(0.5), lambda z: F.dropout(z, 0.5)):
        gram, moment = torch.zeros(3, 3), torch.zeros(3)
        for _ in range(50):
            z = drop(x)
            gram, moment = gram + z.T @ z, moment + z.T @ y
        found.append(torch.linalg.solve(gram, moment))
    assert torch.allclose(found[0], found[1], atol=0.02)
    assert torch.allclose(found[0], weight / 2, atol=0.05)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_an_impossible_probability_is_refused(p: float):
    with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\)"):
        Dropout(p)
