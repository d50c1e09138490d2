"""Turning what Hydra and OmegaConf raise for a mistyped word into one sentence with the nearest right word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from churnlib.compose import SCHEMAS
from churnlib.config import config_dir, nearest
from churnlib.errors import ChurnlibError, ConfigError

WANTED = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "String": "text"}
"""OmegaConf's types, in words."""

FLAGS = (
    *("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r"),
    *("--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun", "--info", "-i"),
)
"""Hydra's own options."""

_SWITCHES = {"true": "on", "false": "off"}

HIDDEN = ("hydra", "schema", "recipe", "command_line")
"""Groups that nobody chooses from."""


def explain(error: Exception) -> str | None:
    """Return the sentence for a user's mistake; None for an error of another kind, whose traceback is needed.

    Args:
        error: What was raised.
    """
    if isinstance(error, ChurnlibError):
        return str(error)

    # Loaded by now, or no such error could have come.
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override))
    if isinstance(error, MissingConfigException):
        return _no_such_option(error)
    if isinstance(error, HydraException):
        cause = error.__cause__
        known = _from_omegaconf(cause, str(error)) if isinstance(cause, OmegaConfBaseException) else None
        return known or _from_hydra(str(error))
    if isinstance(error, OmegaConfBaseException):
        return _from_omegaconf(error, "") or _first_line(error)
    if isinstance(error, YAMLError):
        return f"a YAML file cannot be read: {error}"
    return None


def quoted_twice(word: str) -> str:
    """Return the word as it must be typed for Hydra to take its value as text.

    >>> print(quoted_twice("data.target=left (y)"))
    "data.target='left (y)'"
    """
    key, _, value = word.partition("=")
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"\"{key}='{escaped}'\""


def _first_line(error: object) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


# --- words that cannot be read --------------------------------------------------------------------------------------


