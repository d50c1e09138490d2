"""``data.columns.NAME.kind=...`` for any column name, whatever Hydra's grammar makes of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from churnlib.config import COLUMN_FIELDS, nearest
from churnlib.errors import ConfigError

CORRECTION = re.compile(
    rf"\+{{0,2}}data\.columns\.(?P<name>.+?)\.(?P<field>{'|'.join(COLUMN_FIELDS)})=(?P<value>.*)", re.DOTALL
)
WHOLE = re.compile(r"\+{0,2}(?P<key>data\.columns(\.[^=]+)?)=(?P<value>[{].*)", re.DOTALL)
"""``data.columns.NAME={kind:numeric}`` and ``data.columns={NAME:{kind:numeric}}``."""

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
"""Names that Hydra reads as part of a key."""


def with_columns(words: Sequence[str]) -> list[str]:
    """Return the words with corrections of columns as Hydra takes them.

    The columns of a table are not known to the configuration, so Hydra wants a ``++`` before their options; names with
    blanks, dots, brackets or letters beyond ASCII it cannot read at all, and those reach it as a configuration of their
    own.

    Raises:
        ConfigError: If a correction is none of those known.

    >>> with_columns(["seed=1", "data.columns.plan.kind=categorical"])
    ['seed=1', '++data.columns.plan.kind=categorical']
    """
    odd: dict[str, dict[str, Any]] = {}
    kept = []
    for word in words:
        if match := CORRECTION.fullmatch(word):
            name, field, value = match["name"], match["field"], match["value"]
            if PLAIN.fullmatch(name):
                kept.append(f"++data.columns.{name}.{field}={value}")
            else:
                odd.setdefault(name, {})[field] = _parsed(word, value)
        elif match := WHOLE.fullmatch(word):
            kept.append(f"++{match['key']}={match['value']}")
        else:
            _refuse_unknown_field(word)
            kept.append(word)
    return [*kept, _stored(odd)] if odd else kept


def _parsed(word: str, value: str) -> Any:
    """Return the value as Hydra's grammar reads it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(f"value={value}")
    except HydraException as error:
        raise ConfigError(f"cannot read the value of {word!r}: put texts in quotes, as in ['low','high']") from error
    if override.is_sweep_override():
        raise ConfigError(f"{word!r} names several values, but only columns with a plain name can be swept")
    return override.value()


def _refuse_unknown_field(word: str) -> None:
    match = re.fullmatch(r"\+{0,2}data\.columns\.(?P<name>.+)\.(?P<field>[^.=]*)=.*", word, re.DOTALL)
    if match:
        hint = nearest(match["field"], COLUMN_FIELDS) or f"; known are {', '.join(COLUMN_FIELDS)}"
        raise ConfigError(f"unknown option data.columns.{match['name']}.{match['field']}{hint}")


def _stored(columns: dict[str, dict[str, Any]]) -> str:
    """Make the corrections known to Hydra, and return the word that adds them."""
    from hydra.core.config_store import ConfigStore

    node = {"data": {"columns": columns}}
    ConfigStore.instance().store(group="command_line", name="columns", node=node, package="_global_")
    return "+command_line=columns"
