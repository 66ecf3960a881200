"""What the images start: the demo model unless told otherwise, with defaults that any flag overrides."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sppruner_server.cli import add_flags
from sppruner_server.container import command_line, environment, names_a_model

from sppruner_vllm.compat.processes import QUEUE_CHUNK
from sppruner_vllm.compat.versions import serve_parser
from sppruner_vllm.demo_model.flags import DEMO_NAME, KV_SPACE

ROOMY = 2**34
DOCKERS_OWN = 64 * 2**20


def parsed(*given: str):
    parser = serve_parser()
    add_flags(parser)
    return parser.parse_args(command_line(given))


def test_without_an_argument_the_demo_model_is_served_to_everybody():
    args = parsed()
    assert args.served_model_name == [DEMO_NAME]
    assert (args.host, args.port) == ("0.0.0.0", 8000)


def test_flags_alone_change_the_demos():
    args = parsed("--max-model-len", "1024", "--port", "9000")
    assert (args.served_model_name, args.max_model_len, args.port) == ([DEMO_NAME], 1024, 9000)


@pytest.mark.parametrize("given", [("--model", "m"), ("--model=m",), ("m",), ("m", "--dtype", "float32")])
def test_a_model_replaces_the_demos_flags(given):
    args = parsed(*given)
    assert "m" in (args.model, args.model_tag)
    assert args.served_model_name is None
    assert args.max_model_len is None


def test_a_settings_file_counts_as_a_model():
    assert names_a_model(["--config", "settings.yaml"])
    assert not names_a_model(["--model-impl", "vllm"])


def test_only_the_demo_is_kept_off_the_network():
    assert environment([], ROOMY)["HF_HUB_OFFLINE"] == "1"
    assert environment(["--model", "m"], ROOMY).keys() == {KV_SPACE}


@pytest.mark.parametrize("free", [DOCKERS_OWN, DOCKERS_OWN // 8, 0])
def test_little_shared_memory_makes_small_queues(free):
    chunk = int(environment([], free)[QUEUE_CHUNK])
    assert chunk >= 1
    assert 20 * chunk * 2**20 <= max(free, 20 * 2**20)


def test_with_room_the_queues_stay_as_vllm_makes_them():
    assert QUEUE_CHUNK not in environment([], ROOMY)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_comes_before_anybody_listens_ends_it(number: signal.Signals):
    """As the first process of a container it would be lost, if the entry point did not keep it back."""
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    entries = [json.loads(found) for found in re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)]
    assert len(entries) == 2
    early = f"import os; os.kill(os.getpid(), {int(number)}); from sppruner_server.container import main; main()"
    for entry in entries:
        assert entry[3:] == ["-m", "sppruner_server.container"]
        # Whoever started the tests may have had them ignore hang-ups, as nohup does.
        command = [entry[0], "--default-signal=HUP", entry[1], sys.executable, "-c", early]
        ended = subprocess.run(command, check=False, timeout=600)
        assert ended.returncode == 128 + number
