"""Every network as an ONNX graph: torch's answers, and to the last bit the same whoever is asked about together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from churnlib.decision import probability_from_logits
from churnlib.models.network import ChurnNetwork, build_network
from churnlib.models.network_model import NetworkModel
from churnlib.models.onnx.graph import CannotExport
from churnlib.models.onnx.operators import layers
from churnlib.models.onnx.running import OnnxModel
from churnlib.models.onnx.writing import to_onnx

CARDINALITIES = [4, 6, 20]
NONE: list = [None, None, None]
INPUT = {
    "fill": [0.5, 1.0, -2.0],
    "indicator": [True, False, True],
    "low": [None, -5.0, None],
    "high": [None, 5.0, None],
    "center": [0.1, 0.2, 0.3],
    "factor": [1.0, 0.5, 0.0],  # the last column was constant
    "knots": [[], [], []],
    "heights": [[], [], []],
    "clip": True,
    "cardinalities": CARDINALITIES,
    "one_hot": [True, True, False],
    "has_missing": [True, False, True],
}
QUANTILES = {
    **INPUT,
    "knots": [[0.0, 1.0, 2.0], [0.0, 1.0], [0.0, 1.0, 2.0]],
    "heights": [[-1.0, 0, 1], [-1, 1], [-1, 0, 1]],
}
NINE = {"fill": [0.5] * 9, "indicator": [True] * 9, "low": NONE * 3, "high": NONE * 3, "center": [0.1] * 9}
HISTORIES = {**INPUT, **NINE, "factor": [1.0] * 9, "knots": [[]] * 9, "heights": [[]] * 9}
HISTORIES |= {"sequences": [[3, 4, 5], [6, 7, 8]]}


def spec(target: str, **arguments: object) -> dict:
    return {"_target_": f"churnlib.models.{target}", **arguments}


TABNET = spec("tabnet.TabNet", n_steps=2, n_d=4, n_a=4)
GRU = spec("sequence.GRU", hidden_size=8)
NETWORKS = {
    "mlp": (
        spec("mlp.MLP", hidden_sizes=[16, 16], numeric_embedding="piecewise", n_members=4, activation="silu"),
        INPUT,
    ),
    "mlp_periodic": (spec("mlp.MLP", hidden_sizes=[20], n_members=3, members="full", activation="gelu"), INPUT),
    "mlp_plain": (spec("mlp.PlainMLP", hidden_sizes=[15, 7], norm="batch", activation="relu"), INPUT),
    "layer_norm": (spec("mlp.PlainMLP", hidden_sizes=[15, 7], norm="layer", activation="mish"), QUANTILES),
    "elu": (spec("mlp.PlainMLP", hidden_sizes=[15], norm=None, activation="elu"), INPUT),
    "tanh": (spec("mlp.PlainMLP", hidden_sizes=[15], norm=None, activation="tanh"), INPUT),
    "realmlp": (spec("realmlp.RealMLP", hidden_sizes=[15, 7]), INPUT),
    "additive": (spec("additive.Additive", n_pairs=3), INPUT),
    "tabnet_paper": (TABNET, INPUT),
    "tabnet": ({**TABNET, "numeric_embedding": "piecewise", "n_members": 3}, INPUT),
    "entmax": ({**TABNET, "mask": "entmax"}, INPUT),
    "ft_transformer": (spec("ft_transformer.FTTransformer", d_token=16, n_heads=4, n_blocks=2), INPUT),
    "gru": ({**GRU, "n_layers": 2}, HISTORIES),
    "lstm": (spec("sequence.LSTM", hidden_size=8), HISTORIES),
    "cnn": (spec("sequence.CNN", n_channels=8), HISTORIES),
    "tabnet_members": (spec("members.Members", trunk=TABNET, n_members=3), INPUT),
    "gru_members": (spec("members.Members", trunk=GRU, n_members=3), HISTORIES),
    "full_members": (
        spec("members.Members", trunk=spec("mlp.MLP", hidden_sizes=[16]), n_members=3, members="full"),
        INPUT,
    ),
}


def made_network(name: str, n_classes: int = 2) -> NetworkModel:
    """A network whose bins are placed and whose weights are no longer the first ones."""
    body, inputs = NETWORKS[name]
    torch.manual_seed(0)
    network = build_network(body, inputs, n_classes=n_classes)
    codes = torch.randint(0, 4, (200, 3))
    network.initialize(torch.randn(200, network.inputs.n_numeric), codes, torch.randint(0, 2, (200,)))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        if name == "additive":
            network.body.pairs.copy_(torch.tensor([[0, 1], [0, 3], [-1, -1]]))  # type: ignore[union-attr,operator]
    return NetworkModel(network, body, inputs)


def made_rows(model: NetworkModel, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows with missing, unseen and enormous values."""
    rng = np.random.default_rng(0)
    numeric = rng.normal(size=(n, model.network.inputs.n_numeric)).astype(np.float32)
    numeric[rng.random(numeric.shape) < 0.2] = np.nan
    numeric[0], numeric[1], numeric[2] = 3e38, -3e38, np.nan
    codes = np.stack([rng.integers(0, size, n) for size in CARDINALITIES], axis=1)
    return numeric, codes.astype(np.int64)


