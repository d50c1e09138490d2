"""The additive network: sums that can be taken apart, pairs that are there, and a card that gives the same answers."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from made import made_bundle, made_customers, made_prepared

from churnlib import Predictor, scorecard
from churnlib.calibration import Beta, Platt
from churnlib.commands import scorecard as command
from churnlib.compose import compose
from churnlib.data.customers import Customers, prepare_customers
from churnlib.data.datamodule import ChurnDataModule
from churnlib.errors import ConfigError
from churnlib.explanation.scorecard import write_scorecard
from churnlib.models.additive import Additive
from churnlib.models.module import ChurnModule
from churnlib.models.network_model import NetworkModel
from churnlib.models.pair_choice import choose_pairs
from churnlib.training.packing import calibrated, complete
from churnlib.training.train import fit_model

WORDS = [
    "model=additive", "logger=none", "callbacks=memory", "trainer.progress=false", "trainer.max_epochs=16",
    "trainer.batch_size=32",
]  # fmt: skip


def crossed(n: int = 600) -> pl.DataFrame:
    """Customers who leave if they call often or pay much, but not both: no column says it alone."""
    rng = np.random.default_rng(0)
    calls, charge = rng.integers(0, 10, n), rng.normal(50, 10, n).round(1)
    leaves = rng.random(n) < np.where((calls > 4) != (charge > 50), 0.9, 0.1)
    plan = rng.choice(["a", "b", None], n)
    return pl.DataFrame({"calls": calls, "charge": charge, "plan": plan, "noise": rng.normal(size=n), "left": leaves})


def trained(customers: Customers, *words: str) -> Predictor:
    torch.manual_seed(0)
    config = compose([*WORDS, *words])
    return calibrated(config, fit_model(config, customers, Path()))


def beside(*frames: pl.DataFrame) -> pl.DataFrame:
    return pl.concat(frames, how="vertical_relaxed")


@pytest.fixture(scope="module")
def customers() -> Customers:
    return prepare_customers(crossed(), target="left")


@pytest.fixture(scope="module")
def predictor(customers: Customers) -> Predictor:
    return trained(customers)


@pytest.fixture(scope="module")
def mixed() -> tuple[Customers, Predictor]:
    """A table with every kind of column, gaps and an embedded category."""
    customers = made_prepared(400)
    return customers, trained(customers)


# --- the sum --------------------------------------------------------------------------------------------------------


def test_the_contributions_and_the_intercept_sum_to_the_log_odds(mixed: tuple[Customers, Predictor]):
    customers, predictor = mixed
    table = beside(customers.frame, customers.frame.with_columns(plan=pl.lit("never seen"), charges=None))
    found = predictor.contributions(table)
    probability = predictor.probabilities(table)
    assert found.terms[: len(customers.preparation.feature_names)] == tuple(
        (name,) for name in customers.preparation.feature_names
    )
    log_odds = found.values.sum(1) + found.intercept
    np.testing.assert_allclose(log_odds, np.log(probability / (1 - probability)), atol=1e-5)


def test_the_sum_holds_where_a_calibration_keeps_sums_and_is_refused_elsewhere(
    mixed: tuple[Customers, Predictor],
):
    customers, predictor = mixed
    table = customers.frame[customers.rows("test")]
    own = Predictor(replace(predictor.bundle, calibration=Platt(0.7, (-0.4,))))
    found = own.contributions(table)
    log_odds = found.values.sum(axis=1) + found.intercept
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), own.probabilities(table), atol=1e-6)
    bent = Predictor(replace(predictor.bundle, calibration=Beta(1.2, 0.8, 0.0)))
    with pytest.raises(TypeError, match="calibration=beta bends log-odds"):
        bent.contributions(table)
    with pytest.raises(ConfigError, match="a scorecard is a sum"):
        scorecard(bent)


def test_contributions_are_zero_on_average_over_the_training_rows(mixed: tuple[Customers, Predictor]):
    customers, predictor = mixed
    values = predictor.contributions(customers.frame[customers.rows("train")]).values
    np.testing.assert_allclose(values.mean(0), 0.0, atol=1e-5)
    assert values.std(0)[: len(customers.preparation.feature_names)].min() > 0


def test_a_column_changes_its_own_contribution_and_its_pairs_alone(predictor: Predictor, customers: Customers):
    row = {"calls": 2, "charge": 40.0, "plan": "a", "noise": 0.0}
    before, after = (predictor.contributions([one]) for one in (row, {**row, "calls": 8}))
    changed = {term for term, a, b in zip(before.terms, before.values[0], after.values[0], strict=True) if a != b}
    assert ("calls",) in changed and all("calls" in term for term in changed)


def test_several_classes_have_a_contribution_each():
    frame = made_customers(300).with_columns(churn=pl.Series(np.arange(300) % 3).cast(pl.String))
    customers = prepare_customers(frame, target="churn", id="customer")
    predictor = trained(customers, "trainer.max_epochs=2")
    found = predictor.contributions(customers.frame)
    assert found.values.shape[2] == 3 and found.intercept.shape == (3,)
    logits = found.values.sum(1) + found.intercept
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(softmax, predictor.probabilities(customers.frame), atol=1e-5)
    with pytest.raises(ConfigError, match="a scorecard is for two classes, and this model has 3"):
        scorecard(predictor)


def test_rows_that_cannot_be_scored_and_other_models_have_no_contributions(predictor: Predictor):
    assert np.isnan(predictor.contributions([{"calls": "many", "charge": 1.0, "plan": "a", "noise": 0.0}]).values).all()
    assert predictor.contributions(crossed().head(0)).values.shape == (0, len(predictor.bundle.model.terms))  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="is no sum over columns; a single additive one is"):
        Predictor(made_bundle()).contributions([])


def test_the_logits_are_those_of_a_sum_taken_by_hand():
    body = Additive(
        4, n_numeric=2, groups=[0, 1, 0, 2], n_bins=3, n_pairs=0
    )  # two numbers, an indicator of the first, a category
    with torch.no_grad():
        body.curves.copy_(torch.tensor([[[1.0], [2.0]], [[10.0], [20.0]]]))  # borders at -1 and 1
        body.weight.copy_(torch.tensor([[100.0], [1000.0]]))
        body.bias.fill_(0.5)
    x = torch.tensor([[0.0, 2.0, 1.0, 0.0], [-2.0, 0.0, 0.0, 1.0]])
    assert body(x).flatten().tolist() == [131.5, 1010.5]
    assert body.parts(x)[..., 0].tolist() == [[101.0, 30.0, 0.0], [0.0, 10.0, 1000.0]]


def test_several_additive_models_are_no_sum(customers: Customers):
    """Their mean probability counts, and its log-odds are no sum over columns."""
    several = trained(customers, "ensemble=2", "trainer.max_epochs=1")
    with pytest.raises(TypeError, match="is no sum over columns; a single additive one is"):
        several.contributions(customers.frame)
    with pytest.raises(ConfigError, match=r"a scorecard needs one additive model, and this is additive \(Ensemble\)"):
        scorecard(several)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_numeric": 5}, "n_numeric must be between 0 and in_features = 4, got 5"),
        ({"n_pairs": -1}, "n_pairs must be at least 0, got -1"),
        ({"groups": [0]}, "groups must have an entry for each of the 4 columns, got 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Additive(4, **arguments)


# --- the pairs ------------------------------------------------------------------------------------------------------


def test_the_pair_that_matters_is_found_and_learned(predictor: Predictor, customers: Customers):
    pairs = [term for term in predictor.contributions(customers.frame).terms if len(term) == 2]
    assert pairs == [("calls", "charge")]
    alone = trained(customers, "model.n_pairs=0")
    test = customers.frame[customers.rows("test")]
    label = customers.labels("test")
    accuracy = [((one.probabilities(test) > 0.5) == label).mean() for one in (predictor, alone)]
    assert accuracy[0] > 0.8 > 0.7 > accuracy[1]


def test_pairs_are_chosen_by_training_rows_alone():
    """With the split held fixed, the labels of other rows change nothing but the epoch that is chosen."""
    frame = crossed()
    side = pl.Series("side", np.where(np.arange(len(frame)) % 4 == 0, "test", "train"))
    side = pl.Series("side", np.where(np.arange(len(frame)) % 4 == 1, "validation", side.to_numpy()))
    flipped = frame.with_columns(left=pl.when(side == "test").then(~pl.col("left")).otherwise(pl.col("left")))
    chosen = []
    for table in (frame, flipped):
        table = table.with_columns(side)
        module = ChurnModule(compose(WORDS).model)
        data = ChurnDataModule(table, target="left", split={"by": "column", "column": "side"})
        module.build(data.input_spec(), class_counts=data.class_counts())
        assert module.network is not None
        module.network.initialize(*data.sample(10_000))
        chosen.append(module.network.state_dict())
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(*(c.values() for c in chosen), strict=True)
               if a.is_floating_point())  # fmt: skip
    assert torch.equal(chosen[0]["body.pairs"], chosen[1]["body.pairs"])


def test_columns_without_a_pair_between_them_and_copies_bring_none():
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 4, (2_000, 6))
    singles = np.concatenate([cells == value for value in range(1, 4)], axis=1).astype(np.float32)
    alone = (rng.random(2_000) < 0.2 + 0.15 * cells[:, 0]).astype(np.int64)
    assert choose_pairs(singles, cells, alone, n_pairs=5) == []
    together = (rng.random(2_000) < np.where(cells[:, 1] == cells[:, 2], 0.8, 0.3)).astype(np.int64)
    cells[:, 5] = cells[:, 1]  # a copy: its pair says nothing new
    assert choose_pairs(singles, cells, together, n_pairs=5) in ([(1, 2)], [(2, 5)])


# --- the card -------------------------------------------------------------------------------------------------------


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as the card reads it: dates in days since 1970."""
    days = {"joined": (row["joined"] - np.datetime64("1970-01-01").astype(object)).days} if row["joined"] else {}
    return {**row, **days}


