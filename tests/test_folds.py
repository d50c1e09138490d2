"""Dealing rows into folds, and reading the rows of one preparation with the model of another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
import pytest
from made import made_prepared

from churnlib.data.customers import prepare_customers
from churnlib.data.folds import deal_folds, recode
from churnlib.data.steps import Fitted, Learned, Step, Training
from churnlib.data.steps.step import category, number
from churnlib.errors import ConfigError


def test_every_row_but_the_test_rows_is_held_out_once_and_trained_on_by_all_others():
    customers = made_prepared(301)
    folds = deal_folds(customers, 4, seed=1)
    pool = np.sort(np.concatenate([customers.rows("train"), customers.rows("validation")]))
    held = np.concatenate([part.rows("validation") for part in folds.parts])
    assert np.array_equal(np.sort(held), pool)
    for part in folds.parts:
        assert np.array_equal(np.sort(np.concatenate([part.rows("train"), part.rows("validation")])), pool)
        assert np.array_equal(part.rows("test"), customers.rows("test"))


def test_folds_differ_by_one_row_in_all_and_in_each_class():
    folds = deal_folds(made_prepared(301), 4, seed=1)
    counts = np.array([part.class_counts("validation") for part in folds.parts])
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_repeats_are_dealt_anew_and_the_seed_decides():
    customers = made_prepared(200)
    first, again, other = (deal_folds(customers, 2, repeats=3, seed=seed) for seed in (1, 1, 2))
    held = [[part.rows("validation").tolist() for part in folds.parts] for folds in (first, again, other)]
    assert held[0] == held[1] != held[2]
    assert len(first.parts) == 6
    assert all(held[0][a] != held[0][b] for a, b in combinations((0, 2, 4), 2))


def test_rows_of_one_customer_stay_in_one_fold():
    n = 240
    frame = pl.DataFrame(
        {
            "customer": [f"c{i // 3}" for i in range(n)],
            "month": [f"2025-{1 + i % 3:02d}-01" for i in range(n)],
            "use": np.random.default_rng(0).normal(size=n),
            "churn": [int((i // 3) % 4 == 0) for i in range(n)],
        }
    )
    customers = prepare_customers(frame, target="churn", id="customer", time="month", split={"by": "random"})
    for part in deal_folds(customers, 4, seed=0).parts:
        names = [
            set(customers.frame["customer"][part.rows(side)].to_list()) for side in ("train", "validation", "test")
        ]
        assert not any(a & b for a, b in combinations(names, 2))


@pytest.mark.parametrize("n_folds", [1, 200])
def test_folds_without_a_row_of_each_class_are_refused(n_folds: int):
    with pytest.raises(ConfigError, match=r"cv must be between 2 and \d+ \(the rows of the rarest class\)"):
        deal_folds(made_prepared(200), n_folds)


def test_a_fold_is_prepared_from_its_own_training_rows_alone():
    # What the held-out rows say must not reach the preparation: change them, and nothing else may change.
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"use": rng.normal(size=120), "plan": rng.choice(list("abc"), 120), "churn": [0, 1, 0] * 40})
    customers = prepare_customers(frame, target="churn", seed=3)
    part = deal_folds(customers, 3, seed=3).parts[0]
    held = np.isin(np.arange(120), part.rows("validation"))
    changed = frame.with_columns(
        use=pl.when(held).then(1e6).otherwise("use"), plan=pl.when(held).then(pl.lit("new")).otherwise("plan")
    )
    other = deal_folds(prepare_customers(changed, target="churn", seed=3), 3, seed=3).parts[0]
    assert np.array_equal(other.rows("train"), part.rows("train"))
    assert other.preparation == part.preparation


def test_recoded_rows_are_those_that_the_own_preparation_would_give():
    # A rare value that only some folds have seen, and a column of lists that is longer in some.
    n = 90
    frame = pl.DataFrame(
        {
            "plan": ["rare" if i == 7 else "abc"[i % 3] for i in range(n)],
            "use": [[1.0] * (1 + (i == 11) * 4 + i % 2) for i in range(n)],
            "fee": [float(i) for i in range(n)],
            "churn": [i % 3 == 0 for i in range(n)],
        }
    )
    customers = prepare_customers(frame, target="churn", split={"test": 0.0, "train": 0.8, "validation": 0.2})
    folds = deal_folds(customers, 3, seed=0)
    common = folds.whole.preparation.encode(customers.typed)
    assert len({part.preparation.categorical for part in folds.parts}) > 1, "no fold lacks the rare value"
    assert len({part.preparation.histories for part in folds.parts}) > 1, "no fold lacks the long list"
    for part in folds.parts:
        own, how = part.preparation.encode(customers.typed), recode(folds.whole.preparation, part.preparation)
        np.testing.assert_array_equal(common.numeric[:, list(how.numeric)], own.numeric)
        given = common.codes[:, list(how.categorical)]
        codes = [np.array(table)[column] for table, column in zip(how.codes, given.T, strict=True)]
        np.testing.assert_array_equal(np.stack(codes, axis=1), own.codes)


@dataclass(frozen=True)
class Shifted(Step):
    """The mean of the training rows, taken from each row; and a text for those that are above it."""

    word = "shifted"

    def fit(self, training: Training) -> Learned:
        fitted = FittedShift(float(training.rows["use"].mean()))  # type: ignore[arg-type]
        return Learned(fitted, (*training.columns, number("shifted"), category("side")))


@dataclass(frozen=True)
class FittedShift(Fitted):
    mean: float

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        above = pl.when(pl.col("use") > self.mean).then(pl.lit("above")).otherwise(pl.lit("below"))
        return rows.with_columns((pl.col("use") - self.mean).alias("shifted"), above.alias("side"))


def test_folds_may_learn_steps_of_their_own_and_their_models_still_read_the_same_rows():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"use": rng.normal(size=120), "plan": rng.choice(list("abc"), 120), "churn": [0, 1, 0] * 40})
    customers = prepare_customers(frame, target="churn", seed=3)
    folds = deal_folds(customers, 3, seed=3, preprocess={"steps": {"mine": Shifted()}})
    assert len({part.preparation.chain.links[0].fitted for part in folds.parts}) == 3, "the folds have learned the same"
    common = folds.whole.preparation.encode(customers.typed)
    for part in folds.parts:
        own, how = part.preparation.encode(customers.typed), recode(folds.whole.preparation, part.preparation)
        np.testing.assert_array_equal(common.numeric[:, list(how.numeric)], own.numeric)
        given = common.codes[:, list(how.categorical)]
        codes = [np.array(table)[column] for table, column in zip(how.codes, given.T, strict=True)]
        np.testing.assert_array_equal(np.stack(codes, axis=1), own.codes)
        mean = customers.frame["use"].to_numpy()[part.rows("train")].mean()
        assert part.preparation.chain.links[0].fitted.mean == pytest.approx(mean)
