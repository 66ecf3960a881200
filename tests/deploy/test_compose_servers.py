"""The servers of deploy/compose.yaml: their settings, keys, probes and time to stop."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest
import yaml
from panels import DEPLOY
from sppruner_server.cli import STOP_SECONDS
from sppruner_server.environment import FRONT_SECONDS
from sppruner_server.middleware.authentication import PROBES

from sppruner_vllm.settings import Settings

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY.parent / "Dockerfile").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(:[-+])([^}]*)\}")
each_server = pytest.mark.parametrize("name", ["sppruner", "sppruner-gpu"])


def filled_in(text: str, variables: Mapping[str, str]) -> str:
    """What Compose makes of a text with `${NAME:-default}` and `${NAME:+where it is set}`."""

    def value(found: re.Match[str]) -> str:
        name, kind, other = found.groups()
        given = variables.get(name, "")
        return (given or other) if kind == ":-" else (other if given else "")

    return VARIABLE.sub(value, text)


def settings_of(name: str, **variables: str) -> Settings:
    """What the server reads when the operator's environment has these variables."""
    environment = COMPOSE["services"][name]["environment"]
    ours = {key: filled_in(text, variables) for key, text in environment.items() if key.startswith("SPPRUNER_")}
    assert not [text for text in ours.values() if "$" in text]
    return Settings(**{key.removeprefix("SPPRUNER_").lower(): text for key, text in ours.items()})


@each_server
def test_it_has_the_time_that_it_gives_to_requests_in_flight_and_that_its_end_takes(name: str) -> None:
    service = COMPOSE["services"][name]
    assert int(service["stop_grace_period"].removesuffix("s")) > STOP_SECONDS + FRONT_SECONDS
    assert "--shutdown-timeout" not in str(service.get("command"))


@each_server
def test_it_takes_the_settings_as_they_are_when_nobody_says_anything(name: str) -> None:
    chosen = settings_of(name)
    assert chosen == Settings(grafana_url="http://127.0.0.1:3000", open_metrics=True)


@each_server
def test_keys_come_from_a_file_that_is_mounted_and_never_by_the_environment(name: str) -> None:
    service = COMPOSE["services"][name]
    (secret,) = service["secrets"]
    inside = PurePosixPath("/run/secrets") / secret["target"]
    chosen = settings_of(name, API_KEYS_FILE="/etc/keys.toml", OPEN_METRICS="false")
    assert (str(chosen.api_keys_file), chosen.open_metrics) == (str(inside), False)
    outside = COMPOSE["secrets"][secret["source"]]["file"]
    assert filled_in(outside, {"API_KEYS_FILE": "/etc/keys.toml"}) == "/etc/keys.toml"
    assert filled_in(outside, {}) == "/dev/null"
    assert "KEY" not in "".join(key for key in service["environment"] if key != "SPPRUNER_API_KEYS_FILE")


@each_server
def test_its_probe_needs_no_key_and_is_that_of_the_image(name: str) -> None:
    *_, probe = COMPOSE["services"][name]["healthcheck"]["test"]
    (path,) = re.findall(r"http://127\.0\.0\.1:8000(/\w+)", probe)
    assert path in PROBES
    assert DOCKERFILE.count(probe) == 2
