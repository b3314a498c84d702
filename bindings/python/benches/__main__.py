"""What the wheel weighs, how long importing it takes, and what a call costs over the Rust call: `python -m benches WHEEL`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onebit

TINY = Path(__file__).parents[3] / "crates/onebit-model/tests/file/tiny.onebit"
IMPORT = """
import time, numpy
start = time.perf_counter()
import onebit
print(time.perf_counter() - start)
"""


def import_seconds() -> float:
    """Median of 9 processes, without NumPy's own import."""
    runs = [subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True) for _ in range(9)]
    return statistics.median(float(run.stdout) for run in runs)


def call_seconds() -> float:
    """Least of 9 means of 2,000 calls for a network of 8 pixels, which Rust runs in less than a microsecond."""
    model = onebit.load(TINY)
    image = np.ones((1, 2, 2, 2), np.float32)
    model.run(image)

    def mean() -> float:
        start = time.perf_counter()
        for _ in range(2000):
            model.run(image)
        return (time.perf_counter() - start) / 2000

    return min(mean() for _ in range(9))


def main() -> None:
    """Prints the figures."""
    wheel = Path(sys.argv[1])
    print(f"wheel         {wheel.stat().st_size / 1e6:.2f} MB ({wheel.name})")
    print(f"import        {import_seconds() * 1e3:.1f} ms, without NumPy")
    print(f"one run       at most {call_seconds() * 1e6:.1f} microseconds over the Rust call (a network of 8 pixels)")


if __name__ == "__main__":
    main()
