import io

import numpy as np
import polars as pl
import pytest
from made import made_bundle, made_customers
from rich.console import Console

from churnlib.bundle import write_bundle
from churnlib.config import ScoreConfig
from churnlib.errors import ChurnlibError, ConfigError, DataError
from churnlib.predictor import load
from churnlib.scoring import score_file


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "bundle"
    write_bundle(made_bundle(), path)
    return path


TABLE = made_customers(500, seed=1)


def score(bundle, source, target, **options):
    said = io.StringIO()
    config = ScoreConfig(
        **{
            "bundle": str(bundle),
            "input": str(source),
            "output": str(target),
            "on_error": "raise",
            "batch_rows": 64,
            **options,
        }
    )
    scored = score_file(config, Console(file=said, width=200))
    return scored, said.getvalue()


@pytest.mark.parametrize("source", ["csv", "parquet"])
@pytest.mark.parametrize("target", ["csv", "parquet"])
def test_a_file_is_answered_row_by_row_in_order(bundle, tmp_path, source, target):
    getattr(TABLE, f"write_{source}")(tmp_path / f"in.{source}")
    scored, said = score(bundle, tmp_path / f"in.{source}", tmp_path / f"out.{target}")
    answers = pl.read_csv(tmp_path / "out.csv") if target == "csv" else pl.read_parquet(tmp_path / "out.parquet")
    expected = load(bundle).predict(TABLE)
    assert scored.rows == len(answers) == 500
    assert answers["customer_id"].to_list() == TABLE["customer"].to_list()
    np.testing.assert_allclose(answers["churn_probability"], expected["churn_probability"], atol=1e-6)
    assert answers["churn_prediction"].to_list() == expected["churn_prediction"].to_list()
    assert "500 rows scored" in said and "rows/s" in said


def test_rows_are_numbered_through_where_there_is_no_id(bundle, tmp_path):
    TABLE.drop("customer").write_csv(tmp_path / "in.csv")
    score(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    assert pl.read_csv(tmp_path / "out.csv")["customer_id"].to_list() == list(range(500))


def with_bad_rows(tmp_path):
    bad = pl.int_range(pl.len()).is_in([130, 200, 499])
    frame = TABLE.with_columns(
        pl.when(bad).then(pl.lit("often")).otherwise(pl.col("tenure").cast(pl.String)).alias("tenure")
    )
    frame.write_csv(tmp_path / "in.csv")
    return tmp_path / "in.csv"


def test_bad_rows_stop_it_and_nothing_is_written(bundle, tmp_path):
    source = with_bad_rows(tmp_path)
    with pytest.raises(DataError, match=r"3 rows of .* the first is row 130: column 'tenure' .* got 'often'"):
        score(bundle, source, tmp_path / "out.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def test_bad_rows_keep_an_old_output(bundle, tmp_path):
    source = with_bad_rows(tmp_path)
    (tmp_path / "out.csv").write_text("precious")
    with pytest.raises(DataError):
        score(bundle, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "precious"


def test_bad_rows_have_empty_results_on_request(bundle, tmp_path):
    scored, said = score(bundle, with_bad_rows(tmp_path), tmp_path / "out.parquet", on_error="null")
    answers = pl.read_parquet(tmp_path / "out.parquet")
    assert (scored.rows, scored.bad) == (500, 3)
    assert answers["churn_probability"].is_null().arg_true().to_list() == [130, 200, 499]
    assert answers["customer_id"].null_count() == 0
    assert "3 rows have empty results" in said


def test_unseen_values_and_unknown_columns_are_told(bundle, tmp_path):
    frame = TABLE.with_columns(region=pl.lit("the moon"), extra=pl.lit(1))
    frame.write_csv(tmp_path / "in.csv")
    _, said = score(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    assert "500 rows have a value of 'region' that training did not see" in said
    assert "'extra'" in said


def test_a_header_alone_gives_a_header_alone(bundle, tmp_path):
    TABLE.head(0).write_csv(tmp_path / "in.csv")
    scored, _ = score(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
    assert scored.rows == 0
    assert (tmp_path / "out.csv").read_text().strip() == "customer_id,churn_probability,churn_prediction"


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"target": "out.xlsx"}, ConfigError, r"\.csv or \.parquet"),
        ({"target": "nowhere/out.csv"}, ConfigError, "folder that exists"),
        ({"source": "missing.csv"}, DataError, "missing.csv"),
        ({"bundle": "nowhere"}, ChurnlibError, "no folder"),
        ({"on_error": "skip"}, ConfigError, "on_error"),
        ({"batch_rows": 0}, ConfigError, "batch_rows"),
    ],
)
def test_a_wrong_option_is_refused_and_leaves_nothing(bundle, tmp_path, options, error, says):
    TABLE.write_csv(tmp_path / "in.csv")
    options = dict(options)
    source, target = tmp_path / options.pop("source", "in.csv"), tmp_path / options.pop("target", "out.csv")
    with pytest.raises(error, match=says):
        score(options.pop("bundle", bundle), source, target, **options)
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def test_a_missing_column_is_named(bundle, tmp_path):
    TABLE.drop("tenure").write_csv(tmp_path / "in.csv")
    with pytest.raises(DataError, match="lacks the column 'tenure'"):
        score(bundle, tmp_path / "in.csv", tmp_path / "out.csv")
