"""Under bf16 what needs float32 has it: norm statistics, masks, logits and the loss, of every shipped network."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
import torch
from made import made_customers, made_prepared
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from churnlib.data.customers import prepare_customers
from churnlib.models import tabnet
from churnlib.models.losses import LOSSES, loss_spec, training_loss
from churnlib.models.network import NETWORKS, build_network

SEQUENCES = ("gru", "lstm", "cnn")
VARIANTS = {
    **{name: {"_target_": target} for name, target in NETWORKS.items()},
    "mlp with members and batch norm": {"_target_": NETWORKS["mlp"], "n_members": 2, "norm": "batch"},
    "mlp with layer norm": {"_target_": NETWORKS["mlp_plain"], "norm": "layer"},
    "tabnet with entmax and members": {"_target_": NETWORKS["tabnet"], "mask": "entmax", "n_members": 2},
}
STATISTICS = {"native_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update", "native_group_norm",
              "native_layer_norm"}  # fmt: skip
"""Operators that return the normalised rows, and then means and deviations."""
HALF = (torch.bfloat16, torch.float16)


class Operators(TorchDispatchMode):
    """Writes down the dtypes of every operator, after autocast has had its say."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[torch.dtype], list[torch.dtype]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.seen.append((func.overloadpacket.__name__, _dtypes(args), _dtypes(out)))
        return out


def _dtypes(values: Any) -> list[torch.dtype]:
    flat = values if isinstance(values, tuple | list) else (values,)
    return [value.dtype for value in flat if isinstance(value, Tensor) and value.is_floating_point()]


def in_half(dtypes: list[torch.dtype]) -> bool:
    return any(dtype in HALF for dtype in dtypes)


def network_and_rows(name: str) -> tuple[Any, Tensor, Tensor, Tensor]:
    customers = made_prepared(120)
    if name in SEQUENCES:
        frame = made_customers(120)
        usage = pl.Series("usage", [[float(i % 7), 1.0, float(i % 3)] for i in range(120)])
        customers = prepare_customers(frame.with_columns(usage), target="churn", id="customer")
    torch.manual_seed(0)
    network = build_network(VARIANTS[name], customers.preparation.input_spec()).train()
    encoded = customers.encoded["train"]
    numeric, codes = torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.codes)
    network.initialize(numeric, codes, torch.from_numpy(customers.labels("train")))
    return network, numeric, codes, torch.from_numpy(customers.labels("train"))


@pytest.mark.parametrize("name", VARIANTS)
def test_norm_statistics_logits_and_loss_are_float32(name: str):
    network, numeric, codes, label = network_and_rows(name)
    operators = Operators()
    with torch.autocast("cpu", dtype=torch.bfloat16), operators:
        logits, penalty = network.forward_with_penalty(numeric, codes)
    # The check sees bf16 where it is: but for a sum of curves, each network has matrix products in it.
    assert any(in_half(out) for _, _, out in operators.seen) is (name != "additive")
    statistics = [out[1:] for op, _, out in operators.seen if op in STATISTICS]
    assert not any(in_half(out) for out in statistics)
    normed = any("norm" in kind.lower() for kind in (type(module).__name__ for module in network.modules()))
    assert bool(statistics) is normed
    assert logits.dtype == torch.float32
    assert not isinstance(penalty, Tensor) or penalty.dtype == torch.float32
    assert not in_half([tensor.dtype for tensor in (*network.parameters(), *network.buffers())])
    members = len(logits) // len(label)
    for loss_name in LOSSES:
        if loss_name == "cost_sensitive":
            continue  # bce with a weight per row
        loss = training_loss(loss_spec(loss_name), [80, 40])
        with torch.autocast("cpu", dtype=torch.bfloat16), Operators() as operators:
            rows = loss(logits.detach(), label.repeat_interleave(members))
        assert rows.dtype == torch.float32 and operators.seen
        assert not any(in_half(a) or in_half(b) for _, a, b in operators.seen), loss_name


@pytest.mark.parametrize("mask", ["sparsemax", "entmax"])
def test_masks_are_computed_in_float32_throughout(mask: str, monkeypatch: pytest.MonkeyPatch):
    """Not only what they return: a threshold that was found in bf16 would not make a row sum to 1."""
    inside: list[Operators] = []
    original = tabnet.MASKS[mask]

    def watched(*args: Any, **options: Any) -> Tensor:
        with Operators() as operators:
            out = original(*args, **options)
        inside.append(operators)
        return out

    monkeypatch.setattr(tabnet, "MASKS", {mask: watched})
    monkeypatch.setitem(VARIANTS, "tabnet", {"_target_": NETWORKS["tabnet"], "mask": mask})
    network, numeric, codes, _ = network_and_rows("tabnet")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network.forward_with_penalty(numeric, codes)
    assert len(inside) == network.body.n_steps
    for operators in inside:
        results = [out for op, _, out in operators.seen if op not in ("_to_copy", "detach", "view", "alias")]
        assert results and not any(in_half(out) for out in results)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_reach_the_weights_in_float32(name: str):
    network, numeric, codes, label = network_and_rows(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, penalty = network.forward_with_penalty(numeric, codes)
        members = len(logits) // len(label)
        loss = training_loss(loss_spec("bce"), [80, 40])(logits, label.repeat_interleave(members)).mean() + penalty
    loss.backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients and not in_half([gradient.dtype for gradient in gradients])
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
