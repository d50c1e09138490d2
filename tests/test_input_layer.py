from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.export import Dim

from churnlib.models.input_layer import InputLayer
from churnlib.models.weights import class_weights

FLOAT32_MAX = float(np.finfo(np.float32).max)

SPEC = {
    "fill": [1.0, -2.0, 0.0],
    "indicator": [False, True, True],
    "low": [None, -10.0, None],
    "high": [None, 10.0, 5.0],
    "center": [1.0, 0.0, 0.5],
    "factor": [2.0, 0.1, 0.0],
    "knots": [[], [], []],
    "heights": [[], [], []],
    "clip": False,
    "cardinalities": [4, 5, 40],
    "one_hot": [True, True, False],
    "has_missing": [False, True, True],
    "embedding_dim": 3,
}
QUANTILES = {
    "center": [0.0] * 3,
    "factor": [1.0] * 3,
    "knots": [[0.0, 1.0, 3.0], [-FLOAT32_MAX, FLOAT32_MAX], [7.0, 14.0]],
    "heights": [[-3.0, 0.0, 3.0], [-1.0, 1.0], [0.0, 0.0]],
}
NAN = float("nan")


def made_layer(**changes) -> InputLayer:
    torch.manual_seed(0)
    return InputLayer(**{**SPEC, **changes}).eval()


def made_inputs(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    numeric = torch.randn(n, 3, generator=generator) * 4
    numeric[torch.rand(n, 3, generator=generator) < 0.3] = NAN
    codes = torch.stack([torch.randint(0, k, (n,), generator=generator) for k in SPEC["cardinalities"]], dim=1)
    return numeric, codes


def plainly(numeric: np.ndarray, codes: np.ndarray, layer: InputLayer) -> np.ndarray:
    """The same, cell by cell."""
    rows = []
    for numbers, row_codes in zip(numeric.tolist(), codes.tolist(), strict=True):
        row = []
        for i, x in enumerate(numbers):
            x = SPEC["fill"][i] if np.isnan(x) else x
            x = max(x, -FLOAT32_MAX if SPEC["low"][i] is None else SPEC["low"][i])
            x = min(x, FLOAT32_MAX if SPEC["high"][i] is None else SPEC["high"][i])
            row.append((x - SPEC["center"][i]) * SPEC["factor"][i])
        row += [float(np.isnan(x)) for x, wanted in zip(numbers, SPEC["indicator"], strict=True) if wanted]
        row += [float(row_codes[0] == code) for code in (2, 3)]
        row += [float(row_codes[1] == code) for code in (0, 2, 3, 4)]
        row += layer.state_dict()["embeddings.0.weight"][row_codes[2]].tolist()
        rows.append(row)
    return np.array(rows, dtype=np.float32)


def test_the_output_is_numbers_indicators_one_hot_columns_and_embeddings():
    layer = made_layer()
    numeric, codes = made_inputs(50)
    outputs = layer(numeric, codes)
    np.testing.assert_allclose(
        outputs.detach().numpy(), plainly(numeric.numpy(), codes.numpy(), layer), rtol=1e-6, atol=1e-6
    )
    assert layer.groups == [0, 1, 2, 1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5]
    assert layer.out_features == len(layer.groups) == outputs.shape[1]
    assert outputs.dtype == torch.float32


def test_smooth_clipping_ends_at_three():
    numbers = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1e6, 1, 1], [-FLOAT32_MAX, 1, 1]])
    codes = torch.zeros(4, 3, dtype=torch.int64)
    z = made_layer(clip=True, center=[0.0] * 3, factor=[1.0] * 3)(numbers, codes)[:, 0]
    torch.testing.assert_close(z, torch.tensor([0.0, 0.9**0.5, 3.0, -3.0]))


def test_quantile_scaling_is_straight_between_the_knots_and_flat_outside():
    layer = made_layer(**QUANTILES)
    values = [-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, 99.0, float("inf")]
    numeric = torch.tensor([[x, 0.0, x] for x in values])
    outputs = layer(numeric, torch.zeros(len(values), 3, dtype=torch.int64)).detach().numpy()
    np.testing.assert_allclose(
        outputs[:, 0], np.interp(values, QUANTILES["knots"][0], QUANTILES["heights"][0]), atol=1e-6
    )
    np.testing.assert_array_equal(outputs[:, 2], 0)


any_float32 = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 8), st.just(3)),
    elements=st.one_of(
        st.floats(width=32, allow_nan=True, allow_infinity=True),
        st.sampled_from([FLOAT32_MAX, -FLOAT32_MAX, NAN, float("inf"), -float("inf"), 1e-45, -0.0]),
    ),
)


@given(any_float32, any_float32.map(np.abs), st.booleans(), st.sampled_from(["factor", "quantile", "none"]))
@settings(max_examples=150, deadline=None)
def test_nothing_that_is_not_finite_ever_leaves(numeric, learned, clip, scale):
    learned = np.nan_to_num(learned[0], nan=0.0, posinf=FLOAT32_MAX).tolist()
    changes = {
        "factor": {"center": [-x for x in learned], "factor": learned},
        "quantile": QUANTILES,
        "none": {"center": [0.0] * 3, "factor": [1.0] * 3},
    }[scale]
    layer = made_layer(clip=clip, low=[None] * 3, high=[None] * 3, fill=learned, **changes)
    outputs = layer(torch.from_numpy(numeric), torch.zeros(len(numeric), 3, dtype=torch.int64))
    assert outputs.isfinite().all()
    if clip:
        assert outputs[:, :3].abs().max() <= 3 + 1e-5


