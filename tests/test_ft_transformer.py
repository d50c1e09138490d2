"""FT-Transformer against the authors' own package, and the promises of its interface."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made import made_prepared
from torch import Tensor, nn
from torch.nn import functional as F

from churnlib.models.ft_transformer import FTTransformer
from churnlib.models.module import parameter_groups
from churnlib.models.network import build_network

N_NUMERIC, CARDINALITIES = 3, [2, 4]
GROUPS = [0, 1, 2, 3, 3, 4, 4, 4, 4]
"""Three numbers, then two categories as one-hot columns."""
SMALL = {"d_token": 16, "n_heads": 4, "ffn_multiplier": 1.5}


def made(groups: list[int] | None = GROUPS, *, in_features: int = 9, seed: int = 0, **options: Any) -> FTTransformer:
    generator = torch.Generator().manual_seed(seed)
    return FTTransformer(in_features, groups=groups, generator=generator, **{**SMALL, **options}).eval()


def made_rows(n: int = 7, *, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers, codes, and the input features that say the same."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(n, N_NUMERIC, generator=generator)
    codes = torch.stack([torch.randint(k, (n,), generator=generator) for k in CARDINALITIES], dim=1)
    one_hot = [F.one_hot(codes[:, i], k).float() for i, k in enumerate(CARDINALITIES)]
    return numbers, codes, torch.cat([numbers, *one_hot], dim=1)


# --- parity ---------------------------------------------------------------------------------------------------------


def theirs(n_blocks: int) -> Any:
    package = pytest.importorskip("rtdl_revisiting_models", reason="the authors' package is not installed")
    return package.FTTransformer(
        n_cont_features=N_NUMERIC, cat_cardinalities=CARDINALITIES, d_out=2, n_blocks=n_blocks, d_block=16,
        attention_n_heads=4, attention_dropout=0.2, ffn_d_hidden=None, ffn_d_hidden_multiplier=1.5, ffn_dropout=0.1,
        residual_dropout=0.05,
    )  # fmt: skip


def copy_weights(source: Any, target: FTTransformer) -> None:
    """Copy each weight of the authors' network to where it belongs here; none may be left over."""
    state = dict(source.state_dict())
    prefix, tokens = "backbone.blocks", {}
    tokens["cls"] = state.pop("cls_embedding.weight")
    values = [state.pop(f"cat_embeddings.embeddings.{i}.weight") for i in range(len(CARDINALITIES))]
    tokens["weight"] = torch.cat([state.pop("cont_embeddings.weight"), *values])
    tokens["bias"] = torch.cat([state.pop("cont_embeddings.bias"), state.pop("cat_embeddings.bias")])
    copied = {f"tokenizer.{name}": value for name, value in tokens.items()}
    names = {
        "query": "attention.W_q", "mix": "attention.W_out", "attention_norm": "attention_normalization",
        "ffn_norm": "ffn_normalization", "gated": "ffn.linear1", "ffn_out": "ffn.linear2",
    }  # fmt: skip
    for i in range(len(target.blocks)):
        for kind in ("weight", "bias"):
            parts = [state.pop(f"{prefix}.{i}.attention.W_{name}.{kind}") for name in ("k", "v")]
            copied[f"blocks.{i}.key_value.{kind}"] = torch.cat(parts)
            for ours, name in names.items():
                if i > 0 or ours != "attention_norm":
                    copied[f"blocks.{i}.{ours}.{kind}"] = state.pop(f"{prefix}.{i}.{name}.{kind}")
    for kind in ("weight", "bias"):
        copied[f"norm.{kind}"] = state.pop(f"backbone.output.normalization.{kind}")
        copied[f"head.{kind}"] = state.pop(f"backbone.output.linear.{kind}")
    assert not state
    target.load_state_dict(copied)


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
def test_logits_are_those_of_the_authors_package(n_blocks: int):
    reference = theirs(n_blocks).eval()
    network = made(out_features=2, n_blocks=n_blocks)
    copy_weights(reference, network)
    numbers, codes, rows = made_rows()
    torch.testing.assert_close(network(rows), reference(numbers, codes), rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_the_authors_package():
    reference = theirs(2).eval()
    network = made(out_features=2, n_blocks=2)
    copy_weights(reference, network)
    numbers, codes, rows = made_rows()
    reference(numbers, codes).square().sum().backward()
    network(rows).square().sum().backward()
    expected = torch.cat(
        [reference.cont_embeddings.weight.grad, *(e.weight.grad for e in reference.cat_embeddings.embeddings)]
    )
    torch.testing.assert_close(network.tokenizer.weight.grad, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.tokenizer.cls.grad, reference.cls_embedding.weight.grad, rtol=1e-4, atol=1e-5)


def test_initial_weights_are_drawn_like_those_of_the_authors_package():
    torch.manual_seed(0)
    reference, network = theirs(2), made(out_features=2, n_blocks=2)
    drawn = {name: float(parameter.detach().abs().max()) for name, parameter in network.named_parameters()}
    copy_weights(reference, network)
    for name, parameter in network.named_parameters():
        # The largest of many uniform numbers is near their bound; biases of attention are 0 in both.
        tolerance = 0.3 if parameter.numel() > 15 else 0.8
        assert drawn[name] == pytest.approx(float(parameter.detach().abs().max()), rel=tolerance), name


def test_weight_decay_reaches_the_same_parameters_as_in_the_authors_package():
    reference, network = theirs(2), made(out_features=2, n_blocks=2)
    copy_weights(reference, network)
    ours = sorted(parameter_groups(network), key=lambda group: "weight_decay" in group)  # those that decay first
    counts = [
        [sum(parameter.numel() for parameter in group["params"]) for group in groups]
        for groups in (ours, reference.make_parameter_groups())
    ]
    # Theirs reaches the gain of the last normalisation too, which has a name that their rule does not know.
    gain = network.norm.weight.numel()
    assert counts[0] == [counts[1][0] - gain, counts[1][1] + gain]
    decayed = {id(parameter) for parameter in ours[0]["params"]}
    assert not {id(parameter) for parameter in network.tokenizer.parameters()} & decayed


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_each_raw_column_is_one_token_whatever_it_consists_of():
    customers = made_prepared()
    network = build_network(
        {"_target_": "churnlib.models.ft_transformer.FTTransformer", **SMALL}, customers.preparation.input_spec()
    ).eval()
    encoded = customers.encoded["test"]
    numeric, codes = torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.codes)
    tokenizer: Any = network.body.get_submodule("tokenizer")
    tokens = tokenizer(network.inputs(numeric, codes))
    names = customers.preparation.feature_names
    assert tokens.shape == (len(encoded), 1 + len(names), 16)
    # The charges' token changes with the charges alone, missing or not; no other token does.
    other = numeric.clone()
    other[:, names.index("charges")] = torch.where(other[:, names.index("charges")].isnan(), 50.0, torch.nan)
    changed = (tokenizer(network.inputs(other, codes)) != tokens).any(-1).all(0)
    assert [name for name, moved in zip(("cls", *names), changed.tolist(), strict=True) if moved] == ["charges"]
    assert (tokenizer(network.inputs(other, codes)) != tokens).any(-1).any(0).sum() == 1


