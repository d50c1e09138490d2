"""A model explained on the whole: against functions whose answers are known by hand."""

from __future__ import annotations

import dataclasses
import json
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from made import TINY_MLP, made_bundle, made_customers, made_prepared
from sklearn.metrics import r2_score, roc_auc_score

from churnlib.calibration import UNCALIBRATED
from churnlib.commands.explain_model import main as explain_model_main
from churnlib.compose import compose
from churnlib.data.customers import prepare_customers
from churnlib.errors import ConfigError, DataError
from churnlib.explanation.effects import Explainer
from churnlib.explanation.mask_picture import WARNING, mask_picture
from churnlib.explanation.overall.accumulated import accumulated_effects
from churnlib.explanation.overall.agreement import between_members, between_methods, rank_correlation
from churnlib.explanation.overall.importance import mean_absolute_effects, permutation_importance
from churnlib.explanation.overall.interactions import strongest_interactions
from churnlib.explanation.overall.report import OverallOptions, explain_overall
from churnlib.explanation.overall.sample import HIDDEN, Sample
from churnlib.explanation.overall.surrogate import surrogate_tree
from churnlib.explanation.reasons import Speaker, explain
from churnlib.explanation.wording import Wording
from churnlib.models.ensemble import Ensemble, Member
from churnlib.models.fitted import Kept
from churnlib.predictor import Predictor
from churnlib.training.explained import run_options
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

N = 400
SMALL = OverallOptions(rows=200, explained=40, paired=100, repeats=2, replicates=40)


class Known:
    """0.1 times the first number, plus a step for the third category, plus a product of the first two numbers."""

    def __init__(self, product: float = 0.0, category: int = 0) -> None:
        self.product, self.category = product, category

    def logits(self, numeric: np.ndarray, codes: np.ndarray) -> np.ndarray:
        tenure, charges = np.nan_to_num(numeric[:, :2].astype(np.float64), nan=50.0).T
        return 0.1 * tenure + self.product * tenure * charges - 0.5 * (codes[:, self.category] == 3)

    def keep(self) -> Kept:
        raise NotImplementedError


def predictor_of(model: object, **options: Any) -> Predictor:
    bundle = made_bundle(made_prepared(N, **options), network=TINY_MLP)
    return Predictor(dataclasses.replace(bundle, model=model, calibration=UNCALIBRATED))  # type: ignore[arg-type]


def sample_of(
    predictor: Predictor, table: pl.DataFrame | None = None, *, label=None, wording=None, **options
) -> Sample:
    table = made_customers(N, seed=3) if table is None else table
    explainer = Explainer(predictor, **options)
    speaker = Speaker.of(predictor, explainer.mixer.names, wording or Wording(merge="none"))
    return Sample(explainer, speaker, explainer.mixer.customers(predictor.read(table).typed), label)


def labels(table: pl.DataFrame) -> np.ndarray:
    return (table["churn"] == "yes").cast(pl.Int64).to_numpy()


# --- importance -----------------------------------------------------------------------------------------------------


def test_permutation_importance_is_what_a_plain_loop_loses():
    predictor, table = predictor_of(Known()), made_customers(N, seed=3)
    y = labels(table)
    sample = sample_of(predictor, table, label=y)
    told = {line["column"]: line for line in permutation_importance(sample, repeats=40, replicates=20)}
    before, rng, after = predictor.probabilities(table), np.random.default_rng(5), []
    for _ in range(40):
        dealt = table.with_columns(tenure=table["tenure"].gather(rng.permutation(N)))
        after.append(predictor.probabilities(dealt))
    lost = roc_auc_score(y, before) - np.mean([roc_auc_score(y, one) for one in after])
    assert told["tenure"]["roc_auc"] == pytest.approx(lost, abs=0.02)
    paid = np.where(y == 1, 56.0, -11.0)
    money = [(paid * (one >= predictor.threshold)).mean() for one in (before, *after)]
    assert told["tenure"]["profit"] == pytest.approx(money[0] - np.mean(money[1:]), abs=0.5)
    for name in ("charges", "region", "paperless", "joined"):
        figures = [told[name][figure] for figure in ("roc_auc", "roc_auc_high", "profit", "log_loss")]
        np.testing.assert_allclose(figures, 0.0, atol=1e-9)


