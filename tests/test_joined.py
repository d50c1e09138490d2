"""Several sources, one table: who gets what of whom, and what is refused."""

from __future__ import annotations

import datetime as dt
import random

import polars as pl
import pytest

from churnlib import cli
from churnlib.config import JoinedConfig
from churnlib.data.joined import join_sources, reading_sources
from churnlib.data.sources import read_table
from churnlib.errors import ChurnlibError, ConfigError, DataError
from churnlib.training.tables import load_table, scan_configured

DAY = dt.date(2024, 1, 1)


def day(number: int) -> dt.date:
    return DAY + dt.timedelta(days=number)


def write(folder, **tables: pl.DataFrame | str) -> None:
    for name, table in tables.items():
        if isinstance(table, str):
            (folder / f"{name}.csv").write_text(table)
        else:
            table.write_parquet(folder / f"{name}.parquet")


def config(folder, *, id="id", time=None, base=None, sources=None, **more) -> JoinedConfig:  # noqa: A002
    def path(name):
        parquet = folder / f"{name}.parquet"
        return str(parquet if parquet.exists() else folder / f"{name}.csv")

    given = {name: {"path": path(name), **options} for name, options in (sources or more).items()}
    return JoinedConfig(name="joined", id=id, time=time, base=base, sources=given)


def joined(folder, **options):
    return load_table(config(folder, **options), seed=0)


# --- what is joined -------------------------------------------------------------------------------------------------


def test_sources_with_names_of_their_own_become_one_table(tmp_path):
    write(
        tmp_path,
        crm="KUNDENNR;Stichtag;plan;note\n007;31.01.2024;basic;x\n8;31.01.2024;plus;y\n007;29.02.2024;plus;z\n",
        billing="account|month|amount\n007|2024-01-31|10\n007|2024-02-29|11\n8|2024-02-29|12\n",
        region="customer,region\n8,north\n007,south\n9,east\n",
    )
    table = joined(
        tmp_path,
        id="customer",
        time="snapshot",
        crm={"rename": {"KUNDENNR": "customer"}, "time": "Stichtag", "drop": ["note"]},
        billing={"id": "account", "time": "month", "join": "exact", "rename": {"amount": "billed"}},
        region={},
    )
    assert table.frame.to_dict(as_series=False) == {
        "customer": ["007", "8", "007"],
        "snapshot": ["31.01.2024", "31.01.2024", "29.02.2024"],
        "plan": ["basic", "plus", "plus"],
        "billed": ["10", None, "11"],
        "region": ["south", "north", "south"],
    }
    assert table.said == (
        "billing: 2 of 3 rows of crm have a row of it",
        "region: 3 of 3 rows of crm have a row of it; 1 of its 3 customers are not in crm",
    )


@pytest.mark.parametrize("max_age", [None, 10])
def test_the_newest_row_before_the_snapshot_is_that_of_a_plain_search(max_age, tmp_path):
    draw = random.Random(3)
    snapshots = [(f"c{draw.randrange(40)}", day(draw.randrange(100)), n) for n in range(400)]
    rows = {(f"c{draw.randrange(45)}", day(draw.randrange(-20, 110))): n for n in range(700)}
    crm = pl.DataFrame(snapshots, schema=["id", "taken", "n"], orient="row")
    usage = pl.DataFrame([(*key, n) for key, n in rows.items()], schema=["id", "read", "value"], orient="row")
    crm = pl.concat([crm, pl.DataFrame({"id": [None, "c1"], "taken": [day(50), None], "n": [400, 401]})])
    write(tmp_path, crm=crm, usage=pl.concat([usage, usage.head(1).with_columns(id=pl.lit(None, pl.String))]))

    def expected(who, taken):
        if who is None or taken is None:
            return None
        ages = {(taken - read).days: value for (own, read), value in rows.items() if own == who and read <= taken}
        nearest = min(ages, default=None)
        return None if nearest is None or (max_age is not None and nearest > max_age) else ages[nearest]

    options = {"time": "read", **({} if max_age is None else {"max_age_days": max_age})}
    got = joined(tmp_path, time="taken", crm={}, usage=options).frame
    assert got["n"].to_list() == list(range(402))
    assert got["value"].to_list() == [expected(who, taken) for who, taken in crm.select("id", "taken").iter_rows()]


def test_a_row_of_the_snapshots_own_day_with_a_time_of_day_is_later(tmp_path):
    write(
        tmp_path,
        crm="id,taken\na,2024-01-31\nb,2024-01-31\n",
        usage="id,at,v\na,2024-01-31 00:00:00,1\na,2024-01-31 00:00:01,2\nb,2024-01-31 12:00:00,3\n",
    )
    got = joined(tmp_path, time="taken", crm={}, usage={"time": "at"}).frame
    assert got["v"].to_list() == ["1", None]


