"""The manifests, as Kustomize makes them, hold against Kubernetes' own schemas and against each other."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deployment import DEPLOY, check_words, documents, instructions_of, rendered

FOLDER = DEPLOY / "kubernetes"
OVERLAYS = ["canary", "dev", "prod"]
COMPONENTS = ["bundle-image", "bundle-pvc", "bundle-s3", "gpu"]
VERSIONS = ["1.33", kubernetes_validate.latest_version()]
"""Whose schemas the manifests are checked against; the first is the oldest that mounts images."""

Object = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Object]]:
    """What Kustomize makes of each overlay, and of the base with each component."""
    found = {name: rendered(FOLDER / "overlays" / name) for name in OVERLAYS}
    for name in COMPONENTS:
        folder = tmp_path_factory.mktemp(name)
        base, component = (os.path.relpath(FOLDER / path, folder.resolve()) for path in ("base", f"components/{name}"))
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": [base], "components": [component]}))
        found[name] = rendered(folder)
    return found


def of_kind(objects: list[Object], kind: str, track: str | None = "stable") -> Object:
    (found,) = [one for one in objects if one["kind"] == kind and track_of(one) == track]
    return found


def track_of(one: Object) -> str | None:
    return one["metadata"].get("labels", {}).get("track")


def server(objects: list[Object], track: str = "stable") -> tuple[Object, Object]:
    """The pod and the container of the server."""
    pod = of_kind(objects, "Deployment", track)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def test_every_folder_is_tested():
    assert sorted(path.name for path in (FOLDER / "overlays").iterdir()) == OVERLAYS
    assert sorted(path.name for path in (FOLDER / "components").iterdir()) == COMPONENTS


@pytest.mark.parametrize("version", VERSIONS)
def test_all_objects_are_valid(made, version):
    different = {yaml.safe_dump(one): one for objects in made.values() for one in objects}.values()
    for one in different:
        kubernetes_validate.validate(one, version, strict=True)
    assert {one["kind"] for one in different} >= {
        "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "Ingress", "Namespace", "NetworkPolicy",
        "PersistentVolumeClaim", "PodDisruptionBudget", "Service", "ServiceAccount",
    }  # fmt: skip


def test_the_schemas_would_notice_a_slip(made):
    broken = yaml.safe_load(yaml.safe_dump(of_kind(made["prod"], "Deployment")))
    broken["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["second"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_the_server_understands_its_words(made, name):
    _, container = server(made[name])
    (source,) = container["envFrom"]
    values = of_kind(made[name], "ConfigMap")["data"]
    assert source["configMapRef"]["name"] == of_kind(made[name], "ConfigMap")["metadata"]["name"]
    words = [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], word) for word in container["args"]]
    check_words(words)
    (port,) = container["ports"]
    assert {"bundle=/bundle", "host=0.0.0.0", f"port={port['containerPort']}"} <= set(words)
    assert set(values) == set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))), "no value that nobody reads"


@pytest.mark.parametrize("name", [*OVERLAYS, *COMPONENTS])
def test_a_pod_may_do_nothing_but_serve(made, name):
    """What the Pod Security Standard `restricted` asks for, and a read-only root."""
    pod, container = server(made[name])
    user = pod["securityContext"]
    assert user["runAsNonRoot"] is True and user["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    for each in [container, *pod.get("initContainers", [])]:
        context = each["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert each["resources"]["requests"].keys() == {"cpu", "memory"} and "memory" in each["resources"]["limits"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in mounts.values()}
    assert [path for path, mount in mounts.items() if not mount.get("readOnly")] == ["/tmp"]
    assert dict(instructions_of("docker/Dockerfile"))["USER"] == f"{user['runAsUser']}:{user['runAsGroup']}"


def test_a_pod_leaves_without_losing_a_request(made):
    """Probes need no key; and it is killed only after the sleep and the longest drain."""
    pod, container = server(made["prod"])
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(of_kind(made["prod"], "ConfigMap")["data"]["DRAIN_TIMEOUT"])
    assert sleep >= 5 and sleep + drain + 10 <= pod["terminationGracePeriodSeconds"] == 45
    strategy = of_kind(made["prod"], "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in of_kind(made["prod"], "Deployment")["spec"]


@pytest.mark.parametrize("words", ["prod stable", "dev stable", "canary stable", "canary canary"])
def test_the_objects_mean_each_other(made, words):
    name, track = words.split()
    objects = made[name]
    deployment = of_kind(objects, "Deployment", track)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        of_kind(objects, "Service", track)["spec"]["selector"],
        of_kind(objects, "NetworkPolicy", track)["spec"]["podSelector"]["matchLabels"],
    ]
    if name != "dev":
        selectors.append(of_kind(objects, "PodDisruptionBudget", track)["spec"]["selector"]["matchLabels"])
    assert all(selector.items() <= labels.items() and selector["track"] == track for selector in selectors)
    scaled = of_kind(objects, "HorizontalPodAutoscaler", track)["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", deployment["metadata"]["name"])
    service = of_kind(objects, "Service", track)
    assert service["spec"]["ports"][0]["targetPort"] == server(objects, track)[1]["ports"][0]["name"]
    backends = [path["backend"] for path in of_kind(objects, "Ingress", track)["spec"]["rules"][0]["http"]["paths"]]
    assert {backend["service"]["name"] for backend in backends} == {service["metadata"]["name"]}
    account = of_kind(objects, "ServiceAccount", track)["metadata"]["name"]
    assert server(objects, track)[0]["serviceAccountName"] == account
    assert {one["metadata"].get("namespace") for one in objects if one["kind"] != "Namespace"} == {
        of_kind(objects, "Namespace", None)["metadata"]["name"]  # the namespace has no label of a track
    }


def test_a_canary_is_production_with_another_model_and_a_share(made):
    both = made["canary"]
    assert [one for one in both if track_of(one) != "canary"] == made["prod"]
    images = {track: server(both, track)[1]["image"] for track in ("stable", "canary")}
    assert images["stable"] != images["canary"] and images["stable"].split(":")[0] == images["canary"].split(":")[0]
    stable, canary = (of_kind(both, "Ingress", track) for track in ("stable", "canary"))
    assert canary["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary"] == "true"
    assert 0 < int(canary["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"]) < 100
    assert canary["spec"]["rules"][0]["host"] == stable["spec"]["rules"][0]["host"]


def test_nothing_goes_out_and_the_ingress_leaves_out_what_is_not_for_customers(made):
    policy = of_kind(made["prod"], "NetworkPolicy")["spec"]
    assert policy["egress"] == [] and set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (out,) = of_kind(made["bundle-s3"], "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for port in out["ports"]] == [53, 53, 443]
    paths = {path["path"] for path in of_kind(made["prod"], "Ingress")["spec"]["rules"][0]["http"]["paths"]}
    assert "/predict" in paths and not paths & {"/", "/metrics", "/admin", "/livez", "/readyz"}


# --- other people's kinds -------------------------------------------------------------------------------------------


def example(name: str) -> Object:
    (found,) = documents((FOLDER / "examples" / f"{name}.yaml").read_text())
    return found


def test_examples_of_other_kinds_mean_the_same_objects(made):
    """Their schemas are with KEDA, the Prometheus Operator and the Gateway API; what they refer to is checked here."""
    scaled, monitor, route = example("keda-scaledobject"), example("servicemonitor"), example("httproute")
    names = {one["kind"]: one["metadata"]["name"] for one in made["prod"]}
    service, canary = of_kind(made["prod"], "Service"), of_kind(made["canary"], "Service", "canary")
    assert scaled["spec"]["scaleTargetRef"]["name"] == names["Deployment"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert set(monitor["spec"]["targetLabels"]) <= service["metadata"]["labels"].keys()
    backends = {backend["name"]: backend for backend in route["spec"]["rules"][0]["backendRefs"]}
    assert backends.keys() == {service["metadata"]["name"], canary["metadata"]["name"]}
    assert {backend["port"] for backend in backends.values()} == {service["spec"]["ports"][0]["port"]}
    assert sum(backend["weight"] for backend in backends.values()) == 100
    asked = {match["path"]["value"] for match in route["spec"]["rules"][0]["matches"]}
    assert asked == {path["path"] for path in of_kind(made["prod"], "Ingress")["spec"]["rules"][0]["http"]["paths"]}
    for one in (scaled, monitor, route, example("prometheusrule")):
        assert one["metadata"]["namespace"] == of_kind(made["prod"], "Deployment")["metadata"]["namespace"]


def test_the_operators_alerts_are_those_of_compose():
    alerts = yaml.safe_load((DEPLOY / "compose" / "prometheus" / "alerts.yml").read_text())
    assert example("prometheusrule")["spec"] == alerts


def test_no_file_is_left_unread():
    """Every YAML file here is an overlay's, a component's or an example that a test names."""
    read = {"keda-scaledobject", "servicemonitor", "httproute", "prometheusrule"}
    assert {path.stem for path in (FOLDER / "examples").iterdir()} == read
    kustomizations = list(FOLDER.rglob("kustomization.yaml"))
    used = {Path(name).name for path in kustomizations for name in re.findall(r"- (\S+)", path.read_text())}
    files = {path for path in FOLDER.rglob("*.*") if path.parent.name != "examples"} - set(kustomizations)
    assert not [path for path in files if path.name not in used]
