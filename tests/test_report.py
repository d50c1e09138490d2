"""The report of a run: what it says, what it never says, and the files it leaves."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from made import made_bundle, made_customers, made_prepared

import churnlib
from churnlib import cli
from churnlib.compose import compose
from churnlib.config.levers import LeversConfig
from churnlib.decision import OwnThreshold
from churnlib.errors import ConfigError, DataError
from churnlib.evaluation.metrics import evaluate
from churnlib.evaluation.profit.campaign import Campaign, expected_gains, payoffs
from churnlib.evaluation.report.card import markdown
from churnlib.evaluation.report.configuration import settings
from churnlib.evaluation.report.document import build_document
from churnlib.evaluation.report.files import read_document, render_again, write_report
from churnlib.evaluation.report.judged import Followed, Judged
from churnlib.evaluation.report.page import SECTIONS, render
from churnlib.evaluation.report.simulator import cells
from churnlib.evaluation.report.survival import survival
from churnlib.evaluation.survival import KaplanMeier
from churnlib.explanation.overall.importance import permutation_importance
from churnlib.pages.words import rounded, share
from churnlib.planning.plan import as_money, plan
from churnlib.predictor import Predictor
from churnlib.training import report_overall
from churnlib.training.report_offers import offers
from churnlib.training.report_overall import overall
from churnlib.training.report_reasons import customers, explainer_of, explanation
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

LAYERS = ("decisions", "ranking", "calibration", "profit")
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
VOID = {"meta", "link", "input", "br", "img", "line", "rect", "circle", "polyline", "polygon"}


def made_judged(n=400, *, label=None, probability=None, value=None, table="a table", **options) -> Judged:
    """Test rows as a run has them, without a run."""
    prepared = made_prepared(2 * n, split={"train": 0.4, "validation": 0.1, "test": 0.5})
    predictor = Predictor(made_bundle(prepared))
    rows = prepared.rows("test")[:n]
    frame, truth = prepared.frame[rows], prepared.label[rows] if label is None else np.asarray(label)
    rng = np.random.default_rng(0)
    if probability is None:
        probability = np.clip(0.15 + 0.5 * truth + rng.normal(0, 0.2, len(truth)), 0.01, 0.99)
    campaign = options.pop("campaign", Campaign())
    told = evaluate(truth, probability, threshold=0.4, layers=LAYERS, campaign=campaign, value=value, replicates=50)
    metrics = {"test": told, "model": "mlp", "seed": 0, "baseline": {"logistic_regression": told}}
    sides = {"train": [100, 50], "validation": [30, 10], "test": [int((truth == 0).sum()), int((truth == 1).sum())]}
    return Judged(
        frame=frame, typed=prepared.typed[rows], label=truth, probability=probability, ids=prepared.ids(rows),
        predictor=predictor, campaign=campaign, metrics=metrics, table=table, model="mlp", sides=sides, value=value,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def judged():
    n = 400
    value = np.random.default_rng(1).gamma(4, 50, n)
    checks = [{"check": "a single column", "verdict": "pass", "evidence": "the strongest is 'plan'"}]
    config = {"data": {"name": "a table"}, "seed": 0}
    return made_judged(n, value=value, currency="EUR", leaks={"checks": checks}, config=config)


@pytest.fixture(scope="module")
def document(judged):
    explainer, _ = explainer_of(judged)
    parts = {
        "explanation": explanation(judged, explainer, sampled=12),
        "customers": customers(judged, explainer, listed=10),
        "fairness": {"columns": [{"column": "age", "groups": [
            {"label": "under 30", "n": 12, "small": True, "base_rate": [0.2, 0.1, 0.4], "predicted": None,
             "selection_rate": [0.3, 0.2, 0.4], "tpr": None, "fpr": [0.1, 0.0, 0.2]}]}]},
    }  # fmt: skip
    parts["overall"] = overall(judged, explainer, parts["explanation"], rows=200)
    return build_document(made_followed(judged), {**parts, **planned(judged, budget=40)})


LEVERS = {
    "offers": {
        "yearly": {"set": {"plan": "yearly"}, "where": "plan = 'monthly'", "cost": 4, "acceptance": 0.5},
        "cheaper": {"multiply": {"charges": 0.8}, "cost": 2, "acceptance": 0.4},
        "gift": {"saves": 0.3, "cost": 6, "acceptance": 0.6, "stayers": 0.2},
    },
    "together": 2,
}
"""For the made customers."""


def planned(judged, budget=None) -> dict:
    money = as_money({"currency": "EUR", "value": 150})
    return offers(judged, LeversConfig(**LEVERS), money, budget=budget, capacity=None)


def made_followed(judged, n=240, *, clock="start") -> Judged:
    """The same with durations: the plan decides who leaves when, and the model knows it."""
    rng = np.random.default_rng(5)
    typed = judged.typed[:n]
    rate = np.where(typed["plan"] == "monthly", 0.2, 0.05)
    left_after, lost_after = rng.exponential(1 / rate), rng.uniform(3, 12, n)
    times = np.array([0.0, 2.0, 4.0, 6.0, 9.0])
    followed = Followed(
        typed=typed, duration=np.minimum(left_after, lost_after), event=left_after <= lost_after, times=times,
        survival=np.exp(-rate[:, None] * times), clock=clock,
    )  # fmt: skip
    told = {
        "unit": "months", "horizon": 4.0, "n": n, "events": int(followed.event.sum()), "until": 9.0,
        "unknown_at_horizon": 3, "concordance": 0.7, "concordance_interval": [0.6, 0.8], "concordance_ipcw": 0.69,
        "ibs": 0.11, "ibs_interval": [0.1, 0.12], "ibs_kaplan_meier": 0.15, "ibs_gain": 0.04,
        "ibs_gain_interval": [0.02, 0.06],
        "brier": {"times": times.tolist(), "scores": [0.0, 0.1, 0.1, 0.1, 0.2],
                  "kaplan_meier": [0.0, 0.2, 0.2, 0.2, 0.2]},
    }  # fmt: skip
    test = {**judged.metrics["test"], "survival": told}
    return replace(judged, followed=followed, metrics={**judged.metrics, "test": test})


class Outline(HTMLParser):
    """Tags that are open and closed, headings, and what a person with a screen reader is told."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.headings, self.scripts, self.ids, self.targets, self.unnamed = [], [], [], [], [], []
        self.labels, self.inputs, self.headers, self.landmarks = set(), [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "script":
            self.scripts.append(told.get("type"))
        if tag in ("main", "nav", "header", "footer"):
            self.landmarks.append(tag)
        if tag == "th":
            self.headers.append(told.get("scope"))
        if tag == "label":
            self.labels.add(told["for"])
        if tag == "input":
            self.inputs.append(told["id"])
        if tag == "svg" and told.get("role") != "img":
            self.unnamed.append(told)
        self.ids += [told["id"]] if "id" in told else []
        self.targets += [told["href"][1:]] if told.get("href", "").startswith("#") else []

    def handle_startendtag(self, tag, attrs):
        if tag not in VOID:
            self.handle_starttag(tag, attrs)
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# --- the numbers ----------------------------------------------------------------------------------------------------


def test_cells_hold_every_customer_once_and_add_up_to_what_the_rows_earn(judged):
    n, left, p, value, lost = np.array(cells(judged)).T
    assert n.sum() == len(judged) and left.sum() == judged.label.sum()
    stayers = (n * value - left * lost).sum()
    assert stayers == pytest.approx(judged.value[judged.label == 0].sum(), rel=1e-3)
    assert (n * p).sum() == pytest.approx(judged.probability.sum(), rel=1e-3)


def test_cells_never_part_customers_with_the_same_probability():
    probability = np.repeat([0.9, 0.5, 0.1], [7, 300, 93])
    found = cells(made_judged(400, label=np.arange(400) % 2, probability=probability))
    assert [row[0] for row in found] == [7, 300, 93] and [row[2] for row in found] == [0.9, 0.5, 0.1]


def test_the_campaign_is_what_contacting_whoever_pays_earns(judged, document):
    chosen = expected_gains(judged.probability, judged.value, judged.campaign) > 0
    paid = payoffs(judged.label, judged.value, judged.campaign)
    plan = document["simulator"]["campaign"]
    assert plan["profit"] == pytest.approx(paid[chosen].sum()) and plan["contacted"] == chosen.sum()
    assert plan["everybody"] == pytest.approx(paid.sum())
    # The interval of a mean of two strata, restated.
    spread = sum((chosen * paid)[judged.label == one].var() * (judged.label == one).sum() for one in (0, 1)) ** 0.5
    assert plan["high"] - plan["profit"] == pytest.approx(1.96 * spread, rel=1e-3)


def test_segments_count_every_customer_and_flag_what_was_said_wrongly(judged, document):
    for one in document["segments"]:
        assert sum(cell["n"] for cell in one["cells"]) == len(judged)
        assert all(cell["off"] == (not cell["low"] <= cell["predicted"] <= cell["high"]) for cell in one["cells"])
    by_plan = next(one for one in document["segments"] if one["column"] == "plan")
    for cell in by_plan["cells"]:
        rows = (judged.typed["plan"] == cell["label"]).to_numpy()
        assert cell["rate"] == pytest.approx(judged.label[rows].mean())


def test_test_rows_of_several_months_are_told_by_month():
    prepared = made_prepared(600, time="joined", split={"by": "random"})
    rows = prepared.rows("test")
    probability = np.linspace(0.1, 0.9, len(rows))
    judged = replace(
        made_judged(300), frame=prepared.frame[rows], typed=prepared.typed[rows], label=prepared.label[rows],
        probability=probability, ids=prepared.ids(rows), predictor=Predictor(made_bundle(prepared)),
    )  # fmt: skip
    document = build_document(judged)
    assert sum(one["n"] for one in document["time"]) == len(rows)
    assert "Over time" in render(document)


def test_the_list_starts_with_whom_most_is_expected_of(judged, document):
    gains = [one["expected_gain"] for one in document["customers"]]
    best = np.sort(expected_gains(judged.probability, judged.value, judged.campaign))[::-1][:10]
    assert gains == pytest.approx(best.tolist())
    assert all(len(one["reasons"]) <= 3 for one in document["customers"])


@pytest.mark.parametrize("n", [1056, 96, 15])
def test_the_first_tenth_is_one_number_wherever_it_is_told(n):
    """In 1,056 customers a tenth is 105.6: figures, curves and words all count the first 106."""
    rng = np.random.default_rng(n)
    document = build_document(made_judged(n, label=(rng.random(n) < 0.35).astype(np.int64), probability=rng.random(n)))
    figures = {one["key"]: one["value"] for one in document["performance"]["figures"]}
    curves = document["curves"]
    assert curves["share"][10] == 0.1
    assert curves["gains"]["value"][10] == pytest.approx(figures["top_decile_capture"], abs=1e-12)
    assert curves["lift"]["value"][10] == pytest.approx(figures["top_decile_lift"], abs=1e-12)
    told = share(figures["top_decile_capture"], 0)
    page = html.unescape(render(document))
    assert f"{told} with the first tenth" in page and f"The first tenth of the list holds {told} of all" in page


def test_halves_are_rounded_as_the_page_s_script_rounds_them():
    assert (share(0.125, 0), share(0.375, 0), rounded(2.5)) == ("13\u00a0%", "38\u00a0%", "3")


def test_offers_are_those_of_the_plan_for_the_same_customers(judged):
    """What ``churnlib plan`` would say of a table with these rows."""
    told = planned(judged)["offers"]
    held_out = pl.DataFrame({"label": judged.label, "churn_probability": judged.probability})
    money = {"currency": "EUR", "value": 150}
    known = plan(judged.predictor, judged.frame, levers=LEVERS, money=money, held_out=held_out, explain="false")
    assert told["total"] == known.summary["total"] and told["offers"] == known.summary["offers"]
    assert {one["segment"] for one in told["segments"]} == set(known.segments["segment"])


def test_a_budget_is_kept_and_more_of_it_never_gains_less(judged):
    told = planned(judged, budget=40)["offers"]
    assert told["total"]["offers"] > 0 and told["total"]["expected_cost"] <= 40 and told["solution"]["gap"] < 0.02
    course = pl.DataFrame(told["course"])
    assert course["budget"].is_sorted() and course["expected_gain"][0] == 0
    assert (course["expected_gain"].diff().drop_nulls() > -1e-9).all()
    here = course.filter(pl.col("budget") == 40)
    assert here["expected_gain"].item() == pytest.approx(told["total"]["expected_gain"])


def test_a_front_costs_more_for_less_risk_and_holds_the_offer_that_is_made(judged):
    fronts = planned(judged)["fronts"]
    assert fronts
    for one in fronts:
        cost, risk = ([option[name] for option in one["options"]] for name in ("expected_cost", "churn_probability"))
        assert one["options"][0]["offer"] == "leave alone" and cost == sorted(cost)
        assert risk == sorted(risk, reverse=True) and risk[0] == pytest.approx(one["churn_probability"])
        assert one["offer"] in {option["offer"] for option in one["options"]}


def test_of_many_customers_some_are_planned_for_with_their_share_of_the_budget(judged, monkeypatch):
    monkeypatch.setattr("churnlib.training.report_offers.MOST_ROWS", 100)
    told = planned(judged, budget=40)["offers"]
    assert (told["customers"], told["of"], told["limits"]["budget"]) == (100, 400, 10)
    page = render(build_document(judged, {"offers": told}))
    assert "for 100 of 400 test customers, drawn at random" in page


def test_offers_that_gain_nothing_are_made_to_nobody_and_the_page_says_why(judged):
    levers = LeversConfig(offers={"gift": {"saves": 0.1, "cost": 1e6}})
    parts = offers(judged, levers, as_money({}), budget=None, capacity=None)
    page = render(build_document(judged, parts))
    assert "No offer is made to anybody: 400 no offer is expected to gain anything" in page
    assert not parts["fronts"] and not parts["offers"]["course"]


def test_on_the_whole_the_model_is_told_as_explain_model_tells_it(judged, document):
    told = document["overall"]
    explainer, _ = explainer_of(judged)
    from churnlib.explanation.overall.report import _sample

    chosen = report_overall.sample(len(judged), 200, seed=1)
    rows = _sample(
        explainer, judged.frame[chosen], judged.label[chosen], None, None, judged.campaign, judged.value[chosen],
        judged.ids[chosen],
    )  # fmt: skip
    known = {one["column"]: one for one in permutation_importance(rows, repeats=3, replicates=100)}
    for one in told["importance"]:
        assert one["roc_auc"] == pytest.approx(known[one["column"]]["roc_auc"], abs=0.05)  # other deals of the cells
        effect = next(line for line in document["explanation"]["columns"] if line["name"] == one["column"])
        assert (one["effect"], one["effect_low"]) == (effect["mean"], effect["low"]), "computed once"
    assert told["about"]["rows"] == 200 and told["of"] == 400 and told["tree"]["leaves"] and told["interactions"]
    assert "200 of 400 test customers, drawn at random" in render(document)


def test_the_model_on_the_whole_is_left_out_where_it_is_not_asked_for_or_cannot_be_told(judged):
    explainer, _ = explainer_of(judged)
    assert overall(judged, explainer, {"rows": 0, "columns": []}, rows=200) is None
    assert overall(judged, None, None, rows=200) is None and overall(judged, explainer, None, rows=0) is None


def test_curves_say_what_kaplan_and_meier_saw_and_the_model_said(judged):
    followed = made_followed(judged)
    told, rows = survival(followed), followed.followed
    assert survival(judged) is None
    assert told["columns"][0]["column"] == "plan", "the column that parts the customers most comes first"
    for group in told["columns"][0]["groups"]:
        mine = (rows.typed["plan"] == group["label"]).to_numpy()
        seen = KaplanMeier.fit(rows.duration[mine], rows.event[mine])
        assert group["seen"] == pytest.approx(seen.at(rows.times).tolist())
        assert group["said"] == pytest.approx(rows.survival[mine].mean(axis=0).tolist())
        assert group["within"]["time"] == 4.0 and group["within"]["said"] == pytest.approx(1 - group["said"][2])
        assert all(low <= at <= high for low, at, high in zip(group["low"], group["seen"], group["high"], strict=True))
    assert [one["time"] for one in told["horizons"]] == [2.0, 4.0, 6.0, 9.0]
    document = build_document(followed)
    assert "in 70\u00a0% of all pairs who leaves first" in said(document) and "When they leave" in render(document)


def test_of_a_group_that_nobody_has_left_the_band_is_not_empty(judged):
    followed = made_followed(judged)
    nobody = replace(followed.followed, event=np.zeros(240, dtype=bool))
    whole = survival(replace(followed, followed=nobody))["whole"]
    there = int((nobody.duration >= 4.0).sum())
    assert whole["seen"] == [1.0] * 5 and whole["low"][0] == 1.0
    assert whole["low"][2] == pytest.approx(1 - 1.96**2 / (there + 1.96**2), abs=1e-3)  # Wilson's with none of n


# --- the words ------------------------------------------------------------------------------------------------------


def said(document) -> str:
    return " ".join(one["text"] for one in document["verdict"]["sentences"])


def test_a_model_that_draws_lots_is_called_that():
    rng = np.random.default_rng(3)
    document = build_document(made_judged(label=rng.integers(0, 2, 400), probability=rng.random(400)))
    assert "drawing lots: do not choose customers by it" in document["verdict"]["headline"]


def test_a_model_that_is_too_good_is_not_praised():
    label = np.arange(400) % 2
    document = build_document(made_judged(label=label, probability=np.where(label, 0.99, 0.01)))
    assert "Too good to be trusted" in document["verdict"]["headline"]


def test_a_leak_is_an_alarm(judged):
    checks = [{"check": "a single column", "verdict": "leak", "evidence": "'cancelled' has a ROC AUC of 1.000"}]
    document = build_document(replace(judged, leaks={"checks": checks}))
    assert "Too good" in document["verdict"]["headline"] and "cancelled" in said(document)


def test_boastful_probabilities_are_called_too_high(judged):
    bold = np.clip(judged.probability * 1.6, 0, 1)
    told = evaluate(judged.label, bold, threshold=0.4, layers=LAYERS, replicates=50)
    document = build_document(replace(judged, probability=bold, metrics={**judged.metrics, "test": told}))
    assert "too high on the whole" in said(document)


def test_without_a_currency_amounts_are_called_an_example(judged):
    assert "EUR on the test rows" in said(build_document(judged))
    plain = said(build_document(replace(judged, currency=None)))
    assert "an example, without a unit" in plain and "EUR" not in plain


def test_few_churners_and_a_goal_are_told():
    label = np.r_[np.ones(6, dtype=np.int64), np.zeros(114, dtype=np.int64)]
    goal = {"certified": False, "said": "F1 of 0.85: above what these data can give (0.64)"}
    document = build_document(made_judged(120, label=label), {"goal": goal})
    assert "Only 6 of the test customers left" in said(document) and goal["said"] in said(document)


def test_thresholds_of_their_own_are_told(judged):
    own = OwnThreshold(column="charges", times=1.0, otherwise=100.0, offer=Campaign().terms)
    bundle = replace(judged.predictor.bundle, own_threshold=own)
    own = replace(judged, predictor=Predictor(bundle))
    assert not np.array_equal(own.selected(), judged.selected())
    assert "By thresholds of their own" in said(build_document(own))


# --- what must not go wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 1])
def test_rows_of_one_class_have_a_report_that_says_so(left):
    document = build_document(made_judged(60, label=np.full(60, left), probability=np.linspace(0.1, 0.9, 60)))
    assert "cannot be said" in document["verdict"]["headline"]
    assert "curves" not in document and "Model card" in render(document)


def test_ten_rows_without_ids_have_a_report():
    judged = made_judged(10, label=[1, 0] * 5, probability=np.linspace(0.9, 0.1, 10))
    judged = replace(judged, ids=pl.Series("customer_id", np.arange(10)))
    document = build_document(judged, {"customers": customers(judged, None, listed=5)})
    assert [one["customer_id"] for one in document["customers"]] == ["0", "1", "2", "3", "4"]
    assert '<th scope="row">0</th>' in render(document)


def test_no_rows_have_a_report_that_says_so(judged):
    nobody = replace(
        judged, frame=judged.frame[:0], typed=judged.typed[:0], label=judged.label[:0], ids=judged.ids[:0],
        probability=judged.probability[:0], value=None, metrics={**judged.metrics, "test": None},
    )  # fmt: skip
    document = build_document(nobody)
    assert "No rows were kept" in document["verdict"]["headline"] and "Model card" in render(document)


def test_several_classes_have_a_report_without_money():
    frame = made_customers(600).with_columns(churn=pl.Series(np.random.default_rng(0).choice(["a", "b", "c"], 600)))
    from churnlib.data.customers import prepare_customers

    prepared = prepare_customers(frame, target="churn", id="customer")
    rows = prepared.rows("test")
    predictor = Predictor(made_bundle(prepared))
    probability = predictor.probabilities(prepared.frame[rows])
    told = evaluate(prepared.label[rows], probability, threshold=None, classes=["a", "b", "c"], replicates=20)
    judged = Judged(
        frame=prepared.frame[rows], typed=prepared.typed[rows], label=prepared.label[rows], probability=probability,
        ids=prepared.ids(rows), predictor=predictor, campaign=Campaign(), metrics={"test": told, "model": "mlp"},
        table="t", model="mlp", sides={"test": [1, 2, 3]},
    )  # fmt: skip
    explainer, _ = explainer_of(judged)
    document = build_document(judged, {"explanation": explanation(judged, explainer, sampled=8)})
    page = render(document)
    assert "one of 3 classes" in document["verdict"]["headline"]
    assert "simulator" not in document and "Plan a campaign" not in page and "What counts most" in page


def test_every_probability_the_same_has_a_report():
    document = build_document(made_judged(80, label=np.arange(80) % 2, probability=np.full(80, 0.5)))
    assert render(document) and document["simulator"]["cells"] == [[80, 40, 0.5]]


def test_customers_who_cost_more_than_they_bring_are_worth_nothing():
    value = np.full(200, -5.0)
    document = build_document(made_judged(200, value=value, currency="EUR"))
    assert document["simulator"]["campaign"]["contacted"] == 0 and "worth contacting" in said(document)
    assert render(document)


# --- the page -------------------------------------------------------------------------------------------------------


def test_a_section_without_numbers_is_absent(document):
    whole = render(document)
    for section in SECTIONS:
        assert (f'<section id="{section.key}"' in whole) == (section.key in document), section.key
    for key in ("explanation", "fairness", "customers", "segments", "settings", "performance", "confusion"):
        assert f'<section id="{key}"' not in render({name: part for name, part in document.items() if name != key})


def test_markup_in_names_and_values_stays_text(judged):
    frame = judged.frame.with_columns(plan=pl.lit(HOSTILE))
    listed = [{"customer_id": HOSTILE, "churn_probability": 0.5, "value": 1.0, "expected_gain": 1.0, "left": True,
               "concealed": False, "reasons": [{"text": HOSTILE, "effect": 1.0, "actionable": False}]}]  # fmt: skip
    typed = judged.typed.with_columns(plan=pl.lit(HOSTILE))
    config = {"data": {"name": HOSTILE, HOSTILE: HOSTILE}}
    document = build_document(
        replace(judged, table=HOSTILE, frame=frame, typed=typed, config=config, currency=HOSTILE),
        {"customers": listed, "goal": {"said": HOSTILE, "certified": False}},
    )
    page = render(document)
    outline = Outline(page)
    assert outline.scripts == ["application/json", None] and not outline.open
    assert "<img" not in page and "onerror=alert(2)>" not in page
    assert "<script>" not in markdown(document).replace("\\<", "")


def test_the_page_forbids_every_request_and_every_script_but_its_own(document):
    page = render(document)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    assert not re.search(r'(src|href)="(?!#|data:)', page) and "url(" not in page and "@import" not in page
    assert not re.search(r"\sstyle=", page), "a style attribute would be refused by the policy"


def test_the_page_can_be_read_aloud(document):
    outline = Outline(render(document))
    assert not outline.open and outline.headings[0] == 1 and outline.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert outline.labels == set(outline.inputs) and None not in outline.headers and not outline.unnamed
    assert len(outline.ids) == len(set(outline.ids)) and set(outline.targets) <= set(outline.ids)
    assert {"main", "nav", "header", "footer"} == set(outline.landmarks)


def luminance(colour: str) -> float:
    colour = colour if len(colour) == 7 else "#" + "".join(2 * one for one in colour[1:])
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_stand_out_from_the_paper_light_and_dark(document):
    """At least 4.5 to 1, as WCAG 2.2 asks for (1.4.3)."""
    blocks = re.findall(r":root \{([^}]*)\}", render(document))
    for block in blocks[:2]:
        colours = dict(re.findall(r"--(\w+): (#\w+)", block))
        for ink in ("ink", "muted", "leave", "stay", "look"):
            for paper in ("paper", "card"):
                light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


# --- files ----------------------------------------------------------------------------------------------------------


def test_secrets_are_not_among_the_options():
    config = {"data": {"url_env": "DB", "password": "hunter2", "path": "https://me:hunter2@host/x?sig=hunter2"},
              "logger": {"api_key": "hunter2", "key_id": "k1"}, "names": ["a", "b"], "flag": True}  # fmt: skip
    told = dict(settings(config))
    assert "hunter2" not in str(told)
    assert told["data.url_env"] == "DB" and told["logger.key_id"] == "k1"
    assert told["names"] == "[a, b]" and told["flag"] == "true"


def test_the_numbers_lie_beside_the_page_and_only_one_file_names_customers(document, tmp_path):
    page = write_report(document, tmp_path)
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"figures.parquet", "curves.parquet", "segments.parquet", "customers.parquet", "fairness.parquet"} <= names
    also = (
        "survival",
        "importance",
        "column_curves",
        "interactions",
        "offers",
        "offer_course",
        "offer_segments",
        "fronts",
    )
    assert {f"{name}.parquet" for name in also} <= names
    numbers = (tmp_path / "report.json").read_text()
    first = document["customers"][0]["customer_id"]
    assert first in page.read_text() and first not in numbers + (tmp_path / "model_card.md").read_text()
    curves = pl.read_parquet(tmp_path / "report/curves.parquet")
    assert curves["gains"].to_list() == document["curves"]["gains"]["value"]
    assert read_document(tmp_path) == json.loads(json.dumps(document))
    assert not list(tmp_path.rglob(".*"))