def test_scanning_and_loading_give_the_same_rows_in_the_order_of_the_base(tmp_path):
    n = 3_000
    base = pl.DataFrame({"id": [n - i for i in range(n)], "t": [day(i % 7) for i in range(n)], "x": range(n)})
    write(tmp_path, base=base, other=pl.DataFrame({"id": range(n), "y": range(n)}), last=base.rename({"x": "z"}))
    options = config(tmp_path, time="t", base="base", sources={"other": {}, "base": {}, "last": {"time": "t"}})
    loaded = load_table(options, seed=0).frame
    said = []
    scanned = scan_configured(options, seed=0, say=said.append).collect(engine="streaming")
    assert scanned.equals(loaded) and loaded["x"].to_list() == list(range(n)) and loaded["z"].equals(loaded["x"])
    assert loaded.columns == ["id", "t", "x", "y", "z"] and len(said) == 2


def test_exact_copies_count_once_and_the_newest_row_when_it_is_said_which(tmp_path):
    write(
        tmp_path,
        crm="id,churn\na,no\nb,yes\n",
        copies="id,v\na,1\na,1\nb,2\n",
        several="id,changed,w\na,2024-01-02,new\na,2024-01-01,old\nb,2024-01-01,only\n",
    )
    table = joined(tmp_path, crm={}, copies={}, several={"latest": "changed", "drop": ["changed"]})
    assert table.frame.rows() == [("a", "no", "1", "new"), ("b", "yes", "2", "only")]
    write(tmp_path, several="id,changed,w\na,9,old\na,10,new\nb,1,only\n")
    assert joined(tmp_path, crm={}, several={"latest": "changed"}).frame["w"].to_list() == ["new", "only"]
    write(tmp_path, several="id,am,w\na,31.01.2024,old\na,01.02.2024,new\nb,01.01.2024,only\n")
    renamed = {"rename": {"am": "changed"}, "latest": "am"}
    assert joined(tmp_path, crm={}, several=renamed).frame["w"].to_list() == ["new", "only"]
    assert "copies: 1 exact copies of other rows are not used" in table.said
    assert "several: 1 older rows of a key are not used (data.sources.several.latest)" in table.said


def test_numbers_as_text_and_as_numbers_are_the_same_customer(tmp_path):
    write(tmp_path, crm="id,x\n7,a\n12,b\n", billing=pl.DataFrame({"id": [12.0, 7.0], "y": [1, 2]}))
    assert joined(tmp_path, crm={}, billing={}).frame["y"].to_list() == [2, 1]


def test_keys_that_cannot_be_read_join_nothing_and_are_counted(tmp_path):
    write(
        tmp_path,
        crm="id,t\na,2024-01-31\n,2024-01-31\n",
        usage="id,at,v\na,2024-01-01,1\n,2024-01-01,2\na,soon,3\n",
    )
    table = joined(tmp_path, time="t", crm={}, usage={"time": "at"})
    assert table.frame["v"].to_list() == ["1", None]
    assert "usage: 1 of 3 rows have no customer that can be read" in table.said
    assert "usage: 1 of 3 rows have no date that can be read" in table.said


# --- what is refused ------------------------------------------------------------------------------------------------

CRM = "id,t,plan\n001,2024-01-31,x\n002,2024-01-31,y\n"

REFUSED = [
    ("id,v\n001,1\n001,2\n", {}, "has several rows for 1 of its customers (such as 2 for '001'); set data.sources.b"),
    ("id,d,v\n001,2024-01-01,1\n001,2024-01-01,2\n", {"time": "d"}, "customers and dates (such as 2 for '001' at 2024"),
    ("id,plan\n001,1\n", {}, "crm and b both have a column 'plan'; set \"data.sources.b.rename={plan: b_plan}\""),
    ("id,v\n1,1\n2,2\n", {}, "differ from those of crm in leading zeros alone (such as '1' and '001')"),
    ("id,v\n0001,1\n", {}, "or set data.sources.crm.id_width=4"),
    ("id,v\nx,1\n", {}, "none of the 1 customers of b is in crm (such as 'x', and there '001')"),
    ("id,v\n001,1\n", {"required": True}, "1 of 2 rows of crm have no row in b (such as '002'), which data.sources.b"),
    ("id,v\n", {}, "has columns but no rows"),
    ("", {}, "is empty; it must have a header"),
    ("nr,v\n001,1\n", {}, "b has no column 'id' (data.id=id); say how it calls it with data.sources.b.id=COLUMN"),
    ("id,v\n001,1\n", {"rename": {"w": "v2"}}, "data.sources.b.rename names the column 'w', which the table does not"),
    ("id,v,w\n001,1,2\n", {"rename": {"w": "v"}}, "data.sources.b would have two columns named 'v'"),
    ("id,v\n001,1\n", {"keep": ["w"]}, "data.sources.b.keep names the column 'w'"),
    ("id,d\n001,soon\n", {"time": "d"}, "holds no dates (such as 'soon'); set data.sources.b.format=..."),
    ("id,v\n001,1,2\n", {}, "line 2 of"),
]


