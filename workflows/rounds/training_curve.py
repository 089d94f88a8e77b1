"""A picture of how a training went: its loss, and the error on the dev set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelkit.files.atomic import atomic_path


def draw_training(record: Mapping[str, Any], path: Path) -> None:
    """Draw the loss over the steps, and beside it the dev set's median error in pixels.

    Args:
        record: of a training, see `train`; one of an earlier version has no curve and gets none.
        path: of the PNG.
    """
    from matplotlib.figure import Figure  # comes with pycocotools
    from matplotlib.ticker import MaxNLocator

    curve = record.get("curve", [])
    if not curve:
        return
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([point["step"] for point in curve], [point["loss"] for point in curve], "#4c78a8")
    axes.set_xlabel("step")
    axes.set_ylabel("loss", color="#4c78a8")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    looks = [point for point in curve if point.get("median_px") is not None]
    if looks:
        error = axes.twinx()
        error.plot(
            [p["step"] for p in looks], [p["median_px"] for p in looks], "o-", color="#e45756"
        )
        error.set_ylabel("median error on the dev set, pixels", color="#e45756")
        error.set_ylim(bottom=0)
    axes.set_title(f"Kept: {record['kept']}", fontsize="medium")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
