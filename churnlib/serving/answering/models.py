"""The models that a process serves, and how another takes a model's place while customers are being answered.

A request is decoded, predicted and answered by the one endpoint that was chosen for it, so that each answer is of one
version whatever changes meanwhile. A new bundle is read, verified and warmed beside the old one; then one reference
changes. Several processes prepare first and commit when all have, so that either all serve the new one or none does.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from churnlib.errors import ChurnlibError, ConfigError
from churnlib.serving.answering.endpoint import Endpoint
from churnlib.serving.answers import Answer

_SHARES = 1 << 32


@dataclass(slots=True)
class Models:
    """A champion, whom the customers are answered by, and perhaps a challenger beside it.

    Args:
        make: Makes an endpoint over a bundle's folder, not yet set up.
        bundle: The champion's folder.
        challenger_bundle: The challenger's folder; empty for none.
        canary: Share of customers in [0, 1] whom the challenger answers; always the same ones.
        device: Passed on to ``setup``.
    """

    make: Callable[[str], Endpoint]
    bundle: str
    challenger_bundle: str = ""
    canary: float = 0.0
    device: Any = "cpu"
    _champion: Endpoint | None = field(default=None, init=False)
    _challenger: Endpoint | None = field(default=None, init=False)
    _prepared: Endpoint | None = field(default=None, init=False)
    _previous: Endpoint | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def load(self) -> None:
        """Read what is served from the start.

        Raises:
            ChurnlibError: If a bundle or the list of objections is bad.
        """
        champion = self._ready(self.bundle)
        if self.challenger_bundle:
            self._challenger = self._ready(self.challenger_bundle)
            if self._challenger.predictor.classes != champion.predictor.classes:
                raise ConfigError("champion and challenger answer with different classes; serve each by itself")
        self._champion = champion

    @property
    def champion(self) -> Endpoint:
        """The model whom the customers are answered by."""
        if self._champion is None:
            raise RuntimeError("load() was not called")
        return self._champion

    @property
    def challenger(self) -> Endpoint | None:
        """The model beside it."""
        return self._challenger

    @property
    def loaded(self) -> bool:
        """Whether customers can be answered."""
        return self._champion is not None

    @property
    def has_previous(self) -> bool:
        """Whether this process has served another model before."""
        return self._previous is not None

    def choose(self, name: Any) -> Endpoint:
        """Return the model that answers for a customer of this name, always the same one of the two.

        The name's CRC-32 is compared with the share: it is the same in every process and release.
        """
        if self._challenger is None or not self.canary:
            return self.champion
        place = zlib.crc32(str(name).encode("utf-8", "surrogatepass")) / _SHARES
        return self._challenger if place < self.canary else self.champion

    def introduction(self) -> dict[str, Any]:
        """Return what the operator is told at the start: model, version, a customer to try."""
        from churnlib.serving.answering.metadata import example_row

        predictor = self.champion.predictor
        return {
            "model": predictor.model_name,
            "model_version": predictor.version,
            "backend": predictor.backend,
            "example": example_row(predictor),
        }

    def run(self, job: str, body: bytes, query: Mapping[str, str], request_id: str = "") -> Answer:
        """Do a job with the champion; ``shadow`` asks the challenger about a customer whom the champion answers."""
        if job != "shadow":
            return self.champion.run(job, body, query, request_id)
        if self._challenger is None:
            return Answer(204, b"")
        return self._challenger.run("predict", body, query, request_id)

    # --- taking over ------------------------------------------------------------------------------------------------

    def prepare(self, bundle: str) -> str:
        """Read a bundle beside the one that is served, and return its version; nothing changes for customers.

        Raises:
            ChurnlibError: If it is bad, or answers with other classes than the one that is served.
        """
        with self._lock:
            self._prepared = None
            endpoint = self._ready(bundle)
            if self.loaded and endpoint.predictor.classes != self.champion.predictor.classes:
                raise ConfigError("the new bundle answers with other classes than the one that is served; restart")
            self._prepared = endpoint
            return endpoint.version

    def commit(self) -> str:
        """Let the prepared model take over, and return its version; the old one is kept for a way back."""
        with self._lock:
            if self._prepared is None:
                raise RuntimeError("nothing was prepared")
            self._previous, self._champion, self._prepared = self._champion, self._prepared, None
            return self.champion.version

    def abort(self) -> None:
        """Forget the prepared model."""
        with self._lock:
            self._prepared = None

    def prepare_rollback(self) -> str:
        """Prepare the model that was served before, and return its version.

        Raises:
            ConfigError: If there was none.
        """
        with self._lock:
            if self._previous is None:
                raise ConfigError("no model was served before this one; there is nothing to go back to")
            self._prepared = self._previous
            return self._prepared.version

    def _ready(self, bundle: str) -> Endpoint:
        endpoint = self.make(bundle)
        endpoint.setup(self.device)
        return endpoint


def sentence(error: BaseException) -> str:
    """Return what an operator is told of a failed load."""
    return str(error) if isinstance(error, ChurnlibError) else f"{type(error).__name__} while the bundle was read"
