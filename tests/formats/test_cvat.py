"""CVAT's XML for images."""

from __future__ import annotations

import json
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.cvat import FILE, LABELS, read_cvat, write_cvat

#: As CVAT 2.x writes a task of two images.
TASK = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels>
    <label><name>mouse</name><type>skeleton</type><svg>
      &lt;line x1="1" y1="2" x2="3" y2="4" data-node-from="2" data-node-to="3"&gt;&lt;/line&gt;
      &lt;circle cx="1" cy="2" data-node-id="2" data-label-name="left ear"&gt;&lt;/circle&gt;
      &lt;circle cx="3" cy="4" data-node-id="3" data-label-name="tail"&gt;&lt;/circle&gt;
    </svg></label>
    <label><name>nose</name><type>points</type><parent>mouse</parent></label>
    <label><name>left ear</name><type>points</type><parent>mouse</parent></label>
    <label><name>tail</name><type>points</type><parent>mouse</parent></label>
    <label><name>cage</name><type>rectangle</type></label>
  </labels></task></meta>
  <image id="0" name="day1/a.jpg" width="640" height="480">
    <box label="cage" occluded="0" xtl="10.00" ytl="20.00" xbr="110.00" ybr="70.50" group_id="3"/>
    <skeleton label="mouse" source="manual" z_order="0" group_id="3">
      <points label="tail" source="manual" outside="0" occluded="1" points="100.25,60.50"></points>
      <points label="nose" source="manual" outside="0" occluded="0" points="12.00,22.00"></points>
      <points label="left ear" outside="1" occluded="0" points="50.00,40.00"></points>
    </skeleton>
    <polygon label="cage" points="1.0,2.0;3.0,4.0;5.0,6.0"/>
  </image>
  <image id="1" name="day1/b.jpg" width="640" height="480"/>
</annotations>
"""


def test_a_task_worked_by_hand():
    found = read_cvat(TASK, "annotations.xml")
    assert found.skeleton.keypoints == ("nose", "left ear", "tail")
    assert found.skeleton.links == ((1, 2),)
    assert found.image_paths == ("day1/a.jpg", "day1/b.jpg")
    assert found.image_sizes["day1/a.jpg"] == (640, 480)
    (one,) = found.annotations
    assert (one.image_path, one.category) == ("day1/a.jpg", "mouse")
    assert one.box == Box(10, 20, 100, 50.5)
    assert one.pose.visibility.tolist() == [2, 0, 1]
    assert one.pose.xy.tolist() == [[12, 22], [0, 0], [100.25, 60.5]]
    assert "1 x polygon" in found.notes[0]


def test_a_rectangle_of_no_group_is_no_ones_box():
    alone = TASK.replace(' group_id="3"', "")
    assert read_cvat(alone, "f").annotations[0].box is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("100.25,60.50", "100.25"), "tail"),
        (("100.25,60.50", "nan,60.50"), "tail"),
        (('label="tail" source', 'label="nose" source'), "nose"),
        (('xtl="10.00"', 'xtl="left"'), "box"),
        ((' name="day1/b.jpg"', ""), "without a name"),
        (("<version>", "<version"), "damaged"),
        (("<image id", '<track id="0"/><image id'), "video"),
    ],
)
def test_what_is_damaged_is_named_with_its_file(change, named):
    with pytest.raises(FormatError, match=named) as caught:
        read_cvat(TASK.replace(*change, 1), "annotations.xml")
    assert "annotations.xml" in caught.value.problem
    assert caught.value.next_step


def test_a_task_of_boxes_alone_leads_to_coco():
    only = "<annotations><image id='0' name='a.jpg'><box label='mouse'/></image></annotations>"
    with pytest.raises(FormatError) as caught:
        read_cvat(only, "annotations.xml")
    assert "--boxes" in caught.value.next_step


def test_the_labels_of_a_task_are_those_of_the_skeleton():
    skeleton = make_skeleton("mouse", ["nose", "tail <tip>"], [(0, 1)])
    (label,) = json.loads(write_cvat([], skeleton).texts[LABELS])
    assert (label["name"], label["type"]) == ("mouse", "skeleton")
    assert [each["name"] for each in label["sublabels"]] == ["nose", "tail <tip>"]
    assert 'data-node-from="1" data-node-to="2"' in label["svg"]
    assert 'data-label-name="tail &lt;tip&gt;"' in label["svg"]


NAMES = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=8).map(
    str.strip
)
PLACES = st.floats(-1e4, 1e4)


@st.composite
def labelled(draw):
    keypoints = draw(st.lists(NAMES.filter(bool), min_size=1, max_size=5, unique=True))
    skeleton = make_skeleton("one", keypoints, pairs=())
    items = []
    for number in range(draw(st.integers(0, 4))):
        path = f"{draw(st.sampled_from(['a', 'b & c', 'd/e']))}.png"
        image = Image(path, sha256(path.encode()).hexdigest(), 640, 480)
        box = Box(draw(PLACES), draw(PLACES), draw(st.floats(0.1, 1e3)), draw(st.floats(0.1, 1e3)))
        category = draw(st.sampled_from(["cat", "dog <1>"]))
        instance = Instance(image, number, box, "given", 1.0, category)
        visibility = draw(
            st.lists(st.sampled_from([0, 1, 2]), min_size=len(keypoints), max_size=len(keypoints))
        )
        xy = [[draw(PLACES), draw(PLACES)] for _ in keypoints]
        items.append((instance, human_pose(np.array(xy), visibility)))
    return skeleton, items


@settings(max_examples=150, deadline=None)
@given(labelled())
def test_labels_come_back_as_they_were(case):
    skeleton, items = case
    if not items:
        return
    found = read_cvat(write_cvat(items, skeleton).texts[FILE], "annotations.xml")
    assert found.skeleton.keypoints == skeleton.keypoints
    back = {each.reference: each for each in found.annotations}
    assert len(back) == len(items)
    for instance, pose in items:
        one = back[instance.id]
        assert one.image_path == instance.image.path
        assert one.box == instance.box
        assert one.category == instance.category
        assert one.pose == pose
        assert found.image_sizes[one.image_path] == (640, 480)
