"""GRU, LSTM and CNN over histories: the order counts, and how far a history was filled up does not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from churnlib.data.customers import prepare_customers
from churnlib.models.network import build_network
from churnlib.models.sequence import CNN, GRU, LSTM, ConvolutionEncoder, RecurrentEncoder, begun, relative

NETWORKS = {"gru": GRU, "lstm": LSTM, "cnn": CNN}
SMALL = {"hidden_sizes": [8], "dropout": 0.0}
N_STEPS = 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def right_aligned(rows: list[torch.Tensor], n_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values beside masks ``(rows, n_steps, channels)`` of unequally long rows (NaN is a missing step), and begun."""
    values = torch.full((len(rows), n_steps, rows[0].shape[1]), float("nan"))
    for place, row in enumerate(rows):
        values[place, n_steps - len(row) :] = row
    given = (~values.isnan()).float()
    return torch.cat([values.nan_to_num(0.0), given], dim=2), begun(given)


ROWS = [torch.randn(length, 2, generator=seeded(length)) for length in (6, 1, 3, 5)]


@pytest.mark.parametrize("network", [nn.GRU, nn.LSTM])
def test_a_recurrent_encoder_answers_as_torch_does_on_rows_that_were_never_filled_up(network):
    torch.manual_seed(0)
    encoder = RecurrentEncoder(network, 4, hidden_size=5, n_layers=2, dropout=0.0).eval()
    answers = encoder(*right_aligned(ROWS, N_STEPS))
    for row, answer in zip(ROWS, answers, strict=True):
        states, _ = encoder.network(torch.cat([row, torch.ones_like(row)], dim=1).unsqueeze(0))
        torch.testing.assert_close(answer, torch.cat([states[0, -1], states[0].mean(0)]), atol=1e-6, rtol=0)


def test_a_convolution_answers_as_its_own_layers_do_on_rows_that_were_never_filled_up():
    torch.manual_seed(0)
    encoder = ConvolutionEncoder(4, n_channels=4, n_layers=3, kernel_size=3, activation="silu", dropout=0.0).eval()
    answers = encoder(*right_aligned(ROWS, N_STEPS))
    for row, answer in zip(ROWS, answers, strict=True):
        x = encoder.first(torch.cat([row, torch.ones_like(row)], dim=1).T)
        for layer in encoder.layers:
            x = x + nn.functional.silu(layer(x))
        expected = torch.cat([x.mean(1), x.amax(1), x[:, -1]])
        torch.testing.assert_close(answer, expected, atol=1e-6, rtol=0)


ENCODERS = {
    "gru": lambda: RecurrentEncoder(nn.GRU, 2, hidden_size=5, n_layers=1, dropout=0.0),
    "lstm": lambda: RecurrentEncoder(nn.LSTM, 2, hidden_size=5, n_layers=1, dropout=0.0),
    "cnn": lambda: ConvolutionEncoder(2, n_channels=4, n_layers=2, kernel_size=3, activation="selu", dropout=0.0),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_a_missing_step_is_not_a_zero_and_a_history_without_steps_is_nothing(name):
    torch.manual_seed(0)
    encoder = ENCODERS[name]().eval()
    gap, zero, nothing = torch.tensor([[1.0], [float("nan")], [2.0]]), torch.tensor([[1.0], [0.0], [2.0]]), ROWS[0][:0]
    answers = encoder(*right_aligned([gap, zero, nothing[:, :1]], 4))
    assert (answers[0] - answers[1]).abs().max() > 1e-3
    assert (answers[2] == 0).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_the_order_of_the_steps_counts(name):
    torch.manual_seed(0)
    encoder = ENCODERS[name]().eval()
    forth, back = torch.tensor([[1.0], [2.0], [3.0], [2.5]]), torch.tensor([[3.0], [2.0], [1.0], [2.5]])
    answers = encoder(*right_aligned([forth, back], 5))
    assert (answers[0] - answers[1]).abs().max() > 1e-3


def test_a_history_begins_with_the_first_step_that_is_there_in_any_channel():
    given = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]])
    assert begun(given).tolist() == [[False, True, True, True]]


def test_the_relative_values_are_numpys_z_scores_of_the_steps_that_are_there():
    values = torch.randn(5, 9, 2, generator=seeded())
    given = (torch.rand(5, 9, 2, generator=seeded(1)) < 0.6).float()
    given[0] = 0.0
    answers = relative(values, given)
    for row in range(5):
        for sequence in range(2):
            there = given[row, :, sequence].bool()
            seen = values[row, there, sequence].double().numpy()
            expected = (seen - seen.mean()) / seen.std() if len(seen) > 1 else np.zeros(len(seen))
            np.testing.assert_allclose(answers[row, there, sequence].numpy(), expected, atol=1e-5)
            assert not answers[row, ~there, sequence].any()


