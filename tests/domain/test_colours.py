import pytest
from builders import stick_skeleton

from labelkit.domain.colours import keypoint_colours, rgb_of
from labelkit.domain.skeleton import load_skeleton, make_skeleton


@pytest.mark.parametrize("name", ["coco17", "lsp14"])
def test_left_keypoints_are_blue_right_ones_red_and_the_others_green(name):
    skeleton = load_skeleton(name)
    rgb = [rgb_of(colour) for colour in keypoint_colours(skeleton)]
    for left, right in skeleton.pairs:
        assert max(rgb[left]) == rgb[left][2]
        assert max(rgb[right]) == rgb[right][0]
    sides = {k for pair in skeleton.pairs for k in pair}
    assert all(max(rgb[k]) == rgb[k][1] for k in range(len(skeleton)) if k not in sides)


@pytest.mark.parametrize("name", ["coco17", "crowdpose14", "mpii16", "lsp14"])
def test_every_keypoint_has_its_own_colour(name):
    colours = keypoint_colours(load_skeleton(name))
    assert len(set(colours)) == len(colours)


def test_the_first_pair_is_dark_cyan_and_dark_red():
    # Lightness .42, saturation .9: from .042 to .798, which are 0b and cb; hue 190 is a sixth of
    # the way from cyan to blue, so green is .798 - .756 / 6 = .672, ab.
    _, left, right, _ = keypoint_colours(stick_skeleton())
    assert (left, right) == ("#0babcb", "#cb0b0b")


def test_a_skeleton_without_pairs_has_colours_too():
    assert len(set(keypoint_colours(make_skeleton("x", ("a", "b", "c"), pairs=[])))) == 3


def test_a_hex_colour_is_read_back():
    assert rgb_of("#d633ff") == (214, 51, 255)
