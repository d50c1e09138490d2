"""A bundle as an ASGI application, for a server of your own: ``app = asgi("outputs/latest/bundle")``."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from churnlib.errors import ConfigError
from churnlib.serving.http.front import Front
from churnlib.serving.options import ServeOptions, check


def asgi(bundle: str, **options: Any) -> Front:
    """Return an application that answers as ``churnlib serve`` does, in one process and without LitServe.

    The model is loaded when the server that runs it starts (ASGI's lifespan), in each of its processes; bulk and
    explanations are done on a thread.

    Args:
        bundle: Folder of the bundle.
        **options: Of :class:`~churnlib.serving.options.ServeOptions`; what is about processes and ports does not count.

    Raises:
        ConfigError: If an option is unknown or impossible.

    Example::

        # app.py, run by: uvicorn app:app
        from churnlib.serving import asgi

        app = asgi("outputs/latest/bundle")
    """
    known = {field.name for field in dataclasses.fields(ServeOptions)}
    for name in options:
        if name not in known:
            raise ConfigError(f"asgi() has no option {name!r}; the options are those of churnlib serve")
    chosen = ServeOptions(**{"bundle": bundle, **options, "workers": 0})
    if chosen.engine == "worker":
        raise ConfigError("engine=worker needs processes of its own; start it with churnlib serve")
    check(chosen)
    from churnlib.serving.answering.job_thread import JobThread
    from churnlib.serving.processes import building

    recorder = building.recorder_of(chosen)
    front = building.front_of(chosen, recorder=recorder)

    async def start() -> None:
        models = building.models_of(chosen, recorder=recorder)
        await asyncio.to_thread(models.load)
        front.engine = building.engine_of(chosen, models, JobThread(models), front)
        front.identity = building.identity_of(models)
        front.state = "ready"

    async def end() -> None:
        if recorder is not None:
            await asyncio.to_thread(recorder.close)
        await asyncio.to_thread(front.watching.close)

    front.on_startup, front.on_shutdown = start, end
    return front
