"""Options whose names the user chooses: those of columns, declared features, steps, event tables and sources.

The configuration cannot know them, and Hydra's grammar cannot read every name of a column and every expression.
"""

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

FEATURE = re.compile(r"\+{0,2}preprocess\.features\.(?P<name>[^=]+)=(?P<value>.*)", re.DOTALL)
"""An expression is taken as it stands: commas and brackets are its own."""

STEP = re.compile(r"\+{0,2}(?P<word>preprocess\.(steps|features)(\.[^=]+)?=.*)", re.DOTALL)

EVENTS = re.compile(r"\+{0,2}(?P<word>(data\.(events|sources)(\.[^=]+)?|events\.[^=]+)=.*)", re.DOTALL)
"""``data.events.NAME.path=...`` in training, ``events.NAME.path=...`` in scoring; ``events=NAME`` is a group. The
sources of a joined table (``data.sources.NAME.path=...``) are named likewise."""

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
    >>> with_columns(["preprocess.steps.tail={step: cap, share: 0.01}"])
    ['++preprocess.steps.tail={step: cap, share: 0.01}']
    """
    odd: dict[str, dict[str, Any]] = {}
    features: dict[str, str | None] = {}
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
        elif match := FEATURE.fullmatch(word):
            features[match["name"]] = None if match["value"] == "null" else match["value"]
        elif match := STEP.fullmatch(word) or EVENTS.fullmatch(word):
            kept.append(f"++{match['word']}")
        else:
            _refuse_unknown_field(word)
            kept.append(word)
    if odd or features:
        kept.append(_stored({"data": {"columns": odd}, "preprocess": {"features": features}}))
    return kept


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


def _stored(node: dict[str, Any]) -> str:
    """Make the options known to Hydra, and return the word that adds them."""
    from hydra.core.config_store import ConfigStore

    given = {group: {key: values} for group, options in node.items() for key, values in options.items() if values}
    ConfigStore.instance().store(group="command_line", name="words", node=given, package="_global_")
    return "+command_line=words"