def test_a_token_is_the_bias_and_the_weighted_input_features_of_its_column():
    tokenizer = made([0, 2, 2, 1], in_features=4).tokenizer
    x = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    tokens, (w, b) = tokenizer(x)[0], (tokenizer.weight, tokenizer.bias)
    expected = torch.stack([tokenizer.cls, b[0] + 2 * w[0], b[1] - w[3], b[2] + w[1]])
    torch.testing.assert_close(tokens, expected)


def test_numbers_of_raw_columns_without_features_may_be_left_out():
    network = made([0, 3, 3], in_features=3)
    assert network.tokenizer(torch.randn(2, 3)).shape == (2, 3, 16)


# --- the transformer ------------------------------------------------------------------------------------------------


def test_the_last_block_computes_no_more_than_the_answer_needs():
    network = made(n_blocks=2)
    rows = made_rows()[2]
    tokens = network.tokenizer(rows)
    for block in network.blocks:
        tokens = block(tokens, tokens)
    torch.testing.assert_close(network(rows), network.head(F.relu(network.norm(tokens[:, 0]))))
    shapes: list[torch.Size] = []
    last: Any = network.blocks[-1]
    last.gated.register_forward_hook(lambda module, inputs, output: shapes.append(inputs[0].shape))
    network(rows)
    assert shapes == [(7, 1, 16)]


def test_a_rows_logits_do_not_depend_on_its_neighbours():
    network, rows = made(), made_rows(32)[2]
    together = network(rows)
    alone = torch.cat([network(row) for row in rows.split(1)])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


def test_the_same_generator_gives_the_same_network():
    first, second = made(seed=3).state_dict(), made(seed=3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], made(seed=4).state_dict()["head.weight"])


def test_dropout_acts_in_training_alone():
    network, rows = made(residual_dropout=0.1), made_rows()[2]
    assert torch.equal(network(rows), network(rows))
    network.train()
    assert not torch.equal(network(rows), network(rows))


def test_it_learns_what_only_two_columns_together_say():
    torch.manual_seed(0)
    x = torch.randn(256, 3)
    label = (x[:, 0] * x[:, 1] > 0).float()
    network = made(None, in_features=3, n_blocks=1, attention_dropout=0.0, ffn_dropout=0.0).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(network(x).squeeze(1), label).backward()
        optimizer.step()
    correct = (network.eval()(x).squeeze(1) > 0) == label.bool()
    assert correct.float().mean() > 0.9


def test_logits_are_float32_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = made()(made_rows()[2])
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, made()(made_rows()[2]), rtol=0.05, atol=0.05)


def test_it_exports_with_any_number_of_rows():
    network, rows = made(), made_rows(5)[2]
    exported = torch.export.export(network, (rows,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    for n in (1, 4, 40):
        more = made_rows(n)[2]
        torch.testing.assert_close(exported(more), network(more))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_token": 10}, "d_token must be a multiple of n_heads = 4, got 10"),
        ({"n_blocks": 0}, "n_blocks must be at least 1, got 0"),
        ({"n_heads": 0}, "n_heads must be at least 1, got 0"),
        ({"ffn_multiplier": 0.01}, "d_hidden must be at least 1, got 0"),
        ({"ffn_dropout": 1.0}, r"ffn_dropout must be in \[0, 1\), got 1.0"),
        ({"in_features": 8}, "groups must have one number for each of the 8 input features"),
    ],
)
def test_impossible_arguments_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        made(**options)


def test_it_is_a_plain_network():
    assert isinstance(made(), nn.Module)
    assert made().state_dict().keys().isdisjoint({"tokenizer.columns"})
