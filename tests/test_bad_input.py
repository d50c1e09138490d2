"""What happens with tables as they really come: each has one documented outcome, and none is a traceback.

``REFUSED``: one sentence, and no run folder. ``TRAINED``: a finished run whose bundle scores the very same file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made import made_customers

from churnlib.compose import compose
from churnlib.config import ScoreConfig
from churnlib.errors import ChurnlibError
from churnlib.scoring import score_file
from churnlib.training.run_folder import RunFolder
from churnlib.training.train import train

N = 120
FAST = [
    "model=tabnet", "model.n_d=4", "model.n_a=4", "trainer.max_epochs=1", "trainer.progress=false", "logger=none",
    "trainer.accelerator=cpu",
]  # fmt: skip


def text_rows() -> list[list[str]]:
    """Header and rows of a sound table, as text."""
    frame = made_customers(N).with_columns(pl.all().cast(pl.String).fill_null(""))
    return [frame.columns, *[list(row) for row in frame.rows()]]


def table(
    change: Callable[[list[list[str]]], None] = lambda rows: None, *, separator: str = ",", end: str = "\n"
) -> bytes:
    """A CSV file after a change to its cells."""
    rows = text_rows()
    change(rows)
    quoted = [
        ['"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\n;') else cell for cell in row]
        for row in rows
    ]
    return (end.join(separator.join(row) for row in quoted) + end).encode()


def column(name: str, values: Callable[[int, str], str]) -> Callable[[list[list[str]]], None]:
    """Change the cells of a column, by row number and old text."""

    def change(rows: list[list[str]]) -> None:
        at = rows[0].index(name)
        for i, row in enumerate(rows[1:]):
            row[at] = values(i, row[at])

    return change


def added(name: str, values: Callable[[int], str]) -> Callable[[list[list[str]]], None]:
    """Add a column at the end."""

    def change(rows: list[list[str]]) -> None:
        rows[0].append(name)
        for i, row in enumerate(rows[1:]):
            row.append(values(i))

    return change


def renamed(old: str, new: str) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        rows[0][rows[0].index(old)] = new

    return change


def only(n: int) -> Callable[[list[list[str]]], None]:
    def change(rows: list[list[str]]) -> None:
        del rows[1 + n :]

    return change


def wide(n: int) -> Callable[[list[list[str]]], None]:
    """Add so many columns of numbers."""

    def change(rows: list[list[str]]) -> None:
        rng = np.random.default_rng(0)
        rows[0] += [f"measure {i}" for i in range(n)]
        for row in rows[1:]:
            row += [f"{value:.3f}" for value in rng.normal(size=n)]

    return change


DATES = {
    "iso": lambda d: d,
    "us": lambda d: f"{d[5:7]}/{d[8:]}/{d[:4]}",
    "european": lambda d: f"{d[8:]}.{d[5:7]}.{d[:4]}",
    "with time": lambda d: f"{d}T10:30:00Z",
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty file": (b"", "empty"),
    "blank lines only": (b"\n\n\n", "empty"),
    "header only": (table(only(0)), "row"),
    "one row": (table(only(1)), "one class"),
    "three rows": (table(only(3)), "."),
    "one class": (table(column("churn", lambda i, v: "yes")), "one class"),
    "target missing everywhere": (table(column("churn", lambda i, v: "")), "no value in any row"),
    "no target column": (table(renamed("churn", "Churned")), "'Churned'"),
    "target with too many classes": (table(column("churn", lambda i, v: f"class {i}")), "class"),
    "two churners": (table(column("churn", lambda i, v: "yes" if i < 2 else "no")), "too few"),
    "duplicate column names": (table(renamed("plan", "region")), "'region'"),
    "names that differ in blanks only": (table(renamed("plan", " region  ")), "'region'"),
    "a column named *": (table(renamed("plan", "*")), "rename it"),
    "more fields than columns": (table(lambda rows: rows[50].append("x")), "51|50|49"),
    "binary junk": (bytes(range(256)) * 20, "."),
    "latin-1": (table(column("region", lambda i, v: "Zürich")).decode().encode("latin-1"), "UTF-8"),
    "utf-16": (table().decode().encode("utf-16"), "UTF-8|UTF-16|encod"),
    "every feature constant": (
        b"a,b,churn\n" + b"".join(b"1,x,%s\n" % (b"yes" if i % 2 else b"no") for i in range(60)), "no column is left"),
    "every feature missing": (
        b"a,b,churn\n" + b"".join(b",,%s\n" % (b"yes" if i % 2 else b"no") for i in range(60)),
        "no column is left|same"),
    "only an id beside the target": (
        b"a,churn\n" + b"".join(b"n%d,%s\n" % (i, b"yes" if i % 2 else b"no") for i in range(60)), "no column is left"),
    "a wrong delimiter, named": (table(separator=";"), "separator"),
}  # fmt: skip

TRAINED: dict[str, bytes] = {
    "a sound table": table(),
    "crlf": table(end="\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + table(),
    "semicolons": table(separator=";"),
    "tabs": table(separator="\t"),
    "quoted newlines": table(column("region", lambda i, v: f"{v}\nsecond line")),
    "quoted delimiters and quotes": table(column("region", lambda i, v: f'{v}, the "old" one')),
    "emoji": table(column("region", lambda i, v: "🏔️" if i % 2 else "🌊")),
    "emoji in a header": table(renamed("plan", "plan 📱")),
    "double blanks in a header": table(renamed("plan", " the   plan ")),
    "nul byte": table(column("region", lambda i, v: "a\0b" if i == 5 else v)),
    "blank numbers": table(column("tenure", lambda i, v: " " if i % 10 == 0 else v)),
    "text in a number": table(column("tenure", lambda i, v: "unknown!" if i == 7 else v)),
    "infinity": table(column("charges", lambda i, v: "inf" if i == 7 else "-Infinity" if i == 8 else v)),
    "nan": table(column("charges", lambda i, v: "NaN" if i == 7 else v)),
    "huge and tiny numbers": table(column("charges", lambda i, v: ["1e300", "-1e300", "1e-300", "9" * 40, v][i % 5])),
    "a numeric column missing everywhere": table(column("charges", lambda i, v: "")),
    "a category missing everywhere": table(column("plan", lambda i, v: "")),
    "a constant column": table(column("plan", lambda i, v: "monthly")),
    "target missing in some rows": table(column("churn", lambda i, v: "" if i % 9 == 0 else v)),
    "target in mixed case": table(column("churn", lambda i, v: v.upper() if i % 2 else f" {v.title()} ")),
    "target as 0 and 1": table(column("churn", lambda i, v: str(int(v == "yes")))),
    "yes and no in mixed spellings": table(column("paperless", lambda i, v: ["yes", "NO", "True", "0", "n"][i % 5])),
    "every row twice": table(lambda rows: rows.extend([list(row) for row in rows[1:]])),
    "an id in two rows": table(column("customer", lambda i, v: f"C{i // 2}")),
    "a missing id": table(column("customer", lambda i, v: "" if i % 50 == 0 else v)),
    "1,000 columns": table(wide(1_000)),
    "10,000 columns": table(wide(10_000)),
    "a category of 5,000 characters": table(column("region", lambda i, v: "x" * 5_000 if i % 2 else v)),
    "numbers with leading zeros": table(added("zip", lambda i: f"{i % 7:05d}")),
    "histories": table(added("usage", lambda i: "[]" if i % 11 == 0 else f"[{i % 7}, null, {i % 5}.5]")),
    "histories of which one is broken": table(added("usage", lambda i: f"[{i}, {i % 5}" if i == 7 else f"[{i}, 2]")),
    "an unnamed column": table(added("", lambda i: str(i % 3))),
    **{f"dates, {name}": table(column("joined", lambda i, v, form=form: form(v))) for name, form in DATES.items()},
    "dates in four formats": table(column("joined", lambda i, v: list(DATES.values())[i % 4](v))),
    "a date that is none": table(column("joined", lambda i, v: "2023-02-30" if i == 3 else v)),
}


def run(tmp_path: Path, content: bytes, *words: str) -> dict:
    path = tmp_path / "customers.csv"
    path.write_bytes(content)
    # Composing the same words is quick the second time.
    config = compose(["data.path=customers.csv", "data=table", "data.target=churn", *FAST, *words])
    config = replace(config, data=replace(config.data, path=str(path)))
    return train(config, folder=RunFolder(tmp_path / "run", latest=None)).metrics


def test_there_are_at_least_forty_cases():
    assert len(REFUSED) + len(TRAINED) >= 40


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_in_one_sentence_and_leaves_no_folder(tmp_path, name):
    content, says = REFUSED[name]
    words = ["data.separator=','"] if "delimiter" in name else []
    with pytest.raises(ChurnlibError, match=says) as refusal:
        run(tmp_path, content, *words)
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert 20 < len(sentence) < 500
    assert [p.name for p in tmp_path.iterdir()] == ["customers.csv"]


WIDE = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=WIDE if name == "10,000 columns" else []) for name in TRAINED]
)
def test_is_trained_on_and_scored(tmp_path, name):
    words = ["data.id=customer"] if "id" in name.split() else []
    # Of the ONNX file a thousand columns say the same.
    words += ["bundle.onnx=false"] if name == "10,000 columns" else []
    metrics = run(tmp_path, TRAINED[name], *words)
    assert metrics["test"]["n"] > 0
    assert all(np.isfinite(metrics["test"][key]) for key in ("log_loss", "brier", "f1"))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"] == metrics["test"]
    out = tmp_path / "out.csv"
    config = ScoreConfig(
        bundle=str(tmp_path / "run" / "bundle"),
        input=str(tmp_path / "customers.csv"),
        output=str(out),
        on_error="null",
        batch_rows=50,
    )
    scored = score_file(config)
    answers = pl.read_csv(out, infer_schema_length=None)
    # The same verdict as in training: only unreadable cells keep a row from being scored.
    unreadable = {"text in a number": 1, "infinity": 2, "a date that is none": 1}
    assert scored.bad == unreadable.get(name, 0)
    assert answers["churn_probability"].null_count() == scored.bad
    assert len(answers) == scored.rows == len(text_rows()[1:]) * (2 if name == "every row twice" else 1)
