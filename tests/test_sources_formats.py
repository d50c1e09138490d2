"""Tables that are no CSV and no Parquet: lines of JSON, Excel sheets, Delta Lake; and cells that the user explains."""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import logging
import shutil
import subprocess
import sys
import zipfile
import zlib

import polars as pl
import pytest
import xlsxwriter

from churnlib.data.coercion import coerce
from churnlib.data.sources import pin_table, read_table, reading, scan_table
from churnlib.errors import ConfigError, DataError, MissingPackageError
from churnlib.schema import Kind, infer_schema


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- lines of JSON ------------------------------------------------------------------------------------------------


def test_lines_of_json_are_rows_and_their_values_text_as_in_a_csv_file(tmp_path):
    path = write(tmp_path, "t.ndjson", '{"id": "007", "tenure": 1, "left": true}\n\n{"tenure": 2.5, "late": "x"}\r\n')
    assert read_table(path).to_dicts() == [
        {"id": "007", "tenure": "1", "left": "true", "late": None},
        {"id": None, "tenure": "2.5", "left": None, "late": "x"},
    ]


JSON_LINES = {
    "another type far below": ('{"a": 1}\n' * 3000 + '{"a": "x"}\n', pl.String, "x"),
    "truth values among numbers": ('{"a": 1}\n{"a": true}\n', pl.String, "true"),
    "null for thousands of lines": ('{"a": null}\n' * 3000 + '{"a": 5}\n', pl.String, "5"),
    "a number of many digits": ('{"a": 1}\n{"a": 12345678901234567890123}\n', pl.String, "12345678901234567890123"),
    "lists of numbers": ('{"a": [1, 2]}\n{"a": []}\n{"a": [1.5, null]}\n', pl.List(pl.Float64), [1.5, None]),
    "lists of words": ('{"a": ["x"]}\n{"a": ["y", null]}\n', pl.List(pl.String), ["y", None]),
    "a list here, a number there": ('{"a": [1]}\n{"a": 1}\n', pl.String, "1"),
    "an object here, a number there": ('{"a": {"b": 1}}\n{"a": 1}\n', pl.String, "1"),
    "a number here, an object there": ('{"a": 1}\n{"a": {"b": 1}}\n', pl.String, '{"b": 1}'),
}


@pytest.mark.parametrize("name", JSON_LINES)
def test_a_field_of_json_has_the_type_of_all_its_values(tmp_path, name):
    content, dtype, last = JSON_LINES[name]
    frame = read_table(write(tmp_path, "t.jsonl", content))
    assert frame.schema == {"a": dtype}
    assert frame.to_dicts()[-1]["a"] == last


def test_objects_within_objects_are_columns_of_their_own(tmp_path):
    path = write(tmp_path, "t.ndjson", '{"plan": {"name": "S", "price": {"net": 5}}, "z": 1}\n{"z": 2}\n')
    assert read_table(path).rows() == [("S", "5", "1"), (None, None, "2")]
    assert read_table(path).columns == ["plan_name", "plan_price_net", "z"]
    with pytest.raises(DataError, match="two columns named 'a_b'"):
        read_table(write(tmp_path, "t.ndjson", '{"a": {"b": 1}, "a_b": 2}\n'))


def test_packed_lines_of_json_and_several_parts_are_read(tmp_path):
    write(tmp_path, "1.ndjson.gz", gzip.compress(b'{"a": 1, "b": 2}\n'))
    write(tmp_path, "2.jsonl", '{"b": "x", "a": [3]}\n')
    pl.DataFrame({"a": [5], "b": [6]}).lazy().sink_ndjson(tmp_path / "3.ndjson.zst", compression="zstd")
    assert read_table(tmp_path / "3.ndjson.zst").rows() == [("5", "6")]
    assert read_table(tmp_path / "1.ndjson.gz").rows() == [("1", "2")]
    (tmp_path / "2.jsonl").write_text('{"b": "x", "a": 3}\n')
    assert read_table(tmp_path).rows() == [("1", "2"), ("3", "x"), ("5", "6")]


