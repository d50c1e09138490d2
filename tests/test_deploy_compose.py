"""Compose, Prometheus and Grafana: valid for their own programs, and about metrics that the server has."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment import DEPLOY, check_words, metric_names, program, ran

from churnlib.serving.seeing.families import FAMILIES

FOLDER = DEPLOY / "compose"
PROMETHEUS = FOLDER / "prometheus"

METRICS = {family.name: set(family.labels) for family in FAMILIES.values()}
"""What the server measures, and by which labels."""

OF_THE_SCRAPE = {"job", "instance", "le", "namespace", "track"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads((FOLDER / "grafana" / "dashboards" / "churnlib.json").read_text())


def queries(dashboard: dict[str, Any]) -> list[str]:
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*texts, *(note["expr"] for note in dashboard["annotations"]["list"])]


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return group["rules"]


# --- compose --------------------------------------------------------------------------------------------------------


def test_the_compose_file_is_one():
    ran(program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml")


def test_the_server_is_shut_in(compose):
    server = compose["services"]["server"]
    check_words(server["command"])
    assert server["read_only"] is True and server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert server["tmpfs"] and server["volumes"][0]["read_only"] is True
    assert int(server["stop_grace_period"].removesuffix("s")) >= 30
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), "no port for other machines"
        assert re.search(r":v?\d|:local$", service["image"]), "a version of each image"


def test_every_file_and_secret_that_it_mounts_is_there(compose):
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume if isinstance(volume, str) else volume["source"]
            if source.startswith("./"):
                assert (FOLDER / source.split(":")[0]).exists(), source
        assert set(service.get("secrets", ())) <= set(compose["secrets"])
    used = json.dumps(compose["services"])
    for name in compose["secrets"]:
        assert f"/run/secrets/{name}" in used or f"/run/secrets/{name}" in (PROMETHEUS / "prometheus.yml").read_text()
    ignored = (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert all(secret["file"].startswith("./secrets/") for secret in compose["secrets"].values())
    assert "deploy/compose/secrets/" in ignored, "keys are nothing to commit"


# --- Prometheus -----------------------------------------------------------------------------------------------------


@pytest.fixture
def promtool() -> Path:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return Path(found)


def test_prometheus_reads_its_configuration(promtool, tmp_path, compose):
    """With the key where it looks for it; the target is the service of the compose file."""
    text = (PROMETHEUS / "prometheus.yml").read_text()
    (tmp_path / "key").write_text("KEY")
    (tmp_path / "alerts.yml").write_text((PROMETHEUS / "alerts.yml").read_text())
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics_key", str(tmp_path / "key")))
    assert f"{len(alerts())} rules found" in ran(promtool, "check", "config", tmp_path / "prometheus.yml")
    (job,) = yaml.safe_load(text)["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in compose["services"] and f"port={port}" in compose["services"][host]["command"]
    assert job["job_name"] == "churnlib"


SERIES = {
    "ChurnlibDown": ({'up{job="churnlib",instance="a"}': "0x90"}, "3m"),
    "ChurnlibNotReady": ({'churnlib_ready{job="churnlib",instance="a"}': "0x90"}, "3m"),
    "ChurnlibErrors": (
        {
            'churnlib_requests_total{job="churnlib",route="predict",code="200"}': "0+95x90",
            'churnlib_requests_total{job="churnlib",route="predict",code="500"}': "0+5x90",
        },
        "15m",
    ),
    "ChurnlibFull": ({'churnlib_rejected_total{job="churnlib",reason="overloaded"}': "0+60x90"}, "15m"),
    "ChurnlibSlow": (
        {
            'churnlib_request_seconds_bucket{job="churnlib",route="predict",le="0.25"}': "0+50x90",
            'churnlib_request_seconds_bucket{job="churnlib",route="predict",le="0.5"}': "0+100x90",
            'churnlib_request_seconds_bucket{job="churnlib",route="predict",le="+Inf"}': "0+100x90",
        },
        "20m",
    ),
    "ChurnlibRestarts": ({'churnlib_restarts_total{job="churnlib",instance="a",process="worker"}': "0+1x90"}, "15m"),
    "ChurnlibReloadFailed": (
        {'churnlib_reloads_total{job="churnlib",instance="a",result="refused"}': "0x5 1x90"},
        "10m",
    ),
    "ChurnlibTwoModels": (
        {
            'churnlib_model_info{job="churnlib",model_version="old"}': "1x90",
            'churnlib_model_info{job="churnlib",model_version="new"}': "1x90",
        },
        "80m",
    ),
    "ChurnlibDecisionsShifted": (
        {
            'churnlib_predictions_total{job="churnlib",decision="0"}': "0+900x1014 913500+500x40",
            'churnlib_predictions_total{job="churnlib",decision="1"}': "0+100x1014 101900+500x40",
        },
        "10320m",
    ),
}
"""For each alert series, a value each minute, and when it must have fired; a week of the last has one each ten."""

SLOW = "ChurnlibDecisionsShifted"

WELL = {
    'up{job="churnlib",instance="a"}': "1x90",
    'churnlib_ready{job="churnlib",instance="a"}': "2x90",
    'churnlib_requests_total{job="churnlib",route="predict",code="200"}': "0+1000x90",
    'churnlib_requests_total{job="churnlib",route="predict",code="422"}': "0+200x90",
    'churnlib_requests_total{job="churnlib",route="predict",code="503"}': "0+1x90",
    'churnlib_rejected_total{job="churnlib",reason="invalid_field"}': "0+200x90",
    'churnlib_request_seconds_bucket{job="churnlib",route="predict",le="0.005"}': "0+999x90",
    'churnlib_request_seconds_bucket{job="churnlib",route="predict",le="+Inf"}': "0+1000x90",
    'churnlib_reloads_total{job="churnlib",instance="a",result="ok"}': "0x20 1x90",
    'churnlib_restarts_total{job="churnlib",instance="a",process="http"}': "0x20 1x90",
    'churnlib_model_info{job="churnlib",model_version="old"}': "1x20 0x70",
    'churnlib_model_info{job="churnlib",model_version="new"}': "0x20 1x70",
}
"""A server that is well, if with clients that send wrong customers."""


def given(series: dict[str, str], at: str, expected: dict[str, list[Any]], interval: str = "1m") -> dict[str, Any]:
    """One test of promtool's: how many of each alert fire at a time."""
    firing = 'count(ALERTS{{alertname="{}",alertstate="firing"}})'
    return {
        "interval": interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": firing.format(name), "eval_time": at, "exp_samples": samples} for name, samples in expected.items()
        ],
    }


