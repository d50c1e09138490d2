"""Which models saw a person: what can be known of it, said as it is.

A run does not keep the names of its training rows, unless they are pseudonyms (``subjects.parquet``). Without that list
the files of a run tell of its test and held-out rows, and the rest follows only if the table that it read is still
there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churnlib.errors import ChurnlibError
from churnlib.privacy.stores import Store, find_stores

LEARNED = "learned from the person"
CHOSE = "did not learn from the person, but chose its stopping epoch, temperature or threshold with them"
JUDGED = "did not learn from the person; it was only judged by them"
LIKELY = "most likely learned from the person: they are in its table, and not among its test or held-out rows"
ABSENT = "did not see the person"
FICTION = "learned from public or made-up customers, not from a company's own"
UNKNOWN = "cannot be known: its training rows are not listed, and its table is not there any more"

TRAINED_ON = {"train": LEARNED, "validation": CHOSE, "test": JUDGED}


@dataclass(frozen=True, slots=True)
class Model:
    """A model, and what it had to do with a person.

    Attributes:
        bundle: Its folder.
        name: Its short name.
        version: Its version.
        created: When it was written.
        saw: One of the sentences of this module.
    """

    bundle: Path
    name: str
    version: str
    created: str
    saw: str

    @property
    def concerned(self) -> bool:
        """Whether the person may have left something in the model."""
        return self.saw not in (ABSENT, FICTION, JUDGED)


def which_saw(run: Path, found: Mapping[Path, pl.DataFrame], wanted: Any) -> Model:
    """Say what a run's model had to do with the persons that are looked for.

    Args:
        run: The run's folder.
        found: By file the rows that name them.
        wanted: Whom to look for, in the table that the run read.
    """
    facts = json.loads((run / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    model = facts.get("model", {})
    saw = _saw(run, found, wanted)
    return Model(run / "bundle", str(model.get("name")), str(model.get("version")), str(facts.get("created")), saw)


def _saw(run: Path, found: Mapping[Path, pl.DataFrame], wanted: Any) -> str:
    # A run of which a person has been forgotten lists them no longer, and the record of the erasure says what it knew.
    subjects = run / "subjects.parquet"
    if subjects.is_file():
        sides = set(found.get(subjects, pl.DataFrame({"side": []}))["side"].to_list())
        return next((sentence for side, sentence in TRAINED_ON.items() if side in sides), ABSENT)
    folds = _config(run).get("cv") is not None or (run / "bundle" / "ensemble.json").is_file()
    if len(found.get(run / "held_out.parquet", ())):
        return LEARNED if folds else CHOSE  # of several folds' models each held out others
    if len(found.get(run / "predictions.parquet", ())):
        return JUDGED
    data = _config(run).get("data") or {}
    if "n_customers" in data or "reference" in data:
        return FICTION
    table = data.get("path")
    return UNKNOWN if not table else _in_table(str(table), data.get("id"), wanted)


def _in_table(path: str, id_column: str | None, wanted: Any) -> str:
    """Look into the table that a run read, where it still stands."""
    if "://" in path or id_column is None:
        return UNKNOWN
    source = Path(path)
    if source.is_dir():
        folder, part = source, None
    elif source.is_file():
        folder, part = source.parent, source.resolve()
    else:
        return UNKNOWN
    try:
        tables = [
            store for store in find_stores([folder], id_columns=[id_column]).tables if part in (None, store.path)
        ]  # fmt: skip
        if not tables:
            return UNKNOWN
        return LIKELY if any(_holds(store, wanted) for store in tables) else ABSENT
    except (ChurnlibError, OSError, pl.exceptions.PolarsError):
        return UNKNOWN


def _holds(store: Store, wanted: Any) -> bool:
    return len(store.find(wanted)) > 0


def _config(run: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


__all__ = ["Model", "which_saw"]
