"""Uplift: curves beside another package's values, learners beside the truth of the simulator, bundles, plans."""

# pyright: reportOptionalMemberAccess=false, reportOptionalOperand=false
from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from churnlib.bundle import read_bundle, write_bundle
from churnlib.commands.uplift import main
from churnlib.data.customers import prepare_customers
from churnlib.data.simulator import TRUTH, simulate, simulate_to_parquet
from churnlib.errors import ConfigError, DataError
from churnlib.evaluation.experiment import check_randomisation
from churnlib.evaluation.uplift import curve_band, effect_line, uplift_curve, uplift_metrics
from churnlib.models.baselines.effects import EFFECT_MODELS
from churnlib.models.baselines.hist_gradient_boosting import HistGradientBoosting
from churnlib.models.baselines.linear import LogisticRegression
from churnlib.models.uplift import UpliftModel
from churnlib.planning.plan import plan
from churnlib.predictor import Predictor, load
from churnlib.training.uplift import fit_uplift, read_treatment, sides_of
from churnlib.training.uplift_run import judge
from tests.made import made_bundle, made_customers


def drawn(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, sides and effects with ties; they have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    treated, left = rng.integers(0, 2, n), rng.integers(0, 2, n)
    return left, treated, np.round(rng.normal(size=n), 1)


# --- curves ---------------------------------------------------------------------------------------------------------


def test_curves_are_those_of_scikit_uplift():
    left, treated, effect = drawn()
    curve = uplift_curve(left, treated, effect)
    n, n_treated = len(left), treated.sum()
    # scikit-uplift 0.5.1: uplift_curve and qini_curve of these rows with 1 for who stayed, and areas under them.
    assert (curve.share * n)[:8].round(9).tolist() == [0, 1, 2, 3, 5, 7, 8, 9] and len(curve.share) == 47
    np.testing.assert_allclose((curve.uplift * n)[:8], [0, 0, 0, 1.5, 2.5, 3.5, 3.2, 3.6])
    np.testing.assert_allclose((curve.qini * n_treated)[:8], [0, 0, 0, 1, 2, 2, 2, 2], atol=1e-12)
    assert curve.uplift[-1] * n == pytest.approx(-15.99352161149914)
    assert curve.qini[-1] * n_treated == pytest.approx(-8.876404494382022)
    assert curve.auuc * n**2 == pytest.approx(43.379629053621116)
    random = 0.5 * curve.qini[-1]
    assert (curve.qini_coefficient + random) * n * n_treated == pytest.approx(34.867843489795966)


def test_curves_are_what_a_loop_over_all_cuts_says():
    left, treated, effect = drawn(60, seed=4)
    curve = uplift_curve(left, treated, effect)
    for share, uplift, qini, least in zip(curve.share, curve.uplift, curve.qini, curve.effect, strict=True):
        inside = effect >= least
        t, c = inside & (treated == 1), inside & (treated == 0)
        stayed = [float((left[side] == 0).sum()) for side in (t, c)]
        rates = [count / max(side.sum(), 1) for count, side in zip(stayed, (t, c), strict=True)]
        assert share == pytest.approx(inside.mean())
        assert uplift == pytest.approx((rates[0] - rates[1]) * inside.mean())
        lost = stayed[1] * t.sum() / c.sum() if c.sum() else 0.0
        assert qini == pytest.approx((stayed[0] - lost) / treated.sum())


def test_intervals_hold_the_truth_as_often_as_they_say():
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        said, treated = rng.uniform(0, 0.4, 500), rng.integers(0, 2, 500)
        left = (rng.random(500) < 0.5 - said * treated).astype(int)
        found = uplift_metrics(left, treated, said, replicates=100, seed=seed)
        low, high = found["intervals"]["average_effect"]
        inside += low <= 0.2 <= high
    assert inside >= 52
    assert found["auuc_over_random"] == pytest.approx(found["auuc"] - found["auuc_random"])
    assert found["auuc"] == pytest.approx(uplift_curve(left, treated, said).auuc)
    assert found["qini"] == pytest.approx(uplift_curve(left, treated, said).qini_coefficient)
    assert (found["n"], found["treated"]) == (500, treated.sum())


def test_the_band_of_a_curve_stands_around_it():
    left, treated, effect = drawn(400)
    shares = np.linspace(0, 1, 11)
    band = curve_band(left, treated, effect, shares, replicates=100)
    np.testing.assert_allclose(band["uplift"], uplift_curve(left, treated, effect).at(shares))
    assert (band["uplift_low"] <= band["uplift"] + 1e-9).all() and (band["uplift"] <= band["uplift_high"] + 1e-9).all()
    assert band["uplift_random"][-1] == pytest.approx(band["uplift"][-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"treated": np.ones(200)}, "one side is empty"),
        ({"treated": np.full(200, 2)}, "treated must be 0 or 1"),
        ({"effect": np.full(200, np.nan)}, "effect must be a number in every row"),
        ({"label": np.zeros(3)}, r"must be \(n,\)"),
    ],
)
def test_impossible_experiments_are_refused(change, said):
    left, treated, effect = drawn()
    with pytest.raises(ValueError, match=said):
        uplift_curve(**{"label": left, "treated": treated, "effect": effect, **change})


