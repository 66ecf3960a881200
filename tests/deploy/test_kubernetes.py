"""The chart renders to objects that a cluster takes, that fit each other, and that hold what they promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml
from charts import CHART, EVERYTHING, HELM, SETS, objects, render
from helm_python import HelmError, lint
from panels import DEPLOY
from sppruner_server.cli import add_flags
from sppruner_server.container import command_line
from sppruner_server.environment import FRONT_SECONDS
from sppruner_server.middleware.drain import ALWAYS_OPEN
from sppruner_server.routes import health

from sppruner_vllm import __version__
from sppruner_vllm.compat.versions import serve_parser

VERSIONS = ("1.30.0", "1.37.0")
NATIVE = {"apps/v1", "v1", "policy/v1", "networking.k8s.io/v1"}
WARNING = 2
each_set = pytest.mark.parametrize("name", SETS)


def pod(name: str):
    return objects(name)["Deployment"]["spec"]["template"]


def server(name: str):
    (container,) = pod(name)["spec"]["containers"]
    return container


@each_set
def test_helm_has_nothing_to_say(name):
    report = lint(CHART, SETS[name], strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] >= WARNING] == []


@each_set
@pytest.mark.parametrize("version", VERSIONS)
def test_a_cluster_takes_every_object(name, version):
    native = [thing for thing in objects(name).values() if thing["apiVersion"] in NATIVE]
    assert len(native) >= 4
    for thing in native:
        kubernetes_validate.validate(thing, version, strict=True)


def test_everything_is_really_everything():
    templates = [file for file in (CHART / "templates").glob("*.yaml")]
    assert len(objects("everything")) == len(templates)


def test_a_wrong_object_would_be_refused():
    thing = json.loads(json.dumps(objects("default")["Deployment"]))
    thing["spec"]["template"]["spec"]["containers"][0]["comand"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(thing, VERSIONS[0], strict=True)


@pytest.mark.parametrize(
    "values",
    [
        {"device": "tpu"},
        {"keepRatio": {"default": 0}},
        {"keepRatio": {"default": 1.5}},
        {"replicas": "two"},
        {"unknown": 1},
        {"image": {"pullPolicy": "Sometimes"}},
        {"service": {"port": 70000}},
        {"securityContext": {"runAsUser": 0}},
    ],
    ids=json.dumps,
)
def test_wrong_values_are_refused_by_the_schema(values):
    with pytest.raises(HelmError, match="schema"):
        render(values)


@pytest.mark.parametrize("grace", [1, 60, 74])
def test_a_grace_period_that_would_kill_a_draining_pod_is_refused(grace):
    with pytest.raises(HelmError, match="gracePeriodSeconds"):
        render({"shutdown": {"gracePeriodSeconds": grace}})


@each_set
def test_what_a_stopping_pod_may_take_adds_up(name):
    (drain,) = [flag for flag in server(name)["args"] if flag.startswith("--shutdown-timeout=")]
    sleep = server(name)["lifecycle"]["preStop"]["exec"]["command"]
    needed = int(drain.partition("=")[2]) + int(sleep[-1]) + FRONT_SECONDS
    assert needed < pod(name)["spec"]["terminationGracePeriodSeconds"]


@each_set
def test_a_pod_that_drains_gets_no_requests_and_is_not_restarted(name):
    asked = {probe: server(name)[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    assert set(asked.values()) <= {route.path for route in health.router.routes}
    assert set(asked.values()) & ALWAYS_OPEN == {"/livez"}


@each_set
def test_the_server_takes_its_arguments(name):
    parser = serve_parser()
    add_flags(parser)
    args = parser.parse_args(command_line(server(name)["args"]))
    assert args.shutdown_timeout == 45
    assert args.tensor_parallel_size == (2 if name == "everything" else 1)


@each_set
def test_the_pod_has_no_rights(name):
    security = server(name)["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    spec = pod(name)["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    writable = {mount["mountPath"] for mount in server(name)["volumeMounts"]}
    assert writable == {"/cache", "/tmp", "/dev/shm"}


@each_set
def test_selectors_find_the_pods(name):
    made, labels = objects(name), pod(name)["metadata"]["labels"]
    selectors = [
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    ports = {port["name"] for port in server(name)["ports"]}
    assert {port["targetPort"] for port in made["Service"]["spec"]["ports"]} <= ports


def test_what_watches_and_scales_finds_its_target():
    made = objects("everything")
    service = made["Service"]
    monitor = made["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {end["port"] for end in monitor["endpoints"]} <= {port["name"] for port in service["spec"]["ports"]}
    scaled = made["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == made["Deployment"]["metadata"]["name"]
    assert "replicas" not in made["Deployment"]["spec"]
    (trigger,) = scaled["triggers"]
    assert f'service="{service["metadata"]["name"]}"' in trigger["metadata"]["query"]
    claim = made["PersistentVolumeClaim"]["metadata"]["name"]
    volumes = pod("everything")["spec"]["volumes"]
    assert claim in {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in volumes}


def test_the_key_is_in_its_secret_alone():
    made = objects("everything")
    assert made["Secret"]["stringData"] == {"api-key": EVERYTHING["apiKey"]["value"]}
    others = [thing for kind, thing in made.items() if kind != "Secret"]
    assert EVERYTHING["apiKey"]["value"] not in json.dumps(others)
    (key,) = [entry for entry in server("everything")["env"] if entry["name"] == "VLLM_API_KEY"]
    assert key["valueFrom"]["secretKeyRef"]["name"] == made["Secret"]["metadata"]["name"]
    (scraped,) = made["ServiceMonitor"]["spec"]["endpoints"]
    assert scraped["authorization"]["credentials"] == key["valueFrom"]["secretKeyRef"]
    existing = {thing["kind"]: thing for thing in render({"apiKey": {"existingSecret": "theirs"}})}
    assert "Secret" not in existing
    assert '"theirs"' in json.dumps(existing["Deployment"])


def test_rules_and_dashboards_are_those_of_deploy():
    made = objects("everything")
    names = [group["name"] for group in made["PrometheusRule"]["spec"]["groups"]]
    files = sorted((DEPLOY / "prometheus" / "rules").glob("*.yml"))
    assert names == [group["name"] for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    shown = made["ConfigMap"]["data"]
    assert shown == {file.name: file.read_text() for file in (DEPLOY / "grafana" / "dashboards").glob("*.json")}


def test_what_is_written_from_elsewhere_is_current():
    done = subprocess.run([sys.executable, HELM / "sync.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_chart_has_the_version_of_the_server():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert re.fullmatch(rf"sppruner-vllm:{re.escape(__version__)}-gpu", server("everything")["image"])
