"""Keys in the chart: from Secrets alone, where the server reads them, and no flag beside them that undoes anything."""

from __future__ import annotations

import json
from pathlib import Path

import kubernetes_validate
import pytest
from charts import CHART, render
from helm_python import HelmError

from sppruner_vllm.settings import Settings

KEY_FILE = {"apiKey": {"fileSecret": "many-keys"}}


def made(values) -> dict[str, dict]:
    """Kind to object."""
    return {thing["kind"]: thing for thing in render(values)}


def pod(values):
    deployment = made(values)["Deployment"]
    kubernetes_validate.validate(deployment, "1.37.0", strict=True)
    return deployment["spec"]["template"]["spec"]


def settings_of(values) -> Settings:
    """What the server reads from the pod's environment."""
    (container,) = pod(values)["containers"]
    ours = [entry for entry in container["env"] if entry["name"].startswith("SPPRUNER_")]
    fields = {entry["name"].removeprefix("SPPRUNER_").lower(): entry["value"] for entry in ours}
    assert fields.keys() <= Settings.model_fields.keys()
    return Settings(**fields)


def test_a_key_file_is_mounted_whole_and_read_only_where_the_server_reads_it():
    spec = pod(KEY_FILE)
    (container,) = spec["containers"]
    (volume,) = [volume["secret"] for volume in spec["volumes"] if volume["name"] == "keys"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "keys"]
    (item,) = volume["items"]
    assert (volume["secretName"], item["key"], volume["defaultMode"]) == ("many-keys", "keys.toml", 0o440)
    assert mount["readOnly"]
    assert "subPath" not in mount, "such a mount does not follow its Secret"
    assert settings_of(KEY_FILE).api_keys_file == Path(mount["mountPath"]) / item["path"]
    assert "Secret" not in made(KEY_FILE)


def test_without_one_nothing_is_mounted_and_the_settings_are_the_servers():
    assert "keys" not in json.dumps(pod({})["volumes"])
    assert settings_of({}) == Settings()


def test_metrics_are_open_by_choice_alone():
    assert not settings_of(KEY_FILE).open_metrics
    assert settings_of({"apiKey": {"openMetrics": True}}).open_metrics


def test_prometheus_is_not_sent_to_a_door_that_it_has_no_key_for():
    watched = {"serviceMonitor": {"enabled": True}}
    with pytest.raises(HelmError, match="no key for /metrics"):
        render({**KEY_FILE, **watched})
    both = made({"apiKey": {"fileSecret": "many-keys", "existingSecret": "its-own"}, **watched})
    (scraped,) = both["ServiceMonitor"]["spec"]["endpoints"]
    assert scraped["authorization"]["credentials"] == {"name": "its-own", "key": "api-key"}
    opened = made({"apiKey": {"fileSecret": "many-keys", "openMetrics": True}, **watched})
    assert "authorization" not in opened["ServiceMonitor"]["spec"]["endpoints"][0]


@pytest.mark.parametrize(
    "args",
    [
        ["--api-key=secret"],
        ["--api-key", "secret"],
        ["--api_key=secret"],
        ["--shutdown-timeout=600"],
        ["--shutdown_timeout", "600"],
        ["--port=9000"],
        ["--ssl-keyfile=/x"],
    ],
    ids=" ".join,
)
def test_a_flag_that_undoes_what_the_chart_sets_is_refused(args):
    with pytest.raises(HelmError, match="is not for here"):
        render({"args": args})


def test_other_flags_reach_the_server_as_they_are_written():
    args = ["--api-keys-file=/x", "--portable: no", "--max-requests", "0"]
    (container,) = pod({"args": args, "model": "a: b #c"})["containers"]
    assert container["args"][1:] == ["--model=a: b #c", *args]


def test_values_name_every_place_of_a_key():
    explained = (CHART.parents[2] / "docs" / "operate" / "kubernetes.md").read_text()
    assert all(f"`apiKey.{name}`" in explained for name in ("existingSecret", "value", "fileSecret", "openMetrics"))
