"""A plan: gains beside the formula of one customer, fronts beside all pairs, intervals beside simulation, files."""

from __future__ import annotations

import io
import json

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from churnlib.bundle import write_bundle
from churnlib.commands.plan import main
from churnlib.config.plan import SegmentsConfig
from churnlib.errors import ConfigError, DataError, RowErrors
from churnlib.evaluation.profit.campaign import Campaign, expected_gains
from churnlib.models.ensemble import Ensemble, Member
from churnlib.planning.economics import Answers, Economics, pareto
from churnlib.planning.groups import by_columns, by_reason, by_tree
from churnlib.planning.levers import Levers
from churnlib.planning.plan import as_money, plan
from churnlib.planning.uncertainty import Uncertainty, calibration_error
from churnlib.predictor import Predictor
from tests.made import TINY_MLP, made_bundle, made_customers, made_prepared

TABLE = made_customers(400, seed=3)
OFFERS = {
    "yearly": {"set": {"plan": "yearly"}, "where": "plan = 'monthly'", "cost": 5, "acceptance": 0.4},
    "cheaper": {"multiply": {"charges": 0.9}, "cost_share": 0.1, "cost_column": "charges", "periods": 12},
    "call": {"saves": 0.5, "cost": 8, "stayers": 0.6, "effort": 0.5},
}
MONEY = {"column": "charges", "times": 12.0, "contact_cost": 2.0, "value": 100.0}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(made_bundle(network=TINY_MLP))


def planned(predictor: Predictor, table: pl.DataFrame = TABLE, *, offers=None, together=2, money=MONEY, **options):
    levers = {"offers": OFFERS if offers is None else offers, "together": together}
    return plan(predictor, table, levers=levers, money=money, **{"explain": "false", "segments": NONE, **options})


NONE = SegmentsConfig(by="none")
HELD_OUT = pl.DataFrame({"label": [0, 1, 0, 1, 1, 0, 0, 1] * 20, "churn_probability": [0.2, 0.6, 0.4, 0.8] * 40})


def test_the_campaign_of_the_profit_measures_is_a_plan_of_one_offer(predictor):
    found = planned(predictor, offers={"offer": {"saves": 1.0}})
    p = predictor.probabilities(TABLE)
    value = np.where(np.isnan(charges := TABLE["charges"].to_numpy()), 100.0 / 12, charges) * 12
    wanted = expected_gains(p, value, Campaign(contact_cost=2.0, value=100.0))
    made = (found.customers["offer"] == "offer").to_numpy()
    assert (made == (wanted > 0)).all() and made.any() and not made.all()
    np.testing.assert_allclose(found.customers["expected_gain"].to_numpy(), np.maximum(wanted, 0.0))
    assert found.summary["total"]["expected_gain"] == pytest.approx(wanted[wanted > 0].sum())


def test_costs_and_gains_are_those_of_the_formula_customer_by_customer(predictor):
    found = planned(predictor, held_out=HELD_OUT)
    rows, p = TABLE.to_dicts(), predictor.probabilities(TABLE)
    by_name = {offer: place for place, offer in enumerate([*OFFERS, "yearly + cheaper"])}
    changed = {
        "yearly": TABLE.with_columns(plan=pl.lit("yearly")),
        "cheaper": TABLE.with_columns(pl.col("charges") * 0.9),
        "yearly + cheaper": TABLE.with_columns(pl.col("charges") * 0.9, plan=pl.lit("yearly")),
    }
    after = {name: predictor.probabilities(table) for name, table in changed.items()}
    seen = set()
    for number, customer in enumerate(found.customers.iter_rows(named=True)):
        value = 12 * rows[number]["charges"] if rows[number]["charges"] is not None else 100.0
        for option in customer["options"][1:]:
            name = option["offer"]
            assert name in by_name
            g = 0.4 if "yearly" in name else 0.3
            s = 0.6 if name == "call" else 1.0
            taken = p[number] * 0.5 if name == "call" else after[name][number]
            cost = 8.0 if name == "call" else 0.0
            cost += 5.0 if "yearly" in name else 0.0
            cost += 1.2 * rows[number]["charges"] if "cheaper" in name else 0.0
            spent = (g * p[number] + s * (1 - p[number])) * cost + 2.0
            assert option["expected_cost"] == pytest.approx(spent)
            assert option["churn_probability"] == pytest.approx(p[number] - g * (p[number] - taken), abs=1e-6)
            assert option["expected_gain"] == pytest.approx(g * (p[number] - taken) * value - spent, abs=1e-4)
            assert option["gain_low"] < option["expected_gain"] < option["gain_high"] and option["causal"] is False
            seen.add(name)
        best = max(option["expected_gain"] for option in customer["options"])
        assert customer["expected_gain"] == pytest.approx(max(best, 0.0), abs=1e-9)
        assert customer["options"][0]["offer"] == "leave alone" and customer["options"][0]["expected_gain"] == 0.0
    assert {"call", "yearly + cheaper"} <= seen


