import copy
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import UNKNOWN, Pose, human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.coco import CocoFile, coco_text, read_boxes, read_coco, write_coco

HOSTILE = make_skeleton("<b>&\"'", ("<script>", 'a "b"', "näse 鼻\n", "&amp;"), [(0, 3)])


def document():
    """Two images; a person with a nose seen and a tail hidden, and a crowd."""
    return {
        "images": [
            {"id": 7, "file_name": "a/1.jpg", "width": 100, "height": 50},
            {"id": 8, "file_name": "b\\2.jpg"},
        ],
        "categories": [{"id": 3, "name": "mouse", "keypoints": ["nose", "tail"]}],
        "annotations": [
            {
                "id": 41,
                "image_id": 7,
                "category_id": 3,
                "bbox": [10, 5, 20.5, 30],
                "area": 400.25,
                "keypoints": [12.125, 6, 2, 30, 35, 1],
                "iscrowd": 0,
            },
            {"id": "x", "image_id": 8, "category_id": 3, "iscrowd": 1},
        ],
    }


def instance(image: Image, ordinal: int, box: Box, area: float) -> Instance:
    return Instance(image, ordinal, box, "given", area)


def only(file: CocoFile) -> Annotation:
    (annotation,) = file.annotations
    return annotation


def test_every_field_of_an_annotation_is_read():
    file = read_coco(document(), "f.json")
    first, second = file.annotations
    assert (first.image_path, first.reference) == ("a/1.jpg", "41")
    assert first.box == Box(10, 5, 20.5, 30)
    assert first.area == 400.25
    assert first.pose == human_pose([[12.125, 6], [30, 35]], [2, 1])
    assert not first.iscrowd
    assert (second.image_path, second.reference, second.box, second.area) == (
        "b/2.jpg",
        "x",
        None,
        None,
    )
    assert second.pose == human_pose([[0, 0], [0, 0]], [0, 0])
    assert second.iscrowd
    assert file.image_sizes == {"a/1.jpg": (100, 50)}
    assert file.skeleton == make_skeleton("mouse", ("nose", "tail"))
    assert file.image_paths == ("a/1.jpg", "b/2.jpg")
    assert [item.category for item in file.annotations] == ["mouse", "mouse"]
    assert file.notes == ()


def test_annotations_of_categories_without_keypoints_are_counted_by_name():
    text = document()
    text["categories"] += [{"id": 4, "name": "cage"}, {"id": 5, "name": "wheel"}]
    for number, category in enumerate([4, 4, 5]):
        row = {"id": number, "image_id": 7, "category_id": category, "bbox": [0, 0, 1, 1]}
        text["annotations"].append(row)
    file = read_coco(text, "f.json")
    assert len(file.annotations) == 2
    (note,) = file.notes
    assert "3 annotations of f.json" in note
    assert "2 x cage, 1 x wheel" in note


def test_what_is_wrong_with_an_annotation_of_another_category_stops_no_one():
    text = document()
    text["categories"].append({"id": 4, "name": "cage"})
    text["annotations"].append({"id": 1, "image_id": 7, "category_id": 4, "bbox": [], "area": "?"})
    assert "1 x cage" in read_coco(text, "f.json").notes[0]


