"""From a commit to production: workflows, the gate for models, the smoke test, the roll-out, the load."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from deployment import DEPLOY, ROOT, documents, program, ran
from made import made_bundle
from servers import free_port

from churnlib.bundle import write_bundle
from churnlib.exporting.onnx import exported

CI = DEPLOY / "ci"
LOAD = DEPLOY / "load"


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
    return module.main()


# --- workflows ------------------------------------------------------------------------------------------------------


def test_the_workflows_are_valid():
    check = program("check-jsonschema")
    ran(check, "--builtin-schema", "vendor.github-workflows", CI / "github.yml")
    ran(check, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", CI / "gitlab.yml")


def test_what_they_run_is_there():
    for name in ("github.yml", "gitlab.yml"):
        text = (CI / name).read_text()
        assert {"smoke.py", "roll_out.sh"} <= set(re.findall(r"deploy/ci/(\S+)", text))
        for path in re.findall(r"\b(?:deploy/[\w./]+\w|constraints\.txt)", text):
            assert (ROOT / path).exists(), path
        for wanted in ("ruff check", "pytest", "docker", "trivy", "cosign sign", "spdx", "pip-audit"):
            assert wanted in text, f"{wanted} in {name}"


def test_actions_and_images_have_versions():
    workflow = yaml.safe_load((CI / "github.yml").read_text())
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used and all(re.search(r"@(v?\d|[0-9a-f]{40}$)", one) for one in used)
    assert workflow["permissions"] == {"contents": "read"}, "jobs ask for more one by one"
    assert all("timeout-minutes" in job and not job["runs-on"].endswith("latest") for job in workflow["jobs"].values())
    images = re.findall(r"(?:image:|name:) (\w+/?[\w-]*:\S+)", (CI / "gitlab.yml").read_text())
    assert images and all(re.search(r":v?\d", image) for image in images)


def test_the_jobs_come_after_one_another():
    github = yaml.safe_load((CI / "github.yml").read_text())["jobs"]
    assert [github[name].get("needs") for name in ("test", "image", "deploy")] == [None, "test", "image"]
    gitlab = yaml.safe_load((CI / "gitlab.yml").read_text())
    stages = [gitlab[name]["stage"] for name in ("test", "build", "smoke", "scan", "release", "deploy")]
    assert sorted(stages, key=gitlab["stages"].index) == stages


# --- the gate -------------------------------------------------------------------------------------------------------


def write_run(folder: Path, strength: float, *, n: int = 2000, first: int = 0) -> Path:
    """A run whose model follows the truth so strongly: 1 knows it, 0 knows nothing."""
    rng = np.random.default_rng(1)
    truth = rng.uniform(0.05, 0.95, n)
    label = (rng.random(n) < truth).astype(np.int64)
    told = 0.5 + strength * (truth - 0.5) + rng.normal(0, 0.01, n)
    folder.mkdir()
    customers = [f"C{place}" for place in range(first, first + n)]
    pl.DataFrame({"customer_id": customers, "label": label, "churn_probability": told.clip(0.01, 0.99)}).write_parquet(
        folder / "predictions.parquet"
    )
    return folder


def test_the_gate_lets_through_what_is_better_for_certain(tmp_path, monkeypatch, capsys):
    gate = script(CI / "gate.py")
    good, weak = write_run(tmp_path / "good", 1.0), write_run(tmp_path / "weak", 0.5)
    alike, other = write_run(tmp_path / "alike", 0.99), write_run(tmp_path / "other", 1.0, first=7)
    assert run(gate, monkeypatch, weak, good) == 0
    assert "passes" in capsys.readouterr().out
    assert run(gate, monkeypatch, good, weak) == 1
    assert "does not pass" in capsys.readouterr().out
    assert run(gate, monkeypatch, good, alike) == 1, "as good is not better"
    assert run(gate, monkeypatch, good, alike, "--margin", "0.01") == 0
    assert run(gate, monkeypatch, good, other) == 2 and "different customers" in capsys.readouterr().err
    assert run(gate, monkeypatch, good, tmp_path / "none") == 2 and "predictions.parquet" in capsys.readouterr().err


# --- the smoke test -------------------------------------------------------------------------------------------------


@contextmanager
def answering(answers: dict[str, tuple[int, Any]]) -> Iterator[str]:
    """A server that gives each path its one answer; broken JSON is refused when ``broken`` says how."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(*answers[self.path])

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            whole = body.endswith(b"}")
            allowed = self.headers.get("Authorization") == "Bearer KEY"
            self.reply(*(answers["/predict"] if whole and allowed else answers["broken"] if allowed else (401, {})))

        def reply(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


WELL = {
    "/health": (200, {"model_version": "v"}),
    "/predict": (200, {"churn_probability": 0.25, "model_version": "v"}),
    "broken": (400, {"error": {"code": "malformed_json"}}),
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"/health": (503, {})}, "/health still says 503"),
        ({"/predict": (200, {"churn_probability": 0.26})}, "has 0.25, the server says 0.26"),
        ({"/predict": (500, {})}, "/predict says 500"),
        ({"/predict": (422, {})}, "no golden customer was answered"),
        ({"broken": (500, {})}, "says 500 to broken JSON"),
        ({"broken": (400, {})}, "has no code"),
    ],
)
def test_the_smoke_test_notices_what_is_wrong(tmp_path, monkeypatch, capsys, change, reason):
    (tmp_path / "golden.json").write_text(json.dumps([{"row": {"age": 1, "plan": None}, "probability": 0.25}]))
    monkeypatch.setenv("CHURNLIB_KEY", "KEY")
    with answering({**WELL, **change}) as url:
        status = run(script(CI / "smoke.py"), monkeypatch, url, tmp_path, "--patience", "0.2")
    assert status == (1 if reason else 0) and reason in capsys.readouterr().err


