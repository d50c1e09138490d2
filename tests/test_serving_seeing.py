"""Seeing what the server does: metrics, log, traces, the record of predictions."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from churnlib.data.pseudonyms import Pseudonyms
from churnlib.errors import ConfigError, MissingPackageError
from churnlib.serving.seeing import spans as spans_module
from churnlib.serving.seeing.background import Background
from churnlib.serving.seeing.families import FAMILIES, KINDS, PROCESSES, REASONS, RESULTS, SECONDS
from churnlib.serving.seeing.logs import JsonHandler, Log
from churnlib.serving.seeing.metric_files import mark_dead
from churnlib.serving.seeing.metric_folder import FOLDER_VARIABLE, prepare_folder, remove_folder
from churnlib.serving.seeing.metrics import Metrics
from churnlib.serving.seeing.record_files import RecordFolder, open_record
from churnlib.serving.seeing.recording import DEFAULT_FIELDS, FIELDS, Record, Recorder
from churnlib.serving.seeing.spans import Spans, traces_url
from churnlib.serving.seeing.tracing import trace

PSEUDONYMS = Pseudonyms("2026-01", "acme", _key=b"k" * 32)
PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def values(body: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What an answer of /metrics says, by name and labels, as prometheus_client's own parser reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def total(found, name: str) -> float:
    return sum(value for (each, _), value in found.items() if each == name)


def run_python(code: str, *arguments: str, timeout: float = 60, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, timeout=timeout, check=True, **options,
    )  # fmt: skip


# Metrics


def test_a_servers_numbers_are_those_of_prometheus_clients_own_objects():
    registry = CollectorRegistry()
    requests = Counter("churnlib_requests", "r", ["route", "code"], registry=registry)
    seconds = Histogram("churnlib_request_seconds", "s", ["route"], buckets=SECONDS, registry=registry)
    metrics = Metrics(["/predict", "/health"], folder="")
    took = [*np.random.default_rng(0).lognormal(-6, 3, 200).tolist(), *SECONDS, 0.0, 11.0]
    for number, each in enumerate(took):
        route, code = ["/predict", "/health"][number % 2], [200, 422, 503][number % 3]
        metrics.request(route, code, each)
        requests.labels(route, code).inc()
        seconds.labels(route).observe(each)
    ours = values(metrics.render()[0])
    theirs = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert ours == pytest.approx(theirs)


def test_memory_and_folder_tell_the_same(tmp_path):
    bodies = []
    for folder in ("", tmp_path):
        metrics = Metrics(["/predict"], folder=folder)
        metrics.request("/predict", 200, 0.003, "v1", np.array([0, 1, 1]))
        metrics.batch(3, [0.0001, 0.0002], 0.0004)
        metrics.rejected("overloaded")
        metrics.warned("unseen", 2)
        metrics.reloaded("ok")
        metrics.restarted("worker")
        metrics.ready(True)
        metrics.model("churn", "v1", "onnx")
        metrics.model("churn", "v2", "onnx")
        metrics.watch("in_flight_rows", lambda: 5)
        body, content_type = metrics.render()
        assert content_type.startswith("text/plain")
        bodies.append(values(body))
        metrics.close()
    assert bodies[0] == bodies[1]
    assert bodies[0]["churnlib_predictions_total", (("decision", "1"), ("model_version", "v1"))] == 2
    assert bodies[0]["churnlib_model_info", (("backend", "onnx"), ("model", "churn"), ("model_version", "v1"))] == 0
    assert bodies[0]["churnlib_in_flight_rows", ()] == 5


@pytest.mark.parametrize("folder", [True, False])
def test_openmetrics_is_spoken_to_who_asks_for_it(folder, tmp_path):
    metrics = Metrics(["/predict"], folder=tmp_path if folder else "")
    metrics.request("/predict", 200, 0.003)
    metrics.model("churn", "v1", "onnx")
    body, content_type = metrics.render("application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    metrics.close()
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert "churnlib_requests" in {family.name for family in openmetrics_families(body.decode())}


def test_nothing_that_a_client_sends_becomes_a_label(tmp_path):
    metrics = Metrics(["/predict"], folder=tmp_path)
    for number in range(300):
        metrics.request(f"/secret-{number}", 404, 0.001, f"version-{number}", [1])
        metrics.rejected(f"secret-{number}")
        metrics.warned(f"secret-{number}")
    body = metrics.render()[0]
    metrics.close()
    found = values(body)
    assert b"secret" not in body
    assert found["churnlib_requests_total", (("code", "404"), ("route", "other"))] == 300
    assert found["churnlib_rejected_total", (("reason", "other"),)] == 300
    assert found["churnlib_predictions_total", (("decision", "other"), ("model_version", "other"))] == 300 - 64


def test_numbers_of_a_watched_family_need_no_labels():
    with pytest.raises(ValueError, match="has the labels reason"):
        Metrics(folder="").watch("rejected_total", lambda: 1)


FOUR_PROCESSES = """
import os, signal, sys, time
from churnlib.serving.seeing.metric_folder import prepare_folder
folder = prepare_folder()
from churnlib.serving.seeing.metric_files import mark_dead
from churnlib.serving.seeing.metrics import Metrics
import prometheus_client
own = prometheus_client.Counter("somebody_elses", "x")

