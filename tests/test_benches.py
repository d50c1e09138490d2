"""Benchmarks that compare with another's result run, and find the same; how fast they are is not asked here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def run(checkout, script: str, *words: str) -> str:
    """Run a script with few rows and return what it prints; it must end well."""
    command = [sys.executable, str(checkout / "scripts" / script), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_columns_from_events_are_those_of_plain_python(checkout, tmp_path):
    said = run(checkout, "bench_events.py", "events=20000", "sample=20", f"folder={tmp_path}")
    compared = re.search(r"([\d,]+) values of 20 customers compared with plain Python: 0 differ", said)
    assert compared is not None and int(compared[1].replace(",", "")) == 20 * 46


def test_prepared_customers_are_those_of_scikit_learn(checkout, tmp_path):
    said = run(checkout, "bench_preparation.py", "parts=peer", "rows=20000", "repeats=1", f"folder={tmp_path}")
    parted = re.search(r"mean squares of the (\d+) columns: (\S+)", said)
    assert parted is not None and int(parted[1]) > 30 and float(parted[2]) < 1e-6


def test_every_size_is_prepared(checkout, tmp_path):
    said = run(checkout, "bench_preparation.py", "parts=size", "sizes=2000,4000", f"folder={tmp_path}")
    assert re.search(r"2,000 .*\n.* 4,000 ", said), said
    assert not list(tmp_path.glob("prepared_*"))


def test_standstills_of_the_machine_are_counted(checkout):
    said = run(checkout, "standstill.py", "seconds=0.2")
    assert re.fullmatch(r"a processor of this machine stood still for 4 ms or more \d+\.\d times a second, .*\n", said)