def _unreadable(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals:
        groups = _groups()
        example = f"{key}={groups[key][0]}" if groups.get(key) else "seed=1"
        return f"expected key=value, got {word!r}; write for example {example}"
    if not re.fullmatch(r"[~+]{0,2}[A-Za-z_$][\w./@$-]*", key, re.ASCII):
        return (
            f"cannot read the key of {word!r}; expected group=option or key=value, the key of letters, digits, _ and ."
        )
    if value.startswith(("[", "{")):
        return f"cannot read the value of {word!r}: put texts inside in quotes, as in \"{key}=['a (b)','c']\""
    return f"cannot read the value of {word!r}: quote it twice, {quoted_twice(word)}"


# --- words that name nothing ----------------------------------------------------------------------------------------


def check_words(words: Sequence[str]) -> None:
    """Refuse what Hydra would answer with a traceback or a page of usage: unknown flags, and groups set to no name.

    Raises:
        ConfigError: With the word.
    """
    groups = _groups()
    for word in words:
        if word.startswith("-") and not any(flag.startswith(word.partition("=")[0]) for flag in FLAGS):
            raise ConfigError(f"there is no option {word}{nearest(word, FLAGS) or '; write options as key=value'}")
        key, equals, value = word.partition("=")
        if equals and not key:
            raise ConfigError(f"cannot read the key of {word!r}; expected group=option or key=value")
        no_name = value in ("null", "") or value.lower() in _SWITCHES or not re.match(r"[A-Za-z_$./]", value)
        if equals and key in groups and no_name:
            raise ConfigError(f"there is no {word} (choose from {', '.join(groups[key])})")


def with_switches(words: Sequence[str]) -> list[str]:
    """Return the words with ``pretrain=true`` written as ``pretrain=on``, which Hydra takes for the name of a file."""
    groups = _groups()
    switches = [name for name, options in groups.items() if {"on", "off"} <= set(options)]
    on_off = {f"{name}={said}": f"{name}={word}" for name in switches for said, word in _SWITCHES.items()}
    return [on_off.get(word.lower(), word) for word in words]


def _groups() -> dict[str, list[str]]:
    """Return the options of each configuration group that comes with churnlib."""
    folders = sorted(folder for folder in config_dir().iterdir() if folder.is_dir() and folder.name not in HIDDEN)
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def _no_such_option(error: Any) -> str:
    group, _, name = str(error.missing_cfg_file or "").rpartition("/")
    if not group or error.options is None:
        return _first_line(error)
    options = sorted(error.options)
    if group == "data" and (Path(name).suffix or "/" in name):
        return f"there is no data={name}; for a table of your own write data=table data.path={name} data.target=COLUMN"
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"; did you mean {group}={near[0]}?" if near else ""
    return f"there is no {group}={name}{hint} (choose from {', '.join(options)})"


def _unknown_key(key: str, root: Any) -> str:
    """Say that there is no such option, and what was meant."""
    owner = _owner(key)
    if owner is not None:
        return f"unknown option {key!r} here: it belongs to {owner}"
    known = [*_keys(root), *(group for group in _groups() if group not in root)]
    match = _nearest_key(key, known)
    return f"unknown option {key!r}{f'; did you mean {match!r}?' if match else '; see --help'}"


def _owner(key: str) -> str | None:
    """Return the option whose schema has this key: ``model=tabnet`` for ``model.n_steps``."""
    group, _, name = key.partition(".")
    choices = _groups().get(group, [])
    for option, schema in SCHEMAS.get(group, {}).items():
        if option in choices and name in {one.name for one in fields(schema)}:
            return f"{group}={option}"
    return None


def _keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a configuration, groups and values, but for Hydra's own."""
    from omegaconf import DictConfig

    for key in node:
        if prefix or key not in HIDDEN:
            yield f"{prefix}{key}"
            child = None if node._is_missing() else node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
                yield from _keys(child, f"{prefix}{key}.")


def _nearest_key(key: str, known: Iterable[str]) -> str | None:
    """Return the known key most like this one, as a whole or in its last part (``epochs``: ``trainer.max_epochs``)."""
    known = list(known)
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
    if near:
        return near[0]
    by_leaf: dict[str, str] = {}
    for one in known:
        by_leaf.setdefault(one.rpartition(".")[2], one)
    leaf = key.rpartition(".")[2]
    near = difflib.get_close_matches(leaf, by_leaf, n=1, cutoff=0.7)
    return by_leaf[near[0]] if near else next(iter(difflib.get_close_matches(key, known, n=1)), None)


# --- values of the wrong type ---------------------------------------------------------------------------------------


def _from_omegaconf(error: Any, message: str) -> str | None:
    """Return the sentence for an unknown key or a wrong type."""
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, MissingMandatoryValue

    key = error.full_key or ""
    first = _first_line(error)
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and error.parent_node is not None:
        return _unknown_key(_typed_key(message) or key, error.parent_node._get_root())
    if isinstance(error, MissingMandatoryValue):
        return f"{key} has no value; give one with {key}=VALUE"
    if match := re.match(r"Value '(.*)' of type '.*' could not be converted to (\w+)", first):
        return f"{key} must be {WANTED.get(match[2], match[2])}, got {match[1]!r}"
    if "is not Optional" in first or "Incompatible value 'None'" in first:
        return f"{key} must have a value, got null"
    if match := re.match(r"Invalid type assigned: \w+ is not a subclass of \w+\. value: (.*)", first):
        return f"{key} is a group of options, got {match[1]!r}; set one of them with {key}.NAME=VALUE"
    if "ListConfig" in first and key:
        return f"{key} must be a list such as [a,b]"
    if match := re.match(r"Cannot convert '\w+' to string: '(.*)'$", first):
        return f"{key} must be text, got {match[1]}"
    return f"{key}: {first}" if key else None


def _typed_key(message: str) -> str | None:
    """The key as the user typed it, which Hydra's message quotes."""
    match = re.match(r"Could not override '([^']*)'", message)
    return match[1] if match else None


def _from_hydra(message: str) -> str:
    first = _first_line(message)
    if match := re.match(r"Ambiguous value for argument '(.*)'$", first):
        word = match[1]
        return (
            f"{word!r} names several values: add -m to run each of them, write [a,b] for a list, "
            f"or quote the value twice if it is one text: {quoted_twice(word)}"
        )
    if match := re.match(r"Could not override '([^']*)'", first):
        return f"unknown option {match[1]!r}{nearest(match[1], list(_groups()))}"
    return first.removeprefix("In 'train': ")
