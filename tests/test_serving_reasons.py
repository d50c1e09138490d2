"""Why the model answers a customer as it does, over HTTP; and what became of him, told later."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_rows import made
from made_served import ROW, MadeServed, made_served, served_bundle

import churnlib
from churnlib.bundle import write_bundle
from churnlib.calibration import Temperature
from churnlib.data.opt_out import WatchedOptOut
from churnlib.exporting.onnx import exported
from churnlib.predictor import Predictor
from churnlib.serving.answering.feedback import Feedback, feedback
from churnlib.serving.answering.reasons import Reasons, explain
from churnlib.serving.problems import FULL, RequestError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path) -> MadeServed:
    return made_served(folder)


def asked(served: MadeServed, row: Any, **query: str) -> tuple[int, dict[str, Any]]:
    answer = explain(served, json.dumps(row).encode(), query)
    return answer.status, json.loads(answer.encode())


def test_reasons_are_those_that_the_command_writes(served: MadeServed) -> None:
    status, body = asked(served, ROW)
    [expected] = churnlib.explain(served.predictor, [ROW], top=None, method="auto").to_dicts()
    assert status == 200
    results = ["customer_id", "churn_probability", "churn_prediction"]
    said = ["reasons", "base", "log_odds", "explanation_error", "stability", "sensitive_among_reasons", "method"]
    assert list(body) == [*results, *said, "model_version"]
    assert [reason["feature"] for reason in body["reasons"]] == [reason["feature"] for reason in expected["reasons"]]
    assert [reason["text"] for reason in body["reasons"]] == [reason["text"] for reason in expected["reasons"]]
    assert body["log_odds"] == pytest.approx(expected["log_odds"], abs=1e-5)


def test_as_many_as_are_asked_for(served: MadeServed) -> None:
    _, whole = asked(served, ROW)
    for wanted in ("1", "3"):
        status, body = asked(served, ROW, reasons=wanted)
        assert status == 200 and body["reasons"] == whole["reasons"][: int(wanted)]


@pytest.mark.parametrize("wanted", ["0", "-1", "x", "", "1.5", "101", "9" * 30, "\u0663"])
def test_a_number_that_is_none_is_refused(served: MadeServed, wanted: str) -> None:
    status, body = asked(served, ROW, reasons=wanted)
    assert (status, body["error"]["code"], body["error"]["field"]) == (422, "invalid_parameter", "reasons")


def test_unusual_customers_are_explained_with_warnings_and_wrong_ones_refused(served: MadeServed) -> None:
    status, body = asked(served, {**ROW, "plan": "Ten years", "more": 1})
    assert status == 200 and body["human_review"] is True
    assert [warning["field"] for warning in body["warnings"]] == ["more", "plan"]
    assert list(body)[-3:] == ["model_version", "human_review", "warnings"]
    assert [asked(served, row)[0] for row in ({**ROW, "tenure": "sekret"}, {}, [ROW])] == [422, 422, 422]
    assert explain(served, b"{", {}).status == 400


def test_who_has_objected_is_not_explained(folder: Path, tmp_path: Path) -> None:
    listed = tmp_path / "objections.csv"
    listed.write_text(f"customer\n{ROW['customer']}\n")
    served = made_served(folder, opt_out=WatchedOptOut(listed, id="customer"))
    assert asked(served, ROW)[1]["error"]["code"] == "opted_out"
    assert asked(served, {**ROW, "customer": "C-2"})[0] == 200
    answer = feedback(served, json.dumps({"customer_id": ROW["customer"], "label": 1}).encode(), {}, sink=print)
    assert answer.status == 403


def test_several_classes_explain_one_of_them(tmp_path: Path) -> None:
    served = made_served(tmp_path, classes=3)
    status, body = asked(served, ROW, target="up")
    assert status == 200 and body["explained_class"] == "up" and "probability_up" in body
    assert asked(served, ROW)[1]["explained_class"] == body["prediction"]
    status, body = asked(served, ROW, target="<script>")
    assert (status, body["error"]["field"]) == (422, "target") and "script" not in body["error"]["message"]


def test_two_classes_have_no_target(served: MadeServed) -> None:
    assert asked(served, ROW, target="yes")[0] == 422


def test_sensitive_columns_are_never_named(folder: Path) -> None:
    served = made_served(folder)
    schema = served.predictor.schema
    hidden = [dataclasses.replace(c, sensitive=c.name in ("plan", "tenure")) for c in schema.columns]
    bundle = dataclasses.replace(
        served.predictor.bundle, schema=dataclasses.replace(schema, columns=tuple(hidden)), calibration=Temperature(0.1)
    )
    served = MadeServed(Predictor(bundle))
    status, body = asked(served, ROW)
    assert status == 200 and body["sensitive_among_reasons"] is True
    assert "plan" not in json.dumps(body["reasons"]) and "tenure" not in json.dumps(body["reasons"])


def test_a_model_without_background_customers_is_a_501(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    served = made_served(folder)
    served = MadeServed(Predictor(dataclasses.replace(served.predictor.bundle, background=())))
    for _ in range(2):
        status, body = asked(served, ROW)
        assert (status, body["error"]["code"]) == (501, "not_explained")
        assert "no background customers" in body["error"]["message"]
    assert len(caplog.records) == 1


def test_a_model_of_when_customers_leave_explains_the_probability_that_it_answers() -> None:
    bundle, customers = made("hazard", lists=False)
    served = MadeServed(Predictor(bundle))
    row = {name: str(value) for name, value in customers.frame.row(3, named=True).items() if name != "left"}
    row |= {"tenure": 7}
    status, body = asked(served, row)
    assert status == 200, body
    assert body["log_odds"] == pytest.approx(math.log(body["churn_probability"] / (1 - body["churn_probability"])))
    assert body["base"] + sum(one["effect"] for one in body["reasons"]) == pytest.approx(body["log_odds"], abs=0.5)
    assert "tenure" in [one["feature"] for one in body["reasons"]]


def test_an_explanation_that_fails_is_a_500(served: MadeServed, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Reasons, row: Any, **options: Any) -> Any:
        raise RuntimeError(f"{row}")

    monkeypatch.setattr(Reasons, "explain", broken)
    status, body = asked(served, ROW)
    assert (status, body["error"]["code"]) == (500, "internal_error")


WITHOUT_TORCH = """
import json, sys
sys.path.insert(0, "tests")
sys.modules["torch"] = None
import churnlib
from churnlib.column_predictor import ColumnPredictor
from churnlib.serving.answering.reasons import Reasons, explain
from churnlib.serving.answering.review import Review
from churnlib.serving.answering.rows import RowReader

