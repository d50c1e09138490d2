"""Which models saw a person: what can be known of it, said as it is.

A run does not keep the names of its training rows, unless they are pseudonyms (``subjects.parquet``). Without that list
the files of a run tell of its test and held-out rows, and the rest follows only if the table that it read is still
there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churnlib.errors import ChurnlibError
from churnlib.privacy.stores import find_stores

LEARNED = "learned from the person"
CHOSE = "did not learn from the person, but chose its stopping epoch, temperature or threshold with them"
JUDGED = "did not learn from the person; it was only judged by them"
LIKELY = "most likely learned from the person: they are in its table, and not among its test or held-out rows"
ABSENT = "did not see the person"
FICTION = "learned from public or made-up customers, not from a company's own"
UNKNOWN = "cannot be known: its training rows are not listed, and its table is not there any more"

KEEPS_ROWS = (
    "; its bundle keeps some of its training rows, without names, as background customers "
    "(bundle.background=rows), perhaps theirs: train again"
)

UNSEARCHED = "cannot be known without the key of the pseudonyms in its files"

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
        keeps_rows: Whether its bundle holds some of its training rows, without names, as background customers.
    """

    bundle: Path
    name: str
    version: str
    created: str
    saw: str
    keeps_rows: bool = False

    @property
    def said(self) -> str:
        """What the model had to do with the person, and what its bundle may hold of them."""
        return f"{self.saw}{KEEPS_ROWS}" if self.keeps_rows and self.concerned else self.saw

    @property
    def concerned(self) -> bool:
        """Whether the person may have left something in the model."""
        return self.saw not in (ABSENT, FICTION, JUDGED)


def which_saw(run: Path, found: Mapping[Path, pl.DataFrame], unsearched: Collection[Path], sources: Sources) -> Model:
    """Say what a run's model had to do with the persons that are looked for.

    Args:
        run: The run's folder.
        found: By file the rows that name them.
        unsearched: Files that could not be searched.
        sources: The tables that runs have read.
    """
    facts = json.loads((run / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    model = facts.get("model", {})
    own = {path.name for path in unsearched if path.parent == run}
    if "subjects.parquet" in own or (own and not (run / "subjects.parquet").is_file()):
        saw = UNSEARCHED
    else:
        saw = _saw(run, found, sources)
    name, version = str(model.get("name")), str(model.get("version"))
    keeps_rows = (run_config(run).get("bundle") or {}).get("background") == "rows"
    return Model(run / "bundle", name, version, str(facts.get("created")), saw, keeps_rows)


def _saw(run: Path, found: Mapping[Path, pl.DataFrame], sources: Sources) -> str:
    # A run of which a person has been forgotten lists them no longer, and the record of the erasure says what it knew.
    subjects = run / "subjects.parquet"
    if subjects.is_file():
        sides = set(found.get(subjects, pl.DataFrame({"side": []}))["side"].to_list())
        return next((sentence for side, sentence in TRAINED_ON.items() if side in sides), ABSENT)
    config = run_config(run)
    if len(found.get(run / "held_out.parquet", ())):
        # Of the models of several folds each learned from rows that others held out.
        several = config.get("cv") is not None or (run / "bundle" / "ensemble.json").is_file()
        return LEARNED if several else CHOSE
    if len(found.get(run / "predictions.parquet", ())):
        return JUDGED
    data = config.get("data") or {}
    if "n_customers" in data or "reference" in data:
        return FICTION
    held = sources.hold(data)
    return UNKNOWN if held is None else LIKELY if held else ABSENT


class Sources:
    """The tables that runs have read, each of them looked into once.

    Args:
        wanted: Whom to look for.
    """

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted
        self._held: dict[tuple[str, str], bool | None] = {}

    def hold(self, data: Mapping[str, Any]) -> bool | None:
        """Return whether the table of a run's configuration names the persons; None if it cannot be looked into.

        Args:
            data: The configuration's part about the table.
        """
        sources = data.get("sources")
        if not sources:
            return self._held_by(data.get("path"), data.get("id"))
        held = {name: self._held_by(one.get("path"), _own_id(one, data.get("id"))) for name, one in sources.items()}
        return held.get(data.get("base"))  # whom the base does not name is not in the table

    def _held_by(self, path: Any, column: Any) -> bool | None:
        if not path or column is None or "://" in str(path):
            return None
        key = (str(path), str(column))
        if key not in self._held:
            self._held[key] = self._look(Path(str(path)), str(column))
        return self._held[key]

    @property
    def holding(self) -> list[Path]:
        """The tables that name the persons."""
        return [Path(path).resolve() for (path, _), held in self._held.items() if held]

    def _look(self, source: Path, column: str) -> bool | None:
        folder = source if source.is_dir() else source.parent
        if not source.exists():
            return None
        try:
            stores = find_stores([folder], id_columns=[column]).tables
            own = [store for store in stores if source.is_dir() or store.path == source.resolve()]
            return any(len(store.find(self._wanted)) for store in own) if own else None
        except (ChurnlibError, OSError, pl.exceptions.PolarsError):
            return None


def _own_id(source: Mapping[str, Any], customer: Any) -> Any:
    """Return what a source of a joined table itself calls its customers."""
    name = source.get("id") or customer
    return next((theirs for theirs, ours in (source.get("rename") or {}).items() if ours == name), name)


def run_config(run: Path) -> dict[str, Any]:
    """Return the options of a run; nothing where they cannot be read."""
    import yaml

    try:
        content = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


__all__ = ["Model", "Sources", "run_config", "which_saw"]
