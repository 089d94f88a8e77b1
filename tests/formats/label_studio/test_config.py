import base64
import re
from functools import partial
from xml.etree import ElementTree

import pytest

from labelkit.domain.colours import keypoint_colours
from labelkit.domain.skeleton import load_skeleton, make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.label_studio.config import (
    ALL_CHOICE,
    CORRECTING,
    CORRECTING_ONE,
    NOTHING_CHOICE,
    VISIBILITY_HOTKEYS,
    correction_config,
    sides,
    visibility_config,
)
from labelkit.formats.label_studio.picture import skeleton_picture
from labelkit.formats.label_studio.project import (
    TITLE_CHARACTERS,
    instructions,
    lacks,
    marker,
    may_replace,
    project_fields,
)

MOUSE = make_skeleton("mouse", ("nose", "left_ear", "right_ear"))
HOSTILE = make_skeleton("x", ('<Label value="a"/>', "&amp;'", "näse 鼻", "two\nlines", "a, b"))


TAGS = {visibility_config: "Choice", correction_config: "Label"}

#: Both screens for tasks with boxes, and both for tasks about one object.
SCREENS = [
    pytest.param(partial(config, one_object=one_object), id=f"{config.__name__}-{one_object}")
    for config in TAGS
    for one_object in (False, True)
]


def names(config, skeleton):
    """What annotators read, from top to bottom, and its hotkeys."""
    root = ElementTree.fromstring(config(skeleton))
    control = root.find(".//KeyPointLabels" if config is correction_config else ".//Choices")
    return [(e.get("value"), e.get("hotkey")) for e in control.iter(TAGS[config])]


@pytest.mark.parametrize("config", [visibility_config, correction_config])
@pytest.mark.parametrize("skeleton", [MOUSE, HOSTILE, load_skeleton("coco17")])
def test_every_keypoint_is_in_the_configuration_by_its_exact_name(config, skeleton):
    extra = [] if config is correction_config else [ALL_CHOICE, NOTHING_CHOICE]
    values = [value for value, _ in names(config, skeleton)]
    assert sorted(values) == sorted([*skeleton.keypoints, *extra])


def test_keypoints_are_listed_by_side_with_partners_at_the_same_place():
    skeleton = make_skeleton("x", ("right_ear", "nose", "left_eye", "left_ear", "right_eye"))
    assert sides(skeleton) == [("Left", [3, 2]), ("Right", [0, 4]), ("Middle", [1])]
    assert sides(make_skeleton("x", ("b", "a"))) == [("Keypoints", [0, 1])]
    both = make_skeleton("x", ("left_ear", "right_ear"))
    assert sides(both) == [("Left", [0]), ("Right", [1])]


@pytest.mark.parametrize("config", [visibility_config, correction_config])
def test_names_are_below_the_name_of_their_side(config):
    root = ElementTree.fromstring(config(MOUSE))
    found = [
        (group.find("Header").get("value"), [e.get("value") for e in group.iter(TAGS[config])])
        for group in root.iter("View")
        if "labelkit-side" in (group.get("className") or "")
    ]
    assert found == [("Left", ["left_ear"]), ("Right", ["right_ear"]), ("Middle", ["nose"])]


@pytest.mark.parametrize("config", SCREENS)
def test_no_two_hotkeys_are_the_same(config):
    many = make_skeleton("many", [f"k{n}" for n in range(60)])
    root = ElementTree.fromstring(config(many))
    keys = [e.get("hotkey") for e in root.iter() if e.get("hotkey")]
    assert len(keys) == len(set(keys)) > 40
    # Label Studio's own: pan, key point, rectangle, unselect, move; fit and actual size.
    assert not {"h", "k", "r", "u", "v", "⇧+1", "⇧+2", "⇧+r"}.intersection(keys)


@pytest.mark.parametrize("config", [visibility_config, correction_config])
def test_every_one_of_33_keypoints_has_a_hotkey_in_the_order_of_the_screen(config):
    pairs = [f"{side}_{part}" for part in range(16) for side in ("left", "right")]
    listed = names(config, make_skeleton("x", ("nose", *pairs)))
    found = [key for value, key in listed if value not in (ALL_CHOICE, NOTHING_CHOICE)]
    assert found[:3] == ["1", "2", "3"]
    assert found[24:33] == ["e", "o", "b", "⇧+q", "⇧+w", "⇧+t", "⇧+y", "⇧+i", "⇧+p"]


