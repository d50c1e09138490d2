"""How many operations a customer's answer takes: torch's own counter, counts by hand, and where the figure is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from test_onnx_networks import NETWORKS
from torch.utils.flop_counter import FlopCounterMode

from churnlib.models.network import build_network
from churnlib.models.network_model import NetworkModel
from churnlib.models.onnx.running import OnnxModel
from churnlib.models.onnx.work import Work, work_of
from churnlib.models.onnx.writing import to_onnx


def drawn(name: str) -> tuple[torch.nn.Module, bytes, dict]:
    spec, inputs = NETWORKS[name]
    network = build_network(spec, inputs, n_classes=2, offset=[0.0]).eval()
    sizes = {"n_numeric": len(inputs["fill"]), "cardinalities": inputs["cardinalities"], "n_outputs": 1}
    return network, to_onnx(NetworkModel(network, spec, inputs), **sizes), inputs


# torch has no count for its own recurrent and attention kernels; these are counted by hand below.
@pytest.mark.parametrize("name", ["mlp", "mlp_periodic", "mlp_plain", "realmlp", "additive", "tabnet", "cnn"])
def test_products_are_those_that_torch_counts(name):
    network, content, inputs = drawn(name)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(torch.zeros(1, len(inputs["fill"])), torch.zeros(1, len(inputs["cardinalities"]), dtype=torch.int64))
    assert work_of(content).products == counter.get_total_flops() > 0


def test_a_plain_network_by_hand():
    network, content, _ = drawn("mlp_plain")  # hidden layers of 15 and 7
    width = network.body.in_features
    assert work_of(content).products == 2 * (width * 15 + 15 * 7 + 7 * 1)


def test_members_by_hand():
    network, content, _ = drawn("mlp")  # four members, hidden layers of 16 and 16
    width = network.body.blocks[0].linear.in_features
    each = 2 * (width * 16 + 16 * 16 + 16 * 1)
    embedding = 2 * network.body.embedding.weight.numel()  # of each number a column for each bin and curve
    assert work_of(content).products == embedding + 4 * each


def graph(nodes: list, inputs: dict[str, int], constants: dict[str, np.ndarray]) -> bytes:
    """A file with float inputs of so many columns."""
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", n]) for name, n in inputs.items()]
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", None])
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(
        helper.make_graph(nodes, "g", given, [made], kept), opset_imports=opsets
    ).SerializeToString()


@pytest.mark.parametrize(("op", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_a_recurrent_layer_reads_every_weight_once_a_step(op, gates):
    steps, columns, state = 4, 3, 5
    nodes = [
        helper.make_node("Reshape", ["rows", "shape"], ["steps"]),
        helper.make_node(op, ["steps", "w", "r"], ["y"], hidden_size=state),
        helper.make_node("Identity", ["y"], ["logits"]),
    ]
    w, r = (np.zeros((1, gates * state, n), np.float32) for n in (columns, state))
    constants = {"shape": np.array([steps, -1, columns]), "w": w, "r": r}
    found = work_of(graph(nodes, {"rows": steps * columns}, constants))
    assert found.products == 2 * steps * gates * state * (columns + state)


def test_trees_take_a_comparison_a_level_and_a_leaf_each():
    # One tree of two levels on its longer side, and a stump.
    trees = helper.make_node(
        "TreeEnsembleRegressor",
        ["rows"],
        ["sums"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0, 0, 0, 1, 1, 1],
        nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2],
        nodes_featureids=[0] * 8,
        nodes_values=[0.0] * 8,
        nodes_modes=["BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 3, 0, 0, 1, 0, 0],
        nodes_falsenodeids=[2, 0, 4, 0, 0, 2, 0, 0],
        target_treeids=[0, 0, 0, 1, 1],
        target_nodeids=[1, 3, 4, 1, 2],
        target_ids=[0] * 5,
        target_weights=[1.0] * 5,
    )
    last = helper.make_node("Identity", ["sums"], ["logits"])
    assert work_of(graph([trees, last], {"rows": 2}, {})) == Work(0, (2 + 1) + (1 + 1))


def test_sums_count_what_they_read_and_moves_count_nothing():
    nodes = [
        helper.make_node("Transpose", ["rows"], ["turned"], perm=[1, 0]),
        helper.make_node("Transpose", ["turned"], ["back"], perm=[1, 0]),
        helper.make_node("Mul", ["back", "two"], ["doubled"]),
        helper.make_node("ReduceSum", ["doubled", "axes"], ["logits"]),
    ]
    constants = {"two": np.array(2.0, np.float32), "axes": np.array([1])}
    assert work_of(graph(nodes, {"rows": 6}, constants)) == Work(0, 6 + 6)


def test_a_size_that_depends_on_the_values_is_refused_by_name():
    nodes = [helper.make_node("NonZero", ["rows"], ["places"]), helper.make_node("Identity", ["places"], ["logits"])]
    with pytest.raises(ValueError, match="the size of places is not known"):
        work_of(graph(nodes, {"rows": 6}, {}))


def test_the_file_tells_it_to_who_serves_it():
    _, content, _ = drawn("mlp_plain")
    network = NetworkModel.__new__(NetworkModel)
    assert OnnxModel(content, original=lambda: network).flops == work_of(content).total
