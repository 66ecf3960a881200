"""A process knows its own number, and one that was forked from it another."""

import os
import subprocess
import sys

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

PROGRAM = """
import os

from sppruner_server.own_number import know_own_number

know_own_number()

from prometheus_client import Counter

real, asked = os.getpid, []
counted = Counter("counted", "Of both.")
os.getpid = lambda: asked.append(1) or real()
counted.inc(2)
assert not asked
os.getpid = real
child = os.fork()
if not child:
    counted.inc(5)
    os._exit(0)
os.waitpid(child, 0)
counted.inc(1)
print(real(), child)
"""

UNCHANGED = """
from prometheus_client import values

from sppruner_server.own_number import know_own_number

before = values.ValueClass
know_own_number()
assert values.ValueClass is before
"""


def test_each_counts_in_a_file_of_its_own_and_none_asks_at_every_sample(tmp_path):
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    numbers = done.stdout.split()
    assert {file.name for file in tmp_path.iterdir()} == {f"counter_{number}.db" for number in numbers}
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    assert registry.get_sample_value("counted_total") == 8


def test_without_a_folder_nothing_is_changed():
    env = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    subprocess.run([sys.executable, "-c", UNCHANGED], env=env, check=True)
