"""Envoy with the shipped configuration in front of local replicas: only addresses and ports are replaced."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from replicas import Replica

from serving import eventually, log_tail, program
from sppruner_vllm.demo.server_process import HOST, free_port, server_url

ENVOY = Path(sys.executable).parent / "envoy"
SHIPPED = Path(__file__).parents[2] / "deploy" / "envoy" / "envoy.yaml"
AFFINITY_HEADER = "x-sppruner-affinity"


@dataclass(frozen=True, slots=True)
class Balancer:
    """A running Envoy: where clients ask, and where it tells about itself."""

    url: str
    admin: str

    def counter(self, name: str) -> int:
        """One of Envoy's statistics of the replicas' cluster."""
        full = f"cluster.replicas.{name}"
        stats = httpx.get(f"{self.admin}/stats", params={"filter": f"^{full}$", "format": "json"}).json()["stats"]
        return sum(entry["value"] for entry in stats if entry.get("name") == full)

    def in_flight(self, replica: Replica) -> int:
        """Requests that Envoy has sent to a replica and that it has not answered in full."""
        return sum(int(stat.get("value", 0)) for stat in self._host(replica)["stats"] if stat["name"] == "rq_active")

    def trusts(self, replica: Replica) -> bool:
        """Whether a replica would get requests: neither its health check nor its connections failed."""
        return not {key for key, value in self._host(replica)["health_status"].items() if value is True}

    def _host(self, replica: Replica) -> dict[str, Any]:
        clusters = httpx.get(f"{self.admin}/clusters", params={"format": "json"}).json()["cluster_statuses"]
        hosts = [host for cluster in clusters for host in cluster.get("host_statuses", [])]
        (host,) = [host for host in hosts if host["address"]["socket_address"]["port_value"] == replica.port]
        found: dict[str, Any] = host
        return found


@contextmanager
def balanced(several: Sequence[Replica], folder: Path, heap: int | None = None) -> Iterator[Balancer]:
    """Envoy before these replicas, from the moment it trusts all of them.

    Args:
        several: the replicas; without any, from the moment it answers at all.
        folder: for its configuration and its log.
        heap: bytes of memory that it may take, in place of those shipped.
    """
    port, admin = free_port(), free_port()
    config, log = folder / "envoy.yaml", folder / "envoy.log"
    config.write_text(rendered(several, port, admin, heap))
    command = [str(ENVOY), "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
    balancer = Balancer(server_url(port), server_url(admin))
    with program(command, log) as process:
        eventually(lambda: process.poll() is not None or _ready(balancer, several))
        if process.poll() is not None or not _ready(balancer, several):
            raise RuntimeError(f"Envoy is not ready:\n{log_tail(log)}")
        yield balancer


def shipped() -> dict[str, Any]:
    """The shipped configuration."""
    config: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    return config


def monitor(config: dict[str, Any], name: str) -> dict[str, Any]:
    """What one of the overload manager's monitors watches."""
    monitors = config["overload_manager"]["resource_monitors"]
    (found,) = [entry["typed_config"] for entry in monitors if entry["name"].endswith(name)]
    typed: dict[str, Any] = found
    return typed


def rendered(several: Sequence[Replica], port: int, admin: int, heap: int | None) -> str:
    """The shipped configuration for this machine."""
    config = shipped()
    if heap is not None:
        monitor(config, "fixed_heap")["max_heap_size_bytes"] = heap
    config["admin"]["address"] = _address(admin)
    (listener,) = config["static_resources"]["listeners"]
    listener["address"] = _address(port)
    (cluster,) = config["static_resources"]["clusters"]
    endpoints = [{"endpoint": {"address": _address(replica.port)}} for replica in several]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
    return yaml.safe_dump(config)


def _address(port: int) -> dict[str, dict[str, object]]:
    return {"socket_address": {"address": HOST, "port_value": port}}


def _ready(balancer: Balancer, several: Sequence[Replica]) -> bool:
    try:
        if not several:
            return bool(httpx.get(f"{balancer.url}/livez").status_code)
        listening = httpx.get(f"{balancer.url}/health").is_success
        return listening and all(balancer.trusts(replica) for replica in several)
    except (httpx.TransportError, ValueError):
        return False
