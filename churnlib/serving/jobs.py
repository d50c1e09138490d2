"""What a server does besides the answer for one customer: jobs by name, done where they do not keep customers waiting.

Each takes the model, the body of the request and the words of its query, and returns an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from churnlib.serving.answers import Answer

if TYPE_CHECKING:
    from churnlib.serving.endpoint import Endpoint, Job, Query


def metadata(endpoint: Endpoint, body: bytes, query: Query) -> Answer:
    """Say what the model is, what it reads and what it answers."""
    return Answer(200, endpoint.describe(), version=endpoint.version)


JOBS: dict[str, Job] = {"metadata": metadata}
