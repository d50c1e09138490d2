import pytest
import torch
from made import TINY_TABNET, made_prepared
from torch import nn

from churnlib.models.network import build_network, network_spec


class Linear(nn.Module):
    """A user's own network."""

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


OWN = {"_target_": f"{__name__}.Linear", "bias": False}


def inputs(n: int = 10):
    customers = made_prepared(100)
    encoded = customers.encoded["train"]
    return customers, torch.from_numpy(encoded.numeric[:n]), torch.from_numpy(encoded.codes[:n])


def test_two_classes_have_one_logit_and_more_have_one_each():
    customers, numeric, codes = inputs()
    spec = customers.preparation.input_spec()
    assert build_network(TINY_TABNET, spec)(numeric, codes).shape == (10,)
    assert build_network(TINY_TABNET, spec, n_classes=4)(numeric, codes).shape == (10, 4)


def test_a_users_own_network_gets_the_sizes_it_asks_for():
    customers, numeric, codes = inputs()
    network = build_network(OWN, customers.preparation.input_spec())
    expected = network.inputs(numeric, codes) @ network.body.linear.weight.T
    torch.testing.assert_close(network(numeric, codes), expected[:, 0])


def test_the_offset_is_taken_off_outside_training_only():
    customers, numeric, codes = inputs()
    network = build_network(OWN, customers.preparation.input_spec(), offset=[1.5])
    trained, _ = network.forward_with_penalty(numeric, codes)
    torch.testing.assert_close(network.eval()(numeric, codes), trained - 1.5)


def test_a_penalty_comes_from_networks_that_have_one():
    customers, numeric, codes = inputs()
    spec = customers.preparation.input_spec()
    assert build_network(OWN, spec).forward_with_penalty(numeric, codes)[1] == 0.0
    penalty = build_network(TINY_TABNET, spec).forward_with_penalty(numeric, codes)[1]
    assert float(penalty.detach()) > 0


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("os.system", "not part of churnlib"),
        ("churnlib.models.mlp.Missing", "cannot be imported"),
        ("churnlib.models.nowhere.MLP", "cannot be imported"),
        ("churnlib.models.network.build_network", "is no network"),
    ],
)
def test_a_class_that_is_no_trusted_network_is_not_built(target, says):
    customers, *_ = inputs()
    with pytest.raises(ValueError, match=says):
        build_network({"_target_": target}, customers.preparation.input_spec(), trust=[])


def test_an_own_package_is_built_only_when_trusted():
    customers, *_ = inputs()
    spec = customers.preparation.input_spec()
    with pytest.raises(ValueError, match=r"trust=\[test_network\]"):
        build_network(OWN, spec, trust=[])
    assert isinstance(build_network(OWN, spec, trust=["test_network"]).body, Linear)


def test_a_network_is_named_or_a_mapping():
    assert network_spec("tabnet") == {"_target_": "churnlib.models.tabnet.TabNet"}
    with pytest.raises(ValueError, match="_target_"):
        network_spec({"hidden_sizes": [4]})
