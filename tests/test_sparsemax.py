"""Sparsemax and 1.5-entmax against their sort-based definitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from churnlib.models.sparsemax import entmax15, sparsemax

BOTH = pytest.mark.parametrize("function", [sparsemax, entmax15])


def sorted_sparsemax(x: Tensor) -> Tensor:
    """Algorithm 1 of Martins & Astudillo (2016), one row at a time, in float64."""
    rows = []
    for row in x.double():
        z = row.sort(descending=True).values
        k = max(k for k in range(1, len(z) + 1) if 1 + k * z[k - 1] > z[:k].sum())
        rows.append((row - (z[:k].sum() - 1) / k).clamp(min=0))
    return torch.stack(rows)


def sorted_entmax15(x: Tensor) -> Tensor:
    """Algorithm 2 of Peters et al. (2019): the largest support whose threshold stays below its smallest score."""
    rows = []
    for row in (x / 2).double():
        z = row.sort(descending=True).values
        taus = []
        for k in range(1, len(z) + 1):
            mean = z[:k].mean()
            spread = k * (z[:k] - mean).square().mean()
            taus.append(mean - ((1 - spread) / k).clamp(min=0).sqrt())
        k = max(k for k in range(1, len(z) + 1) if taus[k - 1] <= z[k - 1])
        rows.append((row - taus[k - 1]).clamp(min=0).square())
    return torch.stack(rows)


REFERENCE: dict[Callable[..., Tensor], Callable[[Tensor], Tensor]] = {
    sparsemax: sorted_sparsemax,
    entmax15: sorted_entmax15,
}


def scores(width: int, scale: float) -> Tensor:
    return torch.randn(10, width, generator=torch.Generator().manual_seed(width)) * scale


@BOTH
@pytest.mark.parametrize("width", [1, 2, 7, 54, 500])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_equals_the_sorted_definition(function: Callable[..., Tensor], width: int, scale: float) -> None:
    x = scores(width, scale)
    p = function(x)
    torch.testing.assert_close(p, REFERENCE[function](x).float(), atol=2e-6, rtol=0)
    torch.testing.assert_close(p.sum(-1), torch.ones(len(x)), atol=1e-6, rtol=0)
    assert p.min() >= 0


@BOTH
def test_equals_the_sorted_definition_on_scores_of_many_magnitudes(function: Callable[..., Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    power = torch.rand(20, 1, generator=generator) * 20
    x = -(torch.rand(20, 200, generator=generator) ** power)  # crowded at the top, thin below: slow for Newton
    torch.testing.assert_close(function(x), REFERENCE[function](x).float(), atol=2e-6, rtol=0)


@BOTH
def test_works_along_any_dimension(function: Callable[..., Tensor]) -> None:
    x = scores(12, 1.0)
    torch.testing.assert_close(function(x.T.contiguous(), 0), function(x).T, atol=1e-6, rtol=0)
    torch.testing.assert_close(function(x.view(2, 5, 12).movedim(2, 1), 1), function(x).view(2, 5, 12).movedim(2, 1))


@BOTH
def test_ties_share_and_constant_rows_become_uniform(function: Callable[..., Tensor]) -> None:
    tied = function(torch.tensor([[3.0, 3.0, -9.0], [0.2, 0.1, 0.2]]))
    assert tied[0].tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert tied[1, 0] == tied[1, 2] > tied[1, 1] > 0
    torch.testing.assert_close(function(torch.full((2, 8), -7.3)), torch.full((2, 8), 1 / 8))


@BOTH
def test_one_element_gets_everything(function: Callable[..., Tensor]) -> None:
    assert function(torch.tensor([[-123.4]])).item() == 1.0


@BOTH
def test_large_scores_keep_their_differences(function: Callable[..., Tensor]) -> None:
    x = torch.tensor([[1e4, 1e4 - 0.5, -1e4], [1e4, 0.0, -1e4]])
    torch.testing.assert_close(function(x), function(x - 1e4), atol=1e-6, rtol=0)
    assert function(x)[1].tolist() == [1.0, 0.0, 0.0]


@BOTH
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gradients_equal_finite_differences(function: Callable[..., Tensor], dim: int) -> None:
    x = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert gradcheck(lambda t: function(t, dim), (x,))


def test_sparsemax_gradient_is_centred_over_the_support_and_zero_outside() -> None:
    x = torch.tensor([1.0, 0.6, -1.0], requires_grad=True)
    sparsemax(x).backward(torch.tensor([5.0, 1.0, 100.0]))
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, -2.0, 0.0]  # mean of 5 and 1 is 3; the 100 belongs to a zero


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_scores_give_float32_probabilities_and_half_gradients(
    function: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    x = scores(20, 1.0).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        p = function(x)
    assert p.dtype == torch.float32
    torch.testing.assert_close(p, function(x.detach().float()))
    p.square().sum().backward()
    assert x.grad is not None and x.grad.dtype == dtype


@BOTH
def test_without_gradients_the_values_are_the_same(function: Callable[..., Tensor]) -> None:
    x = scores(9, 1.0).requires_grad_()
    with torch.no_grad():
        bare = function(x)
    assert torch.equal(bare, function(x))
    assert not bare.requires_grad


@BOTH
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_exports_without_a_custom_operator(function: Callable[..., Tensor]) -> None:
    class Wrapped(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x, 0)

    x = scores(6, 1.0)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(Wrapped(), (x,), dynamic_shapes=({1: batch},))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert names and all(name.startswith("aten.") for name in names)
    other = scores(6, 2.0)[:, :3]
    wider = torch.randn(10, 17)
    exported: Any = program.module()
    for rows in (wider, other):
        torch.testing.assert_close(exported(rows), function(rows, 0))
    traced: Any = torch.jit.trace(Wrapped(), (x.clone().requires_grad_(),))
    torch.testing.assert_close(traced(wider), function(wider, 0))
