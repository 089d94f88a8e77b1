"""One colour for each keypoint, the same on every screen, page and picture.

The palette was searched for by exchange, so that its colours are as far apart as 30 can be. Every
two of them differ by at least 16 in CIEDE2000, and by at least 8 as an eye without red or green
cones sees them; every left colour differs from every right one by at least 28 for all three eyes.
`tests/domain/test_colours.py` measures that.
"""

from __future__ import annotations

from labelkit.domain.skeleton import Skeleton

#: Ten blues and violets, ten reds to yellows, and ten greens and greys, each the most vivid first.
LEFT, RIGHT, MIDDLE = (
    tuple(f"#{colour}" for colour in family.split())
    for family in (
        "0b91ff 0638f7 9377a3 ecd0f6 6e1098 a9bcfe 5d6dbb 324567 196b86 19a8cd",
        "fd1b02 fff24e 8b011d f78300 9e3700 feb900 ffbc8d baaa5b bf7656 837c16",
        "03d4cc 0f695e 88997b a9ffc8 84786b 26998c 575e41 f0f9f6 aca2ab 524242",
    )
)


def keypoint_colours(skeleton: Skeleton) -> list[str]:
    """K hex colours: left keypoints blue or violet, right ones red to yellow, others green or grey.

    Both partners of a pair have the same place in their families. A skeleton without pairs takes
    its colours from the three families in turn, so neighbours in the list differ most.
    """
    families = (MIDDLE,) if skeleton.pairs else (LEFT, RIGHT, MIDDLE)
    turns = [family[place] for place in range(len(MIDDLE)) for family in families]
    colours = {}
    for place, (left, right) in enumerate(skeleton.pairs):
        colours[left], colours[right] = LEFT[place % len(LEFT)], RIGHT[place % len(RIGHT)]
    middle = [k for k in range(len(skeleton)) if k not in colours]
    colours |= {k: turns[place % len(turns)] for place, k in enumerate(middle)}
    return [colours[k] for k in range(len(skeleton))]


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Red, green and blue in 0 ... 255 of a hex colour such as "#d633ff"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