def test_each_alert_fires_when_it_should_and_none_for_a_server_that_is_well(promtool, tmp_path):
    rules = [rule["alert"] for rule in alerts()]
    assert list(SERIES) == rules
    once: list[Any] = [{"labels": "{}", "value": 1}]
    soon = [given(series, at, {name: once}) for name, (series, at) in SERIES.items() if name != SLOW]
    well = [given(WELL, at, {name: [] for name in rules}) for at in ("10m", "25m", "80m")]
    shifted, at = SERIES[SLOW]
    late = [given(shifted, at, {SLOW: once}, "10m"), given(shifted, "10080m", {SLOW: []}, "10m")]
    (tmp_path / "alerts.yml").write_text((PROMETHEUS / "alerts.yml").read_text())
    for step, tests in (("1m", [*soon, *well]), ("10m", late)):
        content = {"rule_files": ["alerts.yml"], "evaluation_interval": step, "tests": tests}
        (tmp_path / "test.yml").write_text(yaml.safe_dump(content))
        ran(promtool, "test", "rules", tmp_path / "test.yml")


def test_every_query_is_one_and_asks_for_what_is_measured(promtool, tmp_path, dashboard):
    scaled = yaml.safe_load((DEPLOY / "kubernetes" / "examples" / "keda-scaledobject.yaml").read_text())
    texts = [*queries(dashboard), scaled["spec"]["triggers"][0]["metadata"]["query"]]
    plain = [re.sub(r"\[\$__\w+\]", "[5m]", text).replace("$job", "churnlib") for text in texts]
    rules = [{"record": f"panel:{place}", "expr": text} for place, text in enumerate(plain)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    ran(promtool, "check", "rules", tmp_path / "panels.yml")


# --- Grafana --------------------------------------------------------------------------------------------------------


def test_dashboard_and_alerts_know_the_metrics_and_their_labels(dashboard):
    texts = [*queries(dashboard), *(rule["expr"] for rule in alerts())]
    for text in texts:
        for name, labels in re.findall(r"(churnlib_\w+)(?:\{([^}]*)\})?", text):
            (metric,) = metric_names(name)
            assert metric in METRICS, f"{metric} in {text}"
            assert set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", labels)) <= METRICS[metric] | OF_THE_SCRAPE, text
        asked = {metric for name in re.findall(r"churnlib_\w+", text) for metric in metric_names(name)}
        by = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", text) for label in group.split(",")}
        assert by <= set().union(OF_THE_SCRAPE, *(METRICS[metric] for metric in asked)), text
    assert {metric for text in queries(dashboard) for metric in metric_names(text)} == set(METRICS), "a panel for each"


def test_panels_lie_side_by_side(dashboard):
    cells = set()
    for panel in dashboard["panels"]:
        x, y, w, h = (panel["gridPos"][name] for name in "xywh")
        own = {(column, row) for column in range(x, x + w) for row in range(y, y + h)}
        assert not own & cells and x + w <= 24, panel["title"]
        cells |= own
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids) and all(panel["title"] and panel["fieldConfig"] for panel in dashboard["panels"])


def test_grafana_finds_prometheus_and_the_dashboard(compose, dashboard):
    (source,) = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/churnlib.yaml").read_text())["providers"]
    mounts = [volume.split(":") for volume in compose["services"]["grafana"]["volumes"]]
    assert ["./grafana/dashboards", provider["options"]["path"], "ro"] in mounts
    assert source["url"] == "http://prometheus:9090" and "prometheus" in compose["services"]
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert variables["datasource"]["current"]["value"] == source["uid"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {"${datasource}"}
