"""The model that ``serving_peers.py mlserver`` starts."""

from typing import Any

from mlserver import MLModel  # pyright: ignore[reportMissingImports]
from mlserver.handlers import custom_handler  # pyright: ignore[reportMissingImports]

from scripts.serving_peers import scorer


class Churn(MLModel):
    """The churn model of the bundle that the settings name."""

    async def load(self) -> bool:
        """Read the bundle."""
        self.score = scorer(self.settings.parameters.uri)
        return True

    @custom_handler(rest_path="/predict")
    async def answer(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answer for one customer, the whole body."""
        return self.score(row)
