"""The images: linted, built step by step as far as a machine without Docker can, and asked about customers."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from containers import Image, Instruction, build, copied, ignored, instructions
from made import made_bundle
from servers import free_port

from churnlib.bundle import write_bundle
from churnlib.exporting.onnx import exported

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted(path for path in (ROOT / "deploy").rglob("Dockerfile*"))
SLIM = ROOT / "deploy" / "docker" / "Dockerfile"
ABSENT = ["torch", "lightning", "hydra", "omegaconf", "wandb", "sklearn", "scipy", "pandas", "pip", "mcp"]
RULES = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def config(dockerfile: Path) -> dict[str, str]:
    """The last word of each kind."""
    return {step.word: step.value for step in instructions(dockerfile)}


# --- without building -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_hadolint_finds_nothing(dockerfile):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_a_server_image_runs_as_nobody_without_a_shell(name):
    words = config(SLIM.with_name(name))
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", words["USER"]), "a number, so that Kubernetes can see that it is not root"
    assert all(words[word].startswith("[") for word in ("ENTRYPOINT", "CMD")), "exec form: signals reach the server"
    assert re.search(r"CMD \[", words["HEALTHCHECK"])
    assert words["STOPSIGNAL"] == "SIGTERM"
    assert words["ARG"].startswith("REVISION") and "PYTHON_IMAGE" in SLIM.with_name(name).read_text()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_the_context_holds_what_is_copied_and_little_else(name):
    assert not [path for path in copied(SLIM.with_name(name)) if ignored(path, RULES) or not (ROOT / path).exists()]
    for path in ("outputs/latest/bundle/model.onnx", ".git/config", "tests/made.py", "deploy/compose/secrets/keys"):
        assert ignored(path, RULES), path
    assert ignored("churnlib/serving/__pycache__/api.cpython-311.pyc", RULES)
    assert not ignored("churnlib/serving/api.py", RULES)


def test_the_gpu_image_differs_in_torch_and_the_words_alone():
    slim, gpu = (instructions(SLIM.with_name(name)) for name in ("Dockerfile", "Dockerfile.gpu"))
    added = [step for step in gpu if step not in slim]
    assert [step.word for step in added] == ["RUN", "LABEL", "ENV", "HEALTHCHECK", "CMD"]
    assert added[0].words[-1] == "torch"
    assert {"engine=worker", "device=cuda", "backend=torch"} <= set(added[-1].words)


# --- built and run --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every user can read, as an image is."""
    path = Path(tempfile.mkdtemp(prefix="churnlib-image-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    made = made_bundle()
    write_bundle(replace(made, onnx=exported(made)), folder / "model" / "bundle")
    return folder / "model" / "bundle"


@pytest.fixture(scope="module")
def slim(folder: Path) -> Image:
    return build(SLIM, ROOT, folder / "slim", {})


def at(port: int, words: list[str]) -> list[str]:
    """The same words, for a port that is free here."""
    return [re.sub(r"\b80[08]0\b", str(port), word) for word in words]


@contextmanager
def running(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block lasts; with the first process inside all others there are killed."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(first_process(process), signal.SIGKILL)
        process.wait(timeout=60)


def first_process(process: subprocess.Popen[bytes]) -> int:
    """The process that is number 1 inside."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            assert ask(port, "/health")[0] == 200
            return
        except OSError:
            assert process.poll() is None, "the server in the image has ended; its output is above"
            time.sleep(0.1)
    pytest.fail("the server in the image does not come up")


def ask(port: int, path: str, body: object = None) -> tuple[int, bytes]:
    """Ask a server here, with JSON if there is a body."""
    content = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return answer.status, answer.read()


def wait_for_series(port: int, series: str) -> None:
    for _ in range(100):
        if f"churnlib_{series}" in ask(port, "/metrics")[1].decode():
            return
        time.sleep(0.1)
    pytest.fail(f"/metrics does not come to say churnlib_{series}")


def smoke(port: int, bundle: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "deploy/ci/smoke.py", f"http://127.0.0.1:{port}", str(bundle), "--patience", "5"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_slim_image_serves_a_bundle_and_ends_on_sigterm(slim, bundle, capfd):
    """Read-only, without rights, as process 1, from a bundle that is mounted; the smoke test of CI asks it."""
    port = free_port()
    words = at(port, slim.start())
    health = at(port, Instruction("CMD", slim.config["HEALTHCHECK"].split("CMD ")[1]).words)
    with running(slim.command(words, mounts={bundle: "/bundle"})) as process:
        wait_until_healthy(port, process)
        inside = Path(f"/proc/{first_process(process)}/status").read_text()
        assert re.search(r"^Uid:\t10001\b", inside, re.MULTILINE) and re.search(r"^CapEff:\t0+$", inside, re.MULTILINE)
        done = smoke(port, bundle)
        assert done.returncode == 0, done.stdout + done.stderr
        assert subprocess.run(slim.command(health), check=False).returncode == 0
        assert ask(port, "/livez")[0] == ask(port, "/readyz")[0] == 200, "Kubernetes' probes"
        status, told = ask(port, "/metrics")
        assert status == 200
        for series in ('requests_total{code="200",route="predict"}', 'predictions_total{decision="1"', "ready 1"):
            assert f"churnlib_{series}" in told.decode(), "what the alerts and the dashboard ask for"
        os.kill(first_process(process), signal.SIGHUP)
        wait_for_series(port, 'reloads_total{result="ok"} 1')
        os.kill(first_process(process), signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert not re.search(r"Error\b|Traceback", capfd.readouterr().err), "nothing that it would have needed is missing"
    assert subprocess.run(slim.command(health), stderr=subprocess.DEVNULL, check=False).returncode != 0
    assert smoke(port, bundle).returncode == 1


@pytest.mark.slow
def test_the_slim_image_lacks_what_a_server_does_not_need(slim):
    code = f"import importlib.util as u, sys; sys.exit(str([m for m in {ABSENT} if u.find_spec(m)]))"
    done = subprocess.run(slim.command(["python", "-c", code]), capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"
    outside = subprocess.run(slim.command(["sh", "-c", "touch /opt/churnlib/x"]), capture_output=True, check=False)
    assert b"Read-only" in outside.stderr


@pytest.mark.slow
def test_a_model_is_put_into_the_image(slim, bundle, folder):
    dockerfile = SLIM.with_name("Dockerfile.bundle")
    port = free_port()
    baked = build(dockerfile, bundle, folder / "baked", {"churnlib-serving:local": slim})
    assert sorted(path.name for path in (baked.root / "bundle").iterdir()) == sorted(p.name for p in bundle.iterdir())
    with running(baked.command(at(port, baked.start()))) as process:
        wait_until_healthy(port, process)
        assert smoke(port, bundle).returncode == 0


@pytest.mark.slow
def test_sagemakers_word_is_no_option(slim, bundle, folder):
    dockerfile = ROOT / "deploy" / "sagemaker" / "Dockerfile"
    port = free_port()
    image = build(dockerfile, bundle, folder / "sagemaker", {"churnlib-serving:local": slim})
    words = at(port, image.start("serve"))
    with running(image.command(words)) as process:
        wait_until_healthy(port, process)
        assert smoke(port, bundle).returncode == 0
        row = json.loads((bundle / "golden.json").read_text())[0]["row"]
        assert ask(port, "/ping")[0] == ask(port, "/invocations", {"instances": [row]})[0] == 200


# --- Lambda ---------------------------------------------------------------------------------------------------------


@contextmanager
def runtime_api(event: dict) -> Iterator[tuple[str, queue.Queue]]:
    """The side of Lambda that a function asks for its next request and gives the answer to."""
    answers: queue.Queue = queue.Queue()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        asked = False

        def do_GET(self) -> None:
            if Handler.asked:
                over.wait()
                return
            Handler.asked = True
            content = json.dumps(event).encode()
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:churn")
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-0-0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 30_000))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answers.put((self.path, json.loads(body)))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing when the function is killed while it waits."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}", answers
        finally:
            over.set()
            server.shutdown()


@pytest.mark.slow
def test_the_lambda_image_answers_lambda(slim, bundle, folder):
    """With Lambda's own client inside; the golden customers are answered as the bundle says."""
    dockerfile = ROOT / "deploy" / "serverless" / "Dockerfile.lambda"
    images = {"churnlib-serving:local": slim, "bundle": Image(bundle)}
    image = build(dockerfile, dockerfile.parent, folder / "lambda", images)
    golden = json.loads((bundle / "golden.json").read_text())[0]
    event = {
        "rawPath": "/predict",
        "headers": {"content-type": "application/json"},
        "requestContext": {"stage": "$default", "http": {"method": "POST"}},
        "body": json.dumps({name: value for name, value in golden["row"].items() if value is not None}),
    }
    with (
        runtime_api(event) as (address, answers),
        running(image.command(image.start(), env={"AWS_LAMBDA_RUNTIME_API": address})),
    ):
        path, answer = answers.get(timeout=60)
    assert path.endswith("/invocation/1/response") and answer["statusCode"] == 200, answer
    assert json.loads(answer["body"])["churn_probability"] == pytest.approx(golden["probability"], abs=1e-6)
