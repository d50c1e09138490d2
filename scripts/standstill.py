"""How often this machine's processors stand still, which no program on it can help.

    python scripts/standstill.py [seconds=4]

A virtual machine's processors are taken away now and then by those who share the host; the guest cannot see that but in
work that takes longer than it should. One thread per processor counts; a stretch of counting that takes
``STANDSTILL_MS`` longer than the usual one is a standstill. Whatever was being answered then is late by as much: with
32 requests under way and 10,000 answered in a second, three standstills a second already are one request in a hundred.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.words import options_of

STANDSTILL_MS = 4.0
_COUNTED = 20_000
"""Additions of one stretch: half a millisecond or so, short beside a standstill."""


@dataclass(frozen=True)
class Standstills:
    """What was seen.

    Attributes:
        per_second: Of one processor.
        longest: In ms.
    """

    per_second: float
    longest: float

    def __str__(self) -> str:
        return (
            f"a processor of this machine stood still for {STANDSTILL_MS:.0f} ms or more {self.per_second:.1f} times "
            f"a second, for {self.longest:.0f} ms at most"
        )


def count(seconds: float) -> list[float]:
    """Return how many ms longer than usual each stretch took."""
    taken, end = [], time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        number = 0
        for each in range(_COUNTED):
            number += each
        taken.append((time.perf_counter() - begun) * 1e3)
    usual = statistics.median(taken)
    return [each - usual for each in taken]


def standstills(seconds: float = 1.0) -> Standstills:
    """Let every processor count at once, and say how often one stood still; run it while nothing else runs."""
    cores = sorted(os.sched_getaffinity(0))
    command = [sys.executable, __file__, f"count={seconds}"]
    running = [subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.PIPE) for core in cores]
    late = [float(word) for process in running for word in process.communicate()[0].split()]
    long = [each for each in late if each >= STANDSTILL_MS]
    return Standstills(len(long) / seconds / len(cores), max(late, default=0.0))


def main(words: list[str]) -> int:
    """Measure and print."""
    if words and words[0].startswith("count="):  # called by itself, on each processor
        print(*count(float(words[0].removeprefix("count="))))
    else:
        print(standstills(float(options_of(words, {"seconds": "4"}, __doc__)["seconds"])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