def child(requests, end):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        metrics = Metrics(["/predict"])
        metrics.start()
        metrics.ready(True)
        metrics.watch("in_flight_rows", lambda: 2)
        for number in range(requests):
            metrics.request("/predict", 200, 0.001 * number)
            own.inc()
        if end == "close":
            metrics.close()
            os._exit(0)
        metrics.flush()
        os.write(writer, b"x")
        time.sleep(60)
    if end == "close":
        os.waitpid(pid, 0)
        mark_dead(pid)
    else:
        os.read(reader, 1)
    return pid

def show(text):
    print(f"== {text} {len(list(folder.glob('*.db')))}")
    print(Metrics(["/predict"]).render()[0].decode())

alive = [child(100 + number, "wait") for number in range(4)]
show("four")
os.kill(alive[0], signal.SIGKILL)
os.waitpid(alive[0], 0)
show("killed")
mark_dead(alive[0])
alive[0] = child(50, "wait")
show("restarted")

reader, writer = os.pipe()
watcher = os.fork()
if watcher == 0:  # reads all the time while numbers move from the dead to their grave
    metrics, before = Metrics(), (0.0, 0.0)
    while not os.path.exists(sys.argv[1]):
        found = {line.split(" ")[0]: float(line.split(" ")[1]) for line in metrics.render()[0].decode().splitlines()
                 if line.startswith("churnlib_request")}
        now = (found['churnlib_requests_total{code="200",route="/predict"}'],
               found['churnlib_request_seconds_count{route="/predict"}'])
        assert now[0] >= before[0] and now[1] >= before[1], (before, now)
        before = now
        os.write(writer, b"x")
    os._exit(0)
os.close(writer)
for number in range(60):
    child(10, "close")
    if number % 3 == 0:
        os.read(reader, 1)
open(sys.argv[1], "w").close()
print("watcher", os.waitstatus_to_exitcode(os.waitpid(watcher, 0)[1]))
show("many")
for pid in alive:
    os.kill(pid, signal.SIGKILL)