def test_many_keypoints_get_a_wider_panel_and_few_do_not():
    for count, wide in ((17, False), (18, True)):
        config = correction_config(make_skeleton("x", [f"k{n}" for n in range(count)]))
        assert ("labelkit-panel labelkit-wide" in config) == wide


@pytest.mark.parametrize("config", [visibility_config, correction_config])
def test_what_label_studio_hides_stays_hidden(config):
    # A tick without a selected box would be lost.
    style = ElementTree.fromstring(config(MOUSE)).find("Style").text
    assert ".lsf-choices_hidden {display: none !important}" in style


def test_the_visibility_choices_are_above_the_names_where_they_stay_on_the_screen():
    panel = ElementTree.fromstring(correction_config(load_skeleton("coco17")))[2]
    tags = [e.tag for e in panel.iter() if e.tag in ("Choices", "KeyPointLabels")]
    assert tags == ["Choices", "KeyPointLabels"]


@pytest.mark.parametrize("kind", ["visibility", "correction"])
def test_instructions_name_the_keypoints_by_side_and_are_harmless_html(kind):
    text = instructions(MOUSE, kind)
    assert "<li><b>Left:</b> left_ear</li><li><b>Right:</b> right_ear</li>" in text
    assert "Left and right" in text
    text = instructions(HOSTILE, kind)
    assert "&lt;Label value=&quot;a&quot;/&gt;" in text
    assert "Left and right" not in text
    ElementTree.fromstring(f"<div>{text.replace('<br>', '<br/>')}</div>")


def test_instructions_that_no_one_changed_are_recognised():
    text = instructions(MOUSE, "correction")
    assert may_replace(text)
    assert not may_replace(text.replace("<b>Drag</b>", "<b>Move</b>"))
    assert not may_replace(f"{text} Ask Anna.")
    assert not may_replace("")
    assert not may_replace("<div>Written by hand, or by an earlier version.</div>")


def test_instructions_name_the_hotkeys_of_the_screen():
    text = instructions(MOUSE, "correction")
    assert all(f"<b>{name}</b> ({key}):" in text for name, key in VISIBILITY_HOTKEYS.items())


@pytest.mark.parametrize("config", SCREENS)
def test_missing_parts_of_an_interface_are_found_however_it_is_arranged(config):
    ours = config(MOUSE)
    flat = ElementTree.fromstring(ours)
    for control in [*flat.iter("Choices"), *flat.iter("KeyPointLabels")]:
        items = [e for e in control.iter() if e.tag in ("Label", "Choice")]
        for child in list(control):
            control.remove(child)
        control.extend(items)
    flat = ElementTree.tostring(flat, encoding="unicode")
    assert lacks(flat, ours) == []
    broken = ours.replace('value="nose"', 'value="beak"')
    assert [part.rpartition(" ")[2] for part in lacks(broken, ours)] == ["nose"]
    assert len(lacks("no XML", ours)) > 4


def test_a_project_that_an_earlier_version_made_is_recognised():
    fields = project_fields("frames" * 20, "0f3a", "correction", MOUSE)
    assert marker("0f3a", "correction") == "[labelkit 0f3a correction]"
    assert marker("0f3a", "correction") in fields["description"]
    assert len(fields["title"]) == TITLE_CHARACTERS
    assert (NOTHING_CHOICE, *VISIBILITY_HOTKEYS) == (
        "(none of them)",
        "Visible",
        "Occluded",
        "Absent",
    )
    ours = correction_config(MOUSE)
    assert CORRECTING in ours
    assert lacks(ours.replace(CORRECTING, "Other instructions"), ours) == []


@pytest.mark.parametrize("config", [visibility_config, correction_config])
def test_choices_are_next_to_the_image(config):
    root = ElementTree.fromstring(config(MOUSE))
    assert "display:flex" in root.get("style")
    assert [child.tag for child in root] == ["Style", "View", "View"]
    assert root[1].find("Image") is not None
    assert root[2].find(".//Choices").get("perRegion") == "true"


@pytest.mark.parametrize("config", SCREENS)
def test_the_image_leaves_room_for_the_toolbar(config):
    image = ElementTree.fromstring(config(MOUSE)).find(".//Image")
    assert image.get("maxWidth") == "calc(100% - 50px)"


def test_the_screen_tells_how_to_add_a_keypoint_inside_a_box():
    header = ElementTree.fromstring(correction_config(MOUSE)).find(".//Header")
    assert "Ctrl+click" in header.get("value")


