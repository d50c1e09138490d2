"""The Open Inference Protocol's clients by others, as ``check_inference_clients.py`` runs them in their environments.

    PYTHON inference_clients.py kserve|mlserver URL KEY CUSTOMERS.json

``CUSTOMERS.json`` holds columns by name, all of equal length, and nulls. What the client made of the answers is
printed as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

NAME = "churn"
PROBABILITY = "churn_probability"


def kserve(url: str, key: str, columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Ask by KServe's asynchronous REST client: probes, tensors in JSON, tensors in bytes, and a wrong request."""
    import numpy as np
    from kserve import (  # pyright: ignore[reportMissingImports]
        InferenceRESTClient,
        InferInput,
        InferRequest,
        RESTConfig,
    )

    headers = {"Authorization": f"Bearer {key}"}

    def request(*, binary: bool, **changed: list[Any]) -> Any:
        tensors = []
        for name, cells in {**columns, **changed}.items():
            if is_numeric(cells):
                values = np.array([np.nan if cell is None else cell for cell in cells], dtype=np.float64)
            else:
                values = np.array(["" if cell is None else str(cell) for cell in cells], dtype=np.object_)
            tensor = InferInput(name, list(values.shape), "FP64" if is_numeric(cells) else "BYTES")
            if binary or not is_numeric(cells):
                tensor.set_data_from_numpy(values, binary_data=binary)
            else:  # in JSON there is no NaN
                tensor = InferInput(name, list(values.shape), "FP64", data=cells)
            tensors.append(tensor)
        return InferRequest(NAME, tensors, request_id="r-1")

    async def ask() -> dict[str, Any]:
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        found: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model ready": await client.is_model_ready(url, NAME),
        }
        for how, binary in (("JSON", False), ("bytes", True)):
            answer = await client.infer(url, request(binary=binary), model_name=NAME, headers=dict(headers))
            outputs = {one.name: one.as_numpy().ravel().tolist() for one in answer.outputs}
            # KServe's client (0.21) forgets the version of a model, which the answer has.
            found[how] = {"probability": outputs[PROBABILITY], "id": answer.id}
        first = next(name for name, cells in columns.items() if is_numeric(cells))
        wrong = request(binary=True, **{first: [float("inf")] * len(columns[first])})
        try:
            await client.infer(url, wrong, model_name=NAME, headers=dict(headers))
        except Exception as error:  # httpx.HTTPStatusError
            found["refusal"] = str(error)
        return found

    return asyncio.run(ask())


def mlserver(url: str, key: str, columns: dict[str, list[Any]]) -> dict[str, Any]:
    """Write and read by MLServer's own types and codecs: a pandas frame there, a pandas frame back."""
    import urllib.request

    import pandas as pd
    from mlserver.codecs import PandasCodec  # pyright: ignore[reportMissingImports]
    from mlserver.types import InferenceResponse, MetadataModelResponse  # pyright: ignore[reportMissingImports]

    def ask(path: str, body: str | None = None) -> str:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        data = None if body is None else body.encode()
        with urllib.request.urlopen(urllib.request.Request(f"{url}{path}", data, headers), timeout=10) as answer:
            return answer.read().decode()

    texts = {name: cells for name, cells in columns.items() if not is_numeric(cells)}
    frame = pd.DataFrame(
        {**columns, **{name: ["" if cell is None else str(cell) for cell in cells] for name, cells in texts.items()}}
    )
    request = PandasCodec.encode_request(frame, use_bytes=False)
    answer = InferenceResponse.model_validate_json(
        ask(f"/v2/models/{NAME}/infer", request.model_dump_json(exclude_none=True))
    )
    told = MetadataModelResponse.model_validate_json(ask(f"/v2/models/{NAME}"))
    probability = PandasCodec.decode_response(answer)[PROBABILITY].tolist()
    return {
        "JSON": {"probability": probability, "version": answer.model_version},
        "columns": [tensor.name for tensor in told.inputs or ()],
    }


def is_numeric(cells: list[Any]) -> bool:
    """Whether a column holds numbers, and gaps."""
    return all(isinstance(cell, int | float | None) and not isinstance(cell, bool) for cell in cells)


if __name__ == "__main__":
    _, client, address, given, path = sys.argv
    print(
        json.dumps({"kserve": kserve, "mlserver": mlserver}[client](address, given, json.loads(Path(path).read_text())))
    )
