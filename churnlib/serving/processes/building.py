"""From options to the parts of an HTTP process: models, engine, front."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from churnlib.serving.answering.endpoint import Endpoint
from churnlib.serving.answering.engines import Engine, Inline, Threaded
from churnlib.serving.answering.job_thread import Jobs
from churnlib.serving.answering.models import Models
from churnlib.serving.answering.timing import SLOW_SECONDS, Timing
from churnlib.serving.http.front import Front
from churnlib.serving.http.intake import Intake
from churnlib.serving.options import ServeOptions

if TYPE_CHECKING:
    from churnlib.serving.seeing.recording import Recorder

_KEY_HEADERS = (b"authorization", b"x-api-key")


def front_of(options: ServeOptions, *, admin: Any = None, recorder: Recorder | None = None) -> Front:
    """Return the front with its guard and its watch, without an engine yet.

    Raises:
        ConfigError: If the file of keys or an address is wrong.
    """
    from churnlib.serving.doors.platform_routes import platform_routes
    from churnlib.serving.seeing.watching import Watched

    front = Front(intake_of(options), holder=holder_of(options), admin=admin)
    platform = platform_routes(os.environ, taken=front.routes.paths)
    front.routes.add_platform(platform.ready, platform.jobs)
    in_flight: Callable[[], int] = lambda: 0 if front.engine is None else front.engine.waiting  # noqa: E731
    front.watching = Watched(options, front.routes.names, in_flight, recorder)
    return front


def holder_of(options: ServeOptions) -> Callable[[Mapping[bytes, bytes], str], str] | None:
    """Return what lets a request in by its key, at no more than the rate of that key; None for everybody."""
    if not options.keys:
        return None
    from churnlib.serving.http.keys import KeyBook
    from churnlib.serving.http.rate import Rate

    book = KeyBook(options.keys)
    rate = Rate(options.rate_limit / options.processes) if options.rate_limit else None

    def holder(headers: Mapping[bytes, bytes], scope: str) -> str:
        sent = {name.decode(): headers[name].decode("latin-1") for name in _KEY_HEADERS if name in headers}
        name = book.holder(sent, scope)
        if rate is not None:
            rate.check(name)
        return name

    return holder


def intake_of(options: ServeOptions) -> Intake:
    """Return how much an HTTP process takes in."""
    return Intake(
        timeout=options.timeout,
        bulk_timeout=options.bulk_timeout,
        max_body_bytes=options.max_body_bytes,
        max_bulk_bytes=options.max_bulk_bytes,
        max_waiting=options.max_waiting,
        max_wait=options.max_wait,
    )


def endpoint_options(options: ServeOptions) -> dict[str, Any]:
    """Return the arguments of :class:`~churnlib.serving.answering.endpoint.Endpoint` beside the bundle."""
    return {
        "trust": options.trust,
        "backend": options.backend,
        "threads": options.threads,
        "unknown": options.unknown,
        "opt_out": options.opt_out,
        "max_bulk_rows": options.max_bulk_rows,
        "record_folder": options.record,
        "keys": bool(options.keys),
        "admin": options.admin,
    }


def recorder_of(options: ServeOptions) -> Recorder | None:
    """Return what keeps the predictions of this process, running; None for no record.

    Raises:
        ConfigError: If the folder cannot be written or the key of the pseudonyms cannot be read.
    """
    if not options.record:
        return None
    from churnlib.serving.seeing.record_files import open_record

    recorder = open_record(options.record)
    recorder.start()
    return recorder


def models_of(options: ServeOptions, *, device: str = "cpu", recorder: Recorder | None = None) -> Models:
    """Return the models, not yet loaded."""
    return Models(
        partial(Endpoint, recorder=recorder, **endpoint_options(options)),
        options.bundle,
        challenger_bundle=options.challenger,
        canary=options.canary,
        device=device,
    )


def engine_of(options: ServeOptions, models: Models, jobs: Jobs, front: Front) -> Engine:
    """Return the engine for loaded models; ``auto`` asks the model about one customer and looks at the clock."""

    def observed(waited: Sequence[float], seconds: float) -> None:
        front.watching.batch(waited, seconds)
        front.admission.computed(len(waited), seconds)

    name = options.engine
    if name == "auto":
        timing = Timing.of(models.champion)
        name = "inline" if timing.seconds <= SLOW_SECONDS else "thread"
    kind = Inline if name == "inline" else Threaded
    return kind(models, max_rows=options.max_batch_size, jobs=jobs, observed=observed, shadow=options.shadow)


def identity_of(models: Models) -> Callable[[], dict[str, Any]]:
    """Return what tells a health probe which model answers; it raises RequestError while none may."""
    return lambda: models.champion.identity()


__all__ = ["endpoint_options", "engine_of", "front_of", "identity_of", "intake_of", "models_of"]