def test_the_line_of_effects_is_found_with_its_error():
    slopes = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        said, treated, risk = rng.uniform(-0.1, 0.3, 2_000), rng.integers(0, 2, 2_000), np.full(2_000, 0.5)
        left = (rng.random(2_000) < risk - (0.05 + 0.5 * said) * treated).astype(int)
        line = effect_line(left, treated, said, risk)
        assert line is not None
        slopes.append(line.slope)
    assert np.mean(slopes) == pytest.approx(0.5, abs=0.1)
    assert np.std(slopes) == pytest.approx(np.sqrt(line.covariance[1, 1]), rel=0.4)
    assert line.error[1, 1] == pytest.approx(line.covariance[1, 1] + (line.slope - 1) ** 2)
    assert effect_line(left, treated, np.full(2_000, 0.1), risk) is None


# --- experiments ----------------------------------------------------------------------------------------------------


def test_a_treatment_at_random_passes_and_one_that_is_chosen_does_not():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2_000, 5))
    inputs[rng.random(inputs.shape) < 0.1] = np.nan
    names = [f"column {i}" for i in range(5)]
    fair, score, side = rng.integers(0, 2, 2_000), rng.normal(size=600), rng.integers(0, 2, 600)
    passed = check_randomisation(inputs, names, fair, score, side)
    assert passed.randomised and not passed.warnings() and abs(passed.auc - 0.5) < 0.06
    chosen = (np.nan_to_num(inputs[:, 2]) + rng.normal(size=2_000) > 0).astype(int)
    failed = check_randomisation(inputs, names, chosen, score, (score + rng.normal(size=600) > 0).astype(int))
    assert not failed.randomised and failed.unbalanced == ("column 2",)
    assert len(failed.warnings()) == 2 and "ROC AUC" in failed.warnings()[0]
    # Means and spreads as numpy has them.
    t, c = (inputs[chosen == one, 2] for one in (1, 0))
    wanted = (np.nanmean(t) - np.nanmean(c)) / np.sqrt((np.nanvar(t) + np.nanvar(c)) / 2)
    assert failed.differences["column 2"] == pytest.approx(wanted)


def test_the_simulated_treatment_changes_nothing_but_the_outcome_of_those_who_have_it(tmp_path):
    plain, treated = simulate(3_000, seed=5), simulate(3_000, seed=5, treatment_share=0.4)
    assert plain.churn_prevented is None and treated.churn_prevented is not None
    told = [name for name in plain.table.columns if name not in ("churn", "churn_date")]
    assert treated.table.select(told).equals(plain.table.select(told))
    side = (treated.table["treated"] == "yes").to_numpy()
    assert abs(side.mean() - 0.4) < 0.03
    expected = plain.churn_probability - np.where(side, treated.churn_prevented, 0.0)
    np.testing.assert_allclose(treated.churn_probability, expected)
    assert treated.table["churn"].to_numpy()[~side].tolist() == plain.table["churn"].to_numpy()[~side].tolist()
    for truth in (True, False):
        simulate_to_parquet(tmp_path / "drawn.parquet", 100, seed=5, treatment_share=0.4, truth=truth)
        columns = pl.read_parquet(tmp_path / "drawn.parquet").columns
        assert "treated" in columns and (TRUTH in columns) == ("true_churn_prevented" in columns) == truth