BROKEN_LINES = {
    "a broken line": ('{"a": 1}\n\n{"a":\n{"a": 2}\n', ["line 3", "is no JSON"]),
    "cut off": ('{"a": 1}\n{"a": 2}\n{"a"', ["line 3", "is no JSON"]),
    "one list": ('[{"a": 1}, {"a": 2}]', ["one JSON list", "jq"]),
    "one list over many lines": ('[\n {"a": 1}\n]\n', ["line 1", "jq"]),
    "an object over many lines": ('{\n "a": 1\n}\n', ["line 1", "jq"]),
    "numbers only": ("1\n2\n", ["line 1", "no JSON object but int"]),
    "NaN": ('{"a": 1}\n{"a": NaN}\n', ["line 2", "write null"]),
    "nothing": ("", ["is empty"]),
    "blank lines": ("\n \n", ["is empty"]),
    "no fields": ("{}\n{}\n", ["no fields"]),
    "a byte order mark": ('\ufeff{"a": 1}\n', ["byte order mark"]),
    "latin-1": ('{"a": 1}\n{"a": "é"}\n'.encode("latin-1"), ["line 2", "not UTF-8", "iconv"]),
    "CSV": ("a,b\n1,2\n", ["line 1", "is no JSON"]),
}


@pytest.mark.parametrize("name", BROKEN_LINES)
def test_what_is_no_line_of_json_is_told_with_its_number(tmp_path, name):
    content, words = BROKEN_LINES[name]
    path = write(tmp_path, "t.ndjson", content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    sentence = str(caught.value)
    assert not [word for word in [str(path), *words] if word not in sentence], sentence
    assert "\n" not in sentence


def test_a_packed_file_of_lines_that_is_cut_off_is_told(tmp_path):
    packed = gzip.compress("".join(f'{{"a": {hash(str(i))}}}\n' for i in range(5000)).encode())
    with pytest.raises(DataError, match=r"t\.ndjson\.gz is cut off or damaged"):
        read_table(write(tmp_path, "t.ndjson.gz", packed[: len(packed) // 2]))


def test_a_file_that_changes_under_way_is_told(tmp_path):
    path = write(tmp_path, "t.ndjson", '{"a": 1}\n{"a": 2}\n')
    lazy = scan_table(path)
    write(tmp_path, "t.ndjson", '{"a": 1}\n{"a')
    with pytest.raises(DataError, match=r"line 2 of .*t\.ndjson"), reading(path):
        lazy.collect()


# --- Excel --------------------------------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path):
    """A workbook with a sheet of customers, one of notes, a hidden one and a chart."""
    path = tmp_path / "customers.xlsx"
    with xlsxwriter.Workbook(path) as opened:
        date = opened.add_format({"num_format": "yyyy-mm-dd"})
        sheet = opened.add_worksheet("Customers")
        rows = {
            1: ["007", 1, 1, "12", True, " x "],
            2: ["008", 2.5, "n/a", "13", False, ""],
            # row 3 is empty
            4: ["009", None, "3+", "14", None, None],
        }
        sheet.write_row(0, 0, ["id", "tenure", "children", "as text", "left", "note", "since", "double", "broken"])
        for row, cells in rows.items():
            for column, cell in enumerate(cells):
                if isinstance(cell, str):
                    sheet.write_string(row, column, cell)
                else:
                    sheet.write(row, column, cell)
            sheet.write_datetime(row, 6, dt.datetime(2024, 1, row, 12 * (row == 4)), date)
            sheet.write_formula(row, 7, f"=2*B{row + 1}", None, 2.0 * row)
            sheet.write_formula(row, 8, "=1/0", None, "#DIV/0!")
        opened.add_worksheet("Notes").write_row(0, 0, ["a", "b"])
        opened.get_worksheet_by_name("Notes").write_row(1, 0, [1, 2])
        hidden = opened.add_worksheet("Hidden")
        hidden.write_row(0, 0, ["a"])
        hidden.hide()
        opened.add_worksheet("Blank")
        opened.add_chartsheet("Chart")
    return path


def test_a_sheet_is_a_table_of_typed_cells(book, caplog):
    frame = read_table(book)
    assert frame.schema == {
        "id": pl.String, "tenure": pl.Float64, "children": pl.String, "as text": pl.String, "left": pl.Boolean,
        "note": pl.String, "since": pl.Datetime("us"), "double": pl.Float64, "broken": pl.String,
    }  # fmt: skip
    assert frame.rows() == [
        ("007", 1.0, "1", "12", True, " x ", dt.datetime(2024, 1, 1), 2.0, None),
        ("008", 2.5, "n/a", "13", False, None, dt.datetime(2024, 1, 2), 4.0, None),
        ("009", None, "3+", "14", None, None, dt.datetime(2024, 1, 4, 12), 8.0, None),
    ]
    assert not caplog.records and logging.getLogger("fastexcel").level == logging.NOTSET


def test_numbers_that_a_sheet_holds_as_text_are_numbers_as_in_a_csv_file(tmp_path):
    path, rows = tmp_path / "t.xlsx", [[f"{i % 29}.5", i % 29 + 0.5, i % 2] for i in range(100)]
    with xlsxwriter.Workbook(path, {"strings_to_numbers": False}) as opened:
        sheet = opened.add_worksheet()
        for number, row in enumerate([["price", "same", "churn"], *rows]):
            sheet.write_row(number, 0, row)
    frame = read_table(path)
    schema = infer_schema(frame, target="churn")
    assert frame.schema["price"] == pl.String
    assert schema["price"].kind is schema["same"].kind is Kind.numeric
    typed = coerce(frame, schema).typed
    assert typed["price"].to_list() == typed["same"].to_list() == [i % 29 + 0.5 for i in range(100)]


def test_a_sheet_is_chosen_by_its_name_and_the_others_are_told(book):
    assert read_table(book, sheet="Notes").rows() == [(1.0, 2.0)]
    options, facts = pin_table(book)
    assert options["sheet"] == facts["sheet"] == "Customers" and facts["other_sheets"] == ["Notes"]
    with pytest.raises(DataError, match=r"no sheet 'notes'; it has 'Customers', 'Notes', 'Hidden'"):
        read_table(book, sheet="notes")
    with pytest.raises(DataError, match=r"sheet 'Blank' .* is empty; its other sheets are 'Customers', 'Notes'"):
        read_table(book, sheet="Blank")


def test_names_below_a_title_are_asked_for_and_merged_and_blank_ones_are_numbered(tmp_path):
    path = tmp_path / "t.xlsx"
    with xlsxwriter.Workbook(path) as opened:
        sheet = opened.add_worksheet()
        sheet.merge_range(0, 0, 0, 2, "Customers in May")
        sheet.merge_range(3, 1, 3, 2, "usage")
        sheet.write_row(4, 1, [1, 2, 3])
    with pytest.raises(DataError, match=r"row 1 .* single cell 'Customers in May', row 5 has 3: .*data\.header_row=5"):
        read_table(path)
    assert read_table(path, header_row=4).rows() == [(1.0, 2.0, 3.0)]
    assert read_table(path, header_row=4).columns == ["usage", "column_2", "column_3"]
    with pytest.raises(DataError, match=r"fewer rows than data\.header_row"):
        read_table(path, header_row=40)


def test_parts_of_excel_agree_on_text_where_one_of_them_has_some(tmp_path):
    for number, cell in enumerate([5, "6+"]):
        with xlsxwriter.Workbook(tmp_path / f"{number}.xlsx") as opened:
            opened.add_worksheet().write_column(0, 0, ["a", cell])
    assert read_table(tmp_path).rows() == [("5.0",), ("6+",)]


ODS = """<?xml version="1.0" encoding="UTF-8"?><office:document-content
 xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.3"><office:body><office:spreadsheet>
<table:table table:name="T"><table:table-row><table:table-cell office:value-type="string"><text:p>id</text:p>
</table:table-cell><table:table-cell office:value-type="string"><text:p>n</text:p></table:table-cell></table:table-row>
<table:table-row><table:table-cell office:value-type="string"><text:p>007</text:p></table:table-cell>
<table:table-cell office:value-type="float" office:value="1.5"><text:p>1.5</text:p></table:table-cell>
</table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"""

XLS = (
    "c-rk)J!n%=6#njO()`e-FEv$Kp@f3f)(#a1UD{U#?PRGUC@N@bGL)87f{PAXtr-QuNpUH3ajCjkMF-s+go+M=AS60E2?`Evp67nKPtw|<0WDVU"
    "_qg9Z_uRjed(OQt_q|z6mS!Jyl(7nfXh6k}p|M7%B*lV)3#s>gEe3g1l5er85Q~Z<8^d_k{5qn2sQq1rgNLD)!oVj<XK(={Q~6wa196ZxWR$jH"
    "Kv?0PXcB0rRjuUn<Spa}Z26o#M9od|fV3^CQ&{vydiR?sKIwF^E&)C60{eWRW)Ir%N=Nb4TdLYNj01)7%;djW(HUyO9K>(KxqPmWnJghC4xGbx"
    "KMi~fcIu0?)o-j`LG(XX>LY9DZ#yAi8vZ#3cu@}5g@&qwk1t^xw5*dv=6F^-pO->^|Gv0BhPiFs72CF%;oKygMGNI5gW8pYdFlSww@1cCy|dIz"
    "^Qf*K=sUCx@NrG|kj@F#IKQ};yqkQTqi(0%K~701O5Q!%W`x5tY;%LP-7?Q!;+?m%M&2cI@ypRCoyE^ykI3`G<;$u0_ueeJWDT;?Uq3VGQ+?|0"
    "9gU}6kSnwKKa$&jI|!nVYi#$;TdM`jh*M0Gt0lcU%CuK&v{!7eN4(<1X-^WTr8wxc;xU(JsOHrehlPcOg@uKMg@wf?fHHsc^*uvh1j6Pr5i#F&"
    "mL*l}XOjOG$1o+&MY)(BLSFI$F4Yx3TM<^lSZbYpg71YICuH^lCNM@jChCq~xeTh>-?Q$H?w{L2_0C_Z$Iibz|4#x)yUP"
)
"""The same sheet as an .xls file, packed."""


def test_older_and_open_formats_are_read(tmp_path):
    path = tmp_path / "t.ods"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr("content.xml", ODS.replace("\n", " ").replace("> <", "><"))
    assert read_table(path).rows() == [("007", 1.5)]
    assert read_table(write(tmp_path, "t.xls", zlib.decompress(base64.b85decode(XLS)))).rows() == [("007", 1.5)]


NO_SHEETS = {
    "text": (b"a,b\n1,2\n", "is not an Excel file.*name it .csv"),
    "nothing": (b"", "is empty"),
    "a password": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000), "protected by a password"),
    "cut off": (None, "is damaged"),
}


@pytest.mark.parametrize("name", NO_SHEETS)
def test_what_is_no_workbook_is_one_sentence(book, tmp_path, name):
    content, words = NO_SHEETS[name]
    path = write(tmp_path, "t.xlsx", book.read_bytes()[:3000] if content is None else content)
    with pytest.raises(DataError, match=words) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# --- Delta Lake ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake") / "customers"
    pl.DataFrame({"a": [1, 2], "b": ["x", None]}).write_delta(folder)
    pl.DataFrame({"a": [3], "b": ["y"]}).write_delta(folder, mode="append")
    later = pl.DataFrame({"a": [4], "b": ["z"], "c": [1.5]})
    later.write_delta(folder, mode="append", delta_write_options={"schema_mode": "merge"})
    return folder


@pytest.fixture
def lake(made_lake, tmp_path):
    return shutil.copytree(made_lake, tmp_path / "customers")


def test_a_folder_with_a_log_is_a_delta_table_at_its_newest_version(lake):
    assert sorted(read_table(lake).rows()) == [(1, "x", None), (2, None, None), (3, "y", None), (4, "z", 1.5)]
    assert pin_table(lake)[1] == {"path": str(lake), "format": "Delta Lake", "delta_version": 2}


def test_an_older_version_is_read_by_its_number_or_its_moment(lake):
    assert sorted(read_table(lake, delta_version="0").rows()) == [(1, "x"), (2, None)]
    assert read_table(lake, delta_version=1).columns == ["a", "b"]
    now = dt.datetime.now(dt.UTC).isoformat()
    assert pin_table(lake, delta_version=now)[0]["delta_version"] == 2
    with pytest.raises(DataError, match="no version as old as 2001"):
        read_table(lake, delta_version="2001-01-01")
    with pytest.raises(DataError, match=r"no version 7 \(its newest is 2\)"):
        read_table(lake, delta_version=7)
    for wrong in ("yesterday", -1):
        with pytest.raises(ConfigError, match=r"data\.delta_version must be"):
            read_table(lake, delta_version=wrong)


def test_rows_that_are_added_under_way_are_not_read(lake):
    lazy = scan_table(lake)
    pl.DataFrame({"a": [9], "b": ["late"], "c": [0.0]}).write_delta(lake, mode="append")
    assert lazy.collect().height == 4


def test_a_delta_table_that_is_damaged_is_one_sentence(lake):
    part = next(lake.glob("*.parquet"))
    content = part.read_bytes()
    part.write_bytes(content[:50])
    with pytest.raises(DataError, match="is cut off or changed"):
        read_table(lake)
    part.unlink()
    with pytest.raises(DataError, match="lacks its file"):
        read_table(lake)
    (lake / "_delta_log" / "00000000000000000001.json").write_text('{"add":')
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_table(lake)
    assert "\n" not in str(caught.value)


# --- options ------------------------------------------------------------------------------------------------------


def test_decimal_commas_and_marks_of_missing_values_are_read_where_they_are_declared(tmp_path):
    path = write(tmp_path, "t.csv", "a;b;c;d\n1,5;1.234,5;-12;1.234.567\n01.02.2024;x,y;1.2.3; - \n;unknown;-;-999\n")
    assert read_table(path, decimal="comma", null_values=["-", "unknown", "-999"]).rows() == [
        ("1.5", "1234.5", "-12", "1234567"),
        ("01.02.2024", "x,y", "1.2.3", None),
        (None, None, None, None),
    ]
    assert read_table(path).rows()[0] == ("1,5", "1.234,5", "-12", "1.234.567")
    pl.DataFrame({"a": [1.0, -999.0], "b": [-999, 2], "c": ["-999", "x"]}).write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", null_values=["-999"]).rows() == [(1.0, None, None), (None, 2, "x")]
    with pytest.raises(ConfigError, match=r"data\.decimal must be comma or point"):
        read_table(path, decimal=";")


@pytest.mark.parametrize("option", [{"sheet": "T"}, {"header_row": 2}, {"delta_version": "1"}])
def test_options_of_another_format_are_refused(tmp_path, option):
    with pytest.raises(ConfigError, match=r"is for .* tables, but .*t\.csv is CSV"):
        read_table(write(tmp_path, "t.csv", "a,b\n1,2\n"), **option)


@pytest.mark.parametrize(("package", "extra"), [("fastexcel", "excel"), ("deltalake", "delta")])
def test_a_missing_package_is_told_with_its_extra(book, lake, monkeypatch, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'churnlib\[{extra}\]'"):
        read_table(book if extra == "excel" else lake)


def test_neither_package_is_loaded_before_it_is_needed():
    code = "import sys, churnlib.data.sources; print({'fastexcel', 'deltalake', 'boto3'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
