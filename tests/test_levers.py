"""Levers: what is refused, whom they suit, what they make of a row, and which go together."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from churnlib.config.levers import LeversConfig
from churnlib.data.customers import prepare_customers
from churnlib.errors import ConfigError
from churnlib.planning.levers import Levers, outside_training
from churnlib.predictor import Predictor
from churnlib.schema.rules import Check, Rule
from tests.made import TINY_MLP, made_bundle, made_customers, made_prepared

TABLE = made_customers(60, seed=3)
YEARLY = {"set": {"plan": "yearly"}, "where": "plan = 'monthly'", "cost": 30}
CHEAPER = {"multiply": {"charges": 0.5}, "cost_share": 0.5, "cost_column": "charges", "periods": 12}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(made_bundle(made_prepared(columns={"region": {"sensitive": True, "use": True}}), network=TINY_MLP))


def levers(predictor: Predictor, **offers) -> Levers:
    return Levers.of({"offers": offers}, predictor)


@pytest.mark.parametrize(
    ("lever", "said"),
    [
        ({"set": {"plann": "yearly"}}, "names the column 'plann', which the model does not have; did you mean 'plan'?"),
        ({"set": {"plan": "yearl"}}, r"set\.plan='yearl' is no value of 'plan' that training has seen; did you mean"),
        ({"set": {"churn": "no"}}, "'churn', which the model does not read"),
        ({"set": {"region": "region 1"}}, "'region', which is sensitive; an offer cannot change it"),
        ({"set": {"tenure": "long"}}, r"set\.tenure='long' cannot be read as numeric"),
        ({"multiply": {"plan": 2}}, "'plan', which is categorical; name a numeric column"),
        ({"multiply": {"charges": 1}}, r"multiply\.charges=1 changes nothing"),
        ({"add": {"charges": 0.0}}, r"add\.charges=0\.0 changes nothing"),
        ({"multiply": {"charges": "0.9"}}, "multiply must hold numbers, got '0.9'"),
        (
            {**YEARLY, "where": "plans = 'monthly'"},
            "names the column 'plans', which it cannot read; did you mean 'plan'",
        ),
        ({**YEARLY, "where": "region = 'region 1'"}, "reads 'region', which is sensitive"),
        ({**YEARLY, "where": "tenure + 1"}, r"where must give true or false for each row"),
        ({**YEARLY, "cost": -1}, r"cost must be at least 0, got -1"),
        ({**YEARLY, "cost": "30"}, r"cost must be a number, got '30'"),
        ({**YEARLY, "cost_share": 0.1}, r"cost_share and .*cost_column go together"),
        ({**YEARLY, "acceptance": 1.5}, r"acceptance must be in \[0, 1\], got 1\.5"),
        ({**YEARLY, "add": {"plan": 1.0}}, "changes a column in two ways"),
        ({**YEARLY, "saves": 0.5}, "must say what it does in one way"),
        ({"cost": 5}, "must say what it does in one way"),
        ({**YEARLY, "prise": 5}, r"unknown option levers\.offers\.it\.prise"),
        ("yearly", r"levers\.offers\.it must be a mapping"),
    ],
)
def test_what_is_impossible_is_refused_in_a_sentence(predictor, lever, said):
    with pytest.raises(ConfigError, match=said):
        levers(predictor, it=lever)


def test_wrong_sets_of_levers_are_refused(predictor):
    with pytest.raises(ConfigError, match=r"levers\.offers is empty"):
        levers(predictor)
    with pytest.raises(ConfigError, match=r"levers\.exclude names 'monthly', which is no lever; there are yearly"):
        LeversConfig(offers={"yearly": YEARLY}, exclude=[["yearly", "monthly"]])
    left_out = LeversConfig(offers={"yearly": YEARLY, "two": None}, exclude=[["yearly", "two"]])
    assert list(left_out.offers) == ["yearly"] and left_out.exclude == [["yearly"]]
    with pytest.raises(ConfigError, match=r"levers cannot be read: .*'offer'"):
        Levers.of({"offer": {}}, predictor)
    with pytest.raises(ConfigError, match=r"recompute\.charges must give a number for each row"):
        Levers.of({"offers": {"yearly": YEARLY}, "recompute": {"charges": "plan"}}, predictor)
    many = {f"lever{i}": {"add": {"tenure": float(i)}} for i in range(1, 202)}
    with pytest.raises(ConfigError, match="makes 201 offers of 201 levers, and 200 is the most"):
        Levers.of({"offers": many}, predictor)


def test_an_offer_can_be_made_where_its_conditions_hold_and_it_changes_something(predictor):
    found = levers(predictor, yearly=YEARLY, ever={"set": {"plan": "yearly"}}, cheaper=CHEAPER)
    typed = predictor.read(TABLE).typed
    plan, charges = TABLE["plan"].to_numpy(), TABLE["charges"].to_numpy()
    can = {one.name: one.possible(typed) for one in found.offers}
    assert (can["yearly"] == (plan == "monthly")).all()
    assert (can["ever"] == (plan != "yearly")).all()
    assert (can["cheaper"] == ~np.isnan(charges)).all()  # half of an unknown amount is as unknown
    offer = found.offers[2]
    np.testing.assert_allclose(offer.changed(typed, {})["charges"].drop_nulls(), charges[~np.isnan(charges)] / 2)
    np.testing.assert_allclose(offer.cost(typed, np.zeros(60)), charges * 6)
    # The cost of money where a lever has none of its own.
    assert levers(predictor, call={"saves": 0.5}).offers[0].cost(typed, np.full(60, 7.0)).tolist() == [7.0] * 60


def test_columns_that_follow_are_computed_anew_where_what_they_read_changes(predictor):
    given = {"offers": {"longer": {"add": {"tenure": 1}}, "yearly": YEARLY}, "recompute": {"charges": "tenure * 2"}}
    found = Levers.of(given, predictor)
    typed = predictor.read(TABLE).typed
    longer, yearly = (one.changed(typed, found.recompute) for one in found.offers)
    assert longer["charges"].to_list() == [2.0 * (tenure + 1) for tenure in TABLE["tenure"].to_list()]
    assert yearly["charges"].equals(typed["charges"])


def test_levers_go_together_unless_excluded_or_of_one_column(predictor):
    offers = {
        "yearly": {**YEARLY, "acceptance": 0.2, "contact_cost": 3, "effort": 2},
        "two": {"set": {"plan": "two years"}, "cost": 5},
        "cheaper": {**CHEAPER, "stayers": 0.5, "acceptance": 0.4},
        "paper": {"set": {"paperless": "Yes"}, "cost": 1},
        "call": {"saves": 0.1},
    }
    found = Levers.of({"offers": offers, "together": 3, "exclude": [["two", "paper", "yearly"]]}, predictor)
    assert [one.name for one in found.offers] == [*offers, "yearly + cheaper", "two + cheaper", "cheaper + paper"]
    both = found.offers[5]
    assert (both.acceptance, both.stayers, both.contact_cost, both.effort) == (0.2, 1.0, 3, 2)
    typed = predictor.read(TABLE).typed
    alone = [found.offers[place].cost(typed, np.zeros(60)) for place in (0, 2)]
    np.testing.assert_allclose(both.cost(typed, np.zeros(60)), alone[0] + alone[1])


def test_an_offer_that_would_break_a_rule_cannot_be_made():
    rule = Rule("charges_max", "charges", Check.max, 60.0)
    customers = prepare_customers(made_customers(300), target="churn", id="customer")
    bundle = made_bundle(customers, network=TINY_MLP)
    schema = type(bundle.schema)(bundle.schema.columns, bundle.schema.classes, rules=(rule,))
    predictor = Predictor(type(bundle)(**{**vars(bundle), "schema": schema}))
    found = levers(predictor, dearer={"multiply": {"charges": 2.0}})
    typed = predictor.read(TABLE).typed
    can, _ = found.possible(found.offers[0], typed, predictor)
    charges = TABLE["charges"].to_numpy()
    assert (can == ((charges <= 30) | (charges > 60))).all()  # who broke it before does not break it by the offer


def test_levers_that_leave_what_training_has_seen_are_named(predictor):
    found = levers(predictor, yearly=YEARLY, far={"multiply": {"charges": 100}})
    (said,) = outside_training(found, predictor.read(TABLE).typed, predictor)
    assert said.startswith("far takes charges beyond what training has seen") and said.endswith("the model guesses")
    assert outside_training(found, pl.DataFrame(schema=predictor.read(TABLE).typed.schema), predictor) == []