def as_onnx(model: NetworkModel, n_classes: int = 2) -> tuple[bytes, OnnxModel]:
    content = to_onnx(
        model,
        n_numeric=model.network.inputs.n_numeric,
        cardinalities=CARDINALITIES,
        n_outputs=1 if n_classes == 2 else n_classes,
    )
    return content, OnnxModel(content, original=lambda: model)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_as_in_torch_and_in_any_batch_with_the_same_bits(name):
    import onnx

    model = made_network(name)
    content, graph = as_onnx(model)
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    rows = made_rows(model, 10_000)
    together = graph.logits(*rows)
    own, other = (probability_from_logits(logits) for logits in (model.logits(*rows), together))
    # In float32 a TabNet with random weights is wrong by 1e-5 itself, with torch as well (beside float64).
    assert np.abs(own - other).max() <= (2e-5 if "tabnet" in name or name == "entmax" else 1e-6)
    for size in (1, 7, 64, 1_000):
        starts = range(0, min(50 * size, 10_000), size)
        parts = [graph.logits(*(part[start : start + size] for part in rows)) for start in starts]
        assert np.array_equal(np.concatenate(parts), together[: starts[-1] + size]), size


@pytest.mark.parametrize("name", ["mlp", "mlp_plain", "additive", "tabnet", "gru_members"])
def test_several_classes(name):
    model = made_network(name, n_classes=3)
    _, graph = as_onnx(model, n_classes=3)
    rows = made_rows(model, 500)
    own, other = (probability_from_logits(one.logits(*rows)) for one in (model, graph))
    assert own.shape == other.shape == (500, 3)
    assert np.abs(own - other).max() <= (2e-5 if name == "tabnet" else 1e-6)


@pytest.mark.parametrize("name", ["mlp", "additive"])
def test_many_columns_are_one_node_and_not_some_for_each(name, monkeypatch):
    import onnx

    model = made_network(name)
    rows = made_rows(model, 500)
    one_by_one, few = as_onnx(model)
    monkeypatch.setattr(layers, "MANY", 2)
    content, graph = as_onnx(model)
    together = graph.logits(*rows)
    assert np.abs(probability_from_logits(together) - probability_from_logits(few.logits(*rows))).max() <= 1e-6
    for size in (1, 7):
        parts = [graph.logits(*(part[start : start + size] for part in rows)) for start in range(0, 50 * size, size)]
        assert np.array_equal(np.concatenate(parts), together[: 50 * size])
    ops = [[node.op_type for node in onnx.load_from_string(one).graph.node] for one in (one_by_one, content)]
    assert "Conv" in ops[1] and len(ops[1]) < len(ops[0])
    assert graph.flops == few.flops


def test_the_same_network_has_the_same_bytes():
    model = made_network("mlp")
    assert as_onnx(model)[0] == as_onnx(model)[0] != as_onnx(made_network("mlp_plain"))[0]


class Body(nn.Module):
    """A network of a user's own, which does what it is told."""

    def __init__(self, does) -> None:
        super().__init__()
        self.linear, self.does = nn.Linear(18, 1), does

    def forward(self, x):
        return self.does(self.linear(x), x)


def own_network(does) -> NetworkModel:
    inputs = build_network(spec("mlp.PlainMLP", hidden_sizes=[2], norm=None), INPUT).inputs
    body = Body(does)
    body.linear = nn.Linear(inputs.out_features, 1)
    return NetworkModel(ChurnNetwork(inputs, body, offset=[0.0]), {}, INPUT)


def test_a_network_of_ones_own_that_writes_in_place_and_makes_rows_of_zeros():
    def does(y, x):
        y = y * 2
        y.clamp_(min=-1).mul_(3)
        zeros = torch.zeros(len(x), 1)
        return torch.cat([y, zeros], dim=1).sum(1, keepdim=True)

    model = own_network(does)
    rows = made_rows(model, 100)
    assert as_onnx(model)[1].logits(*rows) == pytest.approx(model.logits(*rows), abs=1e-5)


@pytest.mark.parametrize(
    ("does", "why"),
    [
        (lambda y, x: torch.fft.fft(x).real[:, :1], "PyTorch's fft_fft has no form"),
        (lambda y, x: y + torch.arange(len(x)).unsqueeze(1), "depend on how many rows"),
        (lambda y, x: y * len(x), "got a number that depends on the number of rows"),
        (lambda y, x: y - y[0], "takes a row out"),
        (lambda y, x: x[:, :1].add_(1) + x[:, :1], "writes into a tensor that others share"),
        (lambda y, x: torch.cat([y[:3], y[3:]]), "has 2 places for 5 rows and 4 for 7"),
    ],
)
def test_what_has_no_form_in_onnx_is_refused_with_the_reason(does, why):
    with pytest.raises(CannotExport, match=why):
        as_onnx(own_network(does))