"""


def test_four_processes_and_their_restarts_add_up_to_all_requests(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != FOLDER_VARIABLE}
    done = run_python(FOUR_PROCESSES, str(tmp_path / "end"), env={**environment, "TMPDIR": str(tmp_path)})
    parts = re.split(r"== (\w+) (\d+)\n", done.stdout)[1:]
    answers = {
        word: values(body.split("watcher")[0].encode()) for word, _, body in zip(*[iter(parts)] * 3, strict=True)
    }
    files = {word: int(count) for word, count in zip(parts[::3], parts[1::3], strict=True)}
    requests = {"four": 406, "killed": 406, "restarted": 456, "many": 1056}
    for word, expected in requests.items():
        assert total(answers[word], "churnlib_requests_total") == expected, word
        assert total(answers[word], "churnlib_request_seconds_count") == expected
        assert total(answers[word], "somebody_elses_total") == expected
    assert total(answers["restarted"], "churnlib_request_seconds_sum") == pytest.approx(
        sum(0.001 * number for requests in (100, 101, 102, 103, 50) for number in range(requests))
    )
    assert total(answers["four"], "churnlib_ready") == total(answers["many"], "churnlib_ready") == 4
    assert total(answers["restarted"], "churnlib_in_flight_rows") == 8
    assert files["many"] <= files["restarted"] + 3  # what the watcher and this process have themselves
    assert "watcher 0" in done.stdout, done.stderr


def test_the_folder_is_private_empty_and_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = prepare_folder()
    assert os.environ[FOLDER_VARIABLE] == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    metrics = Metrics(["/predict"])
    metrics.request("/predict", 200, 0.1)
    metrics.close()
    assert prepare_folder() == folder  # as the next server does where somebody's environment names the folder
    assert not total(values(Metrics().render()[0]), "churnlib_requests_total")
    remove_folder(folder)
    assert not folder.exists()
    assert FOLDER_VARIABLE not in os.environ


def test_a_damaged_file_costs_its_own_numbers_only(tmp_path, caplog):
    metrics = Metrics(["/predict"], folder=tmp_path)
    metrics.request("/predict", 200, 0.1)
    metrics.close()
    (tmp_path / f"counter_{os.getpid()}-damaged.db").write_bytes(struct.pack("iiii", 150, 0, 9999, 0))
    mark_dead(os.getpid(), tmp_path)
    assert "unreadable" in caplog.text
    assert total(values(Metrics(folder=tmp_path).render()[0]), "churnlib_requests_total") == 1


def test_counting_from_several_threads_loses_nothing():
    metrics = Metrics(["/predict"], folder="")
    threads = [
        threading.Thread(target=lambda: [metrics.request("/predict", 200, 0.001) for _ in range(5000)])
        for _ in range(4)
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert total(values(metrics.render()[0]), "churnlib_request_seconds_count") == 20_000


def test_the_page_has_every_metric_with_its_labels_and_their_values(checkout):
    page = (checkout / "docs" / "serving_monitoring.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `churnlib_")}
    assert set(rows) == {family.name for family in FAMILIES.values()}
    for family in FAMILIES.values():
        _, _, kind, labels, *_ = rows[family.name].split("|")
        assert kind.strip() == family.kind
        assert tuple(re.findall(r"`(\w+)`", labels)) == family.labels
    assert not {word for word in (*REASONS, *KINDS, *PROCESSES, *RESULTS) if f"`{word}`" not in page}


def test_every_code_of_an_error_is_a_reason(checkout):
    sources = [path.read_text(encoding="utf-8") for path in (checkout / "churnlib" / "serving").rglob("*.py")]
    codes = {code for text in sources for code in re.findall(r'(?:refuse|Problem)\(\s*\d{3},\s*"(\w+)"', text)}
    assert len(codes) > 20 and codes <= set(REASONS)


def promtool(*words: str, **options) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("the program promtool is not installed (Debian: apt-get install prometheus)")
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_finds_nothing_to_say_about_the_names_and_texts():
    metrics = Metrics(["/predict"], folder="")
    metrics.request("/predict", 200, 0.003)
    metrics.batch(3, [0.0001], 0.0004)
    for name, family in FAMILIES.items():
        if not family.labels and family.kind != "histogram":
            metrics.watch(name, lambda: 1)
        elif family.kind != "histogram":
            metrics._add(name, family.labels, 1)
    promtool("check", "metrics", input=metrics.render()[0].decode())


def fires(alert: dict, series: dict[str, str], moment: str, labels: dict[str, str]) -> dict:
    """A test of promtool: the alert is quiet at first and fires at a moment."""
    expected = {"exp_labels": {**alert["labels"], **labels}, "exp_annotations": alert["annotations"]}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": each} for name, each in series.items()],
        "alert_rule_test": [
            {"eval_time": "1m", "alertname": alert["alert"], "exp_alerts": []},
            {"eval_time": moment, "alertname": alert["alert"], "exp_alerts": [expected]},
        ],
    }


def test_the_pages_alerts_fire_when_they_should(checkout, tmp_path):
    page = (checkout / "docs" / "serving_monitoring.md").read_text(encoding="utf-8")
    (rules,) = re.findall(r"```yaml\n(groups:.*?)```", page, re.DOTALL)
    (tmp_path / "alerts.yaml").write_text(rules)
    alerts = yaml.safe_load(rules)["groups"][0]["rules"]
    assert [alert["alert"] for alert in alerts] == ["ChurnlibNotReady", "ChurnlibFailing", "ChurnlibSlow"]
    answers, bucket = (
        'churnlib_requests_total{job="c",code="%d"}',
        'churnlib_request_seconds_bucket{job="c",route="predict",le="%s"}',
    )
    tests = [
        fires(alerts[0], {'churnlib_ready{job="c",instance="i"}': "2x3 0x9"}, "9m", {"job": "c", "instance": "i"}),
        fires(alerts[1], {answers % 200: "0+98x20", answers % 503: "0x2 0+2x20"}, "15m", {"job": "c"}),
        fires(alerts[2], {bucket % "0.25": "0+98x30", bucket % "0.5": "0+100x30", bucket % "+Inf": "0+100x30"},
              "20m", {"job": "c"}),
    ]  # fmt: skip
    words = {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(words))
    promtool("check", "rules", "alerts.yaml", cwd=tmp_path)
    promtool("test", "rules", "tests.yaml", cwd=tmp_path)


# Log


def lines_of(*paths: Path) -> list[dict]:
    return [json.loads(line) for path in paths for line in path.read_text(encoding="ascii").splitlines()]


def test_a_request_is_one_line_of_json(tmp_path):
    log = Log(tmp_path / "logs" / "access.log")
    log.start()
    log.request("r-1", "POST", "/predict", 200, 0.00125, rows=3, trace_id="ab", key="billing", model_version="v1")
    log.request("r-2", "EVIL\n{", "other", 500, 1.0)
    log.event("reload", level="warning", model_version="v2")
    assert log.close()
    first, second, third = lines_of(tmp_path / "logs" / "access.log")
    moment = first.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert first == {
        "level": "info", "event": "request", "process": os.getpid(), "request_id": "r-1", "trace_id": "ab",
        "key": "billing", "method": "POST", "route": "/predict", "status": 200, "ms": 1.25, "rows": 3,
        "model_version": "v1",
    }  # fmt: skip
    assert second["level"] == "error"
    assert second["method"] == "other"
    assert second["trace_id"] is second["key"] is second["model_version"] is None
    assert third | {"time": 0} == {
        "time": 0, "level": "warning", "event": "reload", "process": os.getpid(), "model_version": "v2"
    }  # fmt: skip
    assert stat.S_IMODE((tmp_path / "logs" / "access.log").stat().st_mode) == 0o600


def test_no_text_begins_a_line_of_its_own_or_steers_a_terminal(tmp_path):
    log = Log(tmp_path / "log")
    nasty = '\n\r\x1b[31m\x7f\x9b\u2028\u202e\ud800\x00"\\é'
    log.event(nasty, field=nasty, thing=object())
    log.request(nasty, nasty, nasty, 200, 0.1, key=nasty, trace_id=nasty, model_version=nasty)
    log.close()
    written = (tmp_path / "log").read_bytes()
    assert written.count(b"\n") == 2
    assert all(32 <= byte < 127 or byte == 10 for byte in written)
    event, request = lines_of(tmp_path / "log")
    assert event["field"] == request["request_id"] == nasty
    assert event["thing"] == "<object>"


def test_a_full_queue_loses_its_oldest_and_says_how_many(tmp_path):
    log = Log(tmp_path / "log", capacity=10)
    for number in range(25):
        log.request(str(number), "GET", "/health", 200, 0.0)
    log.close()
    *kept, told = lines_of(tmp_path / "log")
    assert [line["request_id"] for line in kept] == [str(number) for number in range(15, 25)]
    assert (told["event"], told["dropped"], log.dropped) == ("log_dropped", 15, 15)


SHARED_PIPE = """
import os, sys
from churnlib.serving.seeing.logs import Log
pids = []
for process in range(4):
    pid = os.fork()
    if pid == 0:
        log = Log(sys.argv[1] or None, rotate_bytes=int(sys.argv[2]), keep=1000)
        log.start()
        for number in range(1500):
            log.request(f"{process}-{number}", "POST", "/predict", 200, 0.001, model_version="v" * (number % 300))
        os._exit(0 if log.close(30) and not log.dropped else 1)
    pids.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in pids))
