"""The words of ``serve``: ``key=value``, read by a small parser, because the server's process never imports Hydra."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from churnlib.config.checks import check_choice
from churnlib.errors import ConfigError

ENGINES = ("auto", "inline", "thread", "worker")


def _option(default: Any, text: str, *, low: float | None = None, high: float | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Everything the server is told; each field's default and range stand here only."""

    bundle: str = _option("outputs/latest/bundle", "folder of the bundle to serve")
    challenger: str = _option("", "folder of a second bundle, for canary and shadow")
    canary: float = _option(0.0, "share of customers whom the challenger answers, always the same ones", low=0, high=1)
    shadow: bool = _option(False, "let the challenger score all others too, for the records and metrics alone")
    host: str = _option("127.0.0.1", "address to listen on: 0.0.0.0 for every network, :: with IPv6")
    port: int = _option(8000, "port to listen on", low=1, high=65535)
    engine: str = _option("auto", "where the model runs: inline, thread, worker; auto measures the model and decides")
    processes: int = _option(1, "HTTP processes that share the port", low=1, high=256)
    workers: int = _option(1, "worker processes for bulk and explanations; 0 does these on a thread", low=0, high=256)
    spares: int = _option(1, "processes of each kind that wait for one to die; 0 for less memory", low=0, high=16)
    threads: int = _option(1, "threads of the numeric libraries in each process", low=1, high=256)
    device: str = _option("cpu", "where the workers' torch computes: cpu, cuda, cuda:0")
    max_batch_size: int = _option(64, "most customers predicted together", low=1, high=65536)
    timeout: float = _option(2.0, "seconds until a request is given up with 504", low=0.05, high=3600)
    bulk_timeout: float = _option(30.0, "the same for bulk and explanations", low=0.05, high=3600)
    max_body_bytes: int = _option(1_000_000, "largest request body", low=1024, high=1_000_000_000)
    max_bulk_bytes: int = _option(16_000_000, "largest body of many customers", low=1024, high=1_000_000_000)
    max_bulk_rows: int = _option(10_000, "most customers of one request", low=1, high=10_000_000)
    max_waiting: int = _option(1024, "customers of an HTTP process that may wait; more get 503", low=1, high=1_000_000)
    max_wait: float = _option(1.0, "seconds a customer may wait for others; longer gets 503", low=0.001, high=3600)
    drain_delay: float = _option(0.0, "seconds to serve on after SIGTERM, for balancers to notice", low=0, high=3600)
    drain_timeout: float = _option(20.0, "seconds that running requests have to end", low=0, high=3600)
    backend: str = _option("auto", "what answers: onnx, torch, or auto, which takes onnx where it is at hand")
    unknown: str = _option("warn", "columns that the model does not know: warn (answer, and name them) or refuse (422)")
    opt_out: str = _option("", "table of the customers who have objected to being scored; read again when it changes")
    trust: tuple[str, ...] = _option((), "packages of your own whose networks a bundle may name: a,b")
    keys: str = _option("", "file of hashed keys, made by churnlib key; none lets everybody in")
    rate_limit: float = _option(0.0, "requests per second of each key; 0 for no limit", low=0, high=1_000_000_000)
    admin: bool = _option(False, "take orders at POST /admin/reload and /admin/rollback; needs keys")
    tls_certificate: str = _option("", "PEM file of a certificate, for HTTPS")
    tls_key: str = _option("", "PEM file of its key")
    log: str = _option("json", "access log: json or off")
    log_file: str = _option("", "file of the log; standard error when empty")
    tracing: str = _option("", "address of an OpenTelemetry collector (OTLP over HTTP)")
    record: str = _option("", "folder for records of the predictions, for monitoring")


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
    check(options)
    return options


def check(options: ServeOptions) -> None:
    """Refuse words that are none of the choices, and options that contradict each other."""
    check_choice("engine", options.engine, ENGINES)
    check_choice("unknown", options.unknown, ("warn", "refuse"))
    check_choice("backend", options.backend, ("auto", "torch", "onnx"))
    check_choice("log", options.log, ("json", "off"))
    if options.engine == "worker" and not options.workers:
        raise ConfigError("engine=worker needs at least one worker, got workers=0")
    if options.device != "cpu" and options.engine != "worker":
        raise ConfigError(f"device={options.device} needs engine=worker: the other engines compute on the CPU")
    if (options.canary or options.shadow) and not options.challenger:
        raise ConfigError("canary and shadow need a second bundle; name it with challenger=DIR")
    if bool(options.tls_certificate) != bool(options.tls_key):
        raise ConfigError("tls_certificate and tls_key belong together; give both or none")
    if options.admin and not options.keys:
        raise ConfigError("admin=true needs keys=FILE, or anybody could exchange the model")
    if options.rate_limit and not options.keys:
        raise ConfigError("rate_limit is one of each key; give keys=FILE")


def usage() -> str:
    """Return what ``--help`` prints."""
    fields = dataclasses.fields(ServeOptions)
    width = max(len(field.name) for field in fields)
    lines = ["Serve a bundle over HTTP: POST /predict and more; GET /docs says what.", "", "Options, as key=value:", ""]
    for field in fields:
        shown = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = str(shown).lower() if isinstance(shown, bool) else shown
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
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{field.name} must be true or false, got {text!r}")
        return text.lower() == "true"
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
