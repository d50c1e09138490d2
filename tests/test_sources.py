"""Tables from files: what is read, and the one sentence about what is not."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile

import numpy as np
import polars as pl
import pytest

from churnlib.data.sources import normalize_name, quotes, read_table, reading, scan_table
from churnlib.data.sources.delimited import delimiter
from churnlib.errors import ChurnlibError, ConfigError, DataError


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet_bytes(**columns):
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


def zip_bytes():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>" * 50)
    return buffer.getvalue()


def test_a_csv_file_becomes_a_table_of_text(tmp_path):
    path = write(tmp_path, "customers.csv", "id,tenure,churn\n007,1.50,Yes\n8,,No\n")
    frame = read_table(path)
    assert frame.schema == {"id": pl.String, "tenure": pl.String, "churn": pl.String}
    assert frame.rows() == [("007", "1.50", "Yes"), ("8", None, "No")]


ROWS = [("1", "2"), ("3", "4")]

READ = {
    "tab in .txt": ("t.txt", "a\tb\n1\t2\n3\t4\n", ROWS),
    "tsv": ("t.tsv", "a\tb\n1\t2\n3\t4\n", ROWS),
    "semicolon": ("t.csv", "a;b\n1;2\n3;4\n", ROWS),
    "bar": ("t.csv", "a|b\n1|2\n3|4\n", ROWS),
    "ending in capitals": ("T.CSV", "a,b\n1,2\n3,4\n", ROWS),
    "comma in a name, semicolon between": ("t.csv", '"a, x";b\n1;2\n3;4\n', ROWS),
    "comma in an unquoted name": ("t.csv", "a, net;b\n1,5;2\n", [("1,5", "2")]),
    "several commas in unquoted names": ("t.csv", "a (x, y, z);b\n1;2\n3;4\n", ROWS),
    "line for Excel": ("t.csv", "sep=;\r\na;b\r\n1;2\r\n3;4\r\n", ROWS),
    "BOM": ("t.csv", b"\xef\xbb\xbfa,b\n1,2\n3,4\n", ROWS),
    "BOM and quotes": ("t.csv", b'\xef\xbb\xbf"a","b"\n"1","2"\n3,4\n', ROWS),
    "CRLF": ("t.csv", "a,b\r\n1,2\r\n3,4\r\n", ROWS),
    "CR": ("t.csv", "a,b\r1,2\r3,4\r", ROWS),
    "no line end at the end": ("t.csv", "a,b\n1,2\n3,4", ROWS),
    "blank lines above, between and below": ("t.csv", "\n\na,b\n1,2\n\n3,4\n\n\n", ROWS),
    "many blank lines above": ("t.csv", "\n" * 50 + "a,b\n1,2\n3,4\n", ROWS),
    "rows of empty cells": ("t.csv", 'a,b\n1,2\n,\n"",""\n3,4\n', ROWS),
    "empty quoted cell": ("t.csv", 'a,b\n"",2\n', [(None, "2")]),
    "blank cell": ("t.csv", "a,b\n ,2\n", [(" ", "2")]),
    "words for missing stay": ("t.csv", "a,b\nNA,NaN\n", [("NA", "NaN")]),
    "fewer cells than names": ("t.csv", "a,b\n1\n", [("1", None)]),
    "line break in quotes": ("t.csv", 'a,b\n"x\r\ny",2\n', [("x\r\ny", "2")]),
    "line break in the header": ("t.csv", '"a\n",b\n1,2\n3,4\n', ROWS),
    "quotes doubled": ("t.csv", 'a,b\n"x ""y"", z",2\n', [('x "y", z', "2")]),
    "quotes as text": ("t.csv", 'a,b\n24" screen,2\n3,5" or 6"\n', [('24" screen', "2"), ("3", '5" or 6"')]),
    "quotes as text would join cells": ("t.csv", 'a,b\n24" x,27" y\n', [('24" x', '27" y')]),
    "emoji": ("t.csv", "a,b\n\N{GRINNING FACE},é\n", [("\N{GRINNING FACE}", "é")]),
    "NUL in a cell": ("t.csv", b"a,b\nx\0y,2\n", [("x\0y", "2")]),
    "gzip": ("t.csv.gz", gzip.compress(b"a,b\n1,2\n3,4\n"), ROWS),
    "gzip with quotes as text": ("t.csv.gz", gzip.compress(b'a,b\n1" x,2\n3,4\n'), [('1" x', "2"), ("3", "4")]),
    "text named gzip": ("t.csv.gz", b"a,b\n1,2\n3,4\n", ROWS),
}


@pytest.mark.parametrize("name", READ)
def test_is_read(tmp_path, name):
    file, content, rows = READ[name]
    frame = read_table(write(tmp_path, file, content))
    assert frame.width == 2 and frame.columns[1] == "b"
    assert frame.rows() == rows


JUNK = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()

REFUSED = {
    "no bytes": ("t.csv", b"", ["is empty", "header"]),
    "blank lines only": ("t.csv", b"\n \n\n", ["is empty"]),
    "line for Excel only": ("t.csv", b"sep=;\n", ["is empty"]),
    "header only": ("t.csv", b"a,b\n", ["2 columns but no rows"]),
    "header without a line end": ("t.csv", b"a,b", ["no rows"]),
    "header and empty rows only": ("t.csv", b"a,b\n,\n\n", ["no rows"]),
    "more cells than names": ("t.csv", b"a,b\n1,2\n1,2,3\n", ["line 3", "3 cells", "has 2", "in quotes"]),
    "delimiter at the end of the rows": ("t.csv", b"a,b\n1,2,\n", ["line 2", "3 cells", "end the line sooner"]),
    "more cells far below": ("t.csv", b"a,b\n" + b"1,2\n" * 60_000 + b"1,2,3\n", ["line 60002"]),
    "more cells, CR": ("t.csv", b"a;b\r1;2\r3;4;5\r", ["line 3"]),
    "same name twice": ("t.csv", b"a,b,a\n1,2,3\n", ["two columns named 'a'", "columns 1 and 3"]),
    "same name but for blanks": ("t.csv", b"a b, a  b \n1,2\n", ["two columns named 'a b'"]),
    "latin-1 in a cell": ("t.csv", "a,b\n1,2\ncafé,2\n".encode("latin-1"), ["line 3", "not UTF-8", "iconv"]),
    "latin-1 far below": ("t.csv", b"a,b\n" + b"1,2\n" * 60_000 + b"\xe9,2\n", ["line 60002", "not UTF-8"]),
    "latin-1 in the header": ("t.csv", "é,b\n1,2\n".encode("latin-1"), ["line 1", "not UTF-8"]),
    "UTF-16": ("t.csv", "a,b\n1,2\n".encode("utf-16"), ["UTF-16", "save it as UTF-8"]),
    "UTF-16 without a mark": ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), ["not UTF-8 text", "NUL"]),
    "junk": ("t.csv", JUNK, ["is not a text file"]),
    "quote not closed": ("t.csv", b'a,b\n1,2\n"x,2\n3,4\n', ["below line 2", "quotes"]),
    "quote not closed in the header": ("t.csv", b'"a,b\n1,2\n', ["header", "quotes"]),
    "text after a quoted cell": ("t.csv", b'a,b\n"x"y,2\n3,4\n', ["line 2", "quote"]),
    "quoted and bare quotes": ("t.csv", b'a,b\n"x",2\n24" screen,27" screen\n', ["line 3", "write its quotes twice"]),
    "Parquet named .csv": ("t.csv", parquet_bytes(a=[1], b=["x"]), ["is not a CSV file", "name it .parquet"]),
    "zip or Excel named .csv": ("t.csv", zip_bytes(), ["is not a CSV file", "Excel"]),
    "cut-off gzip": ("t.csv.gz", gzip.compress(b"a,b\n" + JUNK.hex().encode())[:600], ["cut off", "copy it again"]),
    "empty gzip": ("t.csv.gz", gzip.compress(b""), ["is empty"]),
    "cut-off Parquet": ("t.parquet", parquet_bytes(a=list(range(500)))[:300], ["unfinished Parquet", "again"]),
    "changed Parquet": ("t.parquet", parquet_bytes(a=[1])[:-90] + JUNK[:82] + parquet_bytes(a=[1])[-8:], ["Parquet"]),
    "empty Parquet": ("t.parquet", b"", ["is empty"]),
    "CSV named Parquet": ("t.parquet", b"a,b\n1,2\n" * 9, ["is not a Parquet file", "name it .csv"]),
    "Parquet without rows": ("t.parquet", parquet_bytes(a=[], b=[]), ["no rows"]),
    "names alike in Parquet": ("t.parquet", parquet_bytes(**{"a": [1], " a": [2]}), ["two columns named 'a'"]),
    "JSON": ("t.json", b"[]", ["is not named like a table"]),
    "no ending": ("table", b"a,b\n1,2\n", ["is not named like a table"]),
    "gzip of Parquet": ("t.parquet.gz", gzip.compress(parquet_bytes(a=[1])), ["is not named like a table"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_sentence(tmp_path, name):
    file, content, words = REFUSED[name]
    path = write(tmp_path, file, content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert not [word for word in words if word not in sentence], sentence
    assert "\n" not in sentence and len(sentence) < 500
    assert not [advice for advice in ("infer_schema", "truncate_ragged", "ignore_errors") if advice in sentence]


def test_what_is_wrong_with_rows_shows_when_they_are_collected(tmp_path):
    path = write(tmp_path, "t.csv", b"a,b\n1,2\n1,2,3\n")
    lazy = scan_table(path)
    with pytest.raises(DataError, match="line 3"), reading(path):
        lazy.collect()


def test_random_changes_end_in_a_table_or_in_one_sentence(tmp_path):
    rng = np.random.default_rng(7)
    good = b'id,plan;x,churn\r\n"1","a ""q"" b",yes\n2,,no\n3,"line\nbreak",yes\n\xc3\xa9,4,5\n'
    pieces = [
        b",",
        b";",
        b'"',
        b"\n",
        b"\r",
        b"\t",
        b"\0",
        b"\xff",
        b"a",
        b" ",
        b"sep=;",
        b"\xef\xbb\xbf",
        b"\x01",
        b"",
    ]
    outcomes = []
    for _ in range(300):
        content = bytearray(good)
        for _ in range(rng.integers(1, 6)):
            place = rng.integers(len(content) + 1)
            content[place : place + rng.integers(3)] = pieces[rng.integers(len(pieces))]
        path = write(tmp_path, "t.csv", bytes(content))
        try:
            outcomes.append(read_table(path).height)
        except ChurnlibError as error:
            outcomes.append(str(error))
    assert {type(outcome) for outcome in outcomes} == {int, str}
    assert not [outcome for outcome in outcomes if "\n" in str(outcome)]


def test_rows_are_those_of_pythons_csv_reader_whatever_stands_in_the_cells(tmp_path):
    rng = np.random.default_rng(3)
    cells = ["x", "12", "", '"q"', '"q, r"', '"a ""b"" c"', '"l1\nl2"', "é", '"x\r\ny"', " y ", '"é,"']
    bare = [*cells, '5" p', 'it"s', 'a"b"c']
    read = 0
    for attempt in range(300):
        chosen = bare if attempt % 3 == 0 else cells
        width = int(rng.integers(2, 5))
        lines = [",".join(rng.choice(chosen, width)) for _ in range(rng.integers(1, 6))]
        text = "\r\n".join([",".join("abcde"[:width]), *lines])
        wanted = [tuple(cell or None for cell in row) for row in csv.reader(io.StringIO(text, newline=""))][1:]
        path = write(tmp_path, "t.csv", text)
        try:
            got = read_table(path, separator=",", allow_empty=True).rows()
        except DataError:
            assert chosen is bare
        else:
            read += 1
            assert got == [row for row in wanted if any(row)]
    assert read > 200


def test_quotes_are_looked_at_across_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(quotes, "BLOCK", 5)
    path = write(tmp_path, "t.csv", 'a,b\n"x ""y"" z","1\n2"\n' * 3)
    assert quotes.quote_mark(str(path), ",") == '"'
    path = write(tmp_path, "t.csv", 'a,b\n"x ""y"" z","1\n2"\n' * 3 + 'q"r,2\n')
    with pytest.raises(DataError, match="line 10 "):
        quotes.quote_mark(str(path), ",")


# --- names and delimiters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("  Monthly \t\n Charges ", "Monthly Charges"),
        ("\ufeffid", "id"),
        ("hard\u00a0blank", "hard blank"),
        ("cafe\u0301", "caf\u00e9"),
        ("zero\u200bwidth", "zerowidth"),
        ("Case", "Case"),
        (7, "7"),
    ],
)
def test_names_have_one_spelling(raw, name):
    assert normalize_name(raw) == name
    assert normalize_name(name) == name


def test_columns_without_a_name_are_called_after_their_place(tmp_path):
    assert read_table(write(tmp_path, "t.csv", ",b,\n1,2,3\n")).columns == ["column_1", "b", "column_3"]
    with pytest.raises(DataError, match="two columns named 'column_2'"):
        read_table(write(tmp_path, "t.csv", "column_2,,c\n1,2,3\n"))


def test_a_wrong_delimiter_is_told_with_the_likely_one(tmp_path):
    path = write(tmp_path, "t.csv", "a;b;c\n1;2;3\n")
    with pytest.raises(DataError, match=r"single column 'a;b;c' .*seems to be ';'.*data\.separator"):
        read_table(path, separator=",")
    assert read_table(path, separator=";").columns == ["a", "b", "c"]


def test_the_delimiter_given_wins_over_the_likely_one(tmp_path):
    path = write(tmp_path, "t.csv", "a;b;c,d\n1;2;3,4\n")
    assert read_table(path, separator=",").rows() == [("1;2;3", "4")]
    assert read_table(write(tmp_path, "t.csv", "a:b\n1:2\n"), separator=":").columns == ["a", "b"]


def test_a_table_of_one_column_is_no_wrong_delimiter(tmp_path):
    assert read_table(write(tmp_path, "t.csv", "a\n1\n\n3\n")).rows() == [("1",), (None,), ("3",)]
    assert read_table(write(tmp_path, "t.csv", "a\n1\n"), separator=";").columns == ["a"]


@pytest.mark.parametrize("name", ["\t", "\\t", "tab", "TAB"])
def test_the_tab_has_names(name):
    assert delimiter(name) == "\t"


@pytest.mark.parametrize("wrong", ["", ",,", '"', "\n", "ü", "\0"])
def test_what_is_no_delimiter_is_an_error_of_the_option(tmp_path, wrong):
    with pytest.raises(ConfigError, match=r"data\.separator"):
        read_table(write(tmp_path, "t.csv", "a,b\n1,2\n"), separator=wrong)


# --- Parquet and several parts ------------------------------------------------------------------------------------


def test_parquet_keeps_its_types_and_nan_is_missing(tmp_path):
    frame = pl.DataFrame({" a ": [1, None], "b": [float("nan"), 2.5], "c": ["", "x"]})
    frame.write_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.schema == {"a": pl.Int64, "b": pl.Float64, "c": pl.String}
    assert read.rows() == [(1, None, ""), (None, 2.5, "x")]


def test_scanning_is_lazy_and_reads_only_the_columns_asked_for(tmp_path):
    write(tmp_path, "t.csv", "a,b\n1,2\n3,4\n")
    lazy = scan_table(tmp_path / "t.csv")
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.select("b").collect()["b"].to_list() == ["2", "4"]


@pytest.mark.parametrize("source", ["part-*.csv", "", "**/part-*.csv"])
def test_parts_are_one_table_in_the_order_of_their_names(tmp_path, source):
    write(tmp_path, "part-2.csv", "b;a\n4;3\n")
    write(tmp_path, "part-1.csv", "a,b\n1,2\n")
    write(tmp_path, "part-3.csv", "a,b\n")
    for mark in ("_SUCCESS", ".part-1.csv.crc", "notes.md"):
        write(tmp_path, mark, "x")
    frame = read_table(str(tmp_path / source) if source else tmp_path)
    assert frame.rows() == [("1", "2"), ("3", "4")]


def test_parquet_parts_may_differ_in_whole_and_fractional_numbers(tmp_path):
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"b": ["y"], "a": [1.5]}).write_parquet(tmp_path / "2.parquet")
    assert read_table(tmp_path).rows() == [(1.0, "x"), (1.5, "y")]


def test_parquet_parts_of_other_types_are_refused(tmp_path):
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "1.parquet")
    pl.DataFrame({"a": [[1]]}).write_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match="cannot read one of"):
        read_table(tmp_path)


def test_parts_with_other_columns_are_refused_by_name(tmp_path):
    write(tmp_path, "1.csv", "a,b\n1,2\n")
    write(tmp_path, "2.csv", "a,c\n1,2\n")
    with pytest.raises(DataError, match=r"2\.csv lacks 'b' and also has 'c', compared with 1\.csv"):
        scan_table(tmp_path / "*.csv")


def test_the_part_with_the_bad_line_is_named(tmp_path):
    write(tmp_path, "1.csv", "a,b\n1,2\n")
    write(tmp_path, "2.csv", "a,b\n1,2\n3,4,5\n")
    with pytest.raises(DataError, match=r"line 3 of .*2\.csv has 3 cells"):
        read_table(tmp_path)


def test_a_path_that_exists_is_no_glob(tmp_path):
    write(tmp_path, "t[1].csv", "a,b\n1,2\n")
    write(tmp_path, "t1.csv", "a,b\n3,4\n")
    assert read_table(tmp_path / "t[1].csv").rows() == [("1", "2")]


def test_the_home_folder_has_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, "t.csv", "a,b\n1,2\n")
    assert read_table("~/t.csv").rows() == [("1", "2")]


def test_an_empty_table_is_read_when_allowed(tmp_path):
    frame = read_table(write(tmp_path, "t.csv", "a,b\n"), allow_empty=True)
    assert frame.columns == ["a", "b"] and frame.is_empty()


# --- files that are not there -------------------------------------------------------------------------------------


def test_a_missing_file_is_told_with_names_like_it(tmp_path):
    write(tmp_path, "Customers_2024.csv", "a,b\n1,2\n")
    with pytest.raises(DataError, match=r"no file .*customers2024\.csv; did you mean 'Customers_2024\.csv'"):
        read_table(tmp_path / "customers2024.csv")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nothing.csv", "there is no file .*nothing.csv; check the path"),
        ("nowhere/t.csv", "folder .*nowhere does not exist"),
        ("*.parquet", r"no file matches .*\*\.parquet"),
        ("empty", "holds no file named like a table"),
        ("both", "holds CSV and Parquet files"),
        ("mixed/*", r"notes\.md is not named like a table"),
    ],
)
def test_a_path_that_leads_to_no_table_is_told(tmp_path, source, words):
    for folder in ("empty", "both", "mixed"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "both", "1.csv", "a,b\n1,2\n")
    write(tmp_path / "both", "2.parquet", parquet_bytes(a=[1]))
    write(tmp_path / "mixed", "1.csv", "a,b\n1,2\n")
    write(tmp_path / "mixed", "notes.md", "x")
    with pytest.raises(DataError, match=words):
        read_table(tmp_path / source)


def test_no_path_is_an_error_of_the_option():
    with pytest.raises(ConfigError, match=r"data\.path"):
        read_table("")


# --- object stores ------------------------------------------------------------------------------------------------

CLOSED_PORT = {
    "aws_endpoint_url": "http://127.0.0.1:9",
    "aws_access_key_id": "key-of-the-test",
    "aws_secret_access_key": "secret-of-the-test",
    "aws_region": "us-east-1",
    "aws_allow_http": "true",
    "max_retries": 0,
}


@pytest.mark.parametrize("source", ["s3://bucket/t.csv", "s3://bucket/part-*.csv", "s3://bucket/t.parquet"])
def test_a_store_out_of_reach_is_one_sentence_without_secrets(source):
    with pytest.raises(DataError, match=r"cannot read s3://bucket/.*Connection refused.*credentials") as caught:
        read_table(source, storage_options=CLOSED_PORT)
    assert "of-the-test" not in str(caught.value) and "\n" not in str(caught.value)


def test_an_account_that_nobody_named_is_one_sentence(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(DataError, match=r"cannot read az://container/t.csv: .*Account"):
        read_table("az://container/t.csv")


def test_a_wrong_storage_option_is_one_sentence():
    with pytest.raises(DataError, match=r"cannot read s3://bucket/t.csv: .*max_retries"):
        read_table("s3://bucket/t.csv", storage_options={**CLOSED_PORT, "max_retries": "many"})


def test_an_address_that_names_no_table_is_told():
    with pytest.raises(DataError, match="is not named like a table"):
        read_table("https://127.0.0.1/folder/")


def test_signatures_in_addresses_are_not_shown():
    with pytest.raises(DataError) as caught:
        read_table("s3://bucket/t.csv?signature=of-the-test", storage_options=CLOSED_PORT)
    assert "of-the-test" not in str(caught.value)
