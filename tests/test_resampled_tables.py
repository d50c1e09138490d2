"""Rows that were drawn again or made up before a table came here are told, and those of honest tables are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC, RandomOverSampler
from made import made_customers

from churnlib.data.customers import prepare_customers
from churnlib.data.leaks import check_leaks
from churnlib.data.leaks.copied import check_drawn_again
from churnlib.data.leaks.made_up import decimals, find_made_up
from churnlib.errors import DataError


def churners(n: int = 1500) -> tuple[pd.DataFrame, pd.Series]:
    """Rows with numbers to the cent, of which a fifth left."""
    frame = made_customers(n, seed=4).with_columns(usage=pl.Series(np.random.default_rng(5).gamma(3, 9, n).round(2)))
    frame = frame.with_columns(pl.col("charges").fill_null(0.0)).drop("customer", "joined", "region")
    thinned = pl.concat([frame.filter(churn="no"), frame.filter(churn="yes").head(n // 8)]).to_pandas()
    return thinned.drop(columns="churn"), thinned["churn"]


def resampled(way: str) -> tuple[pl.DataFrame, int]:
    """The table after a sampler, and how many rows it has added."""
    rows, left = churners()
    plain = pd.get_dummies(rows, dtype=float)
    scaled = (plain - plain.mean()) / plain.std()
    made = {
        "over": lambda: RandomOverSampler(random_state=0).fit_resample(rows, left),
        "smotenc": lambda: SMOTENC([2, 3], random_state=0).fit_resample(rows, left),
        "smote": lambda: SMOTE(random_state=0).fit_resample(plain, left),
        "adasyn": lambda: ADASYN(random_state=0).fit_resample(plain, left),
        "smote scaled": lambda: SMOTE(random_state=0).fit_resample(scaled, left),
        "none": lambda: (rows, left),
    }
    table = pd.concat(made[way](), axis=1)
    return pl.from_pandas(table), len(table) - len(rows)


@pytest.mark.parametrize("way", ["smotenc", "smote", "adasyn", "smote scaled"])
def test_made_up_rows_are_told_one_by_one(way):
    frame, added = resampled(way)
    customers = prepare_customers(frame, target="churn")
    found = find_made_up(customers.typed, customers.label, customers.schema.features)
    assert found is not None and customers.schema.classes[found.label] == "yes"
    # Scaled, only one column here has values that recur, and along one column any point lies on a line.
    assert found.on_line is None if way == "smote scaled" else found.on_line[0] > 0.5 > 5 * found.on_line[1]
    before = len(frame) - added
    assert found.rows[before:].mean() > 0.9 and found.rows[:before].mean() < 0.01
    report = check_leaks(customers)
    assert "rows made up" in report.alarms
    assert any("interpolation (SMOTE or the like) before the table came here" in line for line in report.lines())
    with pytest.raises(DataError, match="take the table as it was before"):
        report.refuse()


def test_rows_that_are_drawn_again_are_told_before_they_are_left_out():
    frame, added = resampled("over")
    label = (frame["churn"] == "yes").cast(pl.Int64).to_numpy()
    check = check_drawn_again(frame, label, ["no", "yes"], leave_out=["churn"])
    assert check.verdict == "leak" and f"{added:,} of" in check.evidence and "exactly the same number" in check.evidence
    named = frame.with_columns(id=pl.int_range(pl.len()))
    assert check_drawn_again(named, label, ["no", "yes"], leave_out=["churn", "id"]).verdict == "leak"
    assert check_drawn_again(named, label, ["no", "yes"], leave_out=["churn"]).verdict == "pass"


def test_honest_tables_give_no_alarm():
    frame, _ = resampled("none")
    customers = prepare_customers(frame, target="churn")
    assert find_made_up(customers.typed, customers.label, customers.schema.features) is None
    label = (frame["churn"] == "yes").cast(pl.Int64).to_numpy()
    assert check_drawn_again(frame, label, ["no", "yes"], leave_out=["churn"]).verdict == "pass"
    # Customers of few properties are alike by chance, those who left more so.
    few = frame.select("plan", "paperless", "churn")
    assert check_drawn_again(few, label, ["no", "yes"], leave_out=["churn"]).verdict == "pass"
    heap = pl.concat([few.filter(churn="yes").head(1)] * 500 + [frame.select("plan", "paperless", "churn")])
    heap = heap.with_columns(usage=pl.Series([0.0] * 500 + frame["usage"].to_list()))
    label = (heap["churn"] == "yes").cast(pl.Int64).to_numpy()
    assert check_drawn_again(heap, label, ["no", "yes"], leave_out=["churn"]).verdict == "pass"


def test_other_reasons_for_fine_numbers_are_no_alarm():
    rng = np.random.default_rng(0)
    left = rng.random(3000) < 0.3
    fine = rng.gamma(3, 9, (3000, 2))
    rounded = fine.round(2)
    columns = [c for c in prepare_customers(made_customers(), target="churn").schema.features if c.name == "charges"]

    def found(first: np.ndarray, second: np.ndarray):
        table = pl.DataFrame({"charges": first, "more": second})
        return find_made_up(table, left.astype(np.int64), [columns[0], replace(columns[0], name="more")])

    assert found(fine[:, 0], fine[:, 1]) is None  # of everybody
    prorated = np.where(left & (rng.random(3000) < 0.5), fine.T, rounded.T)
    assert found(*prorated) is None  # of churners alone, but on no line
    assert found(*np.where(left, fine.T, rounded.T)) is None  # another source for all churners


def test_decimals():
    assert decimals(np.array([0.1 + 0.2, 1e9, -3.25, 1 / 3, np.inf])).tolist() == [1, 0, 2, 5, 0]


@pytest.mark.parametrize("name", ["telco", "mlc", "isp"])
def test_public_tables_give_no_alarm(name, data_dir):
    from churnlib.compose import compose
    from churnlib.training.train import read_customers

    customers = read_customers(compose([f"data={name}"]))
    assert find_made_up(customers.typed, customers.label, customers.schema.features) is None
    frame = customers.frame.drop(customers.schema.target, *([customers.schema.id] if customers.schema.id else []))
    assert check_drawn_again(frame, customers.label, customers.schema.classes, leave_out=[]).verdict == "pass"
    assert not check_leaks(customers).alarms
