"""Groups of customers compared: against plain restatements and cases solved by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from made import made_customers
from scipy.optimize import minimize
from scipy.stats import binomtest
from sklearn import metrics as sk

from churnlib.compose import compose
from churnlib.errors import ConfigError
from churnlib.evaluation.fairness.compare import HeldOut, compare_classes, compare_groups
from churnlib.evaluation.fairness.equalised import equalised_thresholds
from churnlib.evaluation.fairness.figures import Figure, Judged, difference, figures_of, quotient
from churnlib.evaluation.fairness.groups import NOBODY, Grouping, groups_of
from churnlib.evaluation.fairness.tables import fairness_lines, fairness_table
from churnlib.evaluation.intervals import wilson_interval
from churnlib.evaluation.profit.campaign import Campaign
from churnlib.schema import Column, Kind
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train
from scripts.made_lifetimes import made_lifetimes


def drawn(n: int = 3_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and a group each; in group b everything is said too high."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    logit = rng.normal(-1, 1.2, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    return label, 1 / (1 + np.exp(-logit - 0.7 * (group == "b"))), group


def test_figures_are_those_of_a_plain_restatement():
    label, probability, group = drawn()
    report = compare_groups(label, probability, [groups_of("group", group)], threshold=0.4, replicates=100)
    (column,) = report.columns
    assert [one.label for one in column.groups] == ["a", "b", "c"]
    for one in column.groups:
        rows = group == one.label
        y, p = label[rows], probability[rows]
        d = (p >= 0.4).astype(int)
        tn, fp, fn, tp = sk.confusion_matrix(y, d).ravel()
        money = Campaign()
        paid = np.where(y == 1, 0.3 * (money.value - money.offer_cost) - 1.0, -money.offer_cost - 1.0)
        wanted = {
            "base_rate": y.mean(), "selection_rate": d.mean(), "tpr": tp / (tp + fn), "fpr": fp / (fp + tn),
            "precision": sk.precision_score(y, d), "mean_probability": p.mean(), "calibration_gap": (p - y).mean(),
            "profit": (paid * d).mean(), "roc_auc": sk.roc_auc_score(y, p),
        }  # fmt: skip
        assert (one.n, one.positives) == (rows.sum(), y.sum())
        for name, value in wanted.items():
            assert one.figures[name].value == pytest.approx(value, abs=1e-9), name
        low, high = binomtest(int(tp), int(tp + fn)).proportion_ci(method="wilson")
        assert one.figures["tpr"][1:] == pytest.approx((low, high), abs=1e-9)
    b = column.groups[1]
    assert b.against == "a" and (b.differences["calibration_gap"].low or 0.0) > 0.05  # said too high, beyond doubt
    apart = column.spread("selection_rate")
    rates = [(probability[group == name] >= 0.4).mean() for name in "abc"]
    assert apart["difference"] == pytest.approx(max(rates) - min(rates))
    assert apart["ratio"] == pytest.approx(min(rates) / max(rates))


def test_each_groups_calibration_error_has_an_interval_and_stands_beside_what_luck_gives():
    label, probability, group = drawn()
    report = compare_groups(label, probability, [groups_of("group", group)], threshold=0.4, replicates=300)
    a, b, c = report.columns[0].groups
    for one in (a, b, c):
        y, p = label[group == one.label], probability[group == one.label]
        order = np.argsort(-p)
        bins = [(y[part].sum() - p[part].sum()) for part in in_bins(order)]
        error = one.figures["ece"]
        assert error.value == pytest.approx(np.abs(bins).sum() / len(y))
        assert error.low is not None and error.high is not None and error.low < error.value < error.high + 1e-9
        luck = [np.abs([(rng_y - p[part]).sum() for part, rng_y in zip(parts, splits, strict=True)]).sum() / len(y)
                for parts, splits in _lucky(p, order, draws=200)]  # fmt: skip
        assert one.noise_floor.mean == pytest.approx(np.mean(luck), rel=0.1)
        assert one.noise_floor.high == pytest.approx(np.quantile(luck, 0.95), rel=0.2)
    assert b.figures["ece"].value > b.noise_floor.high and c.noise_floor.mean > 1.8 * a.noise_floor.mean
    assert "ece" not in b.differences and "ece" not in report.to_dict()["columns"][0]["spread"]
    table = report.table().filter(group="b", figure="ece_noise_floor")
    assert table.select("value", "low", "high").row(0) == (b.noise_floor.mean, None, b.noise_floor.high)
    said = [line for line in fairness_lines(report) if "on average" in line]
    assert len(said) == 1 and "'b' are off by" in said[0]


def in_bins(order):
    return np.split(order, [len(order) * place // 15 for place in range(1, 15)])


def _lucky(p, order, *, draws):
    """Labels drawn as the probabilities say, bin by bin."""
    rng, parts = np.random.default_rng(5), in_bins(order)
    for _ in range(draws):
        y = rng.random(len(p)) < p
        yield parts, [y[part] for part in parts]


def test_each_of_several_classes_is_taken_against_the_rest():
    rng = np.random.default_rng(2)
    label, probability, group = rng.integers(0, 3, 900), rng.dirichlet([1, 2, 3], 900), rng.choice(["a", "b"], 900)
    groups, names = [groups_of("group", group)], ["down", "stay", "up"]
    report = compare_classes(label, probability, groups, classes=names, replicates=100)
    assert [(column.column, column.of_class) for column in report.columns] == [("group", name) for name in names]
    assert report.threshold is None and report.to_dict()["columns"][2]["class"] == "up"
    given = probability.argmax(axis=1)
    for place, column in enumerate(report.columns):
        # Of who has the largest probability, as a threshold of two classes would decide it.
        alone = np.where(given == place, 0.5 + probability[:, place] / 2, probability[:, place] / 2)
        two = compare_groups(label == place, alone, groups, threshold=0.5, replicates=100).columns[0]
        for one, other in zip(column.groups, two.groups, strict=True):
            for name in ("base_rate", "selection_rate", "tpr", "fpr", "precision"):
                assert one.figures[name] == other.figures[name]
                assert one.differences.get(name) == other.differences.get(name)
            rows = group == one.label
            assert one.figures["mean_probability"].value == pytest.approx(probability[rows, place].mean())
            assert one.figures["roc_auc"].value == pytest.approx(
                sk.roc_auc_score(label[rows] == place, probability[rows, place])
            )
            assert one.figures["profit"] == Figure() and not column.equalised
    assert report.table().filter(pl.col("class") == "down").height == len(report.table()) // 3
    assert len(list(fairness_lines(report))) >= 1 and fairness_table(report).row_count == 6


def test_the_slope_has_the_interval_of_its_likelihood():
    label, probability, _ = drawn(800)
    logit = np.log(probability / (1 - probability))

    def loss(line: np.ndarray) -> float:
        value = line[0] + line[1] * logit
        return float(np.logaddexp(0, value).sum() - label @ value)

    best = minimize(loss, [0.0, 1.0], method="BFGS", options={"gtol": 1e-6}).x
    step = 1e-3
    curve = np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        e, f = np.eye(2)[i] * step, np.eye(2)[j] * step
        curve[i, j] = (loss(best + e + f) - loss(best + e - f) - loss(best - e + f) + loss(best - e - f)) / (
            4 * step**2
        )
    half = 1.959964 * math.sqrt(np.linalg.inv(curve)[1, 1])
    slope = figures_of(judged(label, probability))["calibration_slope"]
    assert tuple(slope) == pytest.approx((best[1], best[1] - half, best[1] + half), abs=1e-3)


def judged(label, probability, *, threshold: float = 0.4, customers=None) -> Judged:
    label, probability = np.asarray(label), np.asarray(probability, dtype=np.float64)
    decision = (probability >= threshold).astype(np.int64)
    return Judged(label, probability, decision, np.where(label == 1, 5.0, -1.0), customers)


def test_differences_are_newcombes_and_ratios_like_katz():
    # Newcombe 1998, Statistics in Medicine 17, 873-890, table II (a), method 10: 56 of 70 against 48 of 80.
    one, other = (Figure(k / n, *map(float, wilson_interval(k, n))) for k, n in ((56, 70), (48, 80)))
    assert tuple(difference(one, other)) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    # With many rows the interval on the logarithms is that of Katz et al. 1978.
    many = [Figure(k / n, *map(float, wilson_interval(k, n))) for k, n in ((5_600, 70_000), (4_800, 80_000))]
    half = 1.959964 * math.sqrt(1 / 5_600 - 1 / 70_000 + 1 / 4_800 - 1 / 80_000)
    ratio = 5_600 / 70_000 / (4_800 / 80_000)
    assert tuple(quotient(*many)) == pytest.approx((ratio, ratio * math.exp(-half), ratio * math.exp(half)), rel=2e-4)
    nothing = Figure(0.0, *map(float, wilson_interval(0, 50)))
    assert quotient(nothing, other)[:2] == (0.0, 0.0) and (quotient(nothing, other).high or 0.0) > 0
    assert quotient(other, nothing) == Figure() and difference(Figure(), one) == Figure()


def wide(figure: Figure) -> float:
    assert figure.low is not None and figure.high is not None
    return figure.high - figure.low


def test_rows_of_the_same_customer_count_as_one():
    label, probability, _ = drawn(600)
    twice = (np.repeat(label, 2), np.repeat(probability, 2))
    alone = figures_of(judged(label, probability))
    together = figures_of(judged(*twice, customers=np.repeat(np.arange(600), 2)), replicates=400)
    for name in ("base_rate", "tpr", "precision", "calibration_gap", "profit", "calibration_slope", "roc_auc"):
        assert together[name].value == pytest.approx(alone[name].value, abs=1e-6)
        assert wide(together[name]) == pytest.approx(wide(alone[name]), rel=0.25), name  # not 0.7 of it


def test_against_the_rest_and_in_any_order_of_rows():
    label, probability, group = drawn(1_200)
    options = {"threshold": 0.3, "against": "rest", "replicates": 50}
    found = compare_groups(label, probability, [groups_of("group", group)], **options).table()
    order = np.random.default_rng(1).permutation(len(label))
    again = compare_groups(label[order], probability[order], [groups_of("group", group[order])], **options).table()
    key = ["group", "figure"]
    for name in ("value", "low", "high", "difference", "difference_low", "ratio_high"):
        np.testing.assert_allclose(found.sort(key)[name].to_numpy(), again.sort(key)[name].to_numpy(), atol=1e-9)
    assert set(found["against"]) == {"rest"}
    rest = (probability[group != "c"] >= 0.3).mean()
    told = found.filter(group="c", figure="selection_rate")
    assert told["value"][0] - told["difference"][0] == pytest.approx(rest)


# --- groups ---------------------------------------------------------------------------------------------------------


def test_a_group_with_two_members_is_left_out_and_said_so():
    group = ["a"] * 100 + ["b"] * 80 + ["x"] * 2
    label, probability = np.tile([0, 1], 91), np.tile([0.2, 0.6], 91)
    report = compare_groups(label, probability, [groups_of("g", group)], threshold=0.5, replicates=20)
    (column,) = report.columns
    assert [one.label for one in column.groups] == ["a", "b"]
    assert (column.left_out, column.n_left_out, column.merged) == (("x",), 2, ())
    assert any("'x' left out" in line and "(2 rows)" in line for line in fairness_lines(report))
    many = [f"rare {i}" for i in range(30)]
    found = groups_of("g", group[:180] + many * 2)
    assert found.labels == ("a", "b", "other") and len(found.merged) == 30 and found.counts().tolist() == [100, 80, 60]


def test_numbers_are_cut_into_ranges_and_other_rows_fall_into_them():
    rng = np.random.default_rng(0)
    age = pl.Series("age", rng.integers(18, 90, 1_000).astype(float))
    learned = Grouping.learn(age, Column("age", Kind.numeric))
    assert 4 <= len(learned.groups.labels) <= 6 and learned.groups.counts().min() >= 50
    assert learned.groups.labels[0].startswith("under ") and learned.groups.labels[-1].endswith(" or more")
    assert learned.codes(pl.Series("age", [-5.0, 300.0, None])).tolist() == [0, len(learned.groups.labels) - 1, NOBODY]
    np.testing.assert_array_equal(learned.codes(age), learned.groups.codes)
    some = age.to_list()[:900] + [None] * 100
    assert Grouping.learn(pl.Series("age", some), Column("age", Kind.numeric)).groups.labels[-1] == "missing"


@pytest.mark.parametrize("kind", [Kind.numeric, Kind.categorical, Kind.datetime])
def test_a_column_without_values_has_one_group_and_nothing_to_compare(kind):
    dtype = {Kind.numeric: pl.Float64, Kind.categorical: pl.String, Kind.datetime: pl.Datetime("us")}[kind]
    learned = Grouping.learn(pl.Series("g", [None] * 120, dtype=dtype), Column("g", kind))
    assert learned.groups.labels == ("missing",) and not learned.groups.codes.any()
    label, probability = np.tile([0, 1], 60), np.linspace(0, 1, 120)
    report = compare_groups(label, probability, [learned.groups], threshold=0.5, replicates=20)
    assert report.columns[0].groups[0].against is None and not report.columns[0].equalised
    assert any("nothing can be compared" in line for line in fairness_lines(report))
    assert fairness_table(report).row_count == 1


def test_one_class_in_a_group_leaves_what_it_does_not_have_empty():
    group = ["a"] * 100 + ["stays"] * 60
    label = np.append(np.tile([0, 1], 50), np.zeros(60, dtype=int))
    probability = np.append(np.tile([0.2, 0.7], 50), np.full(60, 0.1))
    report = compare_groups(label, probability, [groups_of("g", group)], threshold=0.5, replicates=20)
    stays = report.columns[0].groups[1]
    for name in ("tpr", "precision", "roc_auc", "calibration_slope"):
        assert stays.figures[name] == Figure() and stays.differences[name] == Figure()
    assert stays.figures["base_rate"].value == 0.0 and wide(stays.figures["base_rate"]) > 0.04
    json.dumps(report.to_dict(), allow_nan=False)
    fairness_table(report)


def test_ties_everywhere_give_figures_and_the_best_threshold_there_is():
    group, label = ["a", "b"] * 60, np.tile([0, 1, 1, 0], 30)
    codes = groups_of("g", group)
    held_out = HeldOut(label, np.full(120, 0.5), [codes.codes])
    report = compare_groups(label, np.full(120, 0.5), [codes], threshold=0.5, held_out=held_out, replicates=20)
    for one in report.columns[0].groups:
        assert one.figures["selection_rate"].value == 1.0 and one.figures["roc_auc"].value == 0.5
        assert one.figures["calibration_slope"] == Figure()
    for found in report.columns[0].equalised.values():
        assert found["changed"] == 0.0 and found["f1"]["difference"] == 0.0


# --- equal treatment ------------------------------------------------------------------------------------------------


def test_thresholds_by_group_make_equal_what_they_should_at_a_cost_that_is_counted():
    label, probability, group = drawn(6_000)
    aside = drawn(6_000, seed=1)
    groups, others = groups_of("group", group), groups_of("group", aside[2])
    held_out = HeldOut(aside[0], aside[1], [others.codes])
    report = compare_groups(label, probability, [groups], threshold=0.4, held_out=held_out, replicates=200)
    for aim, found in report.columns[0].equalised.items():
        before, after = (abs(found[when]["a"] - found[when]["b"]) for when in ("before", "after"))
        assert after < 0.06 < 0.15 < before  # the third group is small, and left to luck
        own = np.array([found["thresholds"][name] for name in group])
        decision = probability >= own
        for when, decided in (("before", probability >= 0.4), ("after", decision)):
            assert found["f1"][when] == pytest.approx(sk.f1_score(label, decided))
        chosen = decision[(group == "b") & ((label == 1) | (aim != "tpr"))]
        assert found["after"]["b"] == pytest.approx(chosen.mean())
        assert found["changed"] == pytest.approx((decision != (probability >= 0.4)).mean())
        assert found["f1"]["low"] <= found["f1"]["difference"] <= found["f1"]["high"]


def test_factors_by_group_on_thresholds_of_their_own_make_equal_what_they_should():
    label, probability, group = drawn(6_000)
    aside, rng = drawn(6_000, seed=1), np.random.default_rng(2)
    own, theirs = (rng.choice([0.1, 0.3, 0.6, np.inf], 6_000) for _ in range(2))
    groups, others = groups_of("group", group), groups_of("group", aside[2])
    held_out = HeldOut(aside[0], aside[1], [others.codes], theirs)
    report = compare_groups(label, probability, [groups], threshold=own, held_out=held_out, replicates=50)
    column = report.columns[0]
    for one in column.groups:
        rows = group == one.label
        assert one.figures["selection_rate"].value == pytest.approx((probability >= own)[rows].mean())
    for aim, found in column.equalised.items():
        assert abs(found["after"]["a"] - found["after"]["b"]) < 0.05 < abs(found["before"]["a"] - found["before"]["b"])
        decision = probability >= own * np.array([found["factors"][name] for name in group])
        assert found["changed"] == pytest.approx((decision != (probability >= own)).mean())
        assert found["f1"]["after"] == pytest.approx(sk.f1_score(label, decision))
        assert not decision[np.isinf(own)].any(), aim  # whom it never pays to keep is left alone
    assert "a factor for each group on customers' own thresholds" in "".join(fairness_lines(report))
    with pytest.raises(ValueError, match="held_out needs those of its rows"):
        compare_groups(label, probability, [groups], threshold=own, held_out=HeldOut(*held_out[:3]))


def test_a_group_without_anyone_to_go_by_keeps_the_common_threshold():
    p = np.array([0.1, 0.6, 0.7, 0.2])
    found = equalised_thresholds(np.array([0, 1, 1, 0]), p, np.array([1, 0, 0, 1]), 3, threshold=0.5, aim="tpr")
    assert found.tolist() == [0.5, 0.5, 0.5]


# --- in a run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "customers.parquet"
    made_customers(1_000).with_columns(age=pl.col("tenure") + 18).write_parquet(path)
    return path


def words(table, *more: str) -> list[str]:
    return [
        "data=table", f"data.path={table}", "data.target=churn", "data.id=customer", "model=logistic", "logger=none",
        "fairness.min_group=20", *more,
    ]  # fmt: skip


def test_a_run_compares_groups_of_columns_that_its_model_does_not_read(table, tmp_path):
    more = ("+data.columns.plan.sensitive=true", "+data.columns.age.role=ignored", "fairness.columns=[age,paperless]")
    result = train(compose(words(table, *more)), folder=RunFolder(tmp_path / "run", latest=None))
    told = json.loads((result.folder / "fairness.json").read_text())
    assert [column["column"] for column in told["columns"]][:3] == ["plan", "age", "paperless"]
    assert [column["read_by_model"] for column in told["columns"]][:3] == [False, False, True]
    rows = pl.read_parquet(result.folder / "predictions.parquet").join(
        pl.read_parquet(table), left_on="customer_id", right_on="customer", how="left"
    )
    figures = pl.read_parquet(result.folder / "fairness.parquet")
    for (plan,), part in rows.group_by("plan"):
        found = {
            name: figures.filter(column="plan", group=plan, figure=name)["value"][0]
            for name in ("base_rate", "selection_rate", "calibration_gap")
        }
        assert found["base_rate"] == pytest.approx(part["label"].mean())
        assert found["selection_rate"] == pytest.approx(part["churn_prediction"].mean())
        assert found["calibration_gap"] == pytest.approx((part["churn_probability"] - part["label"]).mean())
    assert told["columns"][0]["equalised"]["tpr"]["thresholds"].keys() == {"monthly", "yearly", "two years"}
    assert not list(result.folder.glob(".fairness*"))


def test_a_run_with_thresholds_by_value_compares_groups_by_these(table, tmp_path):
    more = ("+data.columns.plan.sensitive=true", "threshold=value", "money.column=tenure", "report=false")
    result = train(compose(words(table, *more)), folder=RunFolder(tmp_path / "run", latest=None))
    told = json.loads((result.folder / "fairness.json").read_text())
    rows = pl.read_parquet(result.folder / "predictions.parquet").join(
        pl.read_parquet(table), left_on="customer_id", right_on="customer", how="left"
    )
    selected = dict(rows.group_by("plan").agg(pl.col("churn_prediction").mean()).iter_rows())
    column = told["columns"][0]
    shares = {one["group"]: one["figures"]["selection_rate"]["value"] for one in column["groups"]}
    assert shares == pytest.approx(selected)
    common = rows.filter(pl.col("churn_probability") >= result.metrics["test"]["threshold"])
    assert len(common) != rows["churn_prediction"].sum()  # one threshold for all would select others
    assert column["equalised"]["tpr"]["before"].keys() == column["equalised"]["tpr"]["factors"].keys()


def test_a_run_of_several_classes_compares_each_of_them(table, tmp_path):
    three = pl.read_parquet(table).with_columns(churn=pl.Series(["down", "stay", "up"])[np.arange(1_000) % 3])
    three.write_parquet(tmp_path / "three.parquet")
    more = words(tmp_path / "three.parquet", "fairness.columns=[paperless]", "report=false")
    told = json.loads(
        (train(compose(more), folder=RunFolder(tmp_path / "run", latest=None)).folder / "fairness.json").read_text()
    )
    assert {(column["column"], column["class"]) for column in told["columns"]} == {
        ("paperless", "down"), ("paperless", "stay"), ("paperless", "up")
    }  # fmt: skip


def test_a_run_of_lifetimes_compares_who_left_within_the_horizon(tmp_path):
    made_lifetimes(400).write_parquet(tmp_path / "lifetimes.parquet")
    config = compose([
        "data=table", f"data.path={tmp_path / 'lifetimes.parquet'}", "data.target=left", "data.id=customer",
        "data.drop=[joined,last_seen]", "task=hazard", "task.duration=months", "model=mlp_plain", "leaks=off",
        "model.hidden_sizes=[4]", "trainer.progress=false", "logger=none", "fairness.columns=[plan]", "report=false",
        "fairness.min_group=10", "trainer.max_epochs=1",
    ])  # fmt: skip
    result = train(config, folder=RunFolder(tmp_path / "run", latest=None))
    told = json.loads((result.folder / "fairness.json").read_text())
    assert told["n"] == result.metrics["test"]["n"] and told["n"] < result.metrics["test"]["survival"]["n"]
    left = sum(group["positives"] for group in told["columns"][0]["groups"])
    assert left == result.metrics["test"]["positives"]


def test_a_run_without_sensitive_columns_writes_nothing_and_a_wrong_name_stops_it(table, tmp_path):
    result = train(compose(words(table, "report=false")), folder=RunFolder(tmp_path / "run", latest=None))
    assert not list(result.folder.glob("fairness*"))
    for column, said in (("agee", "'age'"), ("customer", "names customers"), ("churn", "says who left")):
        with pytest.raises(ConfigError, match=said):
            train(compose(words(table, f"fairness.columns=[{column}]")), folder=RunFolder(tmp_path / "no", latest=None))
    assert not (tmp_path / "no").exists()
    with pytest.raises(ConfigError, match="min_group"):
        compose(words(table, "fairness.min_group=2"))