def test_a_history_without_ups_and_downs_is_relative_to_nothing():
    assert relative(torch.full((1, 12, 1), 0.1), torch.ones(1, 12, 1)).abs().max() < 1e-3


# --- in a network ---------------------------------------------------------------------------------------------------


def table(n: int = 120, *, seed: int = 0) -> pl.DataFrame:
    """Two monthly histories and a shorter weekly one, some of them short, empty or with gaps."""
    rng = np.random.default_rng(seed)

    def history(longest: int, i: int) -> list[float | None]:
        length = longest if i == 0 else int(rng.integers(0, longest + 1))
        return [None if rng.random() < 0.1 else round(float(v), 2) for v in rng.gamma(2, 20, length)]

    return pl.DataFrame(
        {
            "tenure": rng.integers(0, 72, n),
            "plan": rng.choice(["monthly", "yearly"], n),
            "usage": [history(N_STEPS, i) for i in range(n)],
            "calls": [history(N_STEPS, i) for i in range(n)],
            "visits": [history(3, i) for i in range(n)],
            "churn": rng.choice(["no", "yes"], n),
        }
    )


def built(name: str, **options):
    customers = prepare_customers(table(), target="churn", **options)
    spec = {"_target_": f"churnlib.models.sequence.{NETWORKS[name].__name__}", **SMALL}
    torch.manual_seed(0)
    return customers, build_network(spec, customers.preparation.input_spec()).eval()


def tensors(customers):
    encoded = customers.encoded["train"]
    return torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.codes)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_body_reads_each_step_where_the_input_layer_puts_it(name):
    customers, network = built(name)
    body, encoded = network.body, customers.encoded["train"]
    x = network.inputs(torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.codes))
    names = customers.preparation.feature_names
    wanted = [("usage", N_STEPS), ("calls", N_STEPS), ("visits", 3)]
    places = [row.tolist() for number in range(2) for row in getattr(body, f"steps_{number}")]
    masks = [row.tolist() for number in range(2) for row in getattr(body, f"masks_{number}")]
    for (column, n), steps, mask in zip(wanted, places, masks, strict=True):
        assert [names[network.inputs.groups[i]] for i in steps] == [f"{column}[-{ago}]" for ago in range(n, 0, -1)]
        assert [network.inputs.groups[i] for i in mask] == steps
        given = ~np.isnan(encoded.numeric[:, steps])
        np.testing.assert_array_equal(x[:, mask].numpy(), given.astype(np.float32))
    # Everything else is read once, by the head: the two static columns.
    assert {names[network.inputs.groups[i]] for i in body.others.tolist()} == {"tenure", "plan"}
    assert len(body.encoders) == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_one_row_equals_many(name):
    customers, network = built(name)
    numeric, codes = tensors(customers)
    with torch.inference_mode():
        together = network(numeric, codes)
        alone = torch.cat([network(numeric[i : i + 1], codes[i : i + 1]) for i in range(len(numeric))])
    assert together.dtype == torch.float32
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_missing_step_is_known_even_if_training_had_none_and_indicators_are_off(name):
    full = table().with_columns(
        pl.Series(c, [[1.0, 2.0, float(i % 7)] for i in range(120)]) for c in ("usage", "calls")
    )
    spec = {"_target_": f"churnlib.models.sequence.{NETWORKS[name].__name__}", **SMALL}
    customers = prepare_customers(full.drop("visits"), target="churn", preprocess={"indicator": False})
    torch.manual_seed(0)
    network = build_network(spec, customers.preparation.input_spec()).eval()
    numeric, codes = (part[:1].clone() for part in tensors(customers))
    gone, like_others = numeric.clone(), numeric.clone()
    gone[:, 1], like_others[:, 1] = float("nan"), network.inputs.fill[1]
    with torch.inference_mode():
        assert (network(gone, codes) - network(like_others, codes)).abs() > 1e-6


