"""Feet, face and hands of COCO-WholeBody."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import make_instance

from labelkit.domain.skeleton import load_skeleton, make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.coco import read_coco, write_coco
from labelkit.formats.coco_wholebody import PARTS

BODY = load_skeleton("coco17").keypoints


def person(**more):
    """A person whose part values count up, x = y = place in the part."""
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 90, 90]}
    row["keypoints"] = [0.5, 0.5, 2] * 17
    for part, names in PARTS.items():
        row[part] = [value for place in range(len(names)) for value in (place, place, 2)]
    return {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "person", "keypoints": list(BODY)}],
        "annotations": [{**row, **more}],
    }


def test_the_parts_have_as_many_keypoints_as_in_the_data_set():
    assert [len(names) for names in PARTS.values()] == [6, 68, 21, 21]
    names = [*BODY, *(name for names in PARTS.values() for name in names)]
    assert len(set(names)) == 133


def test_the_skeleton_chooses_the_keypoints_of_the_parts():
    skeleton = make_skeleton("man", [*BODY, "left_thumb4", "right_heel", "left_hand_root"])
    found = read_coco(person(), "f.json", skeleton)
    (one,) = found.annotations
    places = dict(zip(found.skeleton.keypoints, one.pose.xy[:, 0].tolist(), strict=True))
    assert places["left_hand_root"] == 0
    assert places["left_thumb4"] == 4
    assert places["right_heel"] == 5
    assert places["nose"] == 0.5
    assert len(places) == 20
    assert len(found.notes) == 1  # face and right hand
    assert "face_kpts" in found.notes[0]


def test_without_a_skeleton_the_body_is_read_and_the_parts_are_named():
    found = read_coco(person(), "f.json")
    assert found.skeleton.keypoints == BODY
    (note,) = found.notes
    assert all(part in note for part in PARTS)
    assert "--skeleton FILE.toml" in note


def test_a_part_that_is_not_labelled_is_absent():
    skeleton = make_skeleton("man", [*BODY, "left_heel"])
    (one,) = read_coco(person(foot_kpts=None), "f.json", skeleton).annotations
    assert one.pose.present.tolist() == [True] * 17  # no object has the part
    document = person()
    document["annotations"].append({**document["annotations"][0], "id": 2, "foot_kpts": []})
    _, other = read_coco(document, "f.json", skeleton).annotations
    assert other.pose.present.tolist() == [True] * 17 + [False]


def test_a_part_of_another_length_is_refused():
    skeleton = make_skeleton("man", [*BODY, "left_heel"])
    with pytest.raises(FormatError, match="foot_kpts"):
        read_coco(person(foot_kpts=[1, 2, 2]), "f.json", skeleton)


def test_they_come_back_from_an_export():
    skeleton = make_skeleton("man", [*BODY, *PARTS["foot_kpts"], *PARTS["face_kpts"]])
    first = read_coco(person(), "f.json", skeleton)
    (one,) = first.annotations
    written = write_coco([(make_instance(), one.pose)], first.skeleton)
    (again,) = read_coco(json.loads(json.dumps(written)), "g.json", skeleton).annotations
    assert np.array_equal(again.pose.xy, one.pose.xy)
