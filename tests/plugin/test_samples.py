"""Samples are kept in a file for each process, and written when they change."""

import os
import subprocess
import sys

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

PROGRAM = """
import os

from sppruner_server.samples import spare_samples

spare_samples()

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

from sppruner_server.samples import spare_samples

before = values.ValueClass
spare_samples()
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


SAME = """
from sppruner_server.samples import spare_samples

spare_samples()

from prometheus_client import Counter, Gauge
from prometheus_client.mmap_dict import MmapedDict

written, write = [], MmapedDict.write_value
MmapedDict.write_value = lambda self, *given: written.append(given) or write(self, *given)
counted, level = Counter("counted", "Of all."), Gauge("level", "Now.", multiprocess_mode="all")
last = Gauge("last", "Set last, by whichever process.", multiprocess_mode="mostrecent")
level.set(3)
counted.inc(2)
last.set(1)
assert len(written) == 3, written
level.set(3)
counted.inc(0)
assert len(written) == 3, written
last.set(1)
assert len(written) == 4, "when it was set counts as well"
level.set(0)
level.set(3)
assert len(written) == 6, written
"""


def test_what_did_not_change_is_not_written_again(tmp_path):
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SAME], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))
    assert registry.get_sample_value("counted_total") == 2
    assert [sample.value for metric in registry.collect() for sample in metric.samples if sample.name == "level"] == [3]