class Served:
    predictor = churnlib.load(sys.argv[1], backend="onnx")
    opt_out = recorder = None
Served.columns = ColumnPredictor(Served.predictor)
Served.reader, Served.review = RowReader(Served.predictor), Review(Served.predictor)
Served.reasons = Reasons(Served.predictor)
print(explain(Served, sys.argv[2].encode(), {"reasons": "3"}).encode().decode())
"""


def test_a_server_without_torch_explains_too(served: MadeServed, tmp_path: Path, checkout: Path) -> None:
    bundle = served_bundle()
    write_bundle(dataclasses.replace(bundle, onnx=exported(bundle)), tmp_path / "bundle")
    words = [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path / "bundle"), json.dumps(ROW)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=checkout, check=False)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["method"] == "shapley" and len(body["reasons"]) == 3
    assert abs(body["explanation_error"]) < 1e-4
    _, by_torch = asked(served, ROW, reasons="1")
    assert body["churn_probability"] == pytest.approx(by_torch["churn_probability"], abs=1e-5)
    assert body["reasons"][0]["feature"] == by_torch["reasons"][0]["feature"]


# --- labels -------------------------------------------------------------------------------------------------------


def told(served: MadeServed, values: Any) -> tuple[int, dict[str, Any], list[Feedback]]:
    kept: list[Feedback] = []
    answer = feedback(served, json.dumps(values).encode(), {}, sink=kept.append)
    return answer.status, json.loads(answer.encode()), kept


@pytest.mark.parametrize(("label", "meant"), [(1, 1), (0, 0), (True, 1), (0.0, 0), ("yes", 1), ("no", 0)])
def test_a_label_is_handed_on(served: MadeServed, label: Any, meant: int) -> None:
    status, body, kept = told(served, {"customer_id": "C-1", "label": label, "at": "2026-01-31T12:00:00+02:00"})
    assert status == 202
    assert kept == [Feedback("C-1", meant, "2026-01-31T10:00:00+00:00")]
    assert body == dataclasses.asdict(kept[0])


def test_a_label_without_a_moment_is_of_now(served: MadeServed) -> None:
    status, body, _ = told(served, {"customer_id": 7, "label": 1, "model_version": "abc"})
    assert status == 202 and body["at"].endswith("+00:00") and body["model_version"] == "abc"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"label": 1}, "customer_id"),
        ({"customer_id": "", "label": 1}, "customer_id"),
        ({"customer_id": {"a": 1}, "label": 1}, "customer_id"),
        ({"customer_id": "x" * 257, "label": 1}, "customer_id"),
        ({"customer_id": 1}, "label"),
        ({"customer_id": 1, "label": 2}, "label"),
        ({"customer_id": 1, "label": "sekret"}, "label"),
        ({"customer_id": 1, "label": [1]}, "label"),
        ({"customer_id": 1, "label": 1, "at": "sekret"}, "at"),
        ({"customer_id": 1, "label": 1, "at": 5}, "at"),
        ({"customer_id": 1, "label": 1, "at": "0001-01-01T00:00:00+14:00"}, "at"),
        ({"customer_id": 1, "label": 1, "model_version": 3}, "model_version"),
        ({"customer_id": 1, "label": 1, "tenure": 3}, "tenure"),
    ],
)
def test_wrong_labels_are_refused_by_the_field(served: MadeServed, values: dict[str, Any], field: str) -> None:
    status, body, kept = told(served, values)
    assert (status, body["error"]["field"], kept) == (422, field, [])
    assert "sekret" not in json.dumps(body)


def test_labels_of_several_classes_are_their_names(tmp_path: Path) -> None:
    served = made_served(tmp_path, classes=3)
    assert [told(served, {"customer_id": 1, "label": label})[0] for label in ("up", 1, "yes")] == [202, 422, 422]


def test_labels_that_nobody_keeps_are_a_501(served: MadeServed) -> None:
    answer = feedback(served, b'{"customer_id": 1, "label": 1}', {})
    assert answer.status == 501 and b"record=FOLDER" in answer.encode()


def test_a_keeper_that_fails_or_is_full_says_so(served: MadeServed) -> None:
    def broken(error: Exception) -> Any:
        def sink(given: Feedback) -> None:
            raise error

        return feedback(served, b'{"customer_id": 1, "label": 1}', {}, sink=sink).status

    assert [broken(OSError("disk full")), broken(RequestError(FULL))] == [500, 503]
