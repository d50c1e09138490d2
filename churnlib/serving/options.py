"""The words of ``serve``: ``key=value``, read by a small parser, because the server's process never imports Hydra."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from churnlib.config.checks import check_choice
from churnlib.errors import ConfigError

HOSTS = ("127.0.0.1", "0.0.0.0", "::")
"""Addresses LitServe can listen on: this machine only, every network, every network with IPv6."""


def _option(default: Any, text: str, *, low: float | None = None, high: float | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Everything the server is told; each field's default and range stand here only."""

    bundle: str = _option("outputs/latest/bundle", "folder of the bundle to serve")
    host: str = _option(HOSTS[0], f"address to listen on: {', '.join(HOSTS)}")
    port: int = _option(8000, "port to listen on", low=1024, high=65535)
    workers: int = _option(1, "model processes, each with an HTTP process", low=1, high=256)
    threads: int = _option(1, "threads of the numeric libraries in each worker", low=1, high=256)
    max_batch_size: int = _option(32, "most customers predicted together", low=1, high=65536)
    batch_timeout: float = _option(0.0, "seconds a batch waits for company; 0 takes what is there", low=0, high=10)
    timeout: float = _option(10.0, "seconds until a request is given up with 504", low=0.1, high=3600)
    max_body_bytes: int = _option(1_000_000, "largest request body", low=1024, high=1_000_000_000)
    max_waiting: int = _option(256, "requests in each HTTP process that may wait; more get 503", low=1, high=65536)
    backend: str = _option("auto", "what answers: onnx, torch, or auto, which takes onnx where it is at hand")
    unknown: str = _option("warn", "columns that the model does not know: warn (answer, and name them) or refuse (422)")
    opt_out: str = _option("", "table of the customers who have objected to being scored; read again when it changes")
    trust: tuple[str, ...] = _option((), "packages of your own whose networks a bundle may name: a,b")


def parse_options(arguments: Sequence[str]) -> ServeOptions:
    """Read ``key=value`` words.

    Args:
        arguments: Words of the command line; a later one counts over an earlier one.

    Raises:
        ConfigError: If a word is no ``key=value``, the key is unknown, or the value is of the wrong type or range.

    >>> parse_options(["port=9000"]).port
    9000
    """
    fields = {field.name: field for field in dataclasses.fields(ServeOptions)}
    values: dict[str, Any] = {}
    for word in arguments:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"expected key=value, got {word!r}; the keys are {', '.join(fields)}")
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(fields)}"
            raise ConfigError(f"there is no option {key!r}; {hint}")
        values[key] = _value(fields[key], text)
    options = ServeOptions(**values)
    if options.host not in HOSTS:
        raise ConfigError(f"host must be one of {', '.join(HOSTS)}, got {options.host!r}")
    check_choice("unknown", options.unknown, ("warn", "refuse"))
    check_choice("backend", options.backend, ("auto", "torch", "onnx"))
    if options.batch_timeout >= options.timeout:
        raise ConfigError(f"batch_timeout must be below timeout ({options.timeout:g} s), got {options.batch_timeout:g}")
    return options


def usage() -> str:
    """Return what ``--help`` prints."""
    fields = dataclasses.fields(ServeOptions)
    width = max(len(field.name) for field in fields)
    lines = ["Serve a bundle over HTTP: POST /predict, GET /health, GET /metadata.", "", "Options, as key=value:", ""]
    for field in fields:
        shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        lines.append(f"  {field.name:<{width}}  {field.metadata['help']} (default: {shown if shown != '' else 'none'})")
    return "\n".join([*lines, "", "Example: serve bundle=runs/today/bundle port=8000"])


def _value(field: dataclasses.Field[Any], text: str) -> Any:
    """Convert one value to the type of its default and check its range."""
    text = _unquoted(text.strip())
    if isinstance(field.default, tuple):
        names = text.removeprefix("[").removesuffix("]").split(",")
        return tuple(_unquoted(name.strip()) for name in names if name.strip())
    kind = type(field.default)
    if kind is str:
        if not text:
            raise ConfigError(f"{field.name} is empty; expected the {field.metadata['help']}")
        return text
    try:
        number = kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{field.name} must be {wanted}, got {text!r}") from None
    low, high = field.metadata["low"], field.metadata["high"]
    if not low <= number <= high:
        raise ConfigError(f"{field.name} must be in [{low:g}, {high:g}], got {text}")
    return number


def _unquoted(text: str) -> str:
    """Take off one pair of quotes, which Hydra's grammar asks for in the other commands."""
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text