@pytest.mark.parametrize(("content", "options", "sentence"), REFUSED, ids=[sentence[:40] for *_, sentence in REFUSED])
def test_what_cannot_be_joined_is_refused_by_one_sentence(content, options, sentence, tmp_path):
    write(tmp_path, crm=CRM, b=content)
    with pytest.raises(ChurnlibError) as refused:
        joined(tmp_path, time="t", crm={}, b=options)
    assert sentence in str(refused.value)


def test_a_width_brings_lost_zeros_back_and_zero_says_they_are_not_lost(tmp_path):
    write(tmp_path, crm=CRM, b=pl.DataFrame({"id": [1, 3], "v": [5, 6]}), c="id,w\n1,a\n002,b\n")
    assert joined(tmp_path, crm={}, b={"id_width": 3}).frame["v"].to_list() == [5, None]
    assert joined(tmp_path, crm={}, c={"id_width": 0}).frame["w"].to_list() == [None, "b"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"id": None}, "data.id is missing"),
        ({"sources": {}}, "data.sources is missing"),
        ({"base": "x"}, "data.base=x is none of data.sources (a, b)"),
        ({"sources": {"a": {"path": "a.csv", "pth": 1}}}, "unknown option data.sources.a.pth; did you mean path?"),
        ({"sources": {"a": {}}}, "data.sources.a needs a path (a CSV or Parquet file) or a query"),
        ({"sources": {"a": {"path": "a.csv", "join": "exct"}}}, "did you mean exact?"),
        ({"sources": {"a": {"path": "a.csv", "join": "exact"}}}, "needs data.sources.a.time"),
        ({"sources": {"a": {"path": "a.csv", "required": "yes"}}}, "required must be true or false, got 'yes'"),
        ({"sources": {"a": {"path": "a.csv"}, "b": {"path": "b.csv", "time": "t"}}}, "needs data.time"),
        ({"sources": {"a": {"path": "a.csv", "time": "t"}}}, "data.time is missing"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, sentence):
    with pytest.raises(ConfigError) as refused:
        JoinedConfig(**{"name": "j", "id": "id", "sources": {"a": {"path": "a"}, "b": {"path": "b"}}, **options})
    assert sentence in str(refused.value)


def test_a_source_that_breaks_off_is_named(tmp_path):
    write(tmp_path, crm=CRM, b=pl.DataFrame({"id": ["001", "002"], "v": [1, 2]}))
    options = config(tmp_path, crm={}, b={})
    table = join_sources(options.sources, base="crm", id="id").table
    path = tmp_path / "b.parquet"
    path.write_bytes(path.read_bytes()[:40])
    wrong = pytest.raises(DataError, match=r"data\.sources\.b: .*b\.parquet is a damaged or unfinished")
    with wrong, reading_sources(options.sources):
        table.collect()


# --- from the command line ------------------------------------------------------------------------------------------


def test_joined_sources_and_events_from_the_command_line(empty_folder, capsys):
    """Simulated customers whose charges come from a billing system of its own, and usage events."""
    assert cli.main(["simulate", "output=all.parquet", "n_customers=600", "usage_events=usage.parquet", "seed=1"]) == 0
    everything = pl.read_parquet("all.parquet").unique("customer_id", keep="first", maintain_order=True)
    bills = ["monthly_charges", "total_charges", "payment_method"]
    everything.drop(bills).write_csv("crm.csv", separator=";")
    billing = everything.select(pl.col("customer_id").alias("account"), *bills)
    billing.reverse().write_parquet("billing.parquet")
    words = ["data=joined", "data.id=customer_id", "data.time=snapshot_date", "data.target=churn"]
    words += ["data.sources.crm.path=crm.csv", "data.sources.billing={path: billing.parquet, id: account}"]
    words += ["data.events.usage={path: usage.parquet, time: time, windows: [30], aggregations: [count]}"]
    assert cli.main(["ingest", *words, "output=customers"]) == 0
    assert f"billing: {len(everything):,} of {len(everything):,} rows of crm have" in capsys.readouterr().out
    got = read_table("customers")
    assert got.select("customer_id", *bills).equals(everything.select("customer_id", *bills))
    counted = pl.read_parquet("usage.parquet").group_by("customer_id").len()
    assert 0 < got["usage_count_30d"].sum() < counted["len"].sum()