def test_the_points_of_a_customer_give_the_models_probability(mixed: tuple[Customers, Predictor]):
    customers, predictor = mixed
    card = scorecard(predictor, decimals=None)
    rows = [plain(row) for row in customers.frame.to_dicts()]
    rows += [{**row, "plan": "never seen", "region": None, "charges": None} for row in rows[:5]]
    table = beside(
        customers.frame, customers.frame.head(5).with_columns(plan=pl.lit("never seen"), region=None, charges=None)
    )
    for row in rows:
        row["paperless"] = row["paperless"] == "Yes"
    wanted = predictor.probabilities(table)
    good = ~np.isnan(wanted)
    found = np.array([card.probability(card.score(row)) if ok else np.nan for row, ok in zip(rows, good, strict=True)])
    np.testing.assert_allclose(found[good], wanted[good], atol=1e-5)
    assert good.sum() >= len(customers.frame)


def test_a_category_may_be_called_as_the_card_calls_what_is_none():
    rng = np.random.default_rng(0)
    words = rng.choice(["missing", "any other value", "plain"], 300)
    frame = pl.DataFrame({"word": words, "x": rng.normal(size=300), "left": rng.random(300) < (words == "missing")})
    predictor = trained(prepare_customers(frame, target="left"), "model.n_pairs=0")
    card = scorecard(predictor, decimals=None)
    rows = [{"word": word, "x": 0.0} for word in ("missing", "any other value", "plain", "never seen")]
    found = [card.probability(card.score(row)) for row in rows]
    np.testing.assert_allclose(found, predictor.probabilities(rows), atol=1e-5)
    with pytest.raises(ValueError, match="no points for a missing value"):
        card.score({"word": None, "x": 0.0})


