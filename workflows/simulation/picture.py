"""The picture of a simulation: accuracy over human time, a curve for each arm."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from labelkit.files.atomic import atomic_path
from labelkit.workflows.simulation.findings import Curves

#: One for each arm.
COLOURS = ("#888888", "#e45756", "#54a24b", "#4c78a8", "#b279a2", "#f58518", "#72b7b2")


def draw_curves(curves: Curves, level: float, path: Path) -> None:
    """Draw the mean over seeds, and a band from the lowest to the highest.

    Args:
        curves: by arm, one for each seed.
        level: the accuracy to reach.
        path: of the PNG.
    """
    from matplotlib.figure import Figure  # comes with pycocotools

    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for number, (arm, ones) in enumerate(curves.items()):
        colour, width = COLOURS[number], 4.5 - number / 2  # arms that are alike show beside it
        minutes = np.linspace(0, max(one.minutes[-1] for one in ones), 400)
        values = np.array([[one.at(m) for m in minutes] for one in ones])
        axes.plot(minutes, values.mean(axis=0), color=colour, linewidth=width, label=arm)
        axes.fill_between(minutes, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2)
    axes.axhline(level, color="black", linewidth=0.8, linestyle=":")
    axes.set_xlabel("human minutes")
    axes.set_ylabel("PCK@0.1 of the labels delivered")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
