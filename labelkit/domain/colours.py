"""One colour for each keypoint, the same on every screen, page and picture."""

from __future__ import annotations

import colorsys

from labelkit.domain.skeleton import Skeleton

#: First and last hue, in degrees, of left, right and centre keypoints.
HUES = {"left": (190, 260), "right": (0, 50), "centre": (90, 140)}


def keypoint_colours(skeleton: Skeleton) -> list[str]:
    """K hex colours: left keypoints blue, right ones red to orange, the others green.

    Both partners of a pair have the same lightness and the same place in their range of hues;
    neighbours differ in lightness.
    """
    places: dict[int, tuple[str, int]] = {}
    for place, (left, right) in enumerate(skeleton.pairs):
        places[left], places[right] = ("left", place), ("right", place)
    for index in range(len(skeleton)):
        places.setdefault(index, ("centre", len(places)))
    colours = []
    for index in range(len(skeleton)):
        side, place = places[index]
        first, last = HUES[side]
        hue = first + (last - first) * (place * 0.618 % 1)  # golden ratio: hues never coincide
        rgb = colorsys.hls_to_rgb(hue / 360, (0.42, 0.55, 0.66)[place % 3], 0.9)
        colours.append("#" + "".join(f"{round(255 * part):02x}" for part in rgb))
    return colours


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue in 0 ... 255 of a hex colour such as "#d633ff"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
