"""A bundle behind Flask: ``flask --app deploy/frameworks/flask_app run``."""

from flask import Flask, request

import churnlib

predictor = churnlib.load("bundle")
app = Flask(__name__)


@app.post("/predict")
def predict() -> dict:
    """Answer one customer."""
    return predictor.predict([request.get_json()]).to_dicts()[0]
