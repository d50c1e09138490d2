"""Runs with task=hazard, from the options to answers: curves are found again, and every door gives the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from made import TINY_TABNET, made_bundle

import churnlib
from churnlib.bundle import FORMAT_VERSION, write_bundle
from churnlib.cli import main
from churnlib.compose import compose
from churnlib.config import ScoreConfig
from churnlib.data.customers import prepare_customers
from churnlib.data.lifetimes import LifetimeSpec
from churnlib.errors import ConfigError, DataError, RowErrors
from churnlib.evaluation.report.files import read_document
from churnlib.evaluation.survival import KaplanMeier
from churnlib.evaluation.survival_ranking import concordance
from churnlib.explanation.effects import Explainer
from churnlib.models.hazards import log_odds_within
from churnlib.models.module import ChurnModule
from churnlib.predictor import Predictor
from churnlib.scoring import score_file
from churnlib.serving.answering.reasons import Reasons
from churnlib.serving.api import ChurnLitAPI
from churnlib.training.curves import CURVES
from churnlib.training.report_reasons import explainer_of
from churnlib.training.reporting import judged_again
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train
from scripts import reference_shapley
from scripts.made_lifetimes import END, made_lifetimes, true_survival

WORDS = [
    "data=table", "data.target=left", "data.id=customer", "data.drop=[joined,last_seen]", "task=hazard",
    "task.duration=months", "trainer.progress=false", "logger=none", "leaks=off",
]  # fmt: skip
SMALL = ["model=mlp_plain", "model.hidden_sizes=[8]"]
SMALL_MEMBERS = ["model=mlp", "model.n_members=2", "model.hidden_sizes=[8]"]
TABNET = ["model=tabnet", "model.n_d=4", "model.n_a=4", "model.n_steps=2"]
QUICK = [*WORDS, "model=mlp_plain", "model.hidden_sizes=[8]", "trainer.max_epochs=2"]


def run(folder: Path, frame: pl.DataFrame, *words: str) -> dict[str, Any]:
    path = folder / "customers.parquet"
    frame.write_parquet(path)
    config = compose([f"data.path={path}", *words])
    train(config, folder=RunFolder(folder / "run", ckpt_path=config.ckpt_path, latest=None))
    return json.loads((folder / "run" / "metrics.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, dict[str, Any], pl.DataFrame]:
    """A small run, its metrics, and the customers."""
    folder, frame = tmp_path_factory.mktemp("hazard"), made_lifetimes(1_200)
    words = ["model=mlp_plain", "model.hidden_sizes=[32]", "trainer.max_epochs=25", "task.intervals=12"]
    money = ["money.margin_column=fee", "money.discount_rate=0.1"]
    metrics = run(folder, frame, *WORDS, *words, *money, "fairness.columns=[plan]")
    return folder / "run", metrics, frame


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return churnlib.load(trained[0] / "bundle")


# --- what is found --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_true_curves_are_found_again_and_far_better_than_by_one_curve_for_all(tmp_path):
    frame, times = made_lifetimes(6_000), np.linspace(1, 30, 30)
    run(tmp_path, frame, *WORDS, "model=mlp_plain", "task.intervals=20", "trainer.max_epochs=30")
    later = made_lifetimes(1_000, seed=1)
    predictor = churnlib.load(tmp_path / "run" / "bundle")
    new = later.with_columns(months=pl.lit(0.0))
    found, truth = predictor.survival(new, times=times.tolist()).survival, true_survival(later, times)
    alike = KaplanMeier.fit(frame["months"].to_numpy(), (frame["left"] == "yes").to_numpy()).at(times)
    assert np.abs(found - truth).mean() < 0.04
    assert np.abs(alike - truth).mean() > 0.15
    # The curves cross: who is on trial leaves sooner at first, the others later on.
    trial, full = (later["plan"].to_numpy() == plan for plan in ("trial", "full"))
    usual = np.abs(later["use"].to_numpy()) < 0.3
    first, last = (found[trial & usual].mean(axis=0) - found[full & usual].mean(axis=0))[[2, -1]]
    assert first < -0.05 < 0.02 < last
    # And so are the chances of those who have been there for a year.
    after = later.with_columns(months=pl.lit(12.0))
    conditional = predictor.predict(after, horizon=6)["churn_probability"].to_numpy()
    both = true_survival(later, np.array([12.0, 18.0]))
    assert np.abs(conditional - (1 - both[:, 1] / both[:, 0])).mean() < 0.04


def test_a_run_says_how_good_its_curves_are(trained):
    folder, metrics, _ = trained
    test, base = metrics["test"]["survival"], metrics["baseline"]["kaplan_meier"]
    assert 0.6 < test["concordance_interval"][0] < test["concordance"] < test["concordance_interval"][1] < 1
    assert test["ibs"] < base["ibs"] == test["ibs_kaplan_meier"]
    assert test["ibs_gain"] == pytest.approx(base["ibs"] - test["ibs"])
    assert test["ibs_gain_interval"][0] > 0
    assert {"roc_auc", "f1", "confusion", "threshold", "n"} <= set(metrics["test"])
    assert metrics["test"]["n"] + test["unknown_at_horizon"] == test["n"]
    predictions = pl.read_parquet(folder / "predictions.parquet")
    assert {"duration", "entry", "label", "churn_probability"} <= set(predictions.columns)
    curve = json.loads((folder / "bundle" / "decision.json").read_text("utf-8"))["calibration"]
    assert curve["method"] == "hazard" and len(curve["breaks"]) == 12


def test_the_figures_are_those_of_the_curves_that_anybody_can_ask_for(trained, predictor):
    folder, metrics, frame = trained
    rows = frame.join(pl.read_parquet(folder / "predictions.parquet"), left_on="customer", right_on="customer_id")
    new, test = rows.with_columns(months=pl.lit(0.0)), metrics["test"]["survival"]
    risk = -predictor.survival(new, limit=test["until"]).lifetime
    ranked = concordance(rows["duration"].to_numpy(), rows["label"].to_numpy(), risk)
    assert ranked.value == pytest.approx(test["concordance"], abs=1e-6)
    said = predictor.predict(new)["churn_probability"].mean()
    assert said == pytest.approx(test["calibration"][0]["predicted"], abs=1e-6)


def known_rows(folder: Path, frame: pl.DataFrame, predictor: Predictor) -> pl.DataFrame:
    """Test customers of whom it is known whether they left within the horizon, with ``gone`` and ``said``."""
    rows = frame.join(pl.read_parquet(folder / "predictions.parquet"), left_on="customer", right_on="customer_id")
    said = predictor.predict(rows.with_columns(months=pl.lit(0.0)))["churn_probability"]
    rows = rows.with_columns(said=said, gone=(pl.col("left") == "yes") & (pl.col("duration") <= 6))
    return rows.filter(pl.col("gone") | (pl.col("duration") >= 6))


def test_lift_and_profit_are_about_leaving_within_the_horizon_without_those_lost_before(trained, predictor):
    folder, metrics, frame = trained
    known, test = known_rows(folder, frame, predictor), metrics["test"]
    first = known.sort("said", descending=True).head(-(-len(known) // 10))
    assert test["ranking"]["top_decile_lift"] == pytest.approx(first["gone"].mean() / known["gone"].mean())
    chosen = known.filter(pl.col("said") >= test["threshold"])
    n_gone = chosen["gone"].sum()
    # Of those who leave three tenths stay for an offer of 10, and then are worth 200; a contact costs 1.
    earned = n_gone * (0.3 * (200 - 10) - 1) - (len(chosen) - n_gone) * (10 + 1)
    assert test["profit"]["profit"] == pytest.approx(earned / len(known))
    low, high = test["intervals"]["profit"]
    assert low < test["profit"]["profit"] < high
    document = read_document(folder)
    assert document is not None
    told = {one["key"]: one["value"] for one in document["performance"]["figures"]}
    assert told["top_decile_lift"] == pytest.approx(test["ranking"]["top_decile_lift"])
    reached = first["gone"].sum() / known["gone"].sum()
    assert document["curves"]["gains"]["value"][10] == pytest.approx(reached)
    assert document["confusion"]["cells"]["tp"]["money"] == pytest.approx(n_gone * (0.3 * 190 - 1))
    lost = test["survival"]["unknown_at_horizon"]
    assert lost > 0
    said = f"{lost} of {test['survival']['n']} test customers were lost from sight before, and are left out"
    assert said in (folder / "report.html").read_text("utf-8") and said in (folder / "model_card.md").read_text("utf-8")


def test_the_report_and_the_groups_are_about_leaving_within_the_horizon(trained):
    folder, metrics, frame = trained
    rows = pl.read_parquet(folder / "predictions.parquet").join(frame, left_on="customer_id", right_on="customer")
    gone = (pl.col("left") == "yes") & (pl.col("duration") <= 6)
    known = rows.filter(gone | (pl.col("duration") >= 6)).with_columns(gone=gone)
    document = read_document(folder)
    assert (document["run"]["rows"], document["run"]["positives"]) == (len(known), known["gone"].sum())
    groups = json.loads((folder / "fairness.json").read_text("utf-8"))["columns"][0]["groups"]
    shares = {one["group"]: one["figures"]["base_rate"]["value"] for one in groups}
    assert shares == pytest.approx(dict(known.group_by("plan").agg(pl.col("gone").mean()).iter_rows()))
    when = document["survival"]
    assert when["n"] == len(rows) and when["concordance"] == metrics["test"]["survival"]["concordance"]
    seen = KaplanMeier.fit(rows["duration"].to_numpy(), (rows["left"] == "yes").to_numpy())
    assert when["whole"]["seen"] == pytest.approx(seen.at(when["times"]).tolist())
    assert 6.0 in {one["time"] for one in when["horizons"]}
    assert "leaves (left = yes) within 6 months" in (folder / "model_card.md").read_text("utf-8")


def test_the_reports_reasons_do_not_tell_the_outcome(trained):
    """How long a test customer has stayed since the start is what happened, not why."""
    found = json.loads((trained[0] / "report.json").read_text("utf-8"))
    named = {one["name"] for one in found["explanation"]["columns"]}
    assert named == {"use", "plan", "noise", "fee"}


def test_early_stopping_goes_by_the_likelihood(trained):
    folder, metrics, _ = trained
    epochs = pl.read_csv(folder / CURVES)
    assert len(epochs) == metrics["epochs"]
    assert epochs["val/log_loss"].min() == pytest.approx(metrics["validation"]["survival"]["nll"], abs=1e-5)


# --- every door -----------------------------------------------------------------------------------------------------


def test_torch_onnx_and_one_row_at_a_time_answer_alike(trained, predictor):
    folder, _, frame = trained
    rows = frame.head(40)
    torch_ = churnlib.load(folder / "bundle", backend="torch")
    assert (predictor.backend, torch_.backend) == ("onnx", "torch")
    assert predictor.replay_golden() < 1e-6
    together = predictor.predict(rows, horizon=9)["churn_probability"].to_numpy()
    np.testing.assert_allclose(torch_.predict(rows, horizon=9)["churn_probability"], together, atol=1e-6)
    alone = [predictor.predict([row], horizon=9)["churn_probability"][0] for row in rows.to_dicts()]
    np.testing.assert_allclose(alone, together, atol=1e-9)
    np.testing.assert_allclose(torch_.survival(rows).survival, predictor.survival(rows).survival, atol=1e-6)


def test_answers_fit_each_other(predictor, trained):
    rows = trained[2].head(30)
    found = predictor.survival(rows, times=[0, 6, 12])
    assert found.survival[:, 0].tolist() == [1.0] * 30
    np.testing.assert_allclose(1 - found.survival[:, 1], predictor.predict(rows)["churn_probability"], atol=1e-12)
    np.testing.assert_allclose(
        1 - found.survival[:, 2], predictor.predict(rows, horizon=12)["churn_probability"], atol=1e-12
    )
    assert found.elapsed.tolist() == rows["months"].to_list()
    assert (found.lifetime <= found.limit).all()
    assert found.value is not None and (found.value <= found.limit * rows["fee"].to_numpy()).all()
    dear = predictor.survival(rows, discount_rate=0.0).value
    assert dear is not None and (dear > found.value).all()
    # Who is not known to bring anything is taken to bring the margin of all.
    tens = rows.with_columns(fee=pl.lit(10.0))
    alike = predictor.survival(tens, margin_column="extra", margin=10.0).value
    assert alike is not None and alike.tolist() == predictor.survival(tens).value.tolist()  # type: ignore[union-attr]
    table = found.frame()
    assert table.columns == [
        "customer_id", "elapsed", "expected_lifetime", "customer_value", "survival_0", "survival_6", "survival_12"
    ]  # fmt: skip


def test_rows_that_cannot_be_scored_are_empty(predictor, trained):
    rows = trained[2].head(3).with_columns(use=pl.Series(["x", "0.5", "1"]))
    found = predictor.survival(rows)
    assert np.isnan(found.survival[0]).all() and np.isnan(found.lifetime[0]) and not np.isnan(found.survival[1:]).any()
    assert found.frame()["expected_lifetime"].null_count() == 1
    assert predictor.predict(rows, on_error="null", horizon=3)["churn_probability"].null_count() == 1


def test_who_does_not_say_how_long_is_refused_and_negative_times_count_as_none(predictor, trained):
    rows = trained[2].head(2)
    with pytest.raises(DataError, match="lacks the column 'months'"):
        predictor.predict(rows.drop("months"))
    with pytest.raises(RowErrors, match="months"):
        predictor.predict(rows.with_columns(months=pl.Series([None, 1.0])))
    new, odd = (rows.with_columns(months=pl.lit(time)) for time in (0.0, -4.0))
    assert predictor.predict(new).equals(predictor.predict(odd))


def test_a_file_is_scored_for_any_horizon(trained, tmp_path):
    folder, _, frame = trained
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    frame.head(50).write_csv(source)
    words = [f"bundle={folder / 'bundle'}", f"input={source}", f"output={target}"]
    assert main(["score", *words, "horizon=12"]) == 0
    predictor = churnlib.load(folder / "bundle")
    expected = predictor.predict(frame.head(50), horizon=12)["churn_probability"]
    np.testing.assert_allclose(pl.read_csv(target)["churn_probability"], expected, atol=1e-9)


def test_the_server_answers_for_the_horizon_of_the_bundle(trained, predictor):
    api = ChurnLitAPI(str(trained[0] / "bundle"))
    api.setup("cpu")
    row = trained[2].row(0, named=True)
    row = {key: str(value) if key in ("joined", "last_seen") else value for key, value in row.items()}
    requests = [row, {key: value for key, value in row.items() if key != "months"}]
    outputs = [api.encode_response(one) for one in api.predict([api.decode_request(one) for one in requests])]
    (good, bad), bodies = [one.status_code for one in outputs], [json.loads(bytes(one.body)) for one in outputs]
    assert (good, bad) == (200, 422)
    assert bodies[0]["churn_probability"] == pytest.approx(predictor.predict([row])["churn_probability"][0], abs=1e-9)
    assert bodies[1]["error"]["field"] == "months"


# --- the machinery --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "n_models"),
    [
        pytest.param([*SMALL_MEMBERS, "ensemble=2"], 2, id="members and seeds"),
        pytest.param([*SMALL_MEMBERS, "task.intervals=1"], 1, id="one interval"),
        pytest.param([*SMALL, "task.clock=snapshot", "task.width=3", "augment.mixup=0.4"], 1, id="snapshot, mixed"),
        pytest.param([*SMALL, "cv=2"], 2, id="folds", marks=pytest.mark.slow),
        pytest.param([*SMALL, "ensemble=2", "task.intervals=1"], 2, id="one interval each", marks=pytest.mark.slow),
        pytest.param([*TABNET, "pretrain=on", "pretrain.passes=1"], 1, id="tabnet", marks=pytest.mark.slow),
        pytest.param(["model=ft_transformer", "model.n_blocks=1"], 1, id="transformer", marks=pytest.mark.slow),
        pytest.param(["model=additive"], 1, id="additive", marks=pytest.mark.slow),
        pytest.param(["model=realmlp"], 1, id="realmlp", marks=pytest.mark.slow),
    ],
)
def test_every_network_and_every_design_has_the_head(tmp_path, words, n_models):
    frame = made_lifetimes(400)
    metrics = run(tmp_path, frame, *WORDS, "trainer.max_epochs=2", "task.intervals=6", *words)
    bundle = tmp_path / "run" / "bundle"
    rows = frame.head(30)
    by_torch, by_onnx = (churnlib.load(bundle, backend=name).survival(rows).survival for name in ("torch", "onnx"))
    np.testing.assert_allclose(by_onnx, by_torch, atol=2e-6)
    assert (np.diff(by_torch, axis=1) <= 0).all()
    assert len(metrics.get("members", {}).get("parts", [None])) == n_models
    assert np.isfinite(metrics["test"]["survival"]["nll"])


@pytest.mark.slow
def test_an_interrupted_run_goes_on_where_it_was(tmp_path):
    frame = made_lifetimes(300)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parted").mkdir()
    words = [*QUICK, "scheduler=none"]
    whole = run(tmp_path / "whole", frame, *words, "trainer.max_epochs=4")
    run(tmp_path / "parted", frame, *words, "trainer.max_epochs=2")
    last = tmp_path / "parted" / "run" / "checkpoints" / "last.ckpt"
    parted = run(tmp_path / "parted", frame, *words, "trainer.max_epochs=4", f"ckpt_path={last}")
    assert parted["test"]["survival"]["nll"] == whole["test"]["survival"]["nll"]


@pytest.mark.slow
def test_observed_from_later_on_customers_are_judged_on_what_came_after(tmp_path):
    # Who left before being observed is not in the table: half of the customers came under observation at a year.
    frame = made_lifetimes(3_000).with_columns(since=pl.Series(np.resize([0.0, 12.0], 3_000)))
    frame = frame.filter(pl.col("months") > pl.col("since"))
    words = ["model=mlp_plain", "model.hidden_sizes=[16]", "trainer.max_epochs=12", "task.entry=since"]
    metrics = run(tmp_path, frame, *WORDS, *words)
    predictor = churnlib.load(tmp_path / "run" / "bundle")
    assert predictor.schema.elapsed == "since"
    assert "months" not in predictor.bundle.preparation.feature_names
    rows = frame.filter(pl.col("since") == 12.0).head(400)
    truth = true_survival(rows, np.array([12.0, 18.0]))
    said = predictor.predict(rows)["churn_probability"].to_numpy()
    assert said.mean() == pytest.approx((1 - truth[:, 1] / truth[:, 0]).mean(), abs=0.05)
    found = metrics["test"]["survival"]["calibration"][0]
    assert found["predicted"] == pytest.approx(found["observed"], abs=0.08)
    # The report shows what scoring answers, from each customer's entry on, and its reasons are of that.
    named = {"use", "plan", "noise", "fee", "since"}
    assert_reasons_of_the_report_are_about_what_it_shows(tmp_path / "run", named)
    judged = judged_again(tmp_path / "run")
    np.testing.assert_allclose(predictor.predict(judged.frame)["churn_probability"], judged.probability, atol=1e-6)
    assert "within 6 months of the day they came under observation" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_runs_are_the_same_twice_and_test_rows_change_nothing(tmp_path):
    frame = made_lifetimes(300).with_columns(side=pl.Series(np.resize(["train"] * 3 + ["validation", "test"], 300)))
    other = frame.with_columns(months=pl.when(pl.col("side") == "test").then(pl.col("months") * 2).otherwise("months"))
    versions = []
    for name, table in (("one", frame), ("again", frame), ("other", other)):
        (tmp_path / name).mkdir()
        run(tmp_path / name, table, *QUICK, "split.by=column", "split.column=side")
        versions.append(churnlib.load(tmp_path / name / "run" / "bundle").version)
    assert len(set(versions)) == 1


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loss=focal"], "a loss of its own"),
        (["loss.pos_weight=balanced"], "a loss of its own, without class weights"),
        (["resample=random_over"], "resample=random_over would change how fast"),
        (["calibration=isotonic"], "calibration=isotonic is for probabilities of classes"),
        (["money.margin_column=feee"], "'feee'.*did you mean 'fee'"),
        (["task.horizon=0.05"], "of the .* validation customers of whom it is known left within it"),
        (["task.horizon=40"], "task.horizon=40 is longer than any training row was followed"),
    ],
)
def test_what_does_not_go_with_it_is_refused(tmp_path, words, said):
    with pytest.raises(ConfigError, match=said):
        run(tmp_path, made_lifetimes(300), *QUICK, *words)


def test_a_model_that_is_no_network_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="task=hazard is for networks"):
        run(tmp_path, made_lifetimes(300), *WORDS, "model=logistic")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task=hazard"], "task=hazard needs task.duration=COLUMN"),
        (["task=hazard", "task.duration=t", "task.start=a", "task.end=b"], "needs task.duration=COLUMN"),
        (["task=hazard", "task.start=a"], "task.start and task.end go together"),
        (["task=hazard", "task.duration=t", "task.clock=snapshot", "task.entry=e"], "everybody is observed from 0 on"),
        (["task=hazard", "task.duration=t", "task.until=2025-01-01"], "task.until=2025-01-01 stands for a missing"),
        (["task=hazard", "task.start=a", "task.end=b", "task.until=soon"], "task.until must be a date"),
        (["task=hazard", "task.duration=t", "task.unit=hours"], "task.unit must be one of"),
        (["task=hazard", "task.duration=t", "task.horizon=0"], "task.horizon must be above 0"),
    ],
)
def test_impossible_options_are_one_sentence(words, said):
    with pytest.raises(ConfigError, match=said):
        compose(words)


def test_horizons_that_nobody_was_followed_for_are_refused(predictor, trained, tmp_path):
    rows = trained[2].head(3)
    with pytest.raises(ConfigError, match=f"at most {predictor.bundle.hazards.end:g} months"):  # type: ignore[union-attr]
        predictor.predict(rows, horizon=END + 1)
    with pytest.raises(ConfigError, match="times must be numbers of at least 0"):
        predictor.survival(rows, times=[-1.0])
    source = tmp_path / "in.csv"
    rows.write_csv(source)
    config = ScoreConfig(
        bundle=str(trained[0] / "bundle"), input=str(source), output=str(tmp_path / "out.csv"), horizon=99.0
    )
    with pytest.raises(ConfigError, match="horizon=99 must be above 0 and at most"):
        score_file(config)
    assert not (tmp_path / "out.csv").exists()


def test_a_model_that_says_whether_has_no_horizon(tmp_path):
    bundle = write_bundle(made_bundle(), tmp_path / "bundle")
    predictor = Predictor(bundle)
    row = dict(bundle.golden[0]["row"])
    for ask in (lambda: predictor.predict([row], horizon=6), lambda: predictor.survival([row])):
        with pytest.raises(ConfigError, match="says only whether; train one with task=hazard"):
            ask()


# --- reasons --------------------------------------------------------------------------------------------------------


def gone_within(predictor: Predictor, typed: pl.DataFrame, horizon: float) -> np.ndarray:
    """The probability of leaving within a horizon, interval by interval: the share of each that a customer lives in."""
    curve = predictor.bundle.hazards
    assert curve is not None
    hazards = 1 / (1 + np.exp(-predictor.logits(typed).astype(np.float64)))
    stays, now = np.ones(len(typed)), typed["months"].to_numpy()
    starts = (0.0, *curve.breaks[:-1])
    for place, (start, end) in enumerate(zip(starts, curve.breaks, strict=True)):
        last = end if place < len(starts) - 1 else np.inf  # the last rate goes on
        lived = (np.minimum(now + horizon, last) - np.maximum(now, start)).clip(min=0) / (end - start)
        stays *= (1 - hazards[:, place]) ** lived
    return 1 - stays


def shapley_values(explainer: Explainer, rows: pl.DataFrame, horizon: float) -> np.ndarray:
    """Shapley values by all sets of columns, of rows mixed in the table."""
    predictor, names = explainer.predictor, list(explainer.mixer.names)
    typed, others = predictor.read(rows).typed.select(names), explainer.background.typed
    assert others is not None
    others, found = others.select(names), []
    for row in range(len(rows)):

        def answer(own: np.ndarray, other: np.ndarray, row: int = row) -> np.ndarray:
            mine, theirs = typed[np.full(len(own), row)], others[other]
            mixed = [mine[name].zip_with(pl.Series(own[:, place]), theirs[name]) for place, name in enumerate(names)]
            gone = gone_within(predictor, pl.DataFrame(mixed), horizon)
            return np.log(gone / (1 - gone))

        found.append(reference_shapley.exact(answer, len(names), len(others)))
    return np.stack(found)


def test_reasons_are_shapley_values_of_the_chance_of_leaving_within_the_horizon(trained, predictor):
    rows, background = trained[2][5:9], trained[2][100:112]
    by_orders = Explainer(predictor, method="shapley", background=background, pairs=300, horizon=9)
    by_gradients = Explainer(predictor, method="gradients", background=background, samples=600, horizon=9)
    assert by_orders.mixer.names == ("use", "plan", "noise", "fee", "months")  # time itself is a reason
    wanted = shapley_values(by_orders, rows, 9.0)
    np.testing.assert_allclose(by_orders.effects(rows).values, wanted, atol=0.08)
    assert np.corrcoef(by_gradients.effects(rows).values.ravel(), wanted.ravel())[0, 1] > 0.97


def test_reasons_add_up_to_the_probability_that_is_scored(trained, predictor):
    rows = trained[2].head(60)
    for explainer in (Explainer(predictor), Explainer(predictor, method="shapley"), Explainer(predictor, horizon=12)):
        effects = explainer.effects(rows)
        scored = predictor.predict(rows, horizon=explainer.curve.horizon)["churn_probability"]  # type: ignore[union-attr]
        np.testing.assert_allclose(1 / (1 + np.exp(-effects.log_odds)), scored, atol=1e-6)
        gap = np.abs(effects.base + effects.values.sum(axis=1) - effects.log_odds)
        assert (gap <= np.maximum(0.1 * np.abs(effects.log_odds), 0.05)).all()
    assert set(Explainer(predictor).effects(rows).method) <= {"gradients", "shapley"}
    assert np.abs(Explainer(predictor, method="shapley").effects(rows).error).max() < 1e-4


def assert_reasons_of_the_report_are_about_what_it_shows(folder: Path, named: set[str]) -> None:
    judged = judged_again(folder)
    explainer = explainer_of(judged)[0]
    effects = explainer.effects(judged.frame[:60])
    assert set(effects.names) == named
    shown = judged.probability[:60]
    np.testing.assert_allclose(1 / (1 + np.exp(-effects.log_odds)), shown, atol=1e-6)
    gap = np.abs(effects.base + effects.values.sum(axis=1) - np.log(shown / (1 - shown)))
    assert (gap <= np.maximum(0.1 * np.abs(effects.log_odds), 0.05) + 1e-5).all()
    listed = (
        pl.read_parquet(folder / "report" / "customers.parquet").select("customer_id", "churn_probability").unique()
    )
    answered = pl.DataFrame({"customer_id": judged.ids.cast(pl.String), "answered": judged.probability})
    both = listed.join(answered, on="customer_id")
    assert len(both) == len(listed) > 0
    np.testing.assert_allclose(both["churn_probability"], both["answered"], atol=1e-6)


def test_reasons_of_the_report_add_up_to_the_probability_that_it_shows(trained):
    # From the start on: for how long a test customer has stayed since then is the outcome, and no reason.
    assert_reasons_of_the_report_are_about_what_it_shows(trained[0], {"use", "plan", "noise", "fee"})


def test_torch_follows_the_curve_that_numpy_answers_by(predictor):
    curve, rng = predictor.bundle.hazards, np.random.default_rng(0)
    assert curve is not None
    logits, now = rng.normal(scale=4, size=(50, 12)), rng.uniform(0, 1.3 * curve.end, 50)
    logits[0] = -900.0
    for elapsed in (now, None):
        here = None if elapsed is None else torch.from_numpy(elapsed)
        followed = log_odds_within(torch.from_numpy(logits), here, curve).numpy()
        np.testing.assert_allclose(followed, curve.log_odds(logits, elapsed), rtol=1e-9)
    assert np.isfinite(followed).all()


@pytest.mark.parametrize("words", [["task.clock=snapshot"], ["cv=2"], ["model=additive"]])
@pytest.mark.slow
def test_every_kind_of_hazard_model_has_reasons(words, tmp_path):
    small = [] if "model=additive" in words else ["model.hidden_sizes=[8]"]
    run(tmp_path, made_lifetimes(300), *QUICK[:-2], *small, "trainer.max_epochs=2", *words)
    predictor, rows = churnlib.load(tmp_path / "run" / "bundle"), made_lifetimes(20, seed=4)
    said = churnlib.explain(predictor, rows, top=None)
    scored = predictor.predict(rows)["churn_probability"]
    assert said["churn_probability"].equals(scored)
    np.testing.assert_allclose(1 / (1 + np.exp(-said["log_odds"].to_numpy())), scored, atol=1e-6)
    assert ("gradients" in set(said["method"])) == ("model=additive" not in words)
    if "model=additive" in words:
        with pytest.raises(ConfigError, match="no sum over columns"):
            Explainer(predictor, method="exact")


def test_a_runs_model_is_explained_on_the_whole_without_labels(trained, tmp_path):
    words = ["rows=100", "explained=20", "paired=20", "replicates=20", f"output={tmp_path}"]
    assert main(["explain-model", f"run={trained[0]}", *words]) == 0
    found = json.loads((tmp_path / "global.json").read_text("utf-8"))
    assert {line["column"] for line in found["importance"]} == {"use", "plan", "noise", "fee", "months"}
    assert all(line.get("roc_auc") is None and line["effect"] > 0 for line in found["importance"])
    assert "months" in found["curves"] and found["tree"] is not None


def test_a_file_a_row_and_the_server_give_the_same_reasons(trained, predictor, tmp_path):
    folder, _, frame = trained
    frame.head(5).write_csv(tmp_path / "in.csv")
    words = [f"bundle={folder / 'bundle'}", f"input={tmp_path / 'in.csv'}", f"output={tmp_path / 'out.parquet'}"]
    assert main(["explain", *words, "horizon=12", "top=5"]) == 0
    written = pl.read_parquet(tmp_path / "out.parquet")
    expected = predictor.predict(frame.head(5), horizon=12)["churn_probability"]
    np.testing.assert_allclose(written["churn_probability"], expected, atol=1e-9)
    np.testing.assert_allclose(1 / (1 + np.exp(-written["log_odds"])), expected, atol=1e-6)
    row = {name: value for name, value in frame.row(0, named=True).items() if name not in ("joined", "last_seen")}
    served = Reasons(predictor, method="auto").explain(row, top=None)
    [alone] = churnlib.explain(predictor, [row], top=None).to_dicts()
    assert [one["feature"] for one in served["reasons"]] == [one["feature"] for one in alone["reasons"]]
    assert served["log_odds"] == pytest.approx(alone["log_odds"], abs=1e-9)
    assert "months" in {one["feature"] for one in served["reasons"]}


def test_an_older_release_is_told_by_the_format():
    assert FORMAT_VERSION == 6


def test_loaders_of_ones_own_may_give_times():
    customers = prepare_customers(
        made_lifetimes(200), target="left", id="customer", drop=["joined", "last_seen"],
        lifetimes=LifetimeSpec(duration="months", intervals=5),
    )  # fmt: skip
    module = ChurnModule(TINY_TABNET)
    assert customers.lifetimes is not None
    hazards = customers.lifetimes.life_table(customers.rows("train")).tolist()
    module.build(customers.preparation.input_spec(), class_counts=customers.class_counts("train"), hazards=hazards)
    encoded = customers.encoded["train"]
    logits = module(torch.from_numpy(encoded.numeric), torch.from_numpy(encoded.codes))
    assert logits.shape == (len(encoded), len(hazards))
