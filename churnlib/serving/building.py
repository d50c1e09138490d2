"""From options to the parts of an HTTP process: models, engine, front."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from churnlib.serving.endpoint import Endpoint
from churnlib.serving.engines import SLOW_SECONDS, Engine, Inline, Jobs, Threaded, Timing
from churnlib.serving.front import Front, Limits
from churnlib.serving.models import Models
from churnlib.serving.options import ServeOptions
from churnlib.serving.watching import Watching

_log = logging.getLogger(__name__)


def front_of(options: ServeOptions, **parts: Any) -> Front:
    """Return the front, without an engine yet."""
    return Front(limits_of(options), **parts)


def limits_of(options: ServeOptions) -> Limits:
    """Return how much an HTTP process takes in."""
    return Limits(
        timeout=options.timeout,
        bulk_timeout=options.bulk_timeout,
        max_body_bytes=options.max_body_bytes,
        max_bulk_bytes=options.max_bulk_bytes,
        max_waiting=options.max_waiting,
    )


def endpoint_options(options: ServeOptions) -> dict[str, Any]:
    """Return the arguments of :class:`~churnlib.serving.endpoint.Endpoint` beside the bundle."""
    return {
        "trust": options.trust,
        "backend": options.backend,
        "threads": options.threads,
        "unknown": options.unknown,
        "opt_out": options.opt_out,
        "max_bulk_rows": options.max_bulk_rows,
    }


def models_of(options: ServeOptions, *, device: str = "cpu", make: Callable[..., Endpoint] = Endpoint) -> Models:
    """Return the models, not yet loaded."""
    return Models(
        partial(make, **endpoint_options(options)),
        options.bundle,
        challenger_bundle=options.challenger,
        canary=options.canary,
        device=device,
    )


def engine_of(options: ServeOptions, models: Models, jobs: Jobs, watching: Watching) -> Engine:
    """Return the engine for loaded models; ``auto`` asks the model about one customer and looks at the clock."""
    name = options.engine
    if name == "auto":
        timing = Timing.of(models.champion)
        name = "inline" if timing.seconds <= SLOW_SECONDS else "thread"
    kind = Inline if name == "inline" else Threaded
    return kind(models, max_rows=options.max_batch_size, jobs=jobs, observed=watching.batch)


def identity_of(models: Models) -> Callable[[], dict[str, Any]]:
    """Return what tells a health probe which model answers."""

    def identity() -> dict[str, Any]:
        champion = models.champion
        return {"model": champion.predictor.model_name, "model_version": champion.version}

    return identity


__all__ = ["Front", "endpoint_options", "engine_of", "identity_of", "limits_of", "models_of"]