@pytest.mark.parametrize(
    ("values", "options", "kind", "said"),
    [
        (["yes"] * 4, {}, DataError, "treatment=t has the value 'yes' in every row; an effect is measured by"),
        ([None] * 4, {}, DataError, "treatment=t has no value in any row"),
        (["a", "b", "c", "a"], {}, DataError, "treatment=t has 3 values; an experiment here has two sides"),
        (["a", "b", "b", "a"], {}, ConfigError, "set treated to the one that means the customer was treated"),
        (["a", "b", "b", "a"], {"treated": "c"}, ConfigError, "treated=c is not a value of the treatment"),
    ],
)
def test_columns_that_hold_no_experiment_are_refused(values, options, kind, said):
    with pytest.raises(kind, match=said):
        read_treatment(pl.DataFrame({"t": pl.Series(values, dtype=pl.String)}), "t", **options)


def test_treatments_are_read_as_targets_are():
    frame = pl.DataFrame({"t": ["call", "none", None, "call"], "u": [1, 0, 1, 0]})
    assert read_treatment(frame, "t", "call").tolist() == [1, 0, -1, 1]
    assert read_treatment(frame, "u").tolist() == [1, 0, 1, 0]
    with pytest.raises(ConfigError, match="treatment names the column 'tt', which the table does not have"):
        read_treatment(frame, "tt")


# --- learners -------------------------------------------------------------------------------------------------------


def experiment(n: int, *, seed: int = 1, **options):
    """Return simulated customers of an experiment, who was treated, and what it prevents of each test row's churn."""
    made = simulate(n, seed=seed, treatment_share=0.5, duplicate_share=0.0)
    assert made.churn_prevented is not None
    customers = prepare_customers(
        made.table, target="churn", positive="yes", id="customer_id", drop=["treated"],
        columns={"churn_date": {"role": "event_time"}}, split={"by": "random"}, **options,
    )  # fmt: skip
    truth = dict(zip(made.table["customer_id"].to_list(), made.churn_prevented.tolist(), strict=True))
    test = [truth[name] for name in customers.customer_ids("test")]
    return customers, read_treatment(customers.frame, "treated"), np.array(test)


@pytest.fixture(scope="module")
def small():
    return experiment(3_000)


@pytest.fixture(scope="module")
def fitted(small):
    customers, treated, _ = small
    return fit_uplift(LogisticRegression(), customers, treated, seed=0)


def predictor_of(model: UpliftModel, customers) -> Predictor:
    bundle = made_bundle()
    parts = {"model": model, "schema": customers.schema, "preparation": customers.preparation, "name": "x_learner"}
    return Predictor(type(bundle)(**{**vars(bundle), **parts, "golden": (), "background": ()}))


@pytest.mark.slow
@pytest.mark.parametrize("effects", EFFECT_MODELS)
def test_an_x_learner_recovers_the_effects_that_the_simulator_knows(effects):
    customers, treated, truth = experiment(20_000)
    recipe = HistGradientBoosting() if effects == "ridge" else LogisticRegression()
    model = fit_uplift(recipe, customers, treated, effects=effects, seed=0)
    test = customers.encoded["test"]
    found = model.effects(test.numeric, test.codes)
    assert np.corrcoef(found, truth)[0, 1] >= 0.7
    error, constant = np.sqrt(np.mean((found - truth) ** 2)), truth.std()
    assert error <= 0.75 * constant
    metrics = judge(predictor_of(model, customers), customers, treated, replicates=100, seed=0)
    low, high = metrics["test"]["intervals"]["average_effect"]
    assert low <= truth.mean() <= high and metrics["test"]["intervals"]["qini"][0] > 0
    line = metrics["effect_line"]
    assert abs(line["slope"] - 1) <= 3 * np.sqrt(line["covariance"][1][1])
    assert metrics["checks"]["randomised"]


