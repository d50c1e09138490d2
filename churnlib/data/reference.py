"""Public churn tables by name: found on this machine, or downloaded once where their licence is clear.

A table is looked for in the folder that ``CHURNLIB_DATA_DIR`` names, then in the cache (``CHURNLIB_CACHE_DIR``, else
the user's cache folder), then downloaded into the cache. A download is checked by its SHA-256. A file that somebody put
into one of the folders is checked by its columns, its number of rows and its number of churners, so that copies with
other line ends, another delimiter or row names are fine; a changed feature is not noticed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from churnlib.data.download import DownloadFailed, download
from churnlib.data.sources import reading, scan_table
from churnlib.errors import ConfigError, DataError
from churnlib.schema import near_misses, parsing

DATA_DIR, CACHE_DIR = "CHURNLIB_DATA_DIR", "CHURNLIB_CACHE_DIR"
"""Environment variables that name the folder of the user's own copies, and that of the downloads."""

ROW_NAMES = frozenset({"rownames", "column_1"})
"""Columns that R and pandas add to a table they save; they are left out."""


@dataclass(frozen=True, slots=True)
class ReferenceTable:
    """What is known about one public table.

    Attributes:
        name: Its name in ``data=NAME``.
        file_name: Its name in the folders.
        columns: Its columns, in order.
        rows: Number of rows.
        target: The column that says who left, and
        positive: the value there that means so.
        positives: Number of rows with that value.
        licence: What is known about the right to use it.
        where_to_get: How to get it by hand; ends the sentence "to use it, ...".
        notes: What a user has to know about its columns.
        url: Address it is downloaded from, pinned to a commit; None where none is known to serve these values under a
            clear licence.
        sha256: Checksum of that download.
    """

    name: str
    file_name: str
    columns: tuple[str, ...]
    rows: int
    target: str
    positive: str
    positives: int
    licence: str
    where_to_get: str
    notes: str = ""
    url: str | None = None
    sha256: str | None = None


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TELCO = ReferenceTable(
    name="telco",
    file_name="telco_customer_churn.csv",
    columns=_names(
        "customerID gender SeniorCitizen Partner Dependents tenure PhoneService MultipleLines InternetService "
        "OnlineSecurity OnlineBackup DeviceProtection TechSupport StreamingTV StreamingMovies Contract "
        "PaperlessBilling PaymentMethod MonthlyCharges TotalCharges Churn"
    ),
    rows=7_043,
    target="Churn",
    positive="Yes",
    positives=1_869,
    licence="Apache-2.0 (the repository of IBM that holds it)",
    where_to_get="download data/Telco-Customer-Churn.csv of github.com/IBM/telco-customer-churn-on-icp4d",
    notes="TotalCharges is blank for the 11 customers in their first month, and nearly tenure * MonthlyCharges.",
    url=(
        "https://raw.githubusercontent.com/IBM/telco-customer-churn-on-icp4d/"
        "d5371f5d83a446ad5673cbcca3b814b926491f8a/data/Telco-Customer-Churn.csv"
    ),
    sha256="16320c9c1ec72448db59aa0a26a0b95401046bef5d02fd3aeb906448e3055e91",
)

MLC = ReferenceTable(
    name="mlc",
    file_name="mlc_churn.csv",
    columns=_names(
        "state account_length area_code international_plan voice_mail_plan number_vmail_messages total_day_minutes "
        "total_day_calls total_day_charge total_eve_minutes total_eve_calls total_eve_charge total_night_minutes "
        "total_night_calls total_night_charge total_intl_minutes total_intl_calls total_intl_charge "
        "number_customer_service_calls churn"
    ),
    rows=5_000,
    target="churn",
    positive="yes",
    positives=707,
    licence="MIT as part of the R package modeldata, which stores it in R's own format; the original states none",
    where_to_get=(
        "run write.csv(modeldata::mlc_churn, 'mlc_churn.csv') in R, or download csv/modeldata/mlc_churn.csv of "
        "github.com/vincentarelbundock/Rdatasets"
    ),
    notes="Each charge is its minutes times a constant; the first 3,333 rows are the table of BigML and Kaggle.",
)

ISP = ReferenceTable(
    name="isp",
    file_name="isp_churn.csv",
    columns=_names(
        "id is_tv_subscriber is_movie_package_subscriber subscription_age bill_avg reamining_contract "
        "service_failure_count download_avg upload_avg download_over_limit churn"
    ),
    rows=72_274,
    target="churn",
    positive="1",
    positives=40_050,
    licence="not stated by its author",
    where_to_get=(
        "download internet_service_churn.csv from kaggle.com/datasets/mehmetsabrikunt/internet-service-churn, where "
        "its terms are"
    ),
    notes="reamining_contract (sic) all but gives the target away, and id grows with the joining date.",
)