@given(any_float32)
@settings(max_examples=40, deadline=None)
def test_a_row_alone_is_that_row_among_others(numeric):
    layer = made_layer()
    numbers, codes = torch.from_numpy(numeric), torch.ones(len(numeric), 3, dtype=torch.int64)
    together = layer(numbers, codes)
    for row in range(len(numeric)):
        torch.testing.assert_close(
            layer(numbers[row : row + 1], codes[row : row + 1]), together[row : row + 1], rtol=0, atol=0
        )


def test_an_unseen_category_has_no_one_hot_column_and_a_zero_embedding():
    layer = made_layer()
    outputs = layer(torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.int64))
    assert outputs[0, 5:].tolist() == [0.0] * 9


def test_embeddings_of_missing_and_unseen_learn_like_the_others():
    layer = made_layer().train()
    layer(torch.zeros(3, 3), torch.tensor([[0, 0, 0], [0, 0, 1], [0, 0, 2]])).sum().backward()
    gradient = next(layer.embeddings.parameters()).grad
    assert gradient is not None
    assert (gradient[:3] == 1).all() and (gradient[3:] == 0).all()


def test_the_width_of_an_embedding_grows_with_the_number_of_values():
    changes = {
        "cardinalities": [2, 3, 12, 102, 5002],
        "one_hot": [False] * 5,
        "has_missing": [True] * 5,
        "embedding_dim": None,
    }
    assert [table.embedding_dim for table in made_layer(**changes).embeddings] == [1, 2, 6, 16, 16]


def test_a_layer_without_numbers_or_without_categories_works():
    nothing = {key: [] for key in ("fill", "indicator", "low", "high", "center", "factor", "knots", "heights")}
    layer = made_layer(**nothing)
    assert layer(torch.zeros(2, 0), torch.zeros(2, 3, dtype=torch.int64)).shape == (2, layer.out_features) == (2, 9)
    layer = made_layer(cardinalities=[], one_hot=[], has_missing=[])
    assert layer(torch.zeros(2, 3), torch.zeros(2, 0, dtype=torch.int64)).shape == (2, layer.out_features) == (2, 5)
    assert layer.groups == [0, 1, 2, 1, 2]


@pytest.mark.parametrize("changes", [{}, {"clip": True}, QUANTILES])
def test_the_statistics_travel_in_the_state(changes):
    layer = made_layer(**changes)
    others = {"fill": [9.0] * 3, "center": [9.0] * 3, "factor": [9.0] * 3, "low": [None] * 3}
    if changes is QUANTILES:
        others = {"fill": [9.0] * 3, "heights": [[0.0, 0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], "knots": QUANTILES["knots"]}
    fresh = made_layer(**{**changes, **others})
    numeric, codes = made_inputs()
    assert not torch.equal(fresh(numeric, codes), layer(numeric, codes))
    fresh.load_state_dict(layer.state_dict())
    torch.testing.assert_close(fresh(numeric, codes), layer(numeric, codes), rtol=0, atol=0)


@pytest.mark.parametrize("changes", [{}, {"clip": True}, QUANTILES])
def test_the_layer_is_exported_with_any_number_of_rows(changes):
    layer = made_layer(**changes)
    batch = Dim("batch", min=1, max=4096)
    program = torch.export.export(layer, made_inputs(5), dynamic_shapes=({0: batch}, {0: batch}))
    exported = program.module()
    for n in (1, 2, 37):
        numeric, codes = made_inputs(n)
        torch.testing.assert_close(exported(numeric, codes), layer(numeric, codes))


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_the_layer_can_be_traced():
    layer = made_layer()
    traced = torch.jit.trace(layer, made_inputs(5))
    assert callable(traced)
    numeric, codes = made_inputs(9)
    torch.testing.assert_close(traced(numeric, codes), layer(numeric, codes))


@pytest.mark.parametrize(
    "changes",
    [
        {"fill": [1.0]},
        {"has_missing": [True]},
        {"knots": [[0.0, 1.0], [], []], "heights": [[0.0, 1.0], [], []]},
        {"knots": [[0.0, 1.0]] * 3, "heights": [[0.0, 1.0, 2.0]] * 3},
        {"knots": [[0.0]] * 3, "heights": [[0.0]] * 3},
    ],
)
def test_arguments_that_do_not_belong_together_are_refused(changes):
    with pytest.raises(ValueError, match=r"one entry per column|two or more knots"):
        made_layer(**changes)


# --- class weights ------------------------------------------------------------------------------------------------


def test_balanced_weights_give_each_class_the_same_total():
    counts = np.array([300, 100, 50])
    weights = class_weights("balanced", counts)
    assert weights[0] == 1
    np.testing.assert_allclose(np.array(weights) * counts, 300)


def test_a_number_weighs_churners_and_none_nobody():
    assert class_weights(2, np.array([3, 1])) == [1.0, 2.0]
    assert class_weights(None, np.array([3, 1, 1])) == [1.0] * 3


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (0, [3, 1]),
        (-1.0, [3, 1]),
        (NAN, [3, 1]),
        (float("inf"), [3, 1]),
        (True, [3, 1]),
        ("many", [3, 1]),
        (2.0, [3, 1, 1]),
        ("balanced", [3, 0]),
    ],
)
def test_impossible_weights_are_refused(value, counts):
    with pytest.raises(ValueError, match="pos_weight"):
        class_weights(value, np.array(counts))