"""


def test_processes_that_share_standard_error_write_whole_lines_and_lose_none():
    done = run_python(SHARED_PIPE, "", "0")
    found = [json.loads(line)["request_id"] for line in done.stderr.splitlines()]
    assert sorted(found) == sorted(f"{process}-{number}" for process in range(4) for number in range(1500))


def test_processes_that_share_a_file_put_it_aside_and_lose_nothing(tmp_path):
    run_python(SHARED_PIPE, str(tmp_path / "log"), "60000")
    paths = list(tmp_path.iterdir())
    found = [line["request_id"] for line in lines_of(*paths)]
    assert sorted(found) == sorted(f"{process}-{number}" for process in range(4) for number in range(1500))
    assert len(paths) > 5
    assert {path.name for path in paths} == {"log", *(f"log.{number}" for number in range(1, len(paths)))}


@pytest.mark.parametrize("keep", [0, 2])
def test_only_so_many_files_are_kept(keep, tmp_path):
    log = Log(tmp_path / "log", rotate_bytes=100, keep=keep)
    for number in range(5):
        log.event("one", number=number)
        log.flush()
    log.close()
    assert {path.name for path in tmp_path.iterdir()} == {"log", *(f"log.{number + 1}" for number in range(keep))}
    assert lines_of(tmp_path / "log")[0]["number"] == 4


def test_a_file_that_somebody_moved_is_opened_anew(tmp_path):
    log = Log(tmp_path / "log")
    log.event("before")
    log.flush()
    (tmp_path / "log").rename(tmp_path / "moved")
    log.event("after")
    log.close()
    assert [line["event"] for line in lines_of(tmp_path / "moved", tmp_path / "log")] == ["before", "after"]


STOPPED_READER = """
import fcntl, os, sys, time
from churnlib.serving.seeing.logs import Log
reader, writer = os.pipe()
os.dup2(writer, 2)
log = Log(capacity=1000)
log.start()
for number in range(5000):
    log.request(str(number), "POST", "/predict", 200, 0.001)
    if number % 1000 == 0:
        time.sleep(0.15)