def edited(*path_and_value):
    *path, value = path_and_value
    text = copy.deepcopy(document())
    target = text
    for key in path[:-1]:
        target = target[key]
    if value is KeyError:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ([], ["list"]),
        ({}, ["'images'"]),
        (edited("images", {}), ["'images'"]),
        (edited("annotations", []), ["annotations"]),
        (edited("annotations", [3]), ["'annotations'"]),
        (edited("annotations", 0, "image_id", 9), ["annotation 41", "image 9"]),
        (edited("annotations", 0, "category_id", 9), ["annotation 41", "category 9"]),
        (edited("annotations", 1, "id", 41), ["annotation 41", "id"]),
        (edited("annotations", 1, "id", KeyError), ["annotation number 2", "id"]),
        (edited("images", 1, "id", 7), ["images", "id 7"]),
        (edited("images", 0, "file_name", KeyError), ["image 7", "file_name"]),
        (edited("annotations", 0, "bbox", [9, 9, -4, 5]), ["annotation 41", "[9.0, 9.0, -4.0"]),
        (edited("annotations", 0, "bbox", [0, 0, 5]), ["annotation 41", "bbox", "[0.0, 0.0, 5.0]"]),
        (edited("annotations", 0, "bbox", [0, 0, math.inf, 5]), ["annotation 41", "bbox", "inf"]),
        (edited("annotations", 0, "area", math.nan), ["annotation 41", "area", "nan"]),
        (edited("annotations", 0, "area", -1), ["annotation 41", "area", "-1.0"]),
        (edited("annotations", 0, "keypoints", [1, 2, 2]), ["annotation 41", " 3 ", " 6"]),
        (edited("annotations", 0, "keypoints", 0, math.nan), ["annotation 41", "keypoints", "nan"]),
        (edited("annotations", 0, "keypoints", 0, "12"), ["annotation 41", "keypoints", "'12'"]),
        (edited("annotations", 0, "keypoints", 0, 10**400), ["annotation 41", "keypoints"]),
        (edited("annotations", 0, "keypoints", 2, 3), ["annotation 41", "3"]),
        (edited("categories", 0, "keypoints", []), ["2 keypoints", "names"]),
        (edited("categories", 0, "keypoints", "nose"), ["'mouse'", "keypoints"]),
        (
            edited("categories", 0, "labelkit", {"pairs": [["nose", "ear"]]}),
            ["'mouse'", "labelkit"],
        ),
    ],
)
def test_wrong_content_is_one_error_that_names_the_item(text, named):
    with pytest.raises(FormatError) as caught:
        read_coco(text, "f.json")
    assert caught.value.problem.startswith("f.json")
    assert [part for part in named if part not in caught.value.problem] == []
    assert caught.value.next_step


def test_a_point_on_the_border_of_its_image_is_inside():
    file = read_coco(edited("annotations", 0, "keypoints", [100, 50, 2, 0, 0, 1]), "f.json")
    assert file.annotations[0].pose.xy.tolist() == [[100, 50], [0, 0]]


def test_an_absent_point_may_hold_any_number():
    file = read_coco(edited("annotations", 0, "keypoints", [-7, 900, 0, 0, 0, 1]), "f.json")
    assert file.annotations[0].pose.visibility.tolist() == [0, 1]


def test_categories_with_different_keypoints_are_refused_by_name():
    text = document()
    text["categories"].append({"id": 4, "name": "rat", "keypoints": ["nose"]})
    with pytest.raises(FormatError, match="'mouse', 'rat'"):
        read_coco(text, "f.json")


def test_boxes_are_read_without_keypoints():
    text = document()
    del text["categories"][0]["keypoints"]
    text["annotations"][1]["bbox"] = [0, 0, 2, 3]
    file = read_boxes(text, "f.json")
    first, second = file.annotations
    assert (first.box, first.area, len(first.pose)) == (Box(10, 5, 20.5, 30), 400.25, 0)
    assert second.box == Box(0, 0, 2, 3)
    assert (file.image_sizes, file.notes) == ({"a/1.jpg": (100, 50)}, ())


def test_a_box_without_area_is_left_out_of_boxes_and_counted():
    text = document()
    text["annotations"][1]["bbox"] = [4, 4, 0, 3]
    file = read_boxes(text, "f.json")
    assert [item.reference for item in file.annotations] == ["41"]
    assert "1 annotation of f.json" in file.notes[0]


def test_a_box_without_area_beside_keypoints_stays_one_that_no_one_drew():
    file = read_coco(edited("annotations", 0, "bbox", [12, 6, 18, 0]), "f.json")
    assert file.annotations[0].box == Box(12, 6, 18, 0)
    assert file.annotations[0].pose.present.all()


