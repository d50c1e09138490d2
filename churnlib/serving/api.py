"""LitServe's hooks over a bundle: :class:`~churnlib.serving.answering.endpoint.Endpoint`'s behaviour as a ``LitAPI``.

``litserve.LitServer(ChurnLitAPI("outputs/latest/bundle")).run()`` is a working server, and the reference that the
engines of churnlib are compared with.
"""

from __future__ import annotations

from typing import Any

import litserve
from starlette.responses import Response

from churnlib.serving.answering.endpoint import Endpoint
from churnlib.serving.answering.served import log_failure
from churnlib.serving.answers import Answer
from churnlib.serving.problems import INTERNAL


class ChurnLitAPI(Endpoint, litserve.LitAPI):
    """A bundle as a ``LitAPI``.

    Args:
        bundle: Folder of the bundle.
        max_batch_size: Most customers predicted together.
        batch_timeout: Seconds that LitServe's own loop waits for a batch.
        api_path: Path of the endpoint.
        loop: What runs in LitServe's worker.
        **options: Of :class:`~churnlib.serving.answering.endpoint.Endpoint`.
    """

    def __init__(
        self,
        bundle: str,
        *,
        max_batch_size: int = 1,
        batch_timeout: float = 0.0,
        api_path: str = "/predict",
        loop: Any = "auto",
        **options: Any,
    ) -> None:
        litserve.LitAPI.__init__(
            self, max_batch_size=max_batch_size, batch_timeout=batch_timeout, api_path=api_path, loop=loop
        )
        Endpoint.__init__(self, bundle, **options)

    async def authorize(self) -> None:
        """Let every request pass; being asynchronous, it spares LitServe's default check its thread per request."""

    # Neither the request nor the response is annotated: LitServe would hand the annotations to FastAPI as body types.
    def decode_request(self, request, **kwargs: Any):  # noqa: ANN001, ANN201
        """Turn a parsed JSON body into a ``Customer``, or into the answer that is already certain."""
        return Endpoint.decode_request(self, request)

    def encode_response(self, output, **kwargs: Any):  # noqa: ANN001, ANN201
        """Turn an answer into an HTTP response."""
        assert isinstance(output, Answer)
        try:
            return _response(output)
        except (ValueError, TypeError) as error:
            log_failure(error)
            return _response(Answer.refusal(INTERNAL))


def _response(answer: Answer) -> Response:
    headers = {"content-type": "application/json", **dict(answer.headers)}
    return Response(answer.encode(), status_code=answer.status, headers=headers)