start = time.monotonic()
ended = log.close(0.3)
print(ended, time.monotonic() - start < 5, len(log._waiting))
sys.stdout.flush()
os._exit(0)
"""


def test_a_reader_that_has_stopped_stops_nobody():
    assert run_python(STOPPED_READER).stdout.split() == ["False", "True", "1000"]


def test_lines_that_nobody_can_take_are_counted(tmp_path):
    (tmp_path / "file").write_text("")
    log = Log(tmp_path / "file" / "log")  # a file is no folder
    log.event("lost")
    log.close()
    assert log.dropped == 1


def test_what_libraries_log_comes_out_alike_without_the_text_of_errors(tmp_path):
    log = Log(tmp_path / "log")
    logger = logging.getLogger("churnlib.test_seeing")
    logger.propagate = False
    logger.addHandler(JsonHandler(log))
    try:
        logger.info("too quiet")
        logger.warning("three %s", "words\n")
        logger.warning("wrong %d", "arguments")
        try:
            int("4111 1111")
        except ValueError:
            logger.exception("a request failed")
    finally:
        logger.handlers.clear()
        logger.propagate = True
    log.close()
    words, wrong, failure = lines_of(tmp_path / "log")
    assert (words["level"], words["logger"], words["message"]) == ("warning", "churnlib.test_seeing", "three words\n")
    assert wrong["message"] == "wrong %d"
    assert failure["error"] == "ValueError"
    assert "test_serving_seeing.py" in failure["at"][0]
    assert "4111" not in (tmp_path / "log").read_text()


# Traces


TRACEPARENTS = [
    PARENT,
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03",
    b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings",
    b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
    b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
    b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
    b"00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
    b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
    b"00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
    b"4bf92f3577b34da6a3ce929d0e0e4736",
    b"\xff\xfe",
    b"",
]


@pytest.mark.parametrize("header", TRACEPARENTS)
def test_opentelemetry_reads_the_same_parent(header):
    from opentelemetry.trace import get_current_span
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": header.decode("latin-1")}
    theirs = get_current_span(TraceContextTextMapPropagator().extract(carrier)).get_span_context()
    ours = trace(header)
    if theirs.is_valid:
        assert (int(ours.trace_id, 16), int(ours.parent_id, 16)) == (theirs.trace_id, theirs.span_id)
        assert ours.sampled == theirs.trace_flags.sampled
    else:
        assert ours.parent_id == ""


def test_a_trace_that_begins_here_has_valid_ids_of_its_own():
    made = [trace(None, sampled=sampled) for sampled in (False, True)]
    assert all(
        re.fullmatch(r"[0-9a-f]{32}", each.trace_id) and re.fullmatch(r"[0-9a-f]{16}", each.span_id) for each in made
    )
    assert made[0].trace_id != made[1].trace_id
    assert [each.header[-2:] for each in made] == [b"00", b"01"]
    followed = trace(made[1].header)
    assert (followed.trace_id, followed.parent_id) == (made[1].trace_id, made[1].span_id)
    assert followed.span_id != made[1].span_id


@pytest.fixture
def collector():
    """A small OTLP collector; yields its address and the requests it has got."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            received.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_collector_gets_a_span_per_recorded_request(collector, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    address, received = collector
    spans = Spans(address)
    spans.start()
    spans.request(trace(PARENT), "POST", "/predict", 200, 0.25, rows=3, model_version="v1")
    begun = trace(None, sampled=True)
    spans.request(begun, "BREW", "other", 500, 0.001)
    spans.request(trace(None), "GET", "/health", 200, 0.001)
    spans.close()
    assert spans.dropped == 0
    (resource,) = [each for message in received for each in message.resource_spans]
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert named["service.name"] == "churnlib"
    assert named["deployment.environment.name"] == "test"
    first, second = resource.scope_spans[0].spans
    assert (first.name, first.kind) == ("POST /predict", first.SPAN_KIND_SERVER)
    assert first.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert first.parent_span_id.hex() == "00f067aa0ba902b7"
    assert (first.end_time_unix_nano - first.start_time_unix_nano) == 250_000_000
    assert abs(first.end_time_unix_nano - time.time_ns()) < 60e9
    attributes = {each.key: each.value.string_value or each.value.int_value for each in first.attributes}
    assert attributes == {
        "http.request.method": "POST", "http.route": "/predict", "http.response.status_code": 200,
        "churnlib.rows": 3, "churnlib.model_version": "v1",
    }  # fmt: skip
    assert (second.name, second.parent_span_id) == ("HTTP other", b"")
    assert (second.trace_id.hex(), second.span_id.hex()) == (begun.trace_id, begun.span_id)
    assert second.status.code == second.status.STATUS_CODE_ERROR


