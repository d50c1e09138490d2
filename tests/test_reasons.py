"""Reasons: effects that add up, whoever computes them, and words that never name what is sensitive."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import polars as pl
import pytest
import torch

from churnlib.bundle import Bundle
from churnlib.calibration import UNCALIBRATED
from churnlib.commands.explain import main as explain_main
from churnlib.data.background import alike_columns, background_rows
from churnlib.data.customers import prepare_customers
from churnlib.data.preparation import Encoded
from churnlib.errors import BundleError, ConfigError, RowErrors
from churnlib.explanation.effects import Explainer
from churnlib.explanation.reasons import RowExplainer, explain
from churnlib.explanation.wording import ColumnWording, Wording
from churnlib.models.ensemble import Ensemble, Member
from churnlib.models.fitted import Kept
from churnlib.predictor import Predictor
from scripts import reference_shapley
from tests.made import TINY_MLP, made_bundle, made_customers, made_prepared

FEATURES = {
    "steps": {
        "derived": {"step": "expressions", "columns": {"load": "charges * (tenure + 1)", "long": "tenure > 24"}},
        "known": {"step": "target_encoding", "columns": ["region"]},
    }
}
TABLE = made_customers(60, seed=3)


@pytest.fixture(scope="module")
def plain() -> Predictor:
    return Predictor(made_bundle(network=TINY_MLP))


@pytest.fixture(scope="module")
def derived() -> Predictor:
    return Predictor(made_bundle(made_prepared(preprocess=FEATURES), network=TINY_MLP))


class Additive:
    """A model that is a sum over its columns, and one product."""

    def __init__(self, product: float = 0.0) -> None:
        self.product = product

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        numbers = np.nan_to_num(numeric.astype(np.float64), nan=3.0)
        return 0.1 * numbers[:, 0] + self.product * numbers[:, 0] * (codes[:, 0] == 2) - 0.5 * (codes[:, 0] == 3)

    def keep(self) -> Kept:
        raise NotImplementedError


def with_model(model: object, bundle: Bundle) -> Predictor:
    return Predictor(dataclasses.replace(bundle, model=model, calibration=UNCALIBRATED))  # type: ignore[arg-type]


def reference(explainer: Explainer, table: pl.DataFrame, *, orders: int | None = None) -> np.ndarray:
    """Shapley values by definition, of rows mixed one column of the table after the other."""
    predictor, names = explainer.predictor, list(explainer.mixer.names)
    typed = predictor.read(table).typed
    others = explainer.background.typed
    assert others is not None
    found = []
    for row in range(len(table)):

        def answer(own: np.ndarray, other: np.ndarray, row: int = row) -> np.ndarray:
            mine, theirs = typed[np.full(len(own), row)], others[other]
            mixed = mine.with_columns(
                pl.Series(name, own[:, place])
                .to_frame("own")
                .select(pl.when("own").then(pl.lit(mine[name])).otherwise(pl.lit(theirs[name])).alias(name))[name]
                for place, name in enumerate(names)
            )
            return predictor.bundle.calibration.log_odds(predictor.logits(mixed))

        sizes = (len(names), len(others))
        one = reference_shapley.exact(answer, *sizes)
        found.append(one if orders is None else reference_shapley.sampled(answer, *sizes, orders=orders))
    return np.stack(found)


def test_the_reference_agrees_with_all_sets_and_with_a_game_solved_by_hand():
    # Worth 6 together, 1 and 2 alone: the rest of 3 is shared; the third column does nothing.
    def answer(own, other):
        one, two = own[:, 0], own[:, 1]
        return 1.0 * one + 2.0 * two + 3.0 * (one & two) + other * 0.0

    np.testing.assert_allclose(reference_shapley.exact(answer, 3, 2), [2.5, 3.5, 0.0])
    np.testing.assert_allclose(reference_shapley.sampled(answer, 3, 2, orders=4_000), [2.5, 3.5, 0.0], atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["plain", "derived"])
@pytest.mark.parametrize(("method", "least"), [("gradients", 0.9), ("shapley", 0.97)])
def test_effects_agree_with_shapley_values_by_definition(fixture, method, least, request):
    predictor = request.getfixturevalue(fixture)
    explainer = Explainer(predictor, method=method, samples=400, pairs=100)
    effects = explainer.effects(TABLE[:6])
    assert set(effects.names) == {"tenure", "charges", "plan", "region", "paperless", "joined"}
    wanted = reference(explainer, TABLE[:6])
    assert np.corrcoef(effects.values.ravel(), wanted.ravel())[0, 1] >= least


@pytest.mark.parametrize("fixture", ["plain", "derived"])
def test_effects_and_base_add_up_to_the_log_odds_of_the_probability(fixture, request):
    predictor = request.getfixturevalue(fixture)
    probability = predictor.probabilities(TABLE)
    for method, error in (("shapley", 1e-4), ("auto", None)):
        effects = Explainer(predictor, method=method).effects(TABLE)
        np.testing.assert_allclose(1 / (1 + np.exp(-effects.log_odds)), probability, atol=1e-6)
        added = effects.base + effects.values.sum(axis=1)
        np.testing.assert_allclose(added - effects.log_odds, effects.error, atol=1e-9)
        most = np.full(len(TABLE), error) if error else np.maximum(0.1 * np.abs(effects.log_odds), 0.05)
        assert (np.abs(effects.error) <= most).all()


def test_gradients_that_do_not_add_up_are_replaced(plain):
    few = Explainer(plain, samples=1, seed=1)
    assert set(few.effects(TABLE).method) == {"gradients", "shapley"}
    assert set(Explainer(plain, samples=1, method="gradients").effects(TABLE).method) == {"gradients"}


@pytest.mark.parametrize("fixture", ["plain", "derived"])
@pytest.mark.parametrize("method", ["gradients", "shapley"])
def test_a_customers_effects_do_not_depend_on_the_others(fixture, method, request):
    explainer = Explainer(request.getfixturevalue(fixture), method=method, samples=50, pairs=4)
    together = explainer.effects(TABLE[:12])
    backwards = explainer.effects(TABLE[:12].reverse())
    alone = np.concatenate([explainer.effects(TABLE[row : row + 1]).values for row in range(12)])
    np.testing.assert_allclose(backwards.values[::-1], together.values, atol=2e-5)
    np.testing.assert_allclose(alone, together.values, atol=2e-5)
    again = Explainer(request.getfixturevalue(fixture), method=method, samples=50, pairs=4).effects(TABLE[:12])
    np.testing.assert_array_equal(again.values, together.values)


def test_a_sum_over_columns_is_taken_apart_exactly_and_other_columns_have_no_effect(plain):
    predictor = with_model(Additive(), plain.bundle)
    explainer = Explainer(predictor)
    effects = explainer.effects(TABLE)
    assert set(effects.method) == {"shapley"}
    column = dict(zip(effects.names, effects.values.T, strict=True))
    for name in ("charges", "region", "paperless", "joined"):
        np.testing.assert_array_equal(column[name], 0.0)
    assert np.ptp(column["tenure"] - 0.1 * TABLE["tenure"].to_numpy()) < 1e-5
    assert len(np.unique(column["plan"].round(6))) <= 3


def test_a_pair_is_taken_apart_exactly_and_equal_columns_get_equal_parts():
    table = (
        made_customers(200).with_columns(twin=pl.col("tenure")).select("customer", "tenure", "twin", "plan", "churn")
    )
    customers = prepare_customers(table, target="churn", id="customer")

    class Twins(Additive):
        def logits(self, numeric, codes):
            return 0.001 * (numeric[:, 0] * numeric[:, 1]).astype(np.float64)

    bundle = made_bundle(customers, network=TINY_MLP)
    background = table[:25].with_columns(twin=pl.col("tenure"))
    explainer = Explainer(with_model(Twins(), bundle), background=background, pairs=25)
    effects = explainer.effects(table[50:60])
    column = dict(zip(effects.names, effects.values.T, strict=True))
    np.testing.assert_allclose(column["tenure"], column["twin"], atol=1e-9)
    np.testing.assert_allclose(effects.values, reference(explainer, table[50:60]), atol=1e-6)


def test_linear_models_and_ensembles_of_networks_are_followed_by_their_gradients(plain):
    from churnlib.models.differentiable import differentiable

    one = plain.bundle.model
    other = made_bundle(network=TINY_MLP, seed=5).model
    n = len(plain.bundle.preparation.numeric)
    codes = tuple(tuple(range(len(v.values) + 2)) for v in plain.bundle.preparation.categorical)
    places = tuple(range(len(codes)))
    group = (Member(one), Member(other, tuple(range(n)), codes, places))
    ensemble = Ensemble((group, (Member(other),)), weights=(0.7, 0.5), shift=(0.1,))
    followed = differentiable(ensemble, n)
    assert followed is not None
    encoded = plain.bundle.preparation.encode(plain.read(TABLE).typed)
    found = followed.logits(followed.inputs(encoded.numeric, encoded.codes))
    np.testing.assert_allclose(found.numpy(), ensemble.logits(encoded.numeric, encoded.codes), atol=1e-5)
    each = differentiable(one, n)
    assert each is not None and (followed.owners == np.tile(each.owners, 3)).all()
    mixed = Ensemble(((Member(one),), (Member(Additive()),)), weights=(0.7, 0.5), shift=(0.1,))  # type: ignore[arg-type]
    assert differentiable(mixed, n) is None
    assert Explainer(with_model(mixed, plain.bundle)).method == "shapley"


def test_more_classes_are_explained_by_the_log_odds_of_one():
    table = made_customers(300).with_columns(
        churn=pl.when(pl.col("tenure") > 50).then(pl.lit("sleeps")).otherwise(pl.col("churn"))
    )
    predictor = Predictor(made_bundle(made_prepared_of(table), network=TINY_MLP))
    said = explain(predictor, table[:8], samples=400)
    shares = predictor.probabilities(table[:8])
    best = shares.max(axis=1)
    np.testing.assert_allclose(said["log_odds"], np.log(best / (1 - best)), atol=1e-5)
    assert said["explained_class"].to_list() == [predictor.classes[place] for place in shares.argmax(axis=1)]
    one = Explainer(predictor, method="shapley").effects(table[:8], target="sleeps")
    share = shares[:, predictor.classes.index("sleeps")]
    np.testing.assert_allclose(one.base + one.values.sum(axis=1), np.log(share / (1 - share)), atol=1e-4)
    with pytest.raises(ConfigError, match="is no class"):
        Explainer(predictor).effects(table[:1], target="never")


def made_prepared_of(table: pl.DataFrame):
    return prepare_customers(table, target="churn", id="customer")


# --- words ----------------------------------------------------------------------------------------------------------


def test_reasons_come_in_the_order_of_their_size_with_words_and_codes(plain):
    said = explain(plain, TABLE, top=2)
    assert said.columns[:3] == plain.predict(TABLE).columns
    assert said.select("customer_id", "churn_probability").equals(
        plain.predict(TABLE).select("customer_id", "churn_probability")
    )
    reason = said["reasons"][0][0]
    assert set(reason) == {"feature", "value", "effect", "direction", "text", "actionable", "code"}
    effects = Explainer(plain).effects(TABLE[:1])
    assert reason["effect"] == pytest.approx(np.abs(effects.values).max() * np.sign(reason["effect"]), abs=1e-5)
    assert reason["direction"] == ("raises risk" if reason["effect"] > 0 else "lowers risk")
    for reasons in said["reasons"]:
        assert len(reasons) <= 2
        sizes = [abs(one["effect"]) for one in reasons]
        assert sizes == sorted(sizes, reverse=True) and all(size >= 0.1 for size in sizes)


def test_words_come_from_the_configuration(plain):
    wording = {
        "template": "{label} ist {value}: {direction}, Faktor {odds}",
        "raises": "erhöht",
        "lowers": "senkt",
        "min_effect": 0.0,
        "groups": {"Vertrag": ["plan", "tenure"]},
        "columns": {
            "Vertrag": {"code": "V1", "actionable": True},
            "tenure": {"label": "Monate"},
            "plan": {"label": "Art", "values": {"monthly": "monatlich"}},
        },
    }
    row = {**TABLE.row(0, named=True), "plan": "monthly", "tenure": 7}
    said = explain(plain, [row], top=None, wording=wording)["reasons"][0].to_list()
    one = next(reason for reason in said if reason["feature"] == "Vertrag")
    effects = Explainer(plain).effects([row])
    sums = dict(zip(effects.names, effects.values[0], strict=True))
    assert one["effect"] == pytest.approx(sums["plan"] + sums["tenure"])
    odds = np.exp(one["effect"])
    assert one["value"] in ("Monate 7, Art monatlich",) and one["code"] == "V1" and one["actionable"]
    assert one["text"].startswith(f"Vertrag ist Monate 7, Art monatlich: {'erhöht' if odds > 1 else 'senkt'}, Faktor ")
    assert len(said) == 5 and not any(reason["feature"] in ("plan", "tenure") for reason in said)


def test_no_strong_reason_is_said_by_no_reason(plain):
    said = explain(plain, TABLE, wording=Wording(min_effect=1e6))
    assert said["reasons"].list.len().sum() == 0


@pytest.mark.parametrize("method", ["auto", "shapley"])
def test_a_sensitive_column_is_never_named(method):
    columns = {"plan": {"sensitive": True, "use": True}}
    predictor = Predictor(made_bundle(made_prepared(columns=columns), network=TINY_MLP))
    wording = Wording(min_effect=0.0, groups={"Vertrag": ["plan", "tenure"]}, columns={"plan": ColumnWording(code="P")})
    said = explain(predictor, TABLE, top=None, wording=wording, method=method)
    everything = str(said["reasons"].to_list())
    for word in ("plan", "monthly", "yearly", "two years", "'P'"):
        assert word not in everything
    assert {len(reasons) for reasons in said["reasons"]} == {5}
    first = explain(predictor, TABLE, top=3, method=method)
    effects = Explainer(predictor, method=method).effects(TABLE)
    place = effects.names.index("plan")
    third = np.sort(np.abs(np.delete(effects.values, place, axis=1)), axis=1)[:, -3]
    hidden = np.abs(effects.values[:, place])
    assert first["sensitive_among_reasons"].to_list() == ((hidden >= third) & (hidden >= 0.1)).tolist()
    assert first["sensitive_among_reasons"].any() and not first["sensitive_among_reasons"].all()


def test_columns_that_say_the_same_share_a_reason():
    table = made_customers(300).with_columns(weeks=pl.col("tenure") * 4.3)
    customers = prepare_customers(table, target="churn", id="customer")
    alike = alike_columns(customers.typed[customers.rows("train")], customers.schema)
    assert alike == [["tenure", "weeks"]]
    bundle = made_bundle(customers, network=TINY_MLP)
    predictor = Predictor(dataclasses.replace(bundle, profile={**bundle.profile, "alike": alike}))
    names = {
        one["feature"] for one in explain(predictor, table[:1], top=None, wording=Wording(min_effect=0))["reasons"][0]
    }
    assert "tenure and weeks" in names and "tenure" not in names
    alone = explain(predictor, table[:1], top=None, wording=Wording(min_effect=0, merge="declared"))["reasons"][0]
    assert "tenure" in {one["feature"] for one in alone}


def test_one_customer_at_a_time_hears_the_same(plain, derived):
    for predictor in (plain, derived):
        one = RowExplainer(predictor)
        said = explain(predictor, TABLE[:5]).drop("customer_id", "churn_probability", "churn_prediction")
        for row, wanted in zip(TABLE[:5].rows(named=True), said.rows(named=True), strict=True):
            found = one.explain(one.read(row))
            assert [r["text"] for r in found["reasons"]] == [r["text"] for r in wanted["reasons"]]
            assert found["log_odds"] == pytest.approx(wanted["log_odds"], abs=1e-5)
            assert set(found) == set(wanted)


def test_rows_that_cannot_be_scored_have_no_reasons(plain):
    rows = [*TABLE[:2].to_dicts(), {**TABLE.row(2, named=True), "tenure": "many"}]
    with pytest.raises(RowErrors):
        explain(plain, rows)
    said = explain(plain, rows, on_error="null")
    assert said["reasons"].is_null().to_list() == [False, False, True]
    assert said["log_odds"].is_null().to_list() == [False, False, True]
    assert explain(plain, TABLE[:0]).shape[0] == 0


# --- what is refused, and the background ----------------------------------------------------------------------------


def test_mistakes_are_named(plain):
    with pytest.raises(ConfigError, match="has no exact effects: it is no sum"):
        Explainer(plain, method="exact")
    with pytest.raises(ConfigError, match="has no gradients"):
        Explainer(with_model(Additive(), plain.bundle), method="gradients")
    with pytest.raises(BundleError, match="no background customers"):
        Explainer(Predictor(dataclasses.replace(plain.bundle, background=())))
    with pytest.raises(ConfigError, match=r"reasons.groups.G names 'tenur', .* did you mean 'tenure'"):
        explain(plain, TABLE[:1], wording={"groups": {"G": ["tenur"]}})
    with pytest.raises(ConfigError, match=r"names \{name\}; a template may hold label"):
        Wording(template="{name}")


def test_background_customers_are_made_up_or_rows_or_none():
    customers = made_prepared()
    rows = customers.rows("train")
    typed, label = customers.typed[rows], customers.label[rows]
    profile = made_bundle(customers).profile
    drawn = background_rows("rows", profile, customers.schema, typed, label)
    assert len(drawn) == 100 and "customer" not in drawn[0] and "churn" not in drawn[0]
    known = {(row["tenure"], row["charges"], row["plan"], row["region"]) for row in typed.to_dicts()}
    assert all((row["tenure"], row["charges"], row["plan"], row["region"]) in known for row in drawn)
    made = background_rows("made", profile, customers.schema, typed, label)
    assert sum((row["tenure"], row["charges"], row["plan"], row["region"]) in known for row in made) < 5
    assert background_rows("none", profile, customers.schema, typed, label) == []
    bundle = dataclasses.replace(made_bundle(customers, network=TINY_MLP), background=drawn)
    assert len(Explainer(Predictor(bundle)).background) == 100


def test_a_file_is_explained_from_the_command_line(plain, tmp_path, monkeypatch, capsys):
    from churnlib.bundle import write_bundle

    monkeypatch.chdir(tmp_path)
    write_bundle(plain.bundle, tmp_path / "bundle")
    TABLE.write_parquet("customers.parquet")
    words = ["bundle=bundle", "input=customers.parquet", "top=2", "batch_rows=25"]
    assert explain_main([*words, "output=reasons.parquet"]) == 0, capsys.readouterr()
    said = pl.read_parquet("reasons.parquet")
    wanted = explain(plain, TABLE, top=2)
    assert said["customer_id"].to_list() == TABLE["customer"].to_list()
    assert [[r["feature"] for r in reasons] for reasons in said["reasons"]] == [
        [r["feature"] for r in reasons] for reasons in wanted["reasons"]
    ]
    assert explain_main([*words, "output=reasons.csv", "reasons.min_effect=0.5"]) == 0
    cells = pl.read_csv("reasons.csv")
    assert cells["reason_1_feature"].to_list() == [
        next((r["feature"] for r in reasons if abs(r["effect"]) >= 0.5), None) for reasons in wanted["reasons"]
    ]
    assert explain_main([*words, "output=x.csv", "method=guess"]) == 1
    assert "method must be one of auto, gradients" in capsys.readouterr().err


def test_what_captum_says_of_a_network():
    """captum's IntegratedGradients of the same network, from one background customer, in 200 steps."""
    captum = pytest.importorskip("captum.attr")
    predictor = Predictor(made_bundle(network=TINY_MLP))
    background = TABLE[40:41]
    explainer = Explainer(predictor, method="gradients", background=background, samples=400)
    effects = explainer.effects(TABLE[:5])
    followed = explainer._model
    assert followed is not None
    encode = predictor.bundle.preparation.encode

    def inputs(table: pl.DataFrame) -> torch.Tensor:
        encoded: Encoded = encode(predictor.read(table).typed)
        return followed.inputs(encoded.numeric, encoded.codes)

    theirs = captum.IntegratedGradients(followed.logits).attribute(inputs(TABLE[:5]), inputs(background), n_steps=400)
    owner = explainer.mixer.owner[followed.owners]
    for place in range(len(effects.names)):
        wanted = predictor.bundle.calibration.terms(theirs[:, owner == place].sum(1).numpy())
        np.testing.assert_allclose(effects.values[:, place], wanted, atol=0.02)


def test_effects_are_those_of_shap(plain):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        import shap
    predictor = with_model(Additive(product=0.02), plain.bundle)  # at most pairs interact: sampled orders are exact
    explainer = Explainer(predictor, method="shapley")
    names, others = list(explainer.mixer.names), explainer.background.typed
    assert others is not None
    typed = predictor.read(TABLE[:3]).typed.select(names)
    pool = pl.concat([others.select(names), typed])

    def answer(cells: np.ndarray) -> np.ndarray:  # in place of each cell the row of the pool that it comes from
        rows = cells.astype(int)
        return predictor.logits(pl.DataFrame([pool[name].gather(rows[:, i]) for i, name in enumerate(names)]))

    n, k = len(others), len(names)
    kernel = shap.KernelExplainer(answer, np.tile(np.arange(n)[:, None], (1, k)))
    wanted = kernel.shap_values(np.tile(np.arange(n, n + 3)[:, None], (1, k)), nsamples=2**k, silent=True)
    np.testing.assert_allclose(explainer.effects(TABLE[:3]).values, wanted, atol=1e-5)
