"""The ``LitAPI`` that a worker of the server runs: it holds all models that are served, not one."""

from __future__ import annotations

from typing import Any

from churnlib.errors import ConfigError
from churnlib.serving.answering.models import sentence
from churnlib.serving.api import ChurnLitAPI
from churnlib.serving.options import ServeOptions
from churnlib.serving.processes.building import endpoint_options, models_of, recorder_of


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
        self._own_recorder: Any = None
        self._metrics: Any = None
        self.models: Any = None

    def setup(self, device: Any = "cpu") -> None:
        """Load all models; the worker ends if that fails."""
        try:
            self._own_recorder = recorder_of(self._options)
            if self._own_recorder is not None:
                self._count_records()
            self.models = models_of(self._options, device=str(device), recorder=self._own_recorder)
            self.models.load()
            if self._options.device != "cpu" and self.models.champion.computes_on == "cpu":
                raise ConfigError(
                    f"device={self._options.device} is for one network that torch answers for, which this model is "
                    "not; take backend=torch, or device=cpu"
                )
        except Exception as error:
            self._control.failed(sentence(error))

    def close(self) -> None:
        """Write what is still to be recorded."""
        if self._own_recorder is not None:
            self._own_recorder.close()
            self._metrics.close()

    def _count_records(self) -> None:
        """Have the server's metrics tell what this process has recorded; requests are counted where they come in."""
        from churnlib.serving.seeing.metrics import Metrics

        self._metrics = Metrics()
        self._metrics.watch_record(self._own_recorder)
        self._metrics.start()
