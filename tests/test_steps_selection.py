"""Steps that choose among the columns: each keeps what matters and says why the rest goes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from made_steps import after, learn, training
from scipy import stats
from sklearn.feature_selection import RFECV
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler

from churnlib.data.steps import STEPS
from churnlib.data.steps.associations import association_matrix, cramers_v, strength
from churnlib.data.steps.proxies import make_proxy
from churnlib.data.steps.select_stability import _chosen, _pair_of_halves
from churnlib.errors import ConfigError

RNG = np.random.default_rng(0)
N = 1500
TENURE, CHARGES = RNG.uniform(0, 72, N), RNG.normal(60, 20, N)
PLAN = RNG.choice(["basic", "plus", "max"], N)
LOGIT = 1.5 - TENURE / 15 + CHARGES / 40 + np.where(PLAN == "basic", 1.5, 0.0)
LABEL = (RNG.random(N) < 1 / (1 + np.exp(-LOGIT))).astype(int)
DAYS = np.datetime64("2025-01-01") - (TENURE * 30).astype("timedelta64[D]")


def gaps(values, share=0.1):
    return [None if gone else value for value, gone in zip(values.tolist(), RNG.random(N) < share, strict=True)]


FRAME = pl.DataFrame(
    {
        "noise": RNG.normal(size=N),
        "tenure": gaps(TENURE),
        "charges": gaps(CHARGES, 0.02),
        "charges_eur": CHARGES * 0.9,
        "plan": PLAN,
        "plan_code": [f"code {plan}" for plan in PLAN],
        "since": [str(day) for day in DAYS],
        "band": gaps(RNG.choice(["low", "middle", "high"], N)),
        "paperless": RNG.choice(["yes", "no"], N),
        "name": [f"n{i}" for i in RNG.integers(0, 200, N)],
        "usage": [[1.0, float(i)] for i in range(N)],
    }
)
COLUMNS = {"band": {"order": ["low", "middle", "high"]}}
KNOWN = training(FRAME, LABEL, columns=COLUMNS)
NOISE = {"noise", "band", "paperless", "name"}
TWINS = ({"charges", "charges_eur"}, {"plan", "plan_code"}, {"tenure", "since"})


def stays(learned) -> set[str]:
    assert set(after(learned, KNOWN.rows).columns) == {column.name for column in learned.columns}
    assert "usage" in {column.name for column in learned.columns}
    dropped = set(learned.fitted.dropped)
    assert all(any(f"dropped {name!r}: " in line for line in learned.said) for name in dropped)
    assert set(learned.fitted.scores) == set(FRAME.columns) - {"usage"}
    return set(FRAME.columns) - dropped - {"usage"}


def test_of_twins_of_any_kinds_one_stays():
    learned = learn("select_correlated", KNOWN, threshold=0.95)
    left = stays(learned)
    assert all(len(left & twins) == 1 for twins in TWINS)
    assert left > NOISE
    for gone in learned.fitted.dropped:
        [twin] = [twins - {gone} for twins in TWINS if gone in twins]
        assert strength(KNOWN, gone) <= strength(KNOWN, *twin)
        assert any(f"dropped {gone!r}: " in line and f"with {next(iter(twin))!r}" in line for line in learned.said)


def test_of_equal_twins_the_first_stays_unless_the_other_must():
    assert "plan_code" in learn("select_correlated", KNOWN).fitted.dropped
    left = stays(learn("select_correlated", KNOWN, always=["plan_code"]))
    assert left & {"plan", "plan_code"} == {"plan_code"}


def test_correlations_are_scipys_on_the_rows_that_both_have():
    names = ["tenure", "charges", "charges_eur", "noise"]
    rows = KNOWN.rows.select(names)
    for method, expected in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        matrix = association_matrix(KNOWN, names, method)
        for i, a in enumerate(names):
            for j, b in enumerate(names):
                both = rows.select(x=a, y=b).drop_nulls()
                # Ranks are those in all rows; without gaps they are SciPy's.
                tolerance = 1e-9 if method == "pearson" or not {"tenure", "charges"} & {a, b} else 5e-3
                assert matrix[i, j] == pytest.approx(abs(expected(both["x"], both["y"])[0]), abs=tolerance)


def test_cramers_v_is_that_of_chi_square_without_its_bias():
    counts = RNG.integers(1, 40, (4, 6))
    n, (r, k) = counts.sum(), counts.shape
    phi = stats.chi2_contingency(counts, correction=False).statistic / n - (r - 1) * (k - 1) / (n - 1)
    room = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    assert cramers_v(counts) == pytest.approx(np.sqrt(max(phi, 0) / room))


def test_a_category_and_a_number_hang_together_by_the_variance_between_values():
    matrix = association_matrix(KNOWN, ["plan", "tenure", "name", "noise"])
    both = KNOWN.rows.select("plan", "tenure").drop_nulls()
    f = stats.f_oneway(*(group["tenure"] for _, group in both.group_by("plan"))).statistic
    n, k = len(both), 3
    assert matrix[0, 1] == pytest.approx(np.sqrt(max((f - 1) * (k - 1) / ((f - 1) * (k - 1) + n - 1), 0)), abs=1e-9)
    assert matrix[2, 3] < 0.15  # 200 random names "explain" 13 % of the variance of any number


def test_columns_that_alone_say_too_little_go():
    learned = learn("select_information_value", KNOWN, min_value=0.05)
    assert stays(learned) >= {"tenure", "charges", "charges_eur", "plan", "plan_code", "since"}
    assert {"noise", "band", "paperless"} <= set(learned.fitted.dropped)
    top = learn("select_information_value", KNOWN, min_value=0.0, top=2)
    assert len(stays(top)) == 2
    assert next(iter(top.fitted.scores)) in ("tenure", "since")


@pytest.mark.parametrize("proxy", ["hist_gradient_boosting", "logistic"])
def test_columns_that_are_not_missed_on_held_out_rows_go(proxy):
    known = training(FRAME.drop("charges_eur", "plan_code", "since"), LABEL, columns=COLUMNS)
    learned = learn("select_permutation", known, proxy=proxy)
    left = {column.name for column in learned.columns}
    assert {"tenure", "charges", "plan"} <= left
    assert len(NOISE & left) <= 1


def test_importance_is_scikit_learns_permutation_importance():
    names = ["noise", "charges_eur", "tenure"]
    proxy = make_proxy("hist_gradient_boosting", KNOWN, names)
    train, held_out = np.arange(1000), np.arange(1000, N)
    model = proxy.fit(range(3), train)
    own = proxy.permuted(model, range(3), held_out, 12).mean(axis=1)
    expected = permutation_importance(
        model, proxy.inputs(range(3), held_out), LABEL[held_out], scoring="neg_log_loss", n_repeats=12, random_state=0
    )
    np.testing.assert_allclose(own, expected.importances_mean, atol=4 * expected.importances_std.max() / np.sqrt(12))


def test_rows_of_a_customer_are_on_one_side_of_what_is_held_out():
    """A name of a customer's own predicts his other rows, and nobody else's."""
    rng = np.random.default_rng(1)
    customer = np.repeat(np.arange(100), 10)
    label = (rng.random(100) < 0.5).astype(int)[customer]
    x = rng.normal(size=1000)
    frame = pl.DataFrame({"number": customer * 1.0, "x": x, "y": label + rng.normal(size=1000)})
    own = learn("select_permutation", training(frame, label))
    grouped = learn("select_permutation", training(frame, label, groups=customer))
    assert "number" not in own.fitted.dropped
    assert grouped.fitted.dropped == ("number", "x")


def test_columns_no_more_important_than_for_random_labels_go():
    learned = learn("select_null_importance", KNOWN, trees=30, draws=12)
    left = stays(learned)
    assert {"tenure", "charges", "plan"} <= left
    assert len(NOISE & left) <= 1
    chance = {name: one["by_chance"] for name, one in learned.fitted.scores.items()}
    assert chance["name"] > 3 * chance["plan"]  # a column of many values has more of it


def test_elimination_is_scikit_learns_on_numbers():
    rng = np.random.default_rng(5)
    table = rng.normal(size=(600, 8))
    label = rng.random(600) < 1 / (1 + np.exp(-table[:, :3] @ [2.0, -1.5, 1.0]))
    known = training(pl.DataFrame(table, schema=[f"x{i}" for i in range(8)]), label)
    learned = learn("select_rfe", known, errors=0, folds=4, drop_share=0.01)
    rfe = RFECV(LogisticRegression(max_iter=1000), cv=PredefinedSplit(known.folds(4)), scoring="neg_log_loss")
    rfe.fit(StandardScaler().fit_transform(table), label)
    assert {column.name for column in learned.columns} == {f"x{i}" for i in np.flatnonzero(rfe.support_)}
    best, whole = -rfe.cv_results_["mean_test_score"].max(), -rfe.cv_results_["mean_test_score"][-1]
    assert f"log loss {best:.4f} with {rfe.n_features_} columns, {whole:.4f} with all 8" in learned.said


def test_elimination_leaves_what_matters_of_mixed_columns():
    left = stays(learn("select_rfe", KNOWN, folds=3, drop_share=0.3))
    assert all(left & twins for twins in TWINS)
    assert len(NOISE & left) <= 1


@pytest.mark.slow
def test_boosted_trees_as_a_proxy_leave_what_matters_where_no_error_is_allowed():
    # Of so few rows they learn noise too, and the fewest columns within an error are then too few.
    left = stays(learn("select_rfe", KNOWN, proxy="hist_gradient_boosting", folds=3, drop_share=0.3, errors=0.0))
    assert all(left & twins for twins in TWINS)
    assert len(NOISE & left) <= 2


def test_the_fewest_columns_within_an_error_are_taken():
    best = learn("select_rfe", KNOWN, errors=0).fitted.dropped
    fewer = learn("select_rfe", KNOWN, errors=3).fitted.dropped
    assert len(fewer) >= len(best)
    assert len(learn("select_rfe", KNOWN, errors=100, min_columns=4).columns) == 5


def test_columns_that_most_halves_choose_stay_and_chance_finds_stay_rare():
    """Of columns that say nothing, on average at most most**2 / (columns * (2 * threshold - 1)) are kept: here 0.28."""
    rng, kept = np.random.default_rng(5), []
    for _ in range(2):
        x = rng.normal(size=(600, 24))
        label = rng.random(600) < 1 / (1 + np.exp(-(x[:, 0] - x[:, 1] + 0.8 * x[:, 2])))
        known = training(pl.DataFrame(x, schema=[f"x{i}" for i in range(24)]), label)
        fitted = learn("select_stability", known, halves=12, threshold=0.8, most=4).fitted
        stay = set(fitted.scores) - set(fitted.dropped)
        assert {"x0", "x1", "x2"} <= stay
        kept.append(len(stay) - 3)
    assert sum(kept) <= 1
    assert fitted.scores["x0"]["chosen"] == 1.0


def test_a_half_chooses_no_more_than_it_may_and_the_strongest_first():
    numbers = np.stack([LABEL * strength + RNG.normal(size=N) for strength in (2.0, 0.1, 0.5, 0.0)], axis=1)
    found = [set(_chosen(numbers, LABEL, np.arange(4), most).tolist()) for most in (1, 2)]
    assert found == [{0}, {0, 2}]
    one_hot = np.eye(3)[np.where(LABEL == 1, 0, RNG.integers(0, 3, N))]
    assert _chosen(one_hot, LABEL, np.zeros(3, dtype=int), 1).tolist() == [0]  # three inputs of one column


def test_halves_come_in_pairs_without_a_common_customer():
    groups = RNG.integers(0, 100, N)
    known = training(FRAME, LABEL, columns=COLUMNS, groups=groups)
    first, second = _pair_of_halves(known, np.random.default_rng(0))
    assert sorted([*first, *second]) == list(range(N))
    assert set(groups[first]).isdisjoint(groups[second])
    assert abs(len(set(groups[first])) - len(set(groups[second]))) <= 1
    with pytest.raises(ConfigError, match="must be even"):
        learn("select_stability", known, halves=5)


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("select_stability", {"halves": 6}),
        ("select_correlated", {}),
        ("select_permutation", {}),
        ("select_null_importance", {"draws": 4, "trees": 20}),
        ("select_rfe", {"folds": 2, "drop_share": 0.5}),
    ],
)
def test_several_classes_are_taken(word, options):
    label = np.where(TENURE < 20, 0, np.where(CHARGES > 60, 1, 2))
    known = training(FRAME.select("noise", "tenure", "charges", "plan"), label, n_classes=3)
    left = {column.name for column in learn(word, known, **options).columns}
    assert {"tenure", "charges"} <= left


def test_information_value_is_for_two_classes():
    known = training(FRAME, RNG.integers(0, 3, N), n_classes=3)
    with pytest.raises(ConfigError, match="the step 'select_information_value' is for two classes, and there are 3"):
        learn("select_information_value", known)


@pytest.mark.parametrize("word", ["select_information_value", "select_permutation"])
def test_one_column_stays_whatever_is_found(word):
    known = training(FRAME.select("noise", "paperless"), LABEL)
    option = "min_value" if word == "select_information_value" else "min_growth"
    assert len(learn(word, known, **{option: 100.0}).columns) == 1


def test_a_choice_of_one_is_none():
    learned = learn("select_rfe", training(FRAME.select("tenure", "usage"), LABEL))
    assert learned.fitted.dropped == () and learned.said == ("there is no choice of columns",)


def test_a_wide_table_says_little_and_keeps_all_scores():
    table = pl.DataFrame(RNG.normal(size=(200, 100)), schema=[f"x{i}" for i in range(100)])
    learned = learn(
        "select_correlated", training(table.with_columns(table.rename(lambda n: f"{n} again")), LABEL[:200])
    )
    assert len(learned.fitted.dropped) == 100 and len(learned.fitted.scores) == 200
    assert len(learned.said) == 22 and learned.said[-2:] == ("... and 80 more columns", "100 of 200 columns stay")


@pytest.mark.parametrize("word", [word for word in STEPS if word.startswith("select_")])
def test_columns_of_nothing_are_judged_too(word):
    nothing = {"flat": pl.lit(1.0), "empty": pl.lit(None, dtype=pl.Float64), "void": pl.lit(None, dtype=pl.String)}
    kinds = {"flat": "numeric", "empty": "numeric", "void": "categorical"}
    declared = {name: {"kind": kind, "role": "feature"} for name, kind in kinds.items()}
    fewer = {"select_null_importance": {"trees": 10, "draws": 5}, "select_stability": {"halves": 6}}.get(word, {})
    learned = learn(word, training(FRAME.select("tenure", "plan", **nothing), LABEL, columns=declared), **fewer)
    assert "tenure" in {column.name for column in learned.columns}
