"""Generated scenes: many objects, whose truth is known."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image as Picture

from labelkit.domain.pose import ABSENT, OCCLUDED, VISIBLE, human_pose
from labelkit.workflows.synthetic.scenes import mosaic, robot_scene, write_scenes


def test_a_scene_has_the_robots_it_was_asked_for_and_some_of_their_joints_are_covered():
    scene = robot_scene(np.random.default_rng(0), 12, 192)
    assert len(scene.members) == 12
    seen = np.concatenate([member.pose.visibility for member in scene.members])
    assert {OCCLUDED, VISIBLE} <= set(seen.tolist())
    for member in scene.members:
        left, top, right, bottom = member.box.corners
        inside = member.pose.xy[member.pose.present]
        assert ((inside >= (left, top)) & (inside <= (right, bottom))).all()


def test_a_robot_on_top_is_never_covered():
    scene = robot_scene(np.random.default_rng(1), 5, 128)
    assert OCCLUDED not in scene.members[-1].pose.visibility


def test_what_lies_under_a_later_picture_is_absent():
    red, blue = (Picture.new("RGB", (40, 40), colour) for colour in ("red", "blue"))
    corners = human_pose([[5, 5], [35, 35], [0, 0]], [VISIBLE, VISIBLE, ABSENT])
    for seed in range(5):
        scene = mosaic(np.random.default_rng(seed), [(red, corners), (blue, corners)], 64)
        pixels = np.asarray(scene.image)
        for member, channel in zip(scene.members[::-1], (2, 0), strict=False):
            for x, y in member.pose.xy[member.pose.present].astype(int):
                assert pixels[y, x, channel] > 200
            assert member.pose.visibility[2] == ABSENT


def test_a_larger_set_begins_with_the_smaller_one(tmp_path):
    few = json.loads(write_scenes(tmp_path / "few", 2, 7, _pair).read_text())
    more = json.loads(write_scenes(tmp_path / "more", 3, 7, _pair).read_text())
    assert more["images"][:2] == few["images"]
    assert more["annotations"][: len(few["annotations"])] == few["annotations"]
    assert all(0 <= image["crowdIndex"] <= 1 for image in more["images"])


def _pair(rng):
    return robot_scene(rng, 2, 64)