def test_a_collector_that_is_not_there_costs_spans_and_no_time(caplog):
    spans = Spans("http://127.0.0.1:9", capacity=10)
    spans.start()
    for _ in range(15):
        spans.request(trace(PARENT), "POST", "/predict", 200, 0.25)
    start = time.monotonic()
    spans.close(0.3)
    assert time.monotonic() - start < 5
    assert spans.dropped >= 5


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "http://", "grpc://collector:4317"])
def test_what_is_no_address_of_a_collector_is_refused(url):
    with pytest.raises(ConfigError, match="tracing must be the address"):
        traces_url(url)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(spans_module, "_is_installed", lambda package: False)
    with pytest.raises(MissingPackageError, match=r"churnlib\[otel\]"):
        Spans("http://collector:4318")
    monkeypatch.undo()
    assert not spans_module._is_installed("no_such_package.at_all")


def test_an_address_with_a_path_is_taken_as_it_is():
    assert traces_url("https://host/otlp/v1/traces") == "https://host/otlp/v1/traces"
    assert traces_url("http://host:4318/") == "http://host:4318/v1/traces"


# Record of predictions


def fill(recorder: Recorder, rows: int = 4, *, version: str = "v1", first: int = 0, **more) -> None:
    numbers = range(first, first + rows)
    recorder.record(
        version, [f"r-{number}" for number in numbers], [f"Customer {number}" for number in numbers],
        np.linspace(0.1, 0.9, rows), [number % 2 for number in numbers], **more,
    )  # fmt: skip