def test_a_t_learner_is_the_difference_of_two_models_and_an_x_learner_what_its_definition_says(small):
    customers, treated, _ = small
    test = customers.encoded["test"]
    arrays = (test.numeric, test.codes)
    t = fit_uplift(LogisticRegression(), customers, treated, learner="t")
    both = [expit(part.logits(*arrays)) for part in (t.alone, t.treated)]
    np.testing.assert_allclose(t.effects(*arrays), both[0] - both[1])
    assert t.learner == "t"
    x = fit_uplift(LogisticRegression(), customers, treated, propensity="logistic")
    chance = expit(x.propensity.logits(*arrays))
    wanted = chance * x.effect_alone.logits(*arrays) + (1 - chance) * x.effect_treated.logits(*arrays)
    np.testing.assert_allclose(x.effects(*arrays), np.clip(wanted, -1, 1))
    np.testing.assert_allclose(x.logits(*arrays), t.logits(*arrays))
    # The second stage restated with scikit-learn: effects of treated customers, by ridge on the same inputs.
    from sklearn.linear_model import RidgeCV

    from churnlib.models.baselines.effects import PENALTIES
    from churnlib.models.baselines.inputs import FlatInputs

    train = sides_of(customers, treated, "train").of(1)
    flat = FlatInputs(customers.preparation.input_spec(one_hot_max=10**9))
    effect = expit(t.alone.logits(train.numeric, train.codes)) - train.label
    ridge = RidgeCV(alphas=PENALTIES).fit(flat(train.numeric, train.codes), effect)
    np.testing.assert_allclose(x.effect_treated.logits(*arrays), ridge.predict(flat(*arrays)), atol=1e-8)


def test_models_of_effects_answer_as_scikit_learn_does(small):
    customers, treated, _ = small
    model = fit_uplift(LogisticRegression(), customers, treated, effects="hist_gradient_boosting")
    from churnlib.models.baselines.inputs import raw_matrix
    from churnlib.training.baselines import task_of

    sides = {side: sides_of(customers, treated, side).of(0) for side in ("train", "validation")}

    def effect(rows):
        return rows.label - expit(model.treated.logits(rows.numeric, rows.codes))

    train, held = sides["train"], sides["validation"]
    peer = HistGradientBoosting().regressor(task_of(customers, class_weights=[1.0, 1.0]))
    peer.fit(
        raw_matrix(train.numeric, train.codes), effect(train),
        X_val=raw_matrix(held.numeric, held.codes), y_val=effect(held),
    )  # fmt: skip
    test = customers.encoded["test"]
    best = int(np.argmax(peer.validation_score_))
    stages = list(peer.staged_predict(raw_matrix(test.numeric, test.codes)))
    wanted = stages[best - 1] if best else np.full(len(test), peer._baseline_prediction.item())
    np.testing.assert_allclose(model.effect_alone.logits(test.numeric, test.codes), wanted, atol=1e-6)


def test_test_rows_and_unknown_sides_change_nothing_that_is_fitted(small, fitted):
    customers, treated, _ = small
    changed = treated.copy()
    changed[customers.rows("test")] = 1 - changed[customers.rows("test")]
    again = fit_uplift(LogisticRegression(), customers, changed, seed=0)
    test = customers.encoded["test"]
    assert again.effects(test.numeric, test.codes).tolist() == fitted.effects(test.numeric, test.codes).tolist()
    few = np.where(np.arange(len(treated)) % 40 == 0, treated, -1)
    with pytest.raises(DataError, match=r"training rows were treated, of whom .* left; an effect needs at least 20"):
        fit_uplift(LogisticRegression(), customers, few)
    alike = dict(zip(("alone", "treated"), (fitted.alone, fitted.treated), strict=True))
    with pytest.raises(ValueError, match="a model of effects for each side"):
        UpliftModel(**alike, effect_alone=fitted.alone)


