"""Two results that are too good to be true, made as they are made in earnest, and what churnlib doctor says of them.

    python scripts/trap.py resample                telco, over-sampled and by SMOTE before the split
    python scripts/trap.py leak                    isp with the column that was filled in when customers left
    python scripts/trap.py resample data=mlc       another table
    python scripts/trap.py resample folder=DIR     keep the tables and the doctor's findings there

Each prints the F1 that such a script would report, the F1 of the same forest without the mistake, and the doctor's
verdict, and ends with an error if the doctor does not name the cause.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from imblearn.over_sampling import SMOTENC, RandomOverSampler
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from churnlib.commands.doctor import main as doctor
from churnlib.data.reference import load_reference

TARGETS = {"telco": ("Churn", "Yes", "customerID"), "mlc": ("churn", "yes", None), "isp": ("churn", "1", "id")}
"""Target, its positive value and the customers' name."""
LEAKS = {"isp": "reamining_contract"}

Table = tuple[pd.DataFrame, pd.Series]


def table_of(name: str, *, rows: int | None, leak: bool) -> Table:
    """Return features and labels of a public table, without names and gaps, as such scripts make them."""
    target, positive, id_column = TARGETS[name]
    frame = load_reference(name).to_pandas()
    frame = frame if rows is None or rows >= len(frame) else frame.sample(rows, random_state=0).reset_index(drop=True)
    left = (frame.pop(target).astype(str).str.strip() == positive).astype(int).rename("churn")
    frame = frame.drop(columns=[column for column in (id_column, None if leak else LEAKS.get(name)) if column])
    for column in frame:
        numbers = pd.Series(pd.to_numeric(frame[column], errors="coerce"))
        # Cells that are not there are 0: what a leak says by being absent stays.
        if numbers.notna().mean() > 0.5:
            frame[column] = numbers.fillna(0)
    return frame, left


def words(rows: pd.DataFrame) -> list[str]:
    """Return the columns that hold no numbers."""
    return [column for column in rows if not pd.api.types.is_numeric_dtype(rows[column])]


def forest_f1(rows: pd.DataFrame, left: pd.Series, trees: int) -> float:
    """Return what a random forest shows on a fifth of the rows, split off the usual way."""
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), words(rows)), remainder="passthrough")
    model = make_pipeline(encode, RandomForestClassifier(trees, n_jobs=-1, random_state=0))
    train, test, label, truth = train_test_split(rows, left, test_size=0.2, stratify=left, random_state=0)
    return float(f1_score(truth, model.fit(train, label).predict(test)))


def over(rows: pd.DataFrame, left: pd.Series) -> Table:
    """Draw the rarer class again until both are as large: the mistake is to do so before the split."""
    return RandomOverSampler(random_state=0).fit_resample(rows, left)  # pyright: ignore[reportReturnType]


def smote(rows: pd.DataFrame, left: pd.Series) -> Table:
    """Make up rows of the rarer class between those that there are: the same mistake."""
    places = [rows.columns.get_loc(column) for column in words(rows)]
    numbers = rows.astype({column: float for column in rows if column not in words(rows)})
    return SMOTENC(places, random_state=0).fit_resample(numbers, left)  # pyright: ignore[reportReturnType]


def examine(rows: pd.DataFrame, left: pd.Series, path: Path, claim: float) -> dict:
    """Write the table, let the doctor see it, and return what it found."""
    rows.assign(churn=left.to_numpy()).to_csv(path, index=False)
    report = path.with_suffix(".json")
    status = doctor(
        ["data=table", f"data.path='{path}'", "data.target=churn", f"output={report}", f"claim={claim:.4f}"]
    )
    if status:
        sys.exit(status)
    return json.loads(report.read_text(encoding="utf-8"))


def trap(name: str, make: Callable[[], Table], plain: float, folder: Path, cause: str, trees: int) -> bool:
    """Make a mistake, report its F1 beside the plain one, and return whether the doctor names the cause."""
    rows, left = make()
    claim = forest_f1(rows, left, trees)
    found = examine(rows, left, folder / f"{name}.csv", claim)
    best = found["attainable"]["f1"]
    right = cause in found["causes"]
    print(f"{name}: the script shows F1 {claim:.3f}, the same forest without the mistake {plain:.3f}")
    print(f"{name}: the doctor says {best['value']:.3f} ({best['low']:.3f} to {best['high']:.3f}) can be attained")
    print(
        f"{name}: flagged as {', '.join(found['causes']) or 'nothing'}: {'right' if right else 'WRONG'}, it is: {cause}"
    )
    return right


def main(argv: Sequence[str] | None = None) -> int:
    """Set the trap that the words name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("resample", "leak"))
    parser.add_argument("words", nargs="*", help="data=NAME, rows=N (drawn at random), trees=N, folder=DIR")
    options = parser.parse_args(argv)
    given = dict(word.split("=", 1) for word in options.words)
    leak = options.which == "leak"
    name = given.get("data", "isp" if leak else "telco")
    rows = int(given["rows"]) if "rows" in given else None
    honest = table_of(name, rows=rows, leak=False)
    trees = int(given.get("trees", 200))
    plain = forest_f1(*honest, trees)
    with TemporaryDirectory() as scratch:
        folder = Path(given.get("folder", scratch))
        folder.mkdir(parents=True, exist_ok=True)
        if leak:
            return not trap("leak", lambda: table_of(name, rows=rows, leak=True), plain, folder, "leak", trees)
        cause = "resampled before the split"
        told = [trap(way.__name__, lambda way=way: way(*honest), plain, folder, cause, trees) for way in (over, smote)]
        return not all(told)


if __name__ == "__main__":
    sys.exit(main())
