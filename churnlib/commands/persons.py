"""What ``forget`` and ``subject-report`` have in common: whom to look for, and what was found."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from churnlib.config import PersonConfig
    from churnlib.data.pseudonyms import Pseudonyms
    from churnlib.privacy.forget import Found
    from churnlib.privacy.persons import Person


def keys_of(config: PersonConfig) -> tuple[Pseudonyms, ...]:
    """Return the keys that the options name.

    Raises:
        ConfigError: If one of them is not there.
    """
    from churnlib.data.pseudonyms import read_pseudonyms

    read = (read_pseudonyms(**asdict(key)) for key in config.keys)
    return tuple(key for key in read if key is not None)


def person_of(config: PersonConfig) -> Person:
    """Return the person that the options name."""
    from churnlib.privacy.persons import Person, named

    return Person(named(config.id or ""), keys_of(config))


def show_found(console: Console, found: Found) -> None:
    """Print where a person is, which models saw them, what could not be searched, and what to search again."""
    from churnlib.privacy.forget import growing

    lines = [f"{len(rows):>8,} rows  {path}" for path, rows in found.rows.items()]
    lines.append(f"{found.n_rows:,} rows in {len(found.rows)} of {found.searched} tables")
    lines += [f"model {model.name} {model.version} ({model.bundle}): {model.said}" for model in found.models]
    lines += [f"ALSO IN {path}, a table that a run has read and this command leaves alone" for path in found.elsewhere]
    lines += [f"MAY GROW {growing(folder)}" for folder in found.records]
    for path, why in found.unsearched:
        lines.append(f"NOT SEARCHED {path}: {why}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