def test_who_is_forgotten_leaves_the_page_as_well(document, tmp_path):
    from churnlib.privacy.forget import forget
    from churnlib.privacy.persons import Person

    page = write_report(document, tmp_path)
    listed = [one["customer_id"] for one in document["customers"]]
    offered = [one["customer_id"] for one in document["fronts"]]
    for gone, other in (listed[:2], offered[:2]):
        forget(Person(gone), [tmp_path], record=tmp_path / "r.jsonl")
        assert gone not in page.read_text() and other in page.read_text()
    assert not render_again(tmp_path / "nowhere")


def test_the_card_says_what_the_model_is_for_and_its_limits(document):
    card = markdown(document)
    assert card.startswith("---\n") and "library_name: churnlib" in card
    assert all(f"## {title}" in card for title in ("Intended use", "Not for", "Training data", "Limits"))
    told = [card.replace("\\", ""), render(document)]
    for option in ("card.owner", "card.contact", "card.intended_use", "data.owner", "data.purpose"):
        assert all(f"not stated ({option})" in one for one in told)
    import yaml

    head = yaml.safe_load(card.split("---")[1])
    assert head["model-index"][0]["results"][0]["metrics"][0]["type"] == "roc_auc"


def test_the_card_says_what_people_have_stated(judged):
    stated = {"owner": "Jane Doe.", "contact": "jane@example.com", "intended_use": "Calls; a person decides"}
    config = {"card": stated, "data": {"owner": "CRM", "purpose": "contracts"}}
    document = build_document(replace(judged, config=config))
    for told in (markdown(document), render(document)):
        assert "Who answers for the model: Jane Doe." in told and "Jane Doe.." not in told
        assert "complaints go: jane@example.com." in told and "What it is for: Calls; a person decides." in told
        assert "answers for the data: CRM." in told and "are kept: contracts." in told and "not stated" not in told


