"""deploy/compose.yaml brings up what the dashboards need: pinned images, files that exist, a start in order."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest
import yaml
from panels import DEPLOY, GRAFANA, dashboards

from sppruner_vllm import __version__

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
SERVERS = ("sppruner", "sppruner-gpu")
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def mounts(service) -> dict[PurePosixPath, Path]:
    """Path in the container to path here, of the files and folders a service is given."""
    split = [volume.split(":") for volume in service.get("volumes", []) if volume.startswith(".")]
    return {PurePosixPath(inside): DEPLOY / outside for outside, inside, *_ in split}


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" not in service])
def test_images_of_others_are_pinned_by_version_and_digest(name):
    assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}", SERVICES[name]["image"])


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_built_from_a_target_of_the_dockerfile(name):
    service = SERVICES[name]
    root = (DEPLOY / service["build"]["context"]).resolve()
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    (target,) = service["profiles"]
    assert service["build"]["target"] == target
    assert target in stages
    assert service["image"] == f"sppruner-vllm:{__version__}-{target}"


@each_service
def test_what_is_mounted_exists_and_cannot_be_written(service):
    for volume in service.get("volumes", []):
        if volume.startswith("."):
            assert volume.endswith(":ro")
        else:
            assert volume.split(":")[0] in COMPOSE["volumes"]
    assert all(source.exists() for source in mounts(service).values())


@each_service
def test_a_service_is_hardened_checked_and_seen_on_this_machine_alone(service):
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_services_start_in_order_each_when_the_one_before_is_healthy():
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    either = {name: {"condition": "service_healthy", "required": False} for name in SERVERS}
    grafana = {"prometheus": {"condition": "service_healthy"}}
    assert waits == {**{name: {} for name in SERVERS}, "prometheus": either, "grafana": grafana}


def test_prometheus_finds_its_configuration_and_the_server():
    inside = mounts(SERVICES["prometheus"])
    assert PurePosixPath("/etc/prometheus/prometheus.yml") in inside
    assert "--config.file=/etc/prometheus/prometheus.yml" in SERVICES["prometheus"]["command"]
    (scrape,) = PROMETHEUS["scrape_configs"]
    named = [name for config in scrape["file_sd_configs"] for name in config["files"]] + PROMETHEUS["rule_files"]
    for name in named:
        place = PurePosixPath("/etc/prometheus") / name
        assert place in inside or place.parent in inside
    found = yaml.safe_load((DEPLOY / "prometheus" / "targets.yml").read_text())
    assert [target for group in found for target in group["targets"]] == ["sppruner:8000"]
    assert "sppruner" in SERVICES["sppruner-gpu"]["networks"]["default"]["aliases"]
    for name in SERVERS:
        assert [port.rpartition(":")[2] for port in SERVICES[name]["ports"]] == ["8000"]


def test_grafana_gets_its_data_source_with_prometheus_own_interval():
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == PROMETHEUS["global"]["scrape_interval"]


def test_grafana_gets_every_dashboard_and_opens_with_one():
    inside = mounts(SERVICES["grafana"])
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "sppruner.yml").read_text())["providers"]
    folder = PurePosixPath(provider["options"]["path"])
    assert {file.stem for file in inside[folder].glob("*.json")} == set(dashboards())
    home = PurePosixPath(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (inside[home.parent] / home.name).is_file()
    for kind in ("datasources", "dashboards"):
        assert inside[PurePosixPath("/etc/grafana/provisioning") / kind] == GRAFANA / "provisioning" / kind
