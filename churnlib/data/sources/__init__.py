"""Customer tables from files: CSV, Parquet, NDJSON, Excel, Delta Lake; one file or many parts, local or in a store.

What a file may be like, and what comes of it:

    delimiter of a CSV file     found among tab ``|`` ``;`` ``,`` unless given
    type of CSV cells           text, whatever they look like: the schema decides
    empty cell, quoted or not   missing; a line on which all cells are empty is no row (spreadsheets leave such lines)
    fewer cells than names      the cells at the end of the line are missing
    more cells than names       an error that names the line
    column names                blanks around them go, runs of blanks become one; a column without a name is called
                                after its place (``column_3``); a name that occurs twice is an error
    BOM, CRLF, CR               read; a line ``sep=;`` above the header, as written for Excel, is obeyed
    cells in quotes             read; line breaks, emoji and NUL bytes inside a cell stay
    quotes inside a cell        text, if no cell of the file is in quotes (``24" screen``); else they are written twice,
                                or an error names the line
    not UTF-8                   an error that names the line and the remedy
    .gz                         read
    several parts               one table: a glob, or a folder of CSV or of Parquet files, in the order of their names;
                                the parts have the same columns in any order
    a folder of ``ingest``      the files that its manifest names, no others; columns that some of them lack are missing
    NaN in Parquet              missing
    several types in a column   text, as in a CSV file, where the format gives each cell its own type (NDJSON, Excel)

``docs/sources.md`` is the page for users.

Whatever goes wrong with a file is one :class:`~churnlib.errors.DataError`; options and credentials are never shown.
"""

from churnlib.data.names import normalize_name
from churnlib.data.sources.options import TableOptions
from churnlib.data.sources.tables import about_source, pin_table, read_table, reading, scan_table
from churnlib.data.tables import table_from

__all__ = [
    "TableOptions",
    "about_source",
    "normalize_name",
    "pin_table",
    "read_table",
    "reading",
    "scan_table",
    "table_from",
]
