"""A CSV file to be filled in by hand: what a model needs, and nothing of any customer."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from made import made_bundle, made_customers, made_prepared

from churnlib import cli
from churnlib.bundle import write_bundle
from churnlib.data.customers import prepare_customers
from churnlib.data.sources import read_table
from churnlib.predictor import load


def test_the_template_of_a_model_can_be_scored_as_it_is(empty_folder, capsys):
    write_bundle(made_bundle(), "bundle")
    assert cli.main(["template", "bundle=bundle", "output=customers.csv", "separator=';'"]) == 0
    said = capsys.readouterr().out
    assert "7 columns and a made-up customer, EXAMPLE: delete that line" in said
    rows = read_table("customers.csv")
    assert rows.columns == ["customer", "tenure", "charges", "plan", "region", "paperless", "joined"]
    assert rows.height == 1 and rows["customer"].item() == "EXAMPLE" and rows.null_count().sum_horizontal().item() == 0
    assert Path("customers.csv").read_text().count(";") == 12
    assert 0 < load("bundle").probabilities(rows)[0] < 1
    notes = Path("customers.md").read_text().splitlines()
    # Words that fewer than five customers have, and the extremes of numbers, could point at one.
    tenure = made_prepared().typed["tenure"][made_prepared().rows("train")]
    low, high = tenure.quantile(0.05, "linear"), tenure.quantile(0.95, "linear")
    assert notes[5] == f"| `tenure` | yes | whole number, mostly {round(low)} to {round(high)} |"
    assert notes[6].startswith("| `charges` | may be empty | number, mostly ")
    assert sorted(notes[7].split(" one of ")[1].strip(" |").split(", ")) == ["monthly", "two years", "yearly"]
    assert notes[9:] == ["| `paperless` | yes | yes or no |", "| `joined` | yes | date, such as 2024-12-31 |"]
    assert cli.main(["template", "bundle=bundle", "output=customers.csv"]) == 1
    assert "customers.csv exists already" in capsys.readouterr().err


def test_the_template_of_a_table_has_its_target_and_rows_in_its_form_can_be_learned_from(empty_folder):
    customers = made_customers(200)
    customers.write_csv("old.csv")
    words = ["data=table", "data.path=old.csv", "data.target=churn", "data.id=customer", "data.drop=[region]"]
    assert cli.main(["template", *words, "output=new.csv"]) == 0
    assert Path("new.csv").read_text().splitlines()[0] == "customer,tenure,charges,plan,paperless,joined,churn"
    example = read_table("new.csv")
    assert example["churn"].item() == "no"
    together = pl.concat([customers.select(example.columns).cast(pl.String), example])
    kinds = {column.name: column.kind for column in made_prepared(200).schema.columns}
    again = prepare_customers(together, target="churn", id="customer").schema
    assert all(column.kind is kinds[column.name] for column in again.columns)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["output=a.txt"], "template needs output=FILE.csv"),
        (["output=a.csv", "bundle=nowhere"], "there is no folder nowhere"),
        (["output=a.csv", "data=table", "data.path=x.csv"], "data.target is missing"),
    ],
)
def test_mistakes_are_answered_by_one_sentence(words, sentence, empty_folder, capsys):
    assert cli.main(["template", *words]) == 1
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1 and not list(empty_folder.iterdir())