def test_columns_that_say_the_same_are_dealt_together():
    table = made_customers(N).with_columns(twin=pl.col("tenure"))
    customers = prepare_customers(table, target="churn", id="customer")

    class Either(Known):
        def logits(self, numeric, codes):
            return -0.1 * np.maximum(numeric[:, 0], numeric[:, -1]).astype(np.float64)

    bundle = made_bundle(customers, network=TINY_MLP)
    predictor = Predictor(dataclasses.replace(bundle, model=Either(), calibration=UNCALIBRATED))  # type: ignore[arg-type]
    alone = sample_of(predictor, table, label=labels(table))
    pair = sample_of(predictor, table, label=labels(table), wording=Wording(groups={"Time": ["tenure", "twin"]}))
    each = {line["column"]: line["roc_auc"] for line in permutation_importance(alone, replicates=20)}
    both = {line["column"]: line["roc_auc"] for line in permutation_importance(pair, replicates=20)}
    assert both["Time"] > each["tenure"] + each["twin"]
    assert both["Time"] == pytest.approx(roc_auc_score(labels(table), -table["tenure"].to_numpy()) - 0.5, abs=0.05)


def test_mean_absolute_effects_are_those_of_the_customers_one_by_one():
    sample = sample_of(predictor_of(Known()), pairs=4)
    told = {line["column"]: line for line in mean_absolute_effects(sample, n=30, replicates=20)}
    values = sample.explainer.of_customers(sample.take(30).customers).values
    place = sample.explainer.mixer.names.index("tenure")
    assert told["tenure"]["effect"] == pytest.approx(np.abs(values[:, place]).mean())
    assert told["tenure"]["direction"] == pytest.approx(values[:, place].mean())
    assert told["tenure"]["effect_low"] <= told["tenure"]["effect"] <= told["tenure"]["effect_high"]


def test_one_class_leaves_the_roc_auc_empty():
    sample = sample_of(predictor_of(Known()), label=np.zeros(N, dtype=np.int64))
    (first, *_) = permutation_importance(sample, repeats=1, replicates=20)
    assert first["roc_auc"] is None and first["roc_auc_low"] is None and first["log_loss"] is not None


# --- curves ---------------------------------------------------------------------------------------------------------


def test_the_curve_of_a_straight_line_is_that_line_about_its_mean():
    sample = sample_of(predictor_of(Known()))
    curve = accumulated_effects(sample, "tenure", cells=10, replicates=20)
    assert curve is not None
    value, effect, n = (np.array([point[name] for point in curve], dtype=float) for name in ("value", "effect", "n"))
    np.testing.assert_allclose(effect - effect[0], 0.1 * (value - value[0]), atol=1e-5)
    assert n.sum() == N and n[0] == 0 and abs((effect[:-1] + effect[1:]) / 2 @ n[1:]) < 1e-6
    assert all(point["low"] - 1e-9 <= point["effect"] <= point["high"] + 1e-9 for point in curve)
    flat = accumulated_effects(sample, "charges", replicates=20)
    assert flat is not None and max(abs(point["effect"]) for point in flat) < 1e-9


def test_an_interaction_counts_inside_the_cells_as_a_plain_restatement_says():
    sample = sample_of(predictor_of(Known(product=0.001)))
    curve = accumulated_effects(sample, "charges", cells=5, replicates=20)
    assert curve is not None
    typed = sample.typed.filter(pl.col("charges").is_not_null())
    charges, tenure = typed["charges"].to_numpy(), typed["tenure"].to_numpy()
    edges = np.array([point["value"] for point in curve])
    steps = [0.0]
    for low, high in pairwise(edges.tolist()):
        inside = (charges > low) & (charges <= high) | ((low == edges[0]) & (charges == low))
        steps.append((0.001 * tenure[inside] * (high - low)).mean())
    found = np.array([point["effect"] for point in curve])
    np.testing.assert_allclose(found - found[0], np.cumsum(steps), atol=1e-5)


def test_values_of_a_category_differ_by_what_the_model_adds():
    predictor = predictor_of(Known())
    values = predictor.bundle.preparation.categorical[0]
    sample = sample_of(predictor)
    curve = accumulated_effects(sample, values.name, replicates=20)
    assert curve is not None and sum(point["n"] for point in curve) == N
    effect = {point["value"]: point["effect"] for point in curve}
    # One value of three costs 0.5, wherever it stands in the order.
    others = sorted(effect.values())
    assert len(others) == 3 and others[2] == pytest.approx(others[1], abs=1e-6)
    assert others[1] - others[0] == pytest.approx(0.5, abs=1e-6)
    dates = accumulated_effects(sample, "joined", cells=4, replicates=20)
    assert dates is not None and dates[0]["value"].startswith("2020-")


def test_a_column_with_one_value_has_no_curve():
    table = made_customers(N, seed=3).with_columns(charges=pl.lit(None, dtype=pl.Float64), tenure=pl.lit(3))
    sample = sample_of(predictor_of(Known()), table)
    assert accumulated_effects(sample, "charges") is None and accumulated_effects(sample, "tenure") is None


# --- interactions ---------------------------------------------------------------------------------------------------


