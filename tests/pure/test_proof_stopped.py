"""A proof is told to stop before anything of it runs: what was held is heard as soon as somebody listens."""

from __future__ import annotations

import subprocess
import sys

HELD = """
import os, signal, sys
from sppruner_vllm.signals import hold, unwind_when_told
if sys.argv[1:] == ["behind"]:
    unwind_when_told()
    print("went on")
else:
    hold()
    os.kill(os.getpid(), signal.SIGTERM)
    print("held", flush=True)
    os.execv(sys.executable, [sys.executable, "-c", os.environ["PROGRAM"], "behind"])
"""


def test_a_signal_between_two_programs_is_heard_by_the_second() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELD], env={"PROGRAM": HELD, "PYTHONPATH": ":".join(sys.path)}, capture_output=True
    )
    assert (done.returncode, done.stdout) == (143, b"held\n"), done.stderr
