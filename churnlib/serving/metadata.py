"""What the server tells about its model: the body of ``GET /metadata`` and a customer to try."""

from __future__ import annotations

from typing import Any


def describe(predictor: Any) -> dict[str, Any]:
    return {"model": predictor.model_name, "model_version": predictor.version, "metrics": predictor.metrics}


def example_row(predictor: Any) -> dict[str, Any]:
    return {"customer_id": "C-1", "tenure": 3, "charges": 12.5, "contract": "a"}