def test_a_product_interacts_by_the_spread_of_its_factors_and_a_sum_does_not():
    table = made_customers(1_000, seed=3).with_columns(pl.col("charges").fill_null(50.0))
    names = ["tenure", "charges", "plan", "region"]
    sample = sample_of(predictor_of(Known(product=0.001)), table)
    (first, *others) = strongest_interactions(sample, columns=names, n=1_000, replicates=50)
    assert first["columns"] == ["tenure", "charges"]
    spread = 0.001 * table["tenure"].std() * table["charges"].std()  # type: ignore[operator]
    assert first["strength"] == pytest.approx(spread, rel=0.1)
    assert first["strength_low"] < spread < first["strength_high"]
    assert first["share"] == pytest.approx(first["strength"] ** 2 / sample.log_odds.var(), rel=1e-6)
    assert max(line["strength"] for line in others) < 1e-6


# --- the tree -------------------------------------------------------------------------------------------------------


def test_the_tree_tells_how_well_it_follows_and_its_rules_hold():
    table = made_customers(N, seed=3)
    sample = sample_of(predictor_of(Known()), table, label=labels(table))
    told = surrogate_tree(sample, depth=3)
    assert 0.9 < told["r2"] <= 1.0 and told["agreement"] > 0.85 and told["n"] == N // 2
    assert sum(leaf["share"] for leaf in told["leaves"]) == pytest.approx(1.0)
    said = np.full(N, np.nan)
    for leaf in told["leaves"]:
        inside = np.ones(N, dtype=bool)
        for condition in leaf["rule"]:
            name, sign, limit = condition.split(" ")
            assert name == "tenure"
            below = table[name].to_numpy() <= float(limit)
            inside &= below if sign == "<=" else ~below
        assert inside.sum() == leaf["n"] >= 20
        assert leaf["log_odds"] == pytest.approx(sample.log_odds[inside].mean())
        said[inside] = leaf["log_odds"]
    assert r2_score(sample.log_odds, said) == pytest.approx(told["r2"], abs=0.05)


def test_gaps_are_told_and_few_customers_make_no_tree():
    class Gap(Known):
        def logits(self, numeric, codes):
            return np.where(np.isnan(numeric[:, 1]), 2.0, -1.0 + 0.01 * np.nan_to_num(numeric[:, 1])).astype(np.float64)

    sample = sample_of(predictor_of(Gap()))
    rules = " ".join(condition for leaf in surrogate_tree(sample)["leaves"] for condition in leaf["rule"])
    assert "charges" in rules and "or missing" in rules
    with pytest.raises(DataError, match="too few for a tree"):
        surrogate_tree(sample.take(50))


# --- agreement ------------------------------------------------------------------------------------------------------


def test_agreement_is_the_rank_correlation_of_what_both_know():
    found = between_methods({"a": {"x": 3, "y": 2, "z": 1}, "b": {"x": 30, "y": 20, "z": 10, "u": 1}, "c": {"x": 1}})
    assert [line["rank_correlation"] for line in found] == [1.0, None, None] and found[0]["columns"] == 3
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == -1.0


def test_members_of_an_ensemble_are_asked_one_by_one():
    same, other = Member(Known()), Member(Known(product=-0.05))  # type: ignore[arg-type]
    for members, least, most in (((same, same), 1.0, 1.0), ((same, other), -1.0, 0.99)):
        predictor = predictor_of(Ensemble((members,), weights=(1.0,), shift=(0.0,)))
        found = between_members(sample_of(predictor, pairs=4), n=10)
        assert found is not None and found["members"] == 2
        assert found["rank_correlation"] is not None and least <= found["rank_correlation"] <= most
    assert between_members(sample_of(predictor_of(Known()))) is None


# --- a local line ---------------------------------------------------------------------------------------------------


def test_a_local_line_is_exact_of_a_sum_and_says_so_where_it_is_not():
    predictor, table = predictor_of(Known()), made_customers(20, seed=3)
    effects = Explainer(predictor, method="linear").effects(table)
    assert effects.fidelity is not None and effects.fidelity.min() > 0.99
    exact = Explainer(predictor, method="shapley").effects(table)  # of the same background customers
    np.testing.assert_allclose(effects.values, exact.values, atol=0.1)
    bent = Explainer(predictor_of(Known(product=0.02)), method="linear").effects(table)
    assert bent.fidelity is not None and bent.fidelity.mean() < 0.98 < effects.fidelity.mean()
    said = explain(predictor, table, method="linear")
    np.testing.assert_allclose(said["fidelity"].to_numpy(), effects.fidelity)
    assert set(said["method"]) == {"linear"} and "fidelity" not in explain(predictor, table).columns
    alone = Explainer(predictor, method="linear").effects(table[3:4])
    np.testing.assert_allclose(alone.values[0], effects.values[3], atol=1e-9)


