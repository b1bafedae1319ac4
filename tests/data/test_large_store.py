"""A store of 50 GB is read in little memory; the file is sparse, so that any disk holds it."""

import subprocess
import sys
from pathlib import Path

import pytest

RUNS = Path(__file__).resolve().parents[2] / "runs"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_random_frames_of_fifty_gigabytes_in_under_four(tmp_path):
    words = [sys.executable, str(RUNS / "large_store.py"), str(tmp_path / "store"), "50", "0.5"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rates = [float(line.split(": ")[1].split()[0]) for line in done.stdout.splitlines()[1:]]
    assert "50.0 GB" in done.stdout and len(rates) == 3 and min(rates) > 100