def parts(folder: Path, form: str = "parquet") -> pl.DataFrame:
    read = pl.read_parquet if form == "parquet" else pl.read_ndjson
    return pl.concat([read(path) for path in sorted(folder.glob(f"part-*.{form}"))])


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_folder_holds_what_was_predicted_under_the_pseudonyms_of_the_tables(form, tmp_path):
    recorder = open_record(tmp_path / "record", form=form, pseudonyms=PSEUDONYMS)
    recorder.start()
    fill(recorder)
    probabilities, decisions = np.array([0.5, 0.25, 0.125]), np.array([1, 0, 0])
    recorder.record("v1", ["a", "b", "c"], [7, "7.0", None], probabilities, decisions)
    probabilities[:], decisions[:] = -1, -1  # an engine uses its arrays again
    assert recorder.close()
    table = parts(tmp_path / "record", form)
    assert table.columns == list(DEFAULT_FIELDS)
    names = pl.Series(["Customer 0", "Customer 1", "Customer 2", "Customer 3", "7", "7", None])
    assert table["customer_id"].to_list() == PSEUDONYMS.column(names).to_list()
    assert table["churn_probability"].to_list() == [*np.linspace(0.1, 0.9, 4).tolist(), 0.5, 0.25, 0.125]
    assert table["churn_prediction"].to_list() == [0, 1, 0, 1, 1, 0, 0]
    assert table["request_id"].to_list()[:4] == ["r-0", "r-1", "r-2", "r-3"]
    assert (recorder.recorded, recorder.dropped, recorder.failures) == (7, 0, 0)
    assert json.loads((tmp_path / "record" / ".pseudonyms.json").read_text()) == PSEUDONYMS.note()
    assert not any(b"Customer" in path.read_bytes() for path in (tmp_path / "record").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "record").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "record").stat().st_mode) == 0o700


def test_without_a_key_no_name_is_kept(tmp_path, caplog, monkeypatch):
    recorder = open_record(tmp_path)
    assert "without names" in caplog.text
    fill(recorder)
    recorder.close()
    assert parts(tmp_path)["customer_id"].null_count() == 4
    monkeypatch.setenv("CHURNLIB_RECORD_KEY", "k" * 32)
    monkeypatch.setenv("CHURNLIB_RECORD_KEY_TENANT", "acme")
    keyed = open_record(tmp_path / "keyed")
    fill(keyed)
    keyed.close()
    assert parts(tmp_path / "keyed")["customer_id"][0] == PSEUDONYMS.of("Customer 0")


def test_cells_and_numbers_are_kept_only_where_asked_for_and_only_the_columns_allowed(tmp_path):
    rows = [{"plan": "basic", "note": "secret", "tenure": number} for number in range(4)]
    matrix = np.arange(8, dtype=np.float32).reshape(4, 2)
    for name, options in (("none", {}), ("all", {"fields": FIELDS, "columns": ["plan", "tenure"], "ids": "clear"})):
        recorder = open_record(tmp_path / name, **options)
        fill(recorder, features=rows, encoded=matrix)
        matrix[:] = -1  # an engine uses its arrays again
        recorder.close()
        matrix[:] = np.arange(8).reshape(4, 2)
    assert "features" not in parts(tmp_path / "none").columns
    table = parts(tmp_path / "all")
    assert json.loads(table["features"][3]) == {"plan": "basic", "tenure": 3}
    assert table["encoded"].to_list() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert table["customer_id"][0] == "Customer 0"


def test_several_classes_and_versions_share_a_folder(tmp_path):
    recorder = open_record(tmp_path, fields=["model_version", "churn_probability", "churn_prediction"])
    recorder.record("three", ["r"], ["c"], np.array([[0.2, 0.3, 0.5]]), ["left"])
    fill(recorder)
    recorder.close()
    tables = {table["model_version"][0]: table for table in map(pl.read_parquet, tmp_path.glob("part-*"))}
    assert tables["three"]["churn_probability"].to_list() == [[0.2, 0.3, 0.5]]
    assert tables["three"]["churn_prediction"].to_list() == ["left"]
    assert len(tables["v1"]) == 4


