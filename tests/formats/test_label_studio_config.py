from xml.etree import ElementTree

import pytest

from labelkit.colours import keypoint_colours
from labelkit.errors import FormatError
from labelkit.formats.label_studio_config import (
    NOTHING_CHOICE,
    correction_config,
    visibility_config,
)
from labelkit.skeleton import load_skeleton, make_skeleton

MOUSE = make_skeleton("mouse", ("nose", "left_ear", "right_ear"))
HOSTILE = make_skeleton("x", ('<Label value="a"/>', "&amp;'", "näse 鼻", "two\nlines", "a, b"))


@pytest.mark.parametrize("config", [visibility_config, correction_config])
@pytest.mark.parametrize("skeleton", [MOUSE, HOSTILE, load_skeleton("coco17")])
def test_every_keypoint_is_in_the_configuration_by_its_exact_name(config, skeleton):
    root = ElementTree.fromstring(config(skeleton))
    tag = "KeyPointLabels/Label" if config is correction_config else "Choices/Choice"
    values = [element.get("value") for element in root.findall(f".//{tag}")]
    extra = [] if config is correction_config else [NOTHING_CHOICE]
    assert values == [*skeleton.keypoints, *extra]


@pytest.mark.parametrize("config", [visibility_config, correction_config])
def test_no_two_hotkeys_are_the_same(config):
    many = make_skeleton("many", [f"k{n}" for n in range(40)])
    root = ElementTree.fromstring(config(many))
    keys = [e.get("hotkey") for e in root.iter() if e.get("hotkey")]
    assert len(keys) == len(set(keys)) > 20


@pytest.mark.parametrize("config", [visibility_config, correction_config])
def test_choices_stand_beside_the_image(config):
    root = ElementTree.fromstring(config(MOUSE))
    assert "display:flex" in root.get("style")
    assert [child.tag for child in root] == ["Style", "View", "View"]
    assert root[1].find("Image") is not None
    assert root[2].find(".//Choices").get("perRegion") == "true"


@pytest.mark.parametrize("config", [visibility_config, correction_config])
def test_the_image_leaves_room_for_the_toolbar(config):
    image = ElementTree.fromstring(config(MOUSE)).find(".//Image")
    assert image.get("maxWidth") == "calc(100% - 50px)"


def test_it_is_said_how_to_add_a_keypoint_inside_a_box():
    header = ElementTree.fromstring(correction_config(MOUSE)).find(".//Header")
    assert "Ctrl+click" in header.get("value")


@pytest.mark.parametrize("name", ["$image", "a\x00b", NOTHING_CHOICE])
def test_a_name_that_label_studio_cannot_show_is_refused(name):
    with pytest.raises(FormatError, match="cannot show a keypoint named"):
        correction_config(make_skeleton("x", (name,)))


def test_every_label_has_the_colour_that_its_keypoint_has_everywhere():
    labels = ElementTree.fromstring(correction_config(MOUSE)).findall(".//KeyPointLabels/Label")
    assert [label.get("background") for label in labels] == keypoint_colours(MOUSE)