def test_a_local_line_is_that_of_scikit_learns_weighted_ridge():
    from sklearn.linear_model import Ridge

    from churnlib.explanation.local_linear import draw_neighbours, linear_effects

    predictor = predictor_of(Known(product=0.01))
    explainer = Explainer(predictor)
    customers = explainer.mixer.customers(predictor.read(made_customers(3, seed=3)).typed)
    near = draw_neighbours(300, len(explainer.mixer.names), np.array([1, 4]), np.random.default_rng(0))
    lines = linear_effects(
        lambda encoded, whose: explainer.log_odds(encoded), explainer.mixer, customers, explainer.background, near,
        resamples=2, seed=0,
    )  # fmt: skip
    for row in range(3):
        one, weight = customers.take(np.full(300, row)), near.weight * 300 / near.weight.sum()
        filled = [explainer.background.take(np.full(300, place)) for place in (1, 4)]
        answers = np.mean([explainer.log_odds(explainer.mixer.mix(one, other, near.kept)) for other in filled], axis=0)
        fitted = Ridge(alpha=1.0).fit(near.kept, answers, sample_weight=weight)
        np.testing.assert_allclose(lines.values[row], fitted.coef_, atol=1e-8)
        assert lines.base[row] == pytest.approx(fitted.intercept_)
        assert lines.fidelity[row] == pytest.approx(fitted.score(near.kept, answers, sample_weight=weight))


# --- together -------------------------------------------------------------------------------------------------------


def test_a_sensitive_column_is_flagged_and_never_named():
    options = {"columns": {"tenure": {"sensitive": True, "use": True}}}
    table = made_customers(200, seed=3)
    explainer = Explainer(predictor_of(Known(), **options), pairs=4)
    found = explainer.global_explanation(table, 1 - labels(table), options=SMALL)
    assert found.sensitive == {"columns": 1, "among_top": True}
    assert found.importance[0]["column"] == HIDDEN and found.importance[0]["direction"] is None
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert "tenure" not in text
    assert all("tenure" not in str(part.to_dicts()) for part in found.tables().values())


def test_of_several_classes_one_is_explained():
    table = made_customers(300).with_columns(
        churn=pl.when(pl.col("tenure") > 50).then(pl.lit("sleeps")).otherwise(pl.col("churn"))
    )
    customers = prepare_customers(table, target="churn", id="customer")
    explainer = Explainer(Predictor(made_bundle(customers, network=TINY_MLP)), samples=20)
    found = explain_overall(explainer, table, customers.label, target="sleeps", options=SMALL)
    assert found.about["target"] == "sleeps" and "roc_auc" not in found.importance[0]
    assert found.importance[0]["log_loss"] is not None and found.tables()["importance"]["roc_auc"].is_null().all()
    with pytest.raises(ConfigError, match="is no class"):
        explain_overall(explainer, table, options=SMALL)


def test_masks_are_a_picture_with_its_warning_and_without_sensitive_names():
    predictor = Predictor(made_bundle())
    drawn = mask_picture(predictor.masks(made_customers(30)), hidden={"region"}, most=3)
    root = ElementTree.fromstring(drawn)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert WARNING in texts and "region" not in texts and "other columns" in texts
    assert len([text for text in texts if text.endswith("%")]) == 4 * 3  # two steps and their sum, four lines
    together = [float(text.rstrip("%")) for text in texts if text.endswith("%")][2::3]
    assert sum(together) == pytest.approx(100.0, abs=0.3)


def test_a_run_is_explained_on_its_test_rows(tmp_path, capsys):
    path = tmp_path / "customers.parquet"
    made_customers(600).write_parquet(path)
    words = [
        "data=table",
        f"data.path={path}",
        "data.target=churn",
        "data.id=customer",
        "model=logistic",
        "logger=none",
    ]
    train(compose([*words, "seed=3"]), folder=RunFolder(tmp_path / "run", latest=None))
    options = run_options(tmp_path / "run")
    assert (options.seed, options.data.target, options.money.value) == (3, "churn", 200)
    few = ["explained=20", "paired=30", "repeats=1", "replicates=20"]
    assert explain_model_main([f"run={tmp_path / 'run'}", *few]) == 0
    assert "What the model goes by" in capsys.readouterr().out
    folder = tmp_path / "run" / "explanation"
    assert {one.name for one in folder.iterdir()} == {
        "global.json", "importance.parquet", "curves.parquet", "interactions.parquet",
    }  # fmt: skip
    told = json.loads((folder / "global.json").read_text())
    assert told["about"]["rows"] == 90 and told["importance"][0]["column"] == "tenure"
    made_customers(600, seed=1).write_parquet(path)
    assert explain_model_main([f"run={tmp_path / 'run'}", *few]) == 1
    assert "no longer the one" in capsys.readouterr().err
    assert explain_model_main([f"run={tmp_path / 'nothing'}"]) == 1
    assert "holds no finished run" in capsys.readouterr().err