# --- the roll-out ---------------------------------------------------------------------------------------------------

KUBECTL = """#!/usr/bin/env bash
# Renders as the real one does, writes the rest down, and lets a roll-out fail as often as the test says.
[[ $1 == kustomize ]] && exec {kubectl} "$@"
echo "$*" >> {log}
[[ $1 == apply ]] && cp "$3" {log}.yaml
if [[ $* == *"rollout status"* && -s {failures} ]]; then
    sed -i 1d {failures}
    exit 1
fi
"""


def roll_out(folder: Path, *words: str, failures: int = 0) -> tuple[int, list[str], str]:
    stub, log = folder / "bin" / "kubectl", folder / "log"
    stub.parent.mkdir()
    (folder / "failures").write_text("x\n" * failures)
    stub.write_text(KUBECTL.format(kubectl=program("kubectl"), log=log, failures=folder / "failures"))
    stub.chmod(0o755)
    env = {**os.environ, "PATH": f"{stub.parent}:{os.environ['PATH']}"}
    command = ["bash", str(CI / "roll_out.sh"), *words]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return done.returncode, log.read_text().splitlines() if log.exists() else [], done.stderr


def test_a_roll_out_names_the_image_by_its_digest(tmp_path):
    image = "ghcr.io/acme/churn-model@sha256:" + "0" * 64
    status, commands, _ = roll_out(tmp_path, image)
    assert status == 0 and [command.split()[0] for command in commands] == ["apply", "--namespace"]
    (deployment,) = [one for one in documents((tmp_path / "log.yaml").read_text()) if one["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image


def test_a_roll_out_that_does_not_come_up_is_taken_back(tmp_path):
    status, commands, error = roll_out(tmp_path, "ghcr.io/acme/churn-model@sha256:1", failures=1)
    assert status == 1 and "going back" in error
    done = [" ".join(command.split()[2:4]) for command in commands[1:]]
    assert done == ["rollout status", "get pods", "logs deployment/churnlib", "rollout undo", "rollout status"]


def test_a_roll_out_needs_an_image(tmp_path):
    status, commands, error = roll_out(tmp_path)
    assert status != 0 and not commands and "usage" in error


# --- load -----------------------------------------------------------------------------------------------------------


def test_k6s_script_is_javascript(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    ran(node, "--check", shutil.copy(LOAD / "k6.js", tmp_path / "k6.mjs"))


def test_both_loads_have_the_same_limits():
    k6, locust = (LOAD / "k6.js").read_text(), (LOAD / "locustfile.py").read_text()
    for name, value in (("MAX_P99_MS", "250"), ("MAX_FAILURES", "0.001")):
        assert re.search(rf"{name} \|\| {value}\b", k6) and re.search(rf'"{name}", "{value}"', locust)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """A running server and its bundle."""
    folder = tmp_path_factory.mktemp("served")
    made = made_bundle()
    write_bundle(replace(made, onnx=exported(made)), folder / "bundle")
    port = free_port()
    words = [sys.executable, "scripts/serve.py", f"bundle={folder / 'bundle'}", f"port={port}"]
    process = subprocess.Popen(words, cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        script(CI / "smoke.py").wait_until_ready(url, 120)
        yield url, folder / "bundle"
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.mark.slow
def test_locust_puts_load_on_a_server_and_judges_it(served, tmp_path):
    """In an environment of its own: locust brings gevent, which changes Python's sockets where it is imported."""
    url, bundle = served
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python]
    ran(*pip, "install", "-q", "-r", LOAD / "requirements.txt")
    shape = ["--users", "4", "--spawn-rate", "4", "--run-time", "2s"]
    words = [python, "-m", "locust", "-f", LOAD / "locustfile.py", "--headless", "--host", url, *shape]

    def load(customers: Path, p99: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "CUSTOMERS": str(customers), "RATE": "20", "MAX_P99_MS": p99}
        return subprocess.run(list(map(str, words)), env=env, capture_output=True, text=True, check=False)

    (tmp_path / "wrong.json").write_text('[{"tenure": "long"}]')
    golden, wrong = bundle / "golden.json", tmp_path / "wrong.json"
    with ThreadPoolExecutor() as pool:
        well, late, failing = pool.map(load, (golden, golden, wrong), ("60000", "0.001", "60000"))
    assert well.returncode == 0 and re.search(r"ok  \d\d+ requests", well.stdout), well.stdout + well.stderr
    assert late.returncode == 1 and "one in a hundred customers waited" in late.stdout
    assert failing.returncode == 1 and "100.00% of requests failed" in failing.stdout
