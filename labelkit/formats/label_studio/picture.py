"""A picture of the skeleton, as SVG: its links, and each keypoint in its colour with its name."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import numpy as np
from numpy.typing import ArrayLike

from labelkit.domain.colours import keypoint_colours
from labelkit.domain.skeleton import Skeleton

#: Largest width and height of the drawing, in pixels. At both sides of it is a column of names.
DRAWING = np.array([340.0, 300.0])
COLUMN, ROW = 140.0, 14.0


def skeleton_picture(skeleton: Skeleton, xy: ArrayLike) -> tuple[str, tuple[int, int]]:
    """The skeleton in one pose.

    Args:
        skeleton: what is drawn.
        xy: (K, 2) where its keypoints are, in any unit; y points down.

    Returns:
        SVG, and its width and height in pixels.
    """
    points = np.asarray(xy, dtype=np.float64)
    points = points - points.min(axis=0)
    points *= min(DRAWING / np.maximum(points.max(axis=0), 1e-9))
    size = points.max(axis=0)
    by_x = np.argsort(points[:, 0], kind="stable")
    columns = (by_x[: len(by_x) // 2], by_x[len(by_x) // 2 :])
    height = max(size[1] + ROW, ROW * max(map(len, columns)))
    points += (COLUMN, (height - size[1]) / 2)
    width = size[0] + 2 * COLUMN
    svg = ElementTree.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "width": f"{width:.0f}", "height": f"{height:.0f}"},
    )
    for a, b in skeleton.links:
        _line(svg, (*points[a], *points[b]), "#999", "3")
    for column, text_x, anchor in zip(
        columns, (COLUMN - 30, width - COLUMN + 30), ("end", "start"), strict=True
    ):
        names = column[np.argsort(points[column, 1], kind="stable")]
        for row, k in enumerate(names):
            y = height * (row + 0.5) / len(names)
            gap = 4 if anchor == "end" else -4
            _line(svg, (text_x + gap, y, *points[k]), "#ccc", "1")
            place = {"x": f"{text_x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
            font = {"font-family": "sans-serif", "font-size": "11", "dominant-baseline": "central"}
            ElementTree.SubElement(svg, "text", place | font).text = skeleton.keypoints[k]
    for (x, y), colour in zip(points, keypoint_colours(skeleton), strict=True):
        place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "5"}
        ElementTree.SubElement(svg, "circle", place | {"fill": colour, "stroke": "#333"})
    return ElementTree.tostring(svg, encoding="unicode"), (round(width), round(height))


def data_url(svg: str) -> str:
    """A picture as an address that holds it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _line(svg: ElementTree.Element, ends: tuple[float, ...], colour: str, width: str) -> None:
    at = {key: f"{end:.1f}" for key, end in zip(("x1", "y1", "x2", "y2"), ends, strict=True)}
    ElementTree.SubElement(svg, "line", at | {"stroke": colour, "stroke-width": width})