REFERENCE: dict[str, ReferenceTable] = {table.name: table for table in (TELCO, MLC, ISP)}
"""The public tables by name."""


def load_reference(name: str, *, progress: bool = True) -> pl.DataFrame:
    """Return a public table, its cells as text and its columns in the order of :data:`REFERENCE`.

    Args:
        name: ``telco``, ``mlc`` or ``isp``.
        progress: Whether a download shows a bar, on a terminal.

    Raises:
        ConfigError: If no table has this name.
        DataError: If the table cannot be had; the sentence says where to get it and where to put it.
    """
    path = reference_path(name, progress=progress)
    with reading(path):
        return scan_table(path).select(REFERENCE[name].columns).collect()


def reference_path(name: str, *, progress: bool = True) -> Path:
    """Return the file of a public table, downloaded if need be; arguments and errors as in :func:`load_reference`."""
    if name not in REFERENCE:
        near = near_misses(name, list(REFERENCE))
        hint = f"did you mean {near[0]!r}?" if near else "for a table of your own use data=table data.path=FILE"
        raise ConfigError(f"there is no public table {name!r}, only {', '.join(REFERENCE)}; {hint}")
    table = REFERENCE[name]
    folder = os.environ.get(DATA_DIR)
    own = Path(folder).expanduser() / table.file_name if folder else None
    if own and own.is_file():
        check_reference(table, own)
        return own
    cached = cache_dir() / table.file_name
    if table.url is not None and table.sha256 is not None:
        try:
            return download(table.url, cached, sha256=table.sha256, progress=progress)
        except DownloadFailed as error:
            raise DataError(
                f"the table {name!r} could not be downloaded from {table.url} ({error}); {table.where_to_get} where "
                f"there is a network, and {_put_it(table)}"
            ) from error
    if cached.is_file():
        check_reference(table, cached)
        return cached
    raise DataError(
        f"churnlib does not download the table {name!r} (licence: {table.licence}); to use it, {table.where_to_get}, "
        f"and {_put_it(table)}"
    )


def check_reference(table: ReferenceTable, path: Path) -> None:
    """Check that a file is a copy of a public table.

    Args:
        table: The table it should be.
        path: The file.

    Raises:
        DataError: If it cannot be read, or has other columns, rows or churners; the sentence says which.
    """
    lazy = scan_table(path)
    names = [name for name in lazy.collect_schema().names() if name not in ROW_NAMES]
    lacking = [name for name in table.columns if name not in names]
    extra = [name for name in names if name not in table.columns]
    if lacking or extra:
        differs = [f"lacks the columns {', '.join(lacking[:5])}"] if lacking else []
        differs += [f"has the columns {', '.join(extra[:5])} besides"] if extra else []
        raise DataError(_no_copy(table, path, " and ".join(differs)))
    positive = parsing.category(pl.col(table.target), pl.String()) == table.positive
    with reading(path):
        rows, positives = lazy.select(pl.len(), positive.sum().alias("positives")).collect().row(0)
    if rows != table.rows:
        raise DataError(_no_copy(table, path, f"has {rows:,} rows, not {table.rows:,}"))
    if positives != table.positives:
        differs = f"has {positives:,} rows with {table.target}={table.positive}, not {table.positives:,}"
        raise DataError(_no_copy(table, path, differs))


def cache_dir() -> Path:
    """Return the folder of downloaded tables: ``CHURNLIB_CACHE_DIR``, else the user's cache folder."""
    import pooch

    folder = os.environ.get(CACHE_DIR)
    return Path(folder).expanduser() if folder else pooch.os_cache("churnlib")


def _no_copy(table: ReferenceTable, path: Path, differs: str) -> str:
    return (
        f"{path} is not an unchanged copy of the table {table.name!r}: it {differs}; for a table of your own use "
        f"data=table data.path=FILE, for this one {table.where_to_get}"
    )


def _put_it(table: ReferenceTable) -> str:
    folder = os.environ.get(DATA_DIR)
    if folder:
        return f"put it at {Path(folder).expanduser() / table.file_name} (the folder that {DATA_DIR} names)"
    return f"put it as {table.file_name} into a folder of yours that the environment variable {DATA_DIR} names"
