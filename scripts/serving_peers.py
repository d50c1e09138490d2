"""Servers that ours is measured beside; ``bench_serving.py`` starts each as ``serving_peers.py NAME PORT BUNDLE``.

``empty``: a FastAPI route that reads nothing and does nothing. ``bare``: uvicorn over a function that reads nothing and
sends two bytes, which is what the machine and the client allow at all. ``fastapi_onnx``: what a careful colleague would
write around the same ``model.onnx``: a dict as body, the encoding of a row in plain Python, one call of ONNX Runtime,
the same calibration and threshold. ``litserve``: a stock ``LitServer`` over our hooks. ``bentoml``, ``mlserver``: the
same function behind theirs, in environments of their own, since they bring many packages::

    python -m venv ENV && ENV/bin/python -m pip install bentoml onnxruntime numpy      (or mlserver)

MLServer takes the customer through a custom handler in the main process, without its protocol, its inference pool, its
metrics: the least that it can do.
"""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TITLES = {
    "empty": "empty FastAPI endpoint",
    "bare": "bare uvicorn, two bytes",
    "fastapi_onnx": "FastAPI + ONNX Runtime",
    "litserve": "stock LitServe",
    "bentoml": "BentoML",
    "mlserver": "MLServer",
}
HEALTH = {"bentoml": "/readyz", "mlserver": "/v2/models/churn/ready"}
"""Where a server says that it is ready, if not under /health."""


def scorer(bundle: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function from a customer's dict to an answer, of standard parts only."""
    import json

    import numpy as np
    import onnxruntime

    folder = Path(bundle)
    preparation = json.loads((folder / "preparation.json").read_text())
    decision = json.loads((folder / "decision.json").read_text())
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = session_options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", session_options, providers=["CPUExecutionProvider"])
    numeric = [column["name"] for column in preparation["numeric"]]
    codes = [
        (v["name"], {value: place + 2 for place, value in enumerate(v["values"])}) for v in preparation["categorical"]
    ]
    temperature = decision["calibration"].get("temperature", 1.0)
    threshold = decision["threshold"]

    def score(row: dict[str, Any]) -> dict[str, Any]:
        numbers = [math.nan if row.get(name) is None else float(row[name]) for name in numeric]
        known = [
            0 if (v := row.get(n)) is None else c.get(str(v).lower() if v is True or v is False else v, 1)
            for n, c in codes
        ]
        inputs = {"numeric": np.array([numbers], dtype=np.float32), "codes": np.array([known], dtype=np.int64)}
        found: Any = session.run(["logits"], inputs)
        logit = float(found[0][0])
        probability = 1.0 / (1.0 + math.exp(-logit / temperature))
        return {
            "customer_id": row.get("customer_id"),
            "churn_probability": probability,
            "churn_prediction": int(probability >= threshold),
        }

    return score


def empty(port: int, bundle: str) -> None:
    """Serve nothing, by FastAPI."""
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/predict")
    async def predict() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


def bare(port: int, bundle: str) -> None:
    """Serve nothing, by uvicorn alone."""
    import uvicorn

    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    body = {"type": "http.response.body", "body": b"{}"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(head)
        await send(body)

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning", lifespan="off")


def fastapi_onnx(port: int, bundle: str) -> None:
    """Serve the model by FastAPI."""
    import uvicorn
    from fastapi import Body, FastAPI

    app, score = FastAPI(), scorer(bundle)

    @app.post("/predict")
    async def predict(row: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 - FastAPI's way
        return score(row)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


def litserve(port: int, bundle: str) -> None:
    """Serve our hooks by LitServe as it is."""
    from litserve import LitServer

    from churnlib.serving import ChurnLitAPI

    server = LitServer(ChurnLitAPI(bundle), accelerator="cpu", timeout=30)
    server.run(port=port, host="127.0.0.1", generate_client_file=False, log_level="warning", access_log=False)


def bentoml(port: int, bundle: str) -> None:
    """Serve the model by BentoML, as its command does."""
    folder = Path(__file__).parent
    # The service knows the bundle by its environment: BentoML imports it in a process of its own.
    environment = {**os.environ, "CHURN_BUNDLE": str(Path(bundle).resolve()), "BENTOML_DO_NOT_TRACK": "true"}
    words = ["-m", "bentoml", "serve", "peer_bentoml:Churn", "--working-dir", str(folder)]
    words += ["--host", "127.0.0.1", "--port", str(port)]
    os.execve(sys.executable, [sys.executable, *words], environment)


def mlserver(port: int, bundle: str) -> None:
    """Serve the model by MLServer."""
    import asyncio

    from mlserver import MLServer, ModelSettings, Settings  # pyright: ignore[reportMissingImports]

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        grpc = opened.getsockname()[1]
    settings = Settings(
        host="127.0.0.1", http_port=port, grpc_port=grpc, parallel_workers=0, metrics_endpoint=None, debug=False
    )
    model = ModelSettings(
        name="churn", implementation="scripts.peer_mlserver.Churn", parameters={"uri": bundle, "version": "1"}
    )
    asyncio.run(MLServer(settings).start([model]))


PEERS = {
    "empty": empty,
    "bare": bare,
    "fastapi_onnx": fastapi_onnx,
    "litserve": litserve,
    "bentoml": bentoml,
    "mlserver": mlserver,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