# --- of a run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = ["model=logistic", "data.n_customers=900", "bundle.onnx=false", "money.currency=EUR"]
    return train(compose(words), folder=RunFolder(folder, latest=None))


def test_a_run_leaves_a_report_whose_numbers_are_those_of_its_metrics(finished):
    document = read_document(finished.folder)
    figures = {one["key"]: one["value"] for one in document["performance"]["figures"]}
    assert figures["roc_auc"] == finished.metrics["test"]["roc_auc"]
    assert document["run"]["rows"] == finished.metrics["test"]["n"] and len(document["customers"]) == 6
    known = pl.read_parquet(finished.folder / "predictions.parquet").sort("churn_probability", descending=True)
    assert document["customers"][0]["churn_probability"] == pytest.approx(known["churn_probability"][0])
    assert document["customers"][0]["reasons"] and "EUR" in (finished.folder / "report.html").read_text()


def test_a_report_with_other_levers_is_computed_anew(finished, monkeypatch, tmp_path):
    monkeypatch.setattr(report_overall, "overall", overall)
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    before = read_document(folder)
    assert "offers" not in before and "overall" not in before
    levers = compose(["input=a.csv", "output=plan", "levers=simulator"], name="plan").levers
    after = churnlib.report(folder, levers=levers, budget=500).document
    assert after["offers"]["limits"]["budget"] == 500 and "one_year" in after["offers"]["offers"]
    assert after["overall"]["about"]["rows"] == after["run"]["rows"] and after["performance"] == before["performance"]
    page = churnlib.report(folder).html()  # drawn again, from what lies beside it
    assert "What to offer, and to whom" in page and "The model on the whole" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["levers=telco"], "levers.offers.one_year.set"),
        (["levers=campaign", "task=hazard", "task.duration=tenure_months", "model=mlp_plain"], "task=classify"),
    ],
)
def test_levers_that_no_plan_could_be_made_with_are_refused_before_anything_is_learned(words, said, tmp_path):
    config = compose(["model=logistic", "data.n_customers=300", *words])
    with pytest.raises(ConfigError, match=said):
        train(config, folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run").exists()


def test_limits_without_levers_are_refused():
    with pytest.raises(ConfigError, match="there is nothing to offer; add levers=NAME"):
        compose(["reporting.budget=5"])


def test_a_report_computed_again_from_the_table_says_the_same(finished):
    before = read_document(finished.folder)
    again = churnlib.report(finished.folder, refresh=True).document
    made = ("made", "trained")
    assert {k: v for k, v in again["run"].items() if k not in made} == {
        k: v for k, v in before["run"].items() if k not in made
    }
    for key in ("performance", "customers", "simulator", "verdict", "segments", "explanation", "settings"):
        assert again[key] == before[key], key


def test_a_run_without_a_report_gets_one_from_the_command(tmp_path, capsys):
    words = ["model=logistic", "data.n_customers=700", "bundle.onnx=false", "report=false"]
    done = train(compose(words), folder=RunFolder(tmp_path / "run", latest=None))
    assert not (tmp_path / "run/report.html").exists() and "without a report" in done._repr_html_()
    assert cli.main(["report", f"run={tmp_path / 'run'}", f"out={tmp_path / 'page.html'}"]) == 0
    assert "kB" in capsys.readouterr().out
    assert "Plan a campaign" in (tmp_path / "page.html").read_text()
    shown = done.report()
    assert shown.path.is_file() and shown.document["verdict"]["headline"] in html.unescape(shown._repr_html_())
    assert "<li>" in done._repr_html_()


def test_a_report_of_another_table_is_refused(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("n_customers: 900", "n_customers: 901"))
    with pytest.raises(DataError, match="no longer has the test rows"):
        churnlib.report(folder, refresh=True)
    with pytest.raises(ConfigError, match="holds no finished run"):
        churnlib.report(tmp_path)


def test_a_report_that_fails_costs_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("churnlib.training.train.report_of", lambda *_, **__: 1 / 0)
    done = train(compose(["model=logistic", "data.n_customers=700"]), folder=RunFolder(tmp_path / "run", latest=None))
    assert (tmp_path / "run/metrics.json").is_file() and done.metrics["test"] is not None
    assert "ZeroDivisionError" in capsys.readouterr().err
