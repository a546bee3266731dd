"""The small form of s1-strategies: its time undisturbed, and the same table after three kills.

python -m pytest tests/benchmarks/test_studies.py -m benchmark -s

About an hour on two cores. SSLZOO_STUDIES=FOLDER keeps both studies there.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [
    sys.executable,
    "-c",
    "from fusion.commands import app; app()",
    "study",
    "run",
    "s1-strategies",
    "--small",
]
PAUSES = (100, 200, 300)  # seconds until each kill


def table(folder):
    """The rows of the CSV without what a clock says."""
    with (folder / "results.csv").open() as stream:
        return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in csv.DictReader(stream)]


def start(folder):
    arguments = [*COMMAND, "--jobs", "2", "--output", str(folder)]
    return subprocess.Popen(arguments, start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.benchmark
def test_three_kills_change_nothing(tmp_path):
    place = Path(os.environ.get("SSLZOO_STUDIES", tmp_path))
    started = time.monotonic()
    assert start(place / "undisturbed").wait() == 0
    print(f"\nundisturbed: {(time.monotonic() - started) / 60:.1f} min")
    for pause in PAUSES:
        process = start(place / "killed")
        time.sleep(pause)
        os.killpg(process.pid, signal.SIGKILL)
        print(f"killed with {len(list((place / 'killed' / 'cells').glob('*.json')))} cells there")
    assert start(place / "killed").wait() == 0
    assert table(place / "killed") == table(place / "undisturbed")
