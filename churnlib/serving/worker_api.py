"""The ``LitAPI`` that a worker of the server runs: it holds all models that are served, not one."""

from __future__ import annotations

from typing import Any

from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.building import endpoint_options, models_of
from churnlib.serving.models import sentence
from churnlib.serving.options import ServeOptions


class WorkerAPI(ChurnLitAPI):
    """Hooks over the models of a server.

    Args:
        options: Of the server.
        control: Is told when there is nothing to serve.
        loop: What runs in the worker.
    """

    def __init__(self, options: ServeOptions, control: Any, *, loop: Any) -> None:
        super().__init__(options.bundle, max_batch_size=options.max_batch_size, loop=loop, **endpoint_options(options))
        self._options, self._control = options, control
        self.models: Any = None

    def setup(self, device: Any = "cpu") -> None:
        """Load all models; the worker ends if that fails."""
        self.models = models_of(self._options, device=str(device))
        try:
            self.models.load()
        except Exception as error:
            self._control.failed(sentence(error))
