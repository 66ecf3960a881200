"""Values of the chart that change how it scales, updates and is reached; and the example beside the plain manifests."""

from __future__ import annotations

import re

import kubernetes_validate
import pytest
import yaml
from charts import render
from helm_python import HelmError
from panels import DEPLOY

from sppruner_vllm.settings import Settings

from sppruner_dashboards import families  # isort: skip

NEWEST = "1.37.0"


def made(values) -> dict[str, dict]:
    """Kind to object; those of a cluster's own kinds are valid."""
    objects = {thing["kind"]: thing for thing in render(values)}
    for kind in ("Deployment", "Service"):
        kubernetes_validate.validate(objects[kind], NEWEST, strict=True)
    return objects


def plain(file: str) -> dict[str, dict]:
    """Kind to object of a file in deploy/k8s."""
    return {thing["kind"]: thing for thing in yaml.safe_load_all((DEPLOY / "k8s" / file).read_text())}


def test_replicas_follow_the_queue_and_on_request_what_runs():
    scaled = {"enabled": True, "waitingPerReplica": 3}
    (waiting,) = made({"autoscaling": scaled})["ScaledObject"]["spec"]["triggers"]
    assert waiting["metadata"]["threshold"] == "3"
    both = made({"autoscaling": {**scaled, "runningPerReplica": 40}})["ScaledObject"]["spec"]["triggers"]
    assert both[0] == waiting
    assert both[1]["metadata"]["threshold"] == "40"
    asked = [re.findall(r"vllm:\w+", trigger["metadata"]["query"]) for trigger in both]
    assert asked == [["vllm:num_requests_waiting"], ["vllm:num_requests_running"]]
    assert {name for names in asked for name in names} <= set(families.defined())


def test_an_empty_answer_of_prometheus_is_not_taken_for_an_empty_queue():
    values = {"autoscaling": {"enabled": True, "runningPerReplica": 40, "cooldownSeconds": 77}}
    spec = made(values)["ScaledObject"]["spec"]
    assert {trigger["metadata"]["ignoreNullValues"] for trigger in spec["triggers"]} == {"false"}
    assert "fallback" not in spec
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 77


def test_a_headless_service_lists_the_replicas():
    assert "clusterIP" not in made({})["Service"]["spec"]
    assert made({"service": {"clusterIP": "None"}})["Service"]["spec"]["clusterIP"] == "None"


def test_an_update_needs_no_spare_device_when_told_so():
    rollout = {"maxUnavailable": 1, "maxSurge": "0%"}
    assert made({"rollout": rollout})["Deployment"]["spec"]["strategy"]["rollingUpdate"] == rollout


def test_a_claim_of_the_operators_is_used_and_none_is_made():
    objects = made({"cache": {"persistent": True, "existingClaim": "models"}})
    assert "PersistentVolumeClaim" not in objects
    cache, *_ = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert cache == {"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}


def test_a_default_that_follows_the_load_is_a_setting_that_the_server_takes():
    def ours(values) -> dict[str, str]:
        (container,) = made(values)["Deployment"]["spec"]["template"]["spec"]["containers"]
        return {entry["name"]: entry["value"] for entry in container["env"] if entry["name"].startswith("SPPRUNER_")}

    assert not [name for name in ours({}) if "LOAD" in name]
    asked = ours({"loadRatio": {"floor": 0.3, "ends": 40}, "keepRatio": {"default": 0.8}})
    fields = {name.removeprefix("SPPRUNER_").lower(): value for name, value in asked.items()}
    assert fields.keys() <= Settings.model_fields.keys()
    chosen = Settings(**fields)
    assert (chosen.keep_ratio, chosen.load_floor_ratio, chosen.load_begins, chosen.load_ends) == (0.8, 0.3, 8, 40)


def test_account_and_runtime_are_the_operators():
    pod = made({"serviceAccountName": "vision", "runtimeClassName": "nvidia"})["Deployment"]["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["runtimeClassName"]) == ("vision", "nvidia")
    assert pod["automountServiceAccountToken"] is False
    assert not {"serviceAccountName", "runtimeClassName"} & made({})["Deployment"]["spec"]["template"]["spec"].keys()


@pytest.mark.parametrize(
    "values",
    [
        {"autoscaling": {"cooldownSeconds": 3601}},
        {"autoscaling": {"runningPerReplica": -1}},
        {"rollout": {"surge": 1}},
        {"loadRatio": {"floor": 0}},
        {"loadRatio": {"begin": 4}},
    ],
)
def test_wrong_options_are_refused(values):
    with pytest.raises(HelmError, match="schema"):
        render(values)


def test_the_inference_pool_holds_the_plain_manifests_pods():
    example, manifests = plain("inference-gateway.yaml"), plain("sppruner-vllm.yaml")
    pool, pod = example["InferencePool"], manifests["Deployment"]["spec"]["template"]
    assert pool["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {port["number"] for port in pool["spec"]["targetPorts"]} == ports
    group = pool["apiVersion"].partition("/")[0]
    (rule,) = example["HTTPRoute"]["spec"]["rules"]
    assert rule["backendRefs"] == [{"group": group, "kind": pool["kind"], "name": pool["metadata"]["name"]}]


def test_the_gauges_that_an_endpoint_picker_reads_are_served():
    explained = (DEPLOY.parent / "docs" / "operate" / "kubernetes.md").read_text()
    gauges = re.findall(r"`(vllm:\w+)`", explained)
    assert {"vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:kv_cache_usage_perc"} <= set(gauges)
    assert set(gauges) <= set(families.defined())
