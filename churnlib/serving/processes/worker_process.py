"""One worker process: LitServe's inference worker over our hooks and loop. Started by the supervisor."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from churnlib.serving.processes.lifecycle import Channel
from churnlib.serving.processes.standby import call_it, stand_by


def main() -> None:
    """Work until the supervisor's channel ends."""
    options, told, channel = stand_by("worker")
    if options.engine != "worker":
        os.nice(5)  # it only does what can wait: single customers come first
    from litserve.callbacks import CallbackRunner
    from litserve.loops.loops import inference_worker

    from churnlib.serving.processes.worker_api import WorkerAPI
    from churnlib.serving.processes.worker_loop import SocketLoop

    control = Control(channel)
    loop = SocketLoop(told["socket"], control, max_rows=options.max_batch_size)
    api = WorkerAPI(options, control, loop=loop)
    unused: Any = None
    inference_worker(api, options.device, told["number"], unused, unused, {}, CallbackRunner(), False)
    api.close()
    os._exit(0)


class Control:
    """The worker's end of the supervisor's channel, read between two batches.

    Args:
        channel: To the supervisor.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._models: Any = None
        self._serves = False

    def fileno(self) -> int:
        """Return what a selector waits on."""
        return self._channel.fileno()

    def ready(self, models: Any) -> bool:
        """Say that the models are loaded, and wait until they may answer; returns False at the end.

        A change of the model that was made meanwhile is made here first, so that nobody is answered by the one before.
        """
        self._models = models
        self._channel.tell(event="ready", **models.introduction())
        while not self._serves:
            if not self.handle(lambda: None):
                return False
        call_it("churn worker")
        return True

    def failed(self, message: str) -> None:
        """Say why there is nothing to serve, and end."""
        self._channel.tell(event="failed", message=message)
        os._exit(1)

    def handle(self, changed: Callable[[], None]) -> bool:
        """Do what the supervisor says; returns False at the end.

        Args:
            changed: Called after each change and before the supervisor hears of it: whoever is told that it is done
                must find it done everywhere.
        """
        try:
            for message in self._channel.heard():
                if message["do"] == "drain":
                    return False
                if message["do"] == "serve":
                    self._serves = True
                elif message["do"].startswith("prepare"):  # reads a bundle, beside the answers
                    threading.Thread(target=self._obey, args=[message], daemon=True).start()
                else:
                    self._obey(message, changed)
        except EOFError:
            return False
        return True

    def _obey(self, message: dict[str, Any], changed: Callable[[], None] = lambda: None) -> None:
        from churnlib.serving.processes.http_process import obey

        done = obey(self._models, message)
        changed()
        self._channel.tell(event="done", word=message["do"], change=message["change"], **done)


if __name__ == "__main__":
    main()
