"""Test accuracy by epoch of several runs of `onebit train`, as one picture (needs matplotlib).

    python scripts/curves.py curves.png runs/a/metrics.csv runs/b/metrics.csv ...

A curve has the name of its file's folder, or of the file where that is not `metrics.csv`.
"""

import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: curves.py PICTURE METRICS.csv...")
    picture, runs = sys.argv[1], [Path(run) for run in sys.argv[2:]]
    figure, axes = plt.subplots(figsize=(8, 5))
    for run in runs:
        with open(run, newline="") as file:
            rows = list(csv.DictReader(file))
        epochs = [int(row["epoch"]) for row in rows]
        accuracy = [100 * float(row["test_top1"]) for row in rows]
        name = run.parent.name if run.name == "metrics.csv" else run.stem
        axes.plot(epochs, accuracy, marker="o", label=f"{name}, {accuracy[-1]:.2f}% at the end")
    axes.set_xlabel("epoch")
    axes.set_ylabel("top-1 on the test split, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main()