def test_a_bundle_holds_an_uplift_model_and_answers_the_same_in_another_process(small, fitted, tmp_path):
    customers, _, _ = small
    predictor = predictor_of(fitted, customers)
    rows = customers.frame[customers.rows("test")][:40]
    write_bundle(predictor.bundle, tmp_path / "bundle")
    assert {path.suffix for path in (tmp_path / "bundle").iterdir()} == {".json", ".safetensors"}
    again = load(tmp_path / "bundle")
    assert isinstance(again.bundle.model, UpliftModel) and again.bundle.model.learner == "x"
    np.testing.assert_array_equal(again.effects(rows), predictor.effects(rows))
    np.testing.assert_array_equal(again.probabilities(rows), predictor.probabilities(rows))
    one_by_one = np.concatenate([again.effects(rows[place]) for place in range(5)])
    np.testing.assert_allclose(one_by_one, again.effects(rows)[:5], atol=1e-7)
    rows.write_parquet(tmp_path / "rows.parquet")
    code = (
        "import churnlib, polars, sys; p = churnlib.load(sys.argv[1]);"
        "print(repr(p.effects(polars.read_parquet(sys.argv[2])).tolist()))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "bundle"), str(tmp_path / "rows.parquet")]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    said = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    assert json.loads(said) == predictor.effects(rows).tolist()
    values = json.loads((tmp_path / "bundle" / "uplift.json").read_text())
    assert [member["part"] for member in values["members"]] == ["alone", "treated", "effect_alone", "effect_treated"]


def test_a_damaged_uplift_bundle_is_refused(fitted, small):
    from churnlib.models.uplift import restore

    kept = fitted.keep()
    for change in ("part", "none"):
        values = json.loads(json.dumps(kept.values))
        values["members"][0]["part"] = change
        with pytest.raises(ValueError, match=r"uplift\.json names the part"):
            restore(values, kept.states, n_classes=2)
    with pytest.raises(ValueError, match="one of two classes"):
        restore(kept.values, kept.states, n_classes=3)
    with pytest.raises(TypeError, match="knows no treatment; churnlib uplift fits one"):
        Predictor(made_bundle()).effects(made_customers(3))


# --- the command, and plans -----------------------------------------------------------------------------------------


def test_the_command_learns_judges_and_backs_a_plan(tmp_path, capsys):
    run = tmp_path / "run"
    words = ["data=simulator", "data.n_customers=2000", "data.treatment_share=0.5", "treatment=treated"]
    assert main([*words, "model=logistic", "replicates=50", f"output_dir={run}"]) == 0
    said = capsys.readouterr().out
    assert "Qini coefficient" in said and "Plan with it" in said
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["learner"] == "x" and metrics["checks"]["randomised"] is True and not metrics["checks"]["warnings"]
    assert pl.read_parquet(run / "curve.parquet")["share"].to_list()[-1] == 1.0
    rows = pl.read_parquet(run / "predictions.parquet")
    assert rows.columns == ["customer_id", "label", "treated", "churn_probability", "effect"]
    model = load(run / "bundle")
    assert "treated" not in [column.name for column in model.schema.features]
    table = simulate(200, seed=9, duplicate_share=0.0).table.drop("churn", "churn_date")
    offers = {"call": {"experiment": str(run / "bundle"), "cost": 5}, "offer": {"saves": 1}}
    found = plan(model, table, levers={"offers": offers}, explain="false")
    calls = found.customers.filter(pl.col("offer") == "call")
    assert calls["causal"].all() and len(calls)
    assert not found.customers.filter(pl.col("offer") == "offer")["causal"].any()
    place = found.customers["customer_id"].to_list().index(calls["customer_id"][0])
    effect, p = model.effects(table)[place], model.probabilities(table)[place]
    gain = min(effect, p) * 200 - (0.3 * p + (1 - p)) * 5 - 1
    assert calls["expected_gain"][0] == pytest.approx(gain)
    line = np.asarray(metrics["effect_line"]["error"])
    moves = np.array([1.0, effect]) * 200
    spread = np.sqrt(moves @ line @ moves + (p * 5) ** 2 * 6 * 14 / (20**2 * 21))
    assert (calls["gain_high"] - calls["expected_gain"])[0] == pytest.approx(1.96 * spread, rel=1e-3)
    chosen = read_bundle(run / "bundle")
    marked = {**chosen.metrics, "checks": {"randomised": False}}
    doubtful = Predictor(type(chosen)(**{**vars(chosen), "metrics": marked}))
    offers["call"]["experiment"] = "doubtful"
    again = plan(model, table, levers={"offers": offers}, explain="false", experiments={"doubtful": doubtful})
    assert not again.customers["causal"].any()
    assert any("was not given at random" in line for line in again.summary["cautions"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "treatment is missing"),
        (["treatment=churn"], "treatment=churn is the target"),
        (["treatment=treatd", "data.treatment_share=0.5"], "did you mean 'treated'"),
        (["treatment=gender"], "set treated to the one that means the customer was treated"),
        (["treatment=treated", "data.treatment_share=0.5", "model=mlp"], "model=mlp is no baseline"),
        (["treatment=treated", "learner=s"], "learner must be one of x, t, got 's'"),
    ],
)
def test_the_command_refuses_in_a_sentence(words, said, tmp_path, capsys):
    assert main(["data.n_customers=500", f"output_dir={tmp_path / 'run'}", *words]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