def test_rounded_points_move_no_customer_further_than_the_card_says(predictor: Predictor, customers: Customers):
    exact, rounded = (scorecard(predictor, decimals=decimals) for decimals in (None, 0))
    assert all(points == round(points) for points in (rounded.base, *(row["points"] for row in rounded.rows())))
    per_point = np.log(2) / 20
    moved = [abs(exact.score(row) - rounded.score(row)) * per_point for row in customers.frame.to_dicts()]
    assert 0 < max(moved) <= rounded.rounding


def test_so_many_points_double_the_odds(predictor: Predictor, customers: Customers):
    card = scorecard(predictor, points_to_double=50, decimals=None)
    row = customers.frame.row(0, named=True)
    one, other = (card.probability(card.score(row) + more) for more in (0, 50))
    assert other / (1 - other) == pytest.approx(2 * one / (1 - one))
    assert card.probability(card.score(row)) == pytest.approx(predictor.probabilities([row])[0], abs=1e-6)


def test_the_files_hold_every_choice(predictor: Predictor, tmp_path: Path):
    card = scorecard(predictor)
    write_scorecard(card, tmp_path / "card.csv")
    write_scorecard(card, tmp_path / "card.json")
    with (tmp_path / "card.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["term"] == "base" and float(lines[0]["points"]) == card.base
    assert len(lines) == 1 + len(card.rows())
    assert all(len(line["points"].partition(".")[2]) <= 1 for line in lines), "more digits than were asked for"
    kept = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert sum(np.size(term["points"]) for term in kept["terms"]) == len(card.rows())
    assert {tuple(term["columns"]) for term in kept["terms"]} == {term.columns for term in card.terms}
    with pytest.raises(ConfigError, match=r"must end in .json or .csv"):
        write_scorecard(card, tmp_path / "card.xlsx")


def test_the_command_writes_the_card_of_a_bundle(predictor: Predictor, empty_folder: Path, capsys: Any):
    from churnlib.bundle import write_bundle

    write_bundle(complete(predictor, {}), empty_folder / "bundle")
    assert command.main(["bundle=bundle", "output=card.json", "decimals=0"]) == 0
    assert "calls" in capsys.readouterr().out and (empty_folder / "card.json").exists()
    write_bundle(made_bundle(), empty_folder / "other")
    assert command.main(["bundle=other"]) == 1
    said = capsys.readouterr().err
    assert said == "Error: a scorecard needs one additive model, and this is tabnet; train with model=additive\n"
    assert command.main(["bundle=bundle", "output=card.txt"]) == 1


def test_a_network_whose_bins_no_rows_have_placed_has_no_card(customers: Customers):
    bundle = made_bundle(customers, network={"_target_": "churnlib.models.additive.Additive"})
    assert isinstance(bundle.model, NetworkModel)
    with pytest.raises(ConfigError, match="no training rows have placed the bins"):
        scorecard(Predictor(replace(bundle, name="additive")))