def test_an_annotation_with_neither_box_nor_keypoint_is_left_out_and_counted():
    text = document()
    text["annotations"] += [
        {"id": 1, "image_id": 8, "category_id": 3, "keypoints": [0] * 6},
        {"id": 2, "image_id": 8, "category_id": 3, "bbox": [5, 5, 0, 0]},
        {"id": 3, "image_id": 8, "category_id": 3, "bbox": [5, 5, 1, 1], "keypoints": [0] * 6},
    ]
    file = read_coco(text, "f.json")
    assert [item.reference for item in file.annotations] == ["41", "x", "3"]
    assert "2 annotations of f.json" in file.notes[0]


def test_the_sizes_of_images_are_read_as_far_as_they_are_given():
    text = document()
    text["images"] += [
        {"id": 1, "file_name": "float.jpg", "width": 640.0, "height": 480.0},
        {"id": 2, "file_name": "zero.jpg", "width": 0, "height": 0},
        {"id": 3, "file_name": "half.jpg", "width": 640, "height": None},
    ]
    assert read_coco(text, "f.json").image_sizes == {
        "a/1.jpg": (100, 50),
        "float.jpg": (640, 480),
        "half.jpg": (640, 0),
    }


def test_boxes_of_several_categories_or_without_bbox_are_refused():
    with pytest.raises(FormatError, match=r"annotation x .*bbox"):
        read_boxes(document(), "f.json")
    text = document()
    text["categories"].append({"id": 4, "name": "cage"})
    text["annotations"][1]["category_id"] = 4
    with pytest.raises(FormatError, match="'mouse', 'cage'"):
        read_boxes(text, "f.json")


def test_boxes_of_categories_with_the_same_keypoints_are_objects_of_one_project():
    text = document()
    names = text["categories"][0]["keypoints"]
    text["categories"].append({"id": 4, "name": "rat", "keypoints": names})
    for row, category in zip(text["annotations"], (text["categories"][0]["id"], 4), strict=False):
        row |= {"category_id": category, "bbox": [1, 2, 3, 4]}
    found = read_boxes(text, "f.json").annotations
    assert {item.category for item in found} == {"mouse", "rat"}


def test_category_and_individual_of_each_object_come_back_with_one_skeleton():
    skeleton = make_skeleton("animal", ("nose",))
    image, pose = Image("a.jpg", "ab" * 32, 9, 9), human_pose([[1, 1]], [2])
    named = (("jaguar", "m1"), ("antelope", ""), ("jaguar", ""), ("", ""))
    items = [
        (replace(instance(image, n, Box(n, 0, 5, 5), 25), category=what, individual=who), pose)
        for n, (what, who) in enumerate(named)
    ]
    written = write_coco(items, skeleton)
    assert [c["name"] for c in written["categories"]] == ["animal", "antelope", "jaguar"]
    assert [row["category_id"] for row in written["annotations"]] == [3, 2, 3, 1]
    back = read_coco(json.loads(json.dumps(written)), "f.json")
    assert back.skeleton == skeleton
    assert [(a.category, a.individual) for a in back.annotations] == [*named[:3], ("animal", "")]
    (only_one,) = write_coco(items[1:2], skeleton)["categories"]
    assert (only_one["id"], only_one["name"]) == (1, "antelope")


def test_a_written_annotation_worked_by_hand():
    image = Image("a.jpg", "ab" * 32, 100, 50)
    pose = human_pose([[1.5, 2.25], [9, 9]], [1, 0])
    skeleton = make_skeleton("mouse", ("nose", "tail"))
    text = write_coco([(instance(image, 0, Box(1, 2, 3, 4), 6.5), pose)], skeleton)
    (row,) = text["annotations"]
    assert row["keypoints"] == [1.5, 2.25, 1, 0.0, 0.0, 0]
    assert (row["num_keypoints"], row["area"], row["bbox"]) == (1, 6.5, [1.0, 2.0, 3.0, 4.0])
    assert row["labelkit_id"] == "abababababababab-0"
    assert row["image_id"] == text["images"][0]["id"]
    assert "score" not in row
    assert text["categories"][0]["skeleton"] == [[1, 2]]