def test_a_full_queue_loses_its_oldest_batches_and_a_half_full_one_is_emptied_early():
    taken: list[Record] = []
    full = Recorder(taken.extend, capacity=10, pseudonyms=PSEUDONYMS)
    for first in range(0, 20, 4):
        fill(full, first=first)
    full.close()
    assert [record.request_ids[0] for record in taken] == ["r-12", "r-16"]
    assert (full.recorded, full.dropped) == (8, 12)
    early = threading.Event()
    running = Recorder(lambda records: early.set(), capacity=10, every=60, pseudonyms=PSEUDONYMS)
    running.start()
    fill(running)
    fill(running)
    assert early.wait(5)
    running.close()


def test_a_sink_that_fails_is_counted_and_told_once_and_never_felt(caplog):
    called = threading.Semaphore(0)

    def sink(records: list[Record]) -> None:
        called.release()
        raise RuntimeError("Customer 1 does not fit")

    recorder = Recorder(sink, pseudonyms=PSEUDONYMS, every=0.01)
    recorder.start()
    for _ in range(3):
        fill(recorder)
        assert called.acquire(timeout=5)
    assert recorder.close()
    assert (recorder.failures, recorder.recorded, recorder.dropped) == (3, 0, 12)
    assert caplog.text.count("RuntimeError") == 1
    assert "Customer" not in caplog.text


def test_a_share_of_the_customers_is_recorded():
    taken: list[Record] = []
    recorder = Recorder(taken.extend, rate=0.1, pseudonyms=PSEUDONYMS)
    for _ in range(100):
        fill(recorder, 100)
        recorder.flush()
    recorder.close()
    assert 800 < recorder.recorded < 1200  # 10,000 customers: 30 standard deviations of 30 would be 900
    assert all(len(record.probabilities) == len(record.request_ids) == len(record) for record in taken)
    assert recorder.dropped == 0


def test_the_oldest_parts_make_room_and_what_a_killed_process_left_is_removed(tmp_path):
    stale = tmp_path / ".part-x.parquet.1.tmp"
    stale.write_bytes(b"half")
    os.utime(stale, (0, 0))
    sink = RecordFolder(tmp_path, keep_bytes=7000)
    for first in range(10):
        sink([Record(0.0, "v1", [f"r-{first}"], [None], np.array([0.5]), [1])])
    left = parts(tmp_path)["request_id"].to_list()
    assert left[-1] == "r-9"
    assert 1 <= len(left) < 10
    assert left == [f"r-{number}" for number in range(10 - len(left), 10)]
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "share of customers"),
        ({"fields": ["name"]}, "fields must be one of"),
        ({"columns": ["plan"]}, "do not hold features"),
        ({"ids": "open"}, "ids must be one of"),
        ({"form": "csv"}, "form must be one of"),
    ],
)
def test_wrong_options_of_a_record_are_refused(options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        open_record(tmp_path, **options)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        open_record(tmp_path / "file" / "record")


# All of it


def test_a_job_that_fails_is_called_again_and_told_by_its_kind(caplog):
    calls = itertools.count(1)
    third = threading.Event()

    def job() -> None:
        if next(calls) == 3:
            third.set()
        raise ValueError("secret")

    background = Background("test", 0.01, job)
    background.start()
    background.start()  # is no second thread
    assert third.wait(5)
    assert background.stop()
    assert caplog.text.count("test failed with ValueError") == 1
    assert "secret" not in caplog.text


ENDED_BY_ITSELF = """
import sys
from churnlib.serving.seeing.logs import Log
from churnlib.serving.seeing.metrics import Metrics
log, metrics = Log(), Metrics(["/predict"])
log.start()
metrics.start()
log.request("last", "POST", "/predict", 200, 0.001)
metrics.request("/predict", 200, 0.001)
heavy = {"prometheus_client", "opentelemetry", "polars", "numpy", "torch", "litserve", "fastapi", "pydantic"}
import churnlib.serving.seeing.spans, churnlib.serving.seeing.tracing, churnlib.serving.seeing.metric_folder
print(sorted(heavy & set(sys.modules)))
"""


def test_a_process_that_ends_writes_its_last_lines_and_numbers_and_loads_nothing_heavy_for_them(tmp_path):
    done = run_python(ENDED_BY_ITSELF, env={**os.environ, FOLDER_VARIABLE: str(tmp_path)})
    assert json.loads(done.stderr)["request_id"] == "last"
    assert total(values(Metrics(folder=tmp_path).render()[0]), "churnlib_requests_total") == 1
    assert done.stdout.strip() == "[]"