def test_limits_are_kept_and_what_does_not_fit_is_said(predictor):
    free = planned(predictor)
    total = free.summary["total"]
    found = planned(predictor, budget=total["expected_cost"] / 3, capacity=40.0)
    told = found.summary["total"]
    assert 0 < told["expected_cost"] <= total["expected_cost"] / 3 + 1e-6 and told["effort"] <= 40.0
    assert told["expected_gain"] < total["expected_gain"] and found.summary["solution"]["gap"] < 1e-3
    assert found.customers["because"].str.starts_with("beyond").sum() > 0
    assert found.contacts["expected_gain"].is_sorted(descending=True) and len(found.contacts) == told["offers"]
    assert told["cost_if_all_accept"] >= told["expected_cost"]
    sums = [sum(one[key] for one in found.summary["offers"].values()) for key in ("expected_gain", "offers", "effort")]
    assert sums == pytest.approx([told["expected_gain"], told["offers"], told["effort"]])


def test_bad_limits_values_and_rows_have_documented_outcomes(predictor):
    for limit in ({"budget": 0.0}, {"capacity": 0.0}):
        nobody = planned(predictor, **limit)
        assert (nobody.customers["offer"] == "leave alone").all() and nobody.summary["total"]["offers"] == 0
        assert nobody.summary["total"]["expected_gain"] == 0.0
    for limit in ({"budget": -1.0}, {"capacity": float("nan")}):
        with pytest.raises(ConfigError, match=r"must be a number of at least 0, or left out for no limit, got"):
            planned(predictor, **limit)
    negative = planned(predictor, TABLE.with_columns(pl.lit(-5.0).alias("worth")), money={**MONEY, "column": "worth"})
    assert set(negative.customers["because"]) == {"has no positive value"}
    assert (negative.customers["value_at_risk"] < 0).all()
    never = planned(predictor, offers={"never": {**OFFERS["yearly"], "where": "plan = 'weekly'"}})
    assert set(never.customers["because"]) == {"no offer can be made"}
    assert all(len(options) == 1 for options in never.customers["options"])
    broken = TABLE.with_columns(pl.when(pl.col("customer") == "C00001").then(None).otherwise("plan").alias("plan"))
    with pytest.raises(RowErrors, match="1 row cannot be scored"):
        planned(predictor, broken)
    some = planned(predictor, broken, on_error="null")
    bad = some.customers.row(1, named=True)
    assert bad["because"] == "cannot be scored" and bad["churn_probability"] is None and bad["options"] is None
    empty = planned(predictor, TABLE.head(0))
    assert len(empty.customers) == 0 and empty.summary["total"]["offers"] == 0
    with pytest.raises(ConfigError, match=r"money\.column names the column 'chargs'.*did you mean 'charges'"):
        planned(predictor, money={**MONEY, "column": "chargs"})
    with pytest.raises(ConfigError, match="money cannot be read"):
        as_money({"worth": 5})


def test_a_plan_is_the_same_whatever_else_is_planned_beside(predictor, monkeypatch):
    whole = planned(predictor)
    monkeypatch.setattr("churnlib.planning.plan.ROWS_AT_ONCE", 37)
    parts = planned(predictor)
    assert whole.customers.drop("options", cs_floats(whole.customers)).equals(
        parts.customers.drop("options", cs_floats(parts.customers))
    )
    for name in cs_floats(whole.customers):
        np.testing.assert_allclose(whole.customers[name], parts.customers[name], atol=1e-4)


def cs_floats(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if dtype.is_float()]