# torch 2.13 notes that its own recurrent layers list their weights anew while they are exported.
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_is_exported_with_any_number_of_rows(name):
    customers, network = built(name)
    numeric, codes = tensors(customers)
    rows = torch.export.Dim("rows", min=2, max=10_000)
    exported = torch.export.export(network, (numeric[:5], codes[:5]), dynamic_shapes=({0: rows}, {0: rows}))
    with torch.inference_mode():
        torch.testing.assert_close(exported.module()(numeric, codes), network(numeric, codes), atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore")  # the exporter's own, many and changing
@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_gives_the_same_answers_for_any_number_of_rows(name, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    customers, network = built(name)
    numeric, codes = tensors(customers)
    path, rows = str(tmp_path / "model.onnx"), {"numeric": {0: "rows"}, "codes": {0: "rows"}}
    torch.onnx.export(network, (numeric[:5], codes[:5]), path, input_names=[*rows], dynamic_axes=rows, dynamo=False)
    session = runtime.InferenceSession(path)
    for n in (1, len(numeric)):
        [answers] = session.run(None, {"numeric": numeric[:n].numpy(), "codes": codes[:n].numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(answers, network(numeric[:n], codes[:n]).numpy(), atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns(name):
    customers, network = built(name)
    network.train()(*tensors(customers)).square().sum().backward()
    still = [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not still


# --- as the trunk of members ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mini", "full"])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_member_reads_its_own_scaled_history_and_the_masks_as_they_are(name, kind):
    customers = prepare_customers(table(), target="churn", positive="yes")
    trunk = {"_target_": f"churnlib.models.sequence.{NETWORKS[name].__name__}", **SMALL}
    spec = {"_target_": "churnlib.models.members.Members", "trunk": trunk, "n_members": 3, "members": kind}
    torch.manual_seed(0)
    network = build_network(spec, customers.preparation.input_spec()).eval()
    numeric, codes = tensors(customers)
    x = network.inputs(numeric, codes)
    with torch.inference_mode():
        together = network.body(x)
        assert together.shape == (len(x), 3, 1)
        for member, scale in enumerate(network.body.inputs.weight):
            scaled = x * scale
            for steps, masks in network.inputs.sequences:
                assert len(set(scale[steps].tolist())) == 1  # a history is turned over as a whole
                scaled[:, masks] = x[:, masks]
            # All members of a trunk that shares everything answer this alike, so the one in question is found in place.
            hidden = network.body.trunk(scaled.repeat_interleave(3, dim=0)).relu()
            alone = hidden[member::3] @ network.body.heads.weight[member] + network.body.heads.bias[member]
            torch.testing.assert_close(together[:, member], alone, atol=1e-5, rtol=1e-5)


def test_members_of_a_network_without_histories_get_no_masks():
    customers = prepare_customers(table(), target="churn", positive="yes")
    spec = {"_target_": "churnlib.models.members.Members", "trunk": {"_target_": "churnlib.models.mlp.MLP"}}
    assert build_network(spec, customers.preparation.input_spec()).inputs.sequences == []


def test_the_bins_of_the_other_numbers_lie_at_their_quantiles():
    customers = prepare_customers(table(), target="churn", positive="yes")
    spec = {"_target_": "churnlib.models.sequence.GRU", "numeric_embedding": "piecewise", **SMALL}
    for whole in (spec, {"_target_": "churnlib.models.members.Members", "trunk": spec, "n_members": 1}):
        network = build_network(whole, customers.preparation.input_spec())
        numeric, codes = tensors(customers)
        network.initialize(numeric, codes)
        head = (network.body if whole is spec else network.body.trunk).head
        scale = 1.0 if whole is spec else network.body.inputs.weight[0, 0]
        tenure = (network.inputs(numeric, codes)[:, 0] * scale).sort().values
        knots = head.embedding.knots[0, 0]
        assert knots[0] == tenure[0]
        torch.testing.assert_close((knots < 1e29).sum() + 1, torch.tensor(25))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_pattern_that_no_order_free_summary_shows_is_found(name):
    """Whether the largest of six values comes before the smallest: each order is as likely as any other."""
    torch.manual_seed(0)
    values = torch.rand(1_500, 6)
    label = (values.argmax(1) < values.argmin(1)).float()
    rows = torch.cat([values, torch.ones_like(values)], dim=1)
    options = {"hidden_sizes": (16,), "dropout": 0.0, **({"conv_dropout": 0.0} if name == "cnn" else {})}
    network = NETWORKS[name](12, n_numeric=6, sequences=[(range(6), range(6, 12))], **options)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(300 if name == "cnn" else 500):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(rows[:1_000]).squeeze(1), label[:1_000])
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        right = ((network.eval()(rows[1_000:]).squeeze(1) > 0) == label[1_000:].bool()).float().mean()
    assert right > 0.8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sequences": []}, "sequences is empty"),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"n_channels": 0}, "n_channels must be at least 1"),
        ({"activation": "sigmoid"}, "activation"),
    ],
)
def test_impossible_arguments_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        CNN(4, **{"n_numeric": 2, "sequences": [(range(2), range(2, 4))], **options})
