"""How long `fusion demo` takes, without a network. Not part of the suite: a time is no assertion.

python -m pytest tests/benchmarks -m benchmark -s
"""

import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

# Any connection ends the run: nothing of the demo may need one.
SCRIPT = """
import sys
def refuse(event, arguments):
    if event == "socket.connect":
        raise SystemExit(f"the demo asked for {arguments}")
sys.addaudithook(refuse)
sys.argv = ["fusion", "demo", sys.argv[1]]
from fusion.commands import app
app()
"""


@pytest.mark.benchmark
def test_demo_offline(tmp_path):
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    seconds = time.monotonic() - started
    print(f"\nfusion demo, offline: {seconds:.0f} s, {seconds / 180:.2f} of the 3 minutes allowed on 2 cores")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "report.html").stat().st_size > 10_000
