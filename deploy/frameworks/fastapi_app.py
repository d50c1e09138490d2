"""A bundle behind FastAPI: ``uvicorn --app-dir deploy/frameworks fastapi_app:app``."""

from fastapi import FastAPI

import churnlib

predictor = churnlib.load("bundle")
app = FastAPI()


@app.post("/predict")
def predict(customer: dict) -> dict:
    """Answer one customer."""
    return predictor.predict([customer]).to_dicts()[0]
