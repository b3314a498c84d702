"""Draws a result of `cargo xtask bench peers`: the times of rivals and ours as bars.

    python scripts/peers/chart.py RESULT.json OUTPUT.png OUTPUT.svg
"""

import json
import sys

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams.update({"font.size": 8, "svg.hashsalt": "onebit", "svg.fonttype": "none"})
from matplotlib import pyplot

OURS, THEIRS, TEXT, LINES = "#1d4ed8", "#d97706", "#333333", "#e5e5e5"
# Inches.
WIDTH, BAR, HEADING = 9.0, 0.24, 0.62


def main():
    with open(sys.argv[1]) as file:
        report = json.load(file)
    panels = [panel for panel in report["comparisons"] if panel["measure"] == "times" and len(measured(panel)) > 1]
    if not panels:
        print("no rival was measured, so there is nothing to draw", file=sys.stderr)
        return
    heights = [HEADING + BAR * len(measured(panel)) for panel in panels]
    figure, axes = pyplot.subplots(
        len(panels),
        figsize=(WIDTH, sum(heights) + 0.5),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    figure.suptitle(f"{report['cpu']}, {report['date']}, commit {report['commit']}", color=TEXT)
    for axis, panel in zip(axes[:, 0], panels):
        draw(axis, panel)
    for output in sys.argv[2:]:
        metadata = {"Date": None} if output.endswith(".svg") else None
        figure.savefig(output, dpi=160, metadata=metadata)


def measured(comparison):
    return [row for row in comparison["rows"] if row["ms"] is not None]


def label(row):
    if row["system"].startswith("onebit"):
        return f"{row['ms']:.2f} ms"
    return f"{row['ms']:.2f} ms, {row['ratio']['median']:.2f} times ours"


def draw(axis, panel):
    rows = measured(panel)
    names = [f"{row['system']}: {row['network']}" for row in rows]
    colors = [OURS if row["system"].startswith("onebit") else THEIRS for row in rows]
    positions = range(len(rows))
    bars = axis.barh(positions, [row["ms"] for row in rows], color=colors, height=0.7)
    axis.bar_label(bars, [label(row) for row in rows], padding=3, color=TEXT)
    axis.set_yticks(positions, names, color=TEXT)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.4 * max(row["ms"] for row in rows))
    title = panel["title"] + (" (not held to it: see the tables)" if panel["notes"] else "")
    axis.set_title(title, loc="left", fontsize=9, color=TEXT)
    axis.grid(axis="x", color=LINES)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, labelcolor=TEXT)
    for side in axis.spines.values():
        side.set_visible(False)


if __name__ == "__main__":
    main()
