"""The service that ``serving_peers.py bentoml`` starts."""

import os
import sys
from pathlib import Path
from typing import Any

import bentoml  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.serving_peers import scorer


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Churn:
    """The churn model of the bundle in ``CHURN_BUNDLE``."""

    def __init__(self) -> None:
        self.score = scorer(os.environ["CHURN_BUNDLE"])

    @bentoml.api(route="/predict")
    async def predict(self, row: dict[str, Any], /) -> dict[str, Any]:
        """Answer for one customer, the whole body."""
        return self.score(row)