@pytest.mark.parametrize("name", ["$image", "a\x00b", ALL_CHOICE, NOTHING_CHOICE])
def test_a_name_that_label_studio_cannot_show_is_refused(name):
    with pytest.raises(FormatError, match=re.escape(repr(name))):
        correction_config(make_skeleton("x", (name,)))


def test_every_label_has_the_colour_that_its_keypoint_has_everywhere():
    labels = (
        ElementTree.fromstring(correction_config(MOUSE)).find(".//KeyPointLabels").iter("Label")
    )
    found = {label.get("value"): label.get("background") for label in labels}
    assert found == dict(zip(MOUSE.keypoints, keypoint_colours(MOUSE), strict=True))


def test_all_and_none_are_ticked_with_one_key_each():
    for one_object in (False, True):
        root = ElementTree.fromstring(visibility_config(MOUSE, one_object=one_object))
        keys = {e.get("value"): e.get("hotkey") for e in root.iter("Choice")}
        assert (keys[ALL_CHOICE], keys[NOTHING_CHOICE]) == ("a", "n")


def test_an_interface_of_an_earlier_version_without_the_short_cut_lacks_nothing():
    ours = visibility_config(MOUSE)
    earlier = re.sub(r'<Choice value="\(all of them\)".*?/>', "", ours)
    assert ALL_CHOICE not in earlier.partition("<Choices")[2]
    assert lacks(earlier, ours) == []


def test_tasks_about_one_object_have_no_box_to_select_or_delete():
    for config in (visibility_config, correction_config):
        root = ElementTree.fromstring(config(MOUSE, one_object=True))
        assert list(root.iter("RectangleLabels")) == []
        assert list(ElementTree.fromstring(config(MOUSE)).iter("RectangleLabels")) != []
    choices = ElementTree.fromstring(visibility_config(MOUSE, one_object=True)).find(".//Choices")
    assert (choices.get("perRegion"), choices.get("required")) == (None, "true")
    assert "Ctrl" not in CORRECTING_ONE


@pytest.mark.parametrize("config", SCREENS)
def test_the_description_of_a_keypoint_is_the_hint_of_its_label(config):
    described = make_skeleton("m", MOUSE.keypoints, descriptions={"nose": 'its "tip"'})
    root = ElementTree.fromstring(config(described))
    hints = {e.get("value"): e.get("hint") for e in root.iter() if e.get("hotkey")}
    assert (hints["nose"], hints["left_ear"]) == ('its "tip"', None)


@pytest.mark.parametrize("kind", ["visibility", "correction", "visibility/one", "correction/one"])
def test_instructions_describe_keypoints_and_show_the_skeleton(kind):
    described = make_skeleton("m", MOUSE.keypoints, descriptions={"nose": "its <tip>"})
    text = instructions(described, kind, [(0, 0), (1, 1), (2, 1)])
    assert "<li><b>nose</b>: its &lt;tip&gt;</li>" in text
    (coded,) = re.findall(r'url\("data:image/svg\+xml;base64,(.*?)"\)', text)
    svg = ElementTree.fromstring(base64.b64decode(coded))
    assert sorted(e.text for e in svg.iter() if e.tag.endswith("text")) == sorted(MOUSE.keypoints)
    colours = {e.get("fill") for e in svg.iter() if e.tag.endswith("circle")}
    assert colours == set(keypoint_colours(MOUSE))
    assert ("Skip" in text) == kind.endswith("/one")


def test_the_picture_of_a_skeleton_keeps_its_proportions_and_names_from_left_to_right():
    fish = make_skeleton("fish", ("tail", "eye", "fin"))
    svg, (width, height) = skeleton_picture(fish, [(480, 50), (0, 50), (240, 0)])
    dots = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("circle")]
    xy = [(float(e.get("cx")), float(e.get("cy"))) for e in dots]
    # 480 units are 340 pixels, between two columns of 140; 50 units are 35.4 pixels.
    assert (width, height) == (620, 49)
    assert [x for x, _ in xy] == [480.0, 140.0, 310.0]
    assert xy[0][1] - xy[2][1] == pytest.approx(35.4, abs=0.1)


def test_a_skeleton_of_one_keypoint_has_a_picture_too():
    svg, _ = skeleton_picture(make_skeleton("x", ("a",)), [(3, 3)])
    assert '="nan"' not in svg
