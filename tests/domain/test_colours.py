import itertools

import numpy as np
import pytest

from labelkit.domain.colours import LEFT, MIDDLE, RIGHT, keypoint_colours, rgb_of
from labelkit.domain.skeleton import load_skeleton, make_skeleton

#: Linear RGB as each eye sees it. Without red or green cones: Machado, Oliveira and Fernandes, "A
#: physiologically-based model for simulation of color vision deficiency", 2009, severity 1.
EYES = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}

#: From linear sRGB to CIE XYZ (IEC 61966-2-1).
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(colour, eye):
    """(3,) CIELAB of a hex colour, as an eye sees it."""
    rgb = np.array(rgb_of(colour)) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    share = XYZ @ np.clip(EYES[eye] @ linear, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(
        share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29
    ).tolist()
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one, other):
    """Colour difference, 0 equal ... 100: Sharma, Wu and Dalal, 2005."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    cos = [np.cos(np.radians(n * hue + by)) for n, by in ((1, -30), (2, 0), (3, 6), (4, -63))]
    t = 1 + np.dot(cos, [-0.17, 0.24, 0.32, -0.20])
    parts = np.array(
        [
            (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / np.sqrt(20 + (light - 50) ** 2)),
            (c2 - c1) / (1 + 0.045 * chroma),
            2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t),
        ]
    )
    slant = -np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    slant *= 2 * np.sqrt(chroma**7 / (chroma**7 + 25**7))
    return float(np.sqrt(parts @ parts + slant * parts[1] * parts[2]))


def closest(pairs, eye):
    return min(ciede2000(lab(one, eye), lab(other, eye)) for one, other in pairs)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [  # rows 1, 7, 17 and 25 of the table by Sharma, Wu and Dalal
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_the_measure_of_these_tests_is_the_published_one(one, other, difference):
    assert ciede2000(one, other) == pytest.approx(difference, abs=1e-4)


@pytest.mark.parametrize(("eye", "least"), [("normal", 16), ("protanopia", 8), ("deuteranopia", 8)])
def test_30_keypoints_without_pairs_can_be_told_apart_also_by_colour_blind_eyes(eye, least):
    colours = keypoint_colours(make_skeleton("x", [f"k{n}" for n in range(30)], pairs=[]))
    assert closest(itertools.combinations(colours, 2), eye) > least


@pytest.mark.parametrize(("eye", "least"), [("normal", 17), ("protanopia", 9), ("deuteranopia", 9)])
def test_neighbours_in_the_list_differ_more_than_any_two_have_to(eye, least):
    colours = keypoint_colours(make_skeleton("x", [f"k{n}" for n in range(30)], pairs=[]))
    near = [pair for step in (1, 2, 3) for pair in zip(colours, colours[step:], strict=False)]
    assert closest(near, eye) > least


@pytest.mark.parametrize("eye", EYES)
def test_left_and_right_are_two_families_for_every_eye(eye):
    assert closest(itertools.product(LEFT, RIGHT), eye) > 28


def test_left_keypoints_are_bluer_than_right_ones_and_partners_have_the_same_place():
    skeleton = load_skeleton("coco17")
    colours = keypoint_colours(skeleton)
    assert [colours[left] for left, _ in skeleton.pairs] == list(LEFT[:8])
    assert [colours[right] for _, right in skeleton.pairs] == list(RIGHT[:8])
    assert colours[skeleton.index("nose")] == MIDDLE[0]
    yellowness = [[lab(colour, "normal")[2] for colour in family] for family in (LEFT, RIGHT)]
    assert max(yellowness[0]) < 0 < min(yellowness[1])


@pytest.mark.parametrize("name", ["coco17", "crowdpose14", "mpii16", "lsp14"])
def test_every_keypoint_has_its_own_colour(name):
    colours = keypoint_colours(load_skeleton(name))
    assert len(set(colours)) == len(colours)


def test_with_more_keypoints_than_colours_the_same_colour_comes_again_30_later():
    colours = keypoint_colours(make_skeleton("x", [f"k{n}" for n in range(68)], pairs=[]))
    assert colours[30:] == colours[:38]


def test_a_hex_colour_is_read_back():
    assert rgb_of("#d633ff") == (214, 51, 255)