def test_the_front_is_what_no_other_offer_beats():
    rng = np.random.default_rng(0)
    cost, risk, alone = rng.integers(0, 6, (300, 5)) * 1.0, rng.integers(0, 8, (300, 5)) / 10, np.full(300, 0.5)
    cost[rng.random(cost.shape) < 0.2] = np.nan
    found = pareto(cost, risk, alone=alone)
    for row in range(300):
        for place in range(5):
            if np.isnan(cost[row, place]):
                assert not found[row, place]
                continue
            others = [
                other
                for other in range(5)
                if other != place and cost[row, other] <= cost[row, place] and risk[row, other] <= risk[row, place]
            ]
            ties = [
                other
                for other in others
                if (cost[row, other], risk[row, other]) == (cost[row, place], risk[row, place])
            ]
            beaten = set(others) - set(ties) or any(other < place for other in ties) or risk[row, place] >= 0.5
            assert found[row, place] == (not beaten)


# --- intervals ------------------------------------------------------------------------------------------------------


def test_gradients_are_those_of_finite_differences(predictor):
    levers = Levers.of({"offers": OFFERS, "together": 2}, predictor)
    rng = np.random.default_rng(1)
    k = len(levers.offers)
    risk, value = rng.uniform(0.05, 0.9, 50), rng.normal(100, 80, 50)
    taken, cost = rng.uniform(0.05, 0.9, (50, k)), rng.uniform(1, 20, (50, k))
    nothing = Uncertainty.of(calibration=None, acceptance=(6.0, 14.0), effects={})

    def gains(shift: float, slope: float, acceptance: float) -> np.ndarray:
        def moved(p: np.ndarray) -> np.ndarray:
            return 1 / (1 + np.exp(-(shift + slope * np.log(p / (1 - p)))))

        after = moved(taken)
        after[:, 2] = moved(risk) * 0.5  # the call saves half
        answers = Answers(moved(risk), after, np.full((50, k), np.nan), cost, value, np.zeros((50, k)))
        return Economics.of(answers, levers.offers, Campaign(acceptance=acceptance), nothing).gain

    start = taken.copy()
    start[:, 2] = risk * 0.5
    answers = Answers(risk, start, np.full((50, k), np.nan), cost, value, np.zeros((50, k)))
    money = Economics.of(answers, levers.offers, Campaign(acceptance=0.3), nothing)
    rows, offer = np.divmod(np.arange(50 * k), k)
    found = money.gradient(rows, offer, 3).reshape(3, 50, k)
    at, step = np.array([0.0, 1.0, 0.3]), 1e-5
    for place in range(3):
        ends = [gains(*(at + sign * step * np.eye(3)[place])) for sign in (1, -1)]
        np.testing.assert_allclose(found[place], (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=1e-4)


def test_the_interval_of_the_calibration_covers_as_often_as_it_says():
    """A campaign's gain at the true probabilities lies in the interval around that at the said ones."""
    campaign = Campaign(acceptance=0.3)
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        shift, slope = rng.normal(0, 0.2), rng.normal(1, 0.15)  # how the model is off, drawn anew
        said = rng.normal(-1, 1.2, 600)
        true = 1 / (1 + np.exp(-(shift + slope * said)))
        label = rng.random(600) < true
        p = 1 / (1 + np.exp(-said))
        error = calibration_error(label.astype(int), p)
        assert error is not None
        gain = [expected_gains(one, 200.0, campaign).sum() for one in (p, true)]
        # The gain is linear in the probabilities.
        per = 0.3 * 190.0 + 10.0
        gradient = per * np.array([(p * (1 - p)).sum(), (p * (1 - p) * said).sum()])
        half = 1.96 * np.sqrt(gradient @ error @ gradient)
        inside += abs(gain[1] - gain[0]) <= half
    assert inside >= 188  # 94 %: it is wider than it must be, as it also counts what the rows show to be off


def test_calibration_errors_are_none_where_rows_admit_no_line():
    assert calibration_error([0, 0, 0], [0.1, 0.2, 0.3]) is None
    assert calibration_error([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.3]) is None


def test_what_intervals_cover_is_said(predictor):
    known = planned(predictor, held_out=HELD_OUT).summary
    assert len(known["intervals"]["cover"]) == 2 and "Beta(6, 14)" in known["intervals"]["cover"][1]
    unknown = planned(predictor, money={**MONEY, "acceptance": 0.3})
    assert unknown.summary["intervals"]["cover"] == []
    assert any(line.startswith("no test rows were given") for line in unknown.summary["cautions"])
    assert (unknown.customers["gain_low"] == unknown.customers["expected_gain"]).all()


def test_members_of_an_ensemble_that_differ_widen_intervals():
    customers = made_prepared()
    bundles = [made_bundle(customers, network=TINY_MLP, seed=seed) for seed in range(3)]
    model = Ensemble((tuple(Member(one.model) for one in bundles),))
    several = Predictor(type(bundles[0])(**{**vars(bundles[0]), "model": model}))
    found = planned(several, money={**MONEY, "acceptance": 0.3}, offers={"yearly": OFFERS["yearly"]})
    np.testing.assert_allclose(found.customers["churn_probability"].to_numpy(), several.probabilities(TABLE), atol=1e-6)
    made = found.customers.filter(pl.col("offer") == "yearly")
    row = made.row(0, named=True)
    number = found.customers["customer_id"].to_list().index(row["customer_id"])
    one = TABLE[number : number + 1]
    each = [Predictor(bundle) for bundle in bundles]
    with_it = one.with_columns(plan=pl.lit("yearly"))
    apart = np.std([p.probabilities(one)[0] - p.probabilities(with_it)[0] for p in each], ddof=1)
    half = 1.96 * 0.4 * row["value"] * apart
    assert row["gain_high"] - row["expected_gain"] == pytest.approx(half, rel=1e-3)
    assert "3 models" in found.summary["intervals"]["cover"][0]


# --- groups ---------------------------------------------------------------------------------------------------------


def test_a_tree_finds_the_groups_that_were_made(predictor):
    typed = predictor.read(TABLE).typed
    risk = np.where((TABLE["plan"] == "monthly").to_numpy(), 0.8, 0.1) + 0.1 * (TABLE["tenure"] > 40).to_numpy()
    risk[5] = np.nan
    found = by_tree(typed, predictor.schema, risk, leaves=4, fewest=10)
    assert found.number[5] == -1 and len(found.names) == 4
    assert set(found.names) == {
        "plan is monthly, tenure above 40.5", "plan is monthly, tenure up to 40.5",
        "plan is not monthly, tenure above 40.5", "plan is not monthly, tenure up to 40.5",
    }  # fmt: skip
    for place in range(4):
        assert np.ptp(risk[found.number == place]) < 1e-9
    assert by_tree(typed, predictor.schema, risk, leaves=4, fewest=300).names == ("all customers",)


def test_groups_of_columns_and_reasons_keep_small_ones_together(predictor):
    typed = predictor.read(TABLE).typed
    found = by_columns(typed, np.ones(400, dtype=bool), ["plan", "tenure"], fewest=20)
    assert all(name.startswith("plan: ") and ", tenure: " in name for name in found.names if name != "others")
    assert (np.bincount(found.number)[: len(found.names) - ("others" in found.names)] >= 20).all()
    with pytest.raises(ConfigError, match=r"segments\.columns names the column 'plans'"):
        by_columns(typed, np.ones(400, dtype=bool), ["plans"], fewest=20)
    by = by_reason(np.arange(30.0), ["a"] * 25 + ["b"] * 5, fewest=6)
    # Ten of each third; of the last ten five have another reason, too few for a group.
    assert by.names == ("value at risk: middle, a", "value at risk: low, a", "others")
    assert by.number.min() == 0


def test_segments_say_how_many_leave_and_what_is_at_stake(predictor):
    how = SegmentsConfig(by="columns", columns=["plan"], fewest=5)
    found = planned(predictor, segments=how, held_out=HELD_OUT)
    assert found.segments["value_at_risk"].is_sorted(descending=True)
    for one in found.segments.iter_rows(named=True):
        mine = TABLE.filter(pl.col("plan") == one["segment"].removeprefix("plan: "))
        assert one["customers"] == one["labelled"] == len(mine)
        assert one["churn_rate"] == pytest.approx((mine["churn"] == "yes").mean())
        assert one["churn_rate_low"] < one["churn_rate"] < one["churn_rate_high"]
        own = found.customers.filter(pl.col("segment") == one["segment"])
        assert one["churn_probability"] == pytest.approx(own["churn_probability"].mean())
        assert one["churn_probability_low"] < one["churn_probability"] < one["churn_probability_high"]
        assert one["value_at_risk"] == pytest.approx(own["value_at_risk"].sum())
        assert one["offers"] == (own["offer"] != "leave alone").sum()
        assert one["expected_gain"] == pytest.approx(own["expected_gain"].sum())
    without = planned(predictor, TABLE.drop("churn"), segments=how).segments
    assert without["churn_rate"].null_count() == len(without) and without["value_at_risk_low"].null_count() > 0


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_bundle(made_bundle(network=TINY_MLP), folder / "bundle")
    HELD_OUT.write_parquet(folder / "predictions.parquet")
    TABLE.write_csv(folder / "customers.csv")
    return folder


WORDS = ["++levers.offers.call.saves=0.5", "++levers.offers.call.cost=8", "money.column=charges", "money.times=12"]


def test_the_command_writes_a_plan(run, tmp_path, capsys):
    words = [f"run={run}", f"input={run / 'customers.csv'}", f"output={tmp_path / 'plan'}", "budget=500", *WORDS]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "customers are made an offer" in said and "budget 500" in said and "scores.parquet" not in said
    customers = pl.read_parquet(tmp_path / "plan" / "plan.parquet")
    assert customers["customer_id"].to_list() == TABLE["customer"].to_list()
    told = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert told["total"]["expected_cost"] <= 500 and told["limits"] == {"budget": 500.0, "capacity": None}
    assert told["segments"] and told["levers"]["offers"]["call"]["saves"] == 0.5
    contacts = pl.read_csv(tmp_path / "plan" / "plan.csv")
    assert len(contacts) == told["total"]["offers"] > 0 and "options" not in contacts.columns
    assert contacts["main_reason"].null_count() < len(contacts)
    assert {path.name for path in (tmp_path / "plan").iterdir()} == {
        "plan.parquet", "plan.csv", "segments.csv", "plan.json",
    }  # fmt: skip
    python = plan(
        Predictor(made_bundle(network=TINY_MLP)), pl.read_csv(run / "customers.csv"),
        levers={"offers": {"call": {"saves": 0.5, "cost": 8}}}, money={"column": "charges", "times": 12},
        budget=500, held_out=HELD_OUT,
    )  # fmt: skip
    assert python.summary["total"]["expected_gain"] == pytest.approx(told["total"]["expected_gain"], rel=1e-4)
    assert main(words) == 1 and "exists already; a plan is never overwritten" in capsys.readouterr().err


def test_who_has_objected_is_not_in_a_plan(run, tmp_path):
    names = TABLE["customer"].to_list()
    (tmp_path / "objections.csv").write_text("\n".join(["customer", *names[3:9]]))
    words = [f"run={run}", f"input={run / 'customers.csv'}", f"output={tmp_path / 'plan'}", *WORDS]
    assert main([*words, f"opt_out={tmp_path / 'objections.csv'}"]) == 0
    planned = pl.read_parquet(tmp_path / "plan" / "plan.parquet")
    assert planned["customer_id"].to_list() == [*names[:3], *names[9:]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["budget=-1", *WORDS], "budget must be at least 0"),
        ([], "levers is missing: say what can be offered"),
        (["run=nowhere", *WORDS], "holds no predictions.parquet"),
        (["++levers.offers.call.saves=2"], r"levers.offers.call.saves must be in [0, 1]"),
        (["segments.by=columns", *WORDS], "segments.by=columns and segments.columns"),
        (["++levers.offers.call.experiment=BUNDLE"], "and no uplift model; give the bundle"),
    ],
)
def test_the_command_refuses_in_a_sentence(words, said, run, tmp_path, capsys):
    given = [word.replace("BUNDLE", str(run / "bundle")) for word in words]
    where = [] if any(word.startswith("run=") for word in words) else [f"run={run}"]
    assert main([*where, f"input={run / 'customers.csv'}", f"output={tmp_path / 'plan'}", *given]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "plan").exists() and not list(tmp_path.iterdir())


def test_a_plan_is_written_whole_or_not_at_all(predictor, tmp_path, monkeypatch):
    found = planned(predictor)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    with pytest.raises(DataError, match="cannot be written \\(No space left on device\\)"):
        found.write(tmp_path / "plan")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="there is no folder"):
        found.write(tmp_path / "nowhere" / "plan")


def test_a_plan_is_shown(predictor):
    said = io.StringIO()
    console = Console(file=said, width=160)
    console.print(planned(predictor, segments=SegmentsConfig(), capacity=10, held_out=HELD_OUT).render())
    text = said.getvalue()
    assert "Offers" in text and "Segments" in text and "capacity 10" in text and "not what causes them to stay" in text


def test_models_of_several_classes_have_no_plan():
    table = made_customers(300).with_columns(
        churn=pl.when(pl.col("plan") == "yearly").then(pl.lit("maybe")).otherwise("churn")
    )
    from churnlib.data.customers import prepare_customers

    bundle = made_bundle(prepare_customers(table, target="churn", id="customer"), network=TINY_MLP)
    with pytest.raises(ConfigError, match="a plan needs a model of two classes"):
        planned(Predictor(bundle))