def test_ids_do_not_depend_on_what_else_is_exported():
    skeleton = make_skeleton("m", ("nose",))
    pose = human_pose([[1, 1]], [2])
    images = [Image(f"{n}.jpg", f"{n:064x}"[::-1], 9, 9) for n in range(1, 5)]
    items = [(instance(image, 0, Box(0, 0, 5, 5), 25), pose) for image in images]
    all_rows = write_coco(items, skeleton)["annotations"]
    (last,) = write_coco(items[-1:], skeleton)["annotations"]
    assert last == all_rows[-1]
    assert len({row["id"] for row in all_rows}) == 4
    assert all(0 < row["id"] < 2**53 for row in all_rows)


def test_nothing_to_export_is_an_empty_document():
    text = write_coco([], HOSTILE)
    assert text["annotations"] == text["images"] == []
    assert "".join(coco_text([], [], HOSTILE)) == json.dumps(text, ensure_ascii=False)


@st.composite
def poses(draw, count):
    point = st.tuples(st.floats(0, 640), st.floats(0, 480))
    xy = draw(st.lists(point, min_size=count, max_size=count))
    visibility = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    score = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    return Pose(np.array(xy), np.array(visibility), np.array(score))


@given(poses(len(HOSTILE)), st.floats(1e-3, 1e6))
def test_no_digit_is_lost_on_the_way_out_and_in(pose, area):
    image = Image("ö/<&>.jpg", "0f" * 32, 640, 480)
    box = Box(0.1, 0.2, 100 / 3, 200 / 7)
    written = write_coco([(instance(image, 2, box, area), pose)], HOSTILE, scores=True)
    both = [instance(image, 2, box, area)] * 2
    text = "".join(coco_text(both, [pose] * 2, HOSTILE, scores=True))
    twice = write_coco([(instance(image, 2, box, area), pose)] * 2, HOSTILE, scores=True)
    assert text == json.dumps(twice, ensure_ascii=False)
    file = read_coco(json.loads(json.dumps(written)), "f.json")
    annotation = only(file)
    assert annotation.pose == pose
    assert annotation.box == box
    assert annotation.area == area
    assert annotation.image_path == "ö/<&>.jpg"
    assert file.skeleton == HOSTILE
    assert file.image_sizes == {"ö/<&>.jpg": (640, 480)}


def test_a_skeleton_without_mirror_pairs_survives():
    skeleton = Skeleton("s", ("left_ear", "b"), ((1, 0),), (), (0.1, 0.2), ((0, 1), (0.5, 0.25)))
    image = Image("a.jpg", "0f" * 32, 9, 9)
    item = (instance(image, 0, Box(0, 0, 1, 1), 1), human_pose([[1, 1], [2, 2]], [2, 2]))
    assert read_coco(write_coco([item], skeleton), "f").skeleton == skeleton


def test_an_unknown_keypoint_is_written_as_not_labelled_and_read_back_as_unknown():
    skeleton = make_skeleton("mouse", ["nose", "tail", "wing"])
    pose = human_pose([(1.5, 2.0), (0, 0), (0, 0)], [2, 0, UNKNOWN])
    image = Image("a.png", "0" * 64, 10, 10)
    one = instance(image, 0, Box(0, 0, 10, 10), 100.0)
    row = write_coco([(one, pose)], skeleton)["annotations"][0]
    assert row["keypoints"] == [1.5, 2.0, 2, 0, 0, 0, 0, 0, 0]
    assert (row["num_keypoints"], row["labelkit_unknown"]) == (1, ["wing"])
    back = read_coco(write_coco([(one, pose)], skeleton), "k.json")
    assert only(back).pose == pose
    known = human_pose(pose.xy, [2, 0, 0])
    assert "labelkit_unknown" not in write_coco([(one, known)], skeleton)["annotations"][0]


def test_a_negative_visibility_is_no_code_of_coco():
    wrong = document()
    wrong["annotations"][0]["keypoints"][5] = -1
    with pytest.raises(FormatError, match=r"annotation 41.*-1"):
        read_coco(wrong, "k.json")
