"""Keypoints of other Label Studio projects: which object each belongs to, and where it lies."""

import copy
import json
from pathlib import Path

import pytest

from labelkit.domain.instance import Box
from labelkit.domain.skeleton import load_skeleton, make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.label_studio.foreign import read_foreign

FOLDER = Path(__file__).parent
FLY = make_skeleton("fly", ("head", "tail"))


def region(id_, kind, value, **more):
    return {
        "id": id_,
        "type": kind,
        "from_name": "x",
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "value": value,
        **more,
    }


def box(id_, x, y, width, height, label="fly"):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return region(id_, "rectanglelabels", value | {"rectanglelabels": [label]})


def point(id_, x, y, label="head", **more):
    return region(
        id_, "keypointlabels", {"x": x, "y": y, "width": 0.2, "keypointlabels": [label]}, **more
    )


def relation(one, other):
    return {"type": "relation", "from_id": one, "to_id": other, "direction": "right"}


def choice(id_, *words):
    return region(id_, "choices", {"x": 1, "y": 1, "width": 0.2, "choices": list(words)})


def annotated(*result, id_=11, **more):
    row = {"id": id_, "was_cancelled": False, "updated_at": "2024-01-01T00:00:00Z", **more}
    return {**row, "result": list(result)}


def export(*annotations, image="/data/local-files/?d=A%2Fimage%201.jpg"):
    return [{"id": 1, "data": {"image": image}, "annotations": list(annotations)}]


def read(*result, skeleton=FLY, **more):
    return read_foreign(export(annotated(*result, **more)), "f.json", skeleton)


def objects(*result, **more):
    """[(label, x, y) of each present keypoint] of each object, in pixels, and its box."""
    found = []
    for item in read(*result, **more).annotations:
        present = [
            (FLY.keypoints[k], *item.pose.xy[k].tolist())
            for k in range(len(FLY))
            if item.pose.present[k]
        ]
        found.append((present, item.box))
    return found


LEFT, RIGHT = box("l", 0, 0, 40, 100), box("r", 50, 0, 50, 100)
LEFT_PX, RIGHT_PX = Box(0, 0, 80, 100), Box(100, 0, 100, 100)
HEAD_L, HEAD_R = ("head", 20.0, 20.0), ("head", 120.0, 20.0)


def test_percent_become_pixels_of_the_image_that_was_shown():
    found = read(LEFT, point("p", 10, 20, parentID="l"))
    (item,) = found.annotations
    assert (item.box, item.pose.xy[0].tolist()) == (LEFT_PX, [20.0, 20.0])
    assert (item.image_path, item.reference, item.category) == ("A/image 1.jpg", "11/l", "fly")
    assert found.image_sizes == {"A/image 1.jpg": (200, 100)}
    assert found.notes == ()


def test_without_a_size_percentages_are_shares_and_one_region_tells_it_for_all():
    def unsized(item):
        return {key: value for key, value in item.items() if not key.startswith("original")}

    found = read(unsized(LEFT), unsized(point("p", 10, 20, parentID="l")))
    assert found.image_sizes == {"A/image 1.jpg": (1, 1)}
    assert found.annotations[0].pose.xy[0] == pytest.approx([0.1, 0.2])
    assert objects(LEFT, unsized(point("p", 10, 20))) == [([HEAD_L], LEFT_PX)]


def test_a_keypoint_belongs_to_the_box_that_is_its_parent_wherever_it_lies():
    assert objects(LEFT, RIGHT, point("p", 60, 20, parentID="l")) == [
        ([HEAD_R], LEFT_PX),
        ([], RIGHT_PX),
    ]


def test_a_keypoint_belongs_to_the_box_it_is_related_to_either_way():
    for ends in (("p", "l"), ("l", "p")):
        assert objects(LEFT, RIGHT, point("p", 60, 20), relation(*ends))[0] == ([HEAD_R], LEFT_PX)


def test_without_parent_or_relation_the_box_that_holds_it_is_its_own():
    assert objects(LEFT, RIGHT, point("p", 10, 20), point("q", 60, 20)) == [
        ([HEAD_L], LEFT_PX),
        ([HEAD_R], RIGHT_PX),
    ]


def test_a_keypoint_a_little_beside_its_box_belongs_to_it():
    assert objects(LEFT, RIGHT, point("p", 42, 20)) == [
        ([("head", 84, 20)], LEFT_PX),
        ([], RIGHT_PX),
    ]


def test_of_two_boxes_around_it_the_one_that_lacks_the_keypoint_is_its_own():
    inner, outer = box("i", 0, 0, 20, 100), box("o", 0, 0, 100, 100)
    assert objects(inner, outer, point("p", 10, 20), point("q", 5, 20, parentID="o")) == [
        ([HEAD_L], Box(0, 0, 40, 100)),
        ([("head", 10, 20)], Box(0, 0, 200, 100)),
    ]


def test_keypoints_that_only_one_box_holds_are_settled_first():
    inner, outer = box("i", 0, 0, 20, 100), box("o", 0, 0, 100, 100)
    assert objects(inner, outer, point("p", 10, 20), point("q", 60, 20)) == [
        ([HEAD_L], Box(0, 0, 40, 100)),
        ([HEAD_R], Box(0, 0, 200, 100)),
    ]


def test_one_box_or_none_makes_one_object_of_all_keypoints():
    pair = [HEAD_L, ("tail", 120, 20)]
    loose = (point("p", 10, 20), point("q", 60, 20, "tail"))
    assert objects(LEFT, *loose) == [(pair, LEFT_PX)]
    assert objects(*loose) == [(pair, None)]


def test_keypoints_that_are_tied_to_each_other_are_an_object_without_a_box():
    one = (point("p", 10, 20), point("q", 60, 20, "tail"), relation("p", "q"))
    two = (point("a", 20, 20, parentID="gone"), point("b", 70, 20, "tail", parentID="gone"))
    assert objects(*one, *two) == [
        ([HEAD_L, ("tail", 120, 20)], None),
        ([("head", 40, 20), ("tail", 140, 20)], None),
    ]


def test_tied_keypoints_share_the_box_of_one_or_the_box_around_all():
    tied = (point("p", 10, 20), point("q", 60, 20, "tail"), relation("p", "q"))
    assert objects(LEFT, RIGHT, *tied, relation("q", "r"))[1] == (
        [HEAD_L, ("tail", 120, 20)],
        RIGHT_PX,
    )
    everywhere = box("e", 0, 0, 100, 100)
    assert objects(everywhere, LEFT, *tied)[0] == ([HEAD_L, ("tail", 120, 20)], Box(0, 0, 200, 100))


def test_a_box_without_keypoints_is_an_object_that_waits_for_them():
    (item, _) = read(LEFT, RIGHT, point("p", 60, 20)).annotations
    assert (item.box, item.pose.present.any()) == (LEFT_PX, False)


@pytest.mark.parametrize(
    ("result", "what"),
    [
        ((box("i", 0, 0, 60, 100), box("o", 0, 0, 70, 100), point("p", 10, 20)), "2 of 2"),
        ((LEFT, RIGHT, point("p", 10, 20), point("q", 12, 20)), "0 of 2"),
        ((box("i", 0, 0, 9, 9), box("o", 80, 80, 9, 9), point("p", 40, 40)), "0 of 2"),
        ((point("p", 10, 20), point("q", 12, 20)), "twice"),
        ((LEFT, point("p", 10, 20, parentID="l"), point("q", 12, 20, parentID="l")), "twice"),
        ((LEFT, RIGHT, point("p", 1, 1, parentID="l"), relation("p", "r")), "2 boxes"),
    ],
)
def test_a_keypoint_whose_object_is_unclear_is_refused_by_name(result, what):
    with pytest.raises(FormatError) as caught:
        read(*result)
    for words in ("f.json: task 1, annotation 11", "'head'", "A/image 1.jpg", what):
        assert words in caught.value.problem
    assert "Label Studio" in caught.value.next_step
    assert all(f"--group {way}" in caught.value.next_step for way in ("box", "parent", "image"))


def chosen(group, *result):
    """[(places of the present keypoints, box)] of each object, and the notes."""
    found = read_foreign(export(annotated(*result)), "f.json", FLY, group)
    rows = [(item.pose.xy[item.pose.present].tolist(), item.box) for item in found.annotations]
    return rows, found.notes


INNER, OUTER = box("i", 0, 0, 20, 100), box("o", 0, 0, 70, 100)
HEAD, TAIL = point("h", 10, 20), point("t", 60, 20, "tail")
IN_PX, OUT_PX = Box(0, 0, 40, 100), Box(0, 0, 140, 100)


def test_the_smallest_box_around_a_keypoint_can_decide():
    strayed = point("s", 10, 80, "tail", parentID="o")  # ties do not count
    rows, notes = chosen("box", INNER, OUTER, HEAD, TAIL, strayed)
    assert rows == [([[20, 20], [20, 80]], IN_PX), ([[120, 20]], OUT_PX)]
    assert notes == ()
    _, notes = chosen("box", INNER, HEAD, point("t", 90, 20, "tail"))
    assert "1 x keypoint without a box" in notes[0]


def test_the_parent_or_relation_alone_can_decide():
    mine = point("t", 60, 20, "tail", parentID="i")
    rows, notes = chosen("parent", INNER, OUTER, point("h", 10, 20, parentID="i"), mine)
    assert rows == [([[20, 20], [120, 20]], IN_PX), ([], OUT_PX)]
    rows, notes = chosen("parent", INNER, OUTER, HEAD, mine)
    assert rows[0] == ([[120, 20]], IN_PX)
    assert "1 x keypoint without a parent" in notes[0]
    rows, _ = chosen("parent", INNER, HEAD, TAIL, relation("h", "t"))
    assert rows[1] == ([[20, 20], [120, 20]], None)


def test_the_image_can_decide_which_is_one_object_then():
    rows, notes = chosen("image", INNER, OUTER, HEAD, TAIL)
    assert rows == [([[20, 20], [120, 20]], None)]
    assert "2 x box" in notes[0]
    assert chosen("image", INNER, HEAD, TAIL)[0] == [([[20, 20], [120, 20]], IN_PX)]


@pytest.mark.parametrize("group", ["box", "parent", "image"])
def test_a_keypoint_twice_in_one_object_stays_refused(group):
    twice = [point(id_, 10, 20, parentID="i") for id_ in "pq"]
    with pytest.raises(FormatError, match="twice"):
        chosen(group, INNER, *twice)


def test_choices_for_a_keypoint_say_whether_it_can_be_seen():
    for word, code in (("Occluded", 1), ("hidden", 1), ("Visible", 2), ("absent", 0)):
        (item,) = read(point("p", 10, 20), choice("p", word)).annotations
        assert item.pose.visibility.tolist() == [code, 0]
    found = read(point("p", 10, 20), choice("p", "blurred"))
    assert found.annotations[0].pose.visibility.tolist() == [2, 0]
    assert "1 x choice 'blurred'" in found.notes[0]


def test_labels_in_a_control_of_their_own_are_read_too():
    plain = region("p", "keypoint", {"x": 10, "y": 20, "width": 0.2})
    label = region("p", "labels", {"x": 10, "y": 20, "width": 0.2, "labels": ["head"]})
    frame = region("l", "rectangle", {"x": 0, "y": 0, "width": 40, "height": 100, "rotation": 0})
    assert objects(plain, label, frame) == [([HEAD_L], LEFT_PX)]


def test_what_is_neither_keypoint_nor_box_is_counted_by_kind():
    polygon = region("g", "polygonlabels", {"points": [[0, 0]], "polygonlabels": ["fly"]})
    found = read(point("p", 10, 20), point("w", 10, 20, "whisker"), polygon)
    assert len(found.annotations) == 1
    for words in ("f.json", "1 x keypoint 'whisker'", "1 x region of type polygonlabels"):
        assert words in found.notes[0]


def test_without_a_skeleton_the_labels_make_one_in_their_order():
    found = read(point("p", 10, 20, "wing"), point("q", 1, 1, "head"), skeleton=None)
    assert found.skeleton.keypoints == ("wing", "head")


def test_the_labels_of_a_built_in_skeleton_bring_it():
    lsp = load_skeleton("lsp14")
    points = [point(name, 10, 20, name) for name in lsp.keypoints]
    assert read(*points, skeleton=None).skeleton == lsp


def test_labels_that_no_keypoint_of_the_project_has_are_refused():
    with pytest.raises(FormatError, match="wing") as caught:
        read(point("p", 10, 20, "wing"))
    assert "head, tail" in caught.value.next_step


def test_the_newest_annotation_of_a_task_counts_and_ground_truth_before_it():
    old = annotated(point("p", 10, 20), id_=1)
    new = annotated(point("p", 50, 20), id_=2, updated_at="2024-02-01T00:00:00Z")
    skipped = annotated(id_=3, updated_at="2024-03-01T00:00:00Z", was_cancelled=True)
    found = read_foreign(export(old, new, skipped), "f.json", FLY)
    assert [item.reference for item in found.annotations] == ["2"]
    assert "1 x annotation that differs from a newer one" in found.notes[0]
    again = annotated(point("renamed", 50, 20), id_=3)
    assert "1 x annotation equal to a newer" in read_foreign(export(again, new), "", FLY).notes[0]
    found = read_foreign(export({**old, "ground_truth": True}, new), "f.json", FLY)
    assert [item.reference for item in found.annotations] == ["1"]


def test_images_that_were_submitted_without_an_object_are_listed_and_others_are_not():
    tasks = [
        *export(annotated(point("p", 10, 20)), image="a.jpg"),
        *export(annotated(id_=12), image="b.jpg"),
        *export(image="c.jpg"),
    ]
    assert read_foreign(tasks, "f.json", FLY).image_paths == ("a.jpg", "b.jpg")


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/data/local-files/?d=A%2Fb%20c.jpg", "A/b c.jpg"),
        ("/data/upload/3/0a1b2c3d-c.jpg", "0a1b2c3d-c.jpg"),
        ("https://studio.example/data/upload/3/0a1b2c3d-c.jpg?x=1", "0a1b2c3d-c.jpg"),
        ("https://host.example/a/b%20c.jpg?token=secret", "host.example/a/b c.jpg"),
        ("s3://bucket/a/c.jpg", "bucket/a/c.jpg"),
        ("a/100%25?.jpg", "a/100%25?.jpg"),
        (r"a\c.jpg", "a/c.jpg"),
    ],
)
def test_the_address_of_an_image_leads_to_its_path(address, path):
    tasks = export(annotated(point("p", 10, 20)), image=address)
    assert read_foreign(tasks, "f.json", FLY).image_paths == (path,)


def test_any_field_of_the_task_may_hold_the_image():
    tasks = export(annotated(point("p", 10, 20)))
    tasks[0]["data"] = {"frame_no": 3, "frame": "/data/upload/1/x.jpg"}
    assert read_foreign(tasks, "f.json", FLY).image_paths == ("x.jpg",)


def edited(change):
    tasks = export(annotated(LEFT, point("p", 10, 20)))
    change(tasks[0])
    return tasks


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda task: task.pop("annotations"), "task 1"),
        (lambda task: task.update(data=7), "task 1"),
        (lambda task: task.update(data={"n": 3}), "annotation 11"),
        (lambda task: task.update(annotations=[]), "without keypoints"),
        (lambda task: task["annotations"][0].update(result=[3]), "annotation 11"),
        (lambda task: task["annotations"][0]["result"][1].pop("type"), "annotation 11"),
        (lambda task: task["annotations"][0]["result"][1]["value"].pop("x"), "annotation 11"),
        (lambda task: task["annotations"][0]["result"][1].update(image_rotation=90), "90 degrees"),
        (lambda task: task["annotations"][0]["result"][1]["value"].update(x=120), "outside"),
        (lambda task: task["annotations"][0]["result"][0]["value"].update(rotation=9), "9 degrees"),
        (lambda task: task["data"].update(labelkit={"kind": "visibility"}), "task 1"),
    ],
)
def test_damaged_exports_are_one_error_with_the_task_and_what_to_do(change, words):
    with pytest.raises(FormatError) as caught:
        read_foreign(edited(change), "f.json", FLY)
    assert caught.value.problem.startswith("f.json")
    assert words in caught.value.problem
    assert caught.value.next_step


def test_a_real_export_of_another_project_keeps_every_point():
    document = json.loads((FOLDER / "correction_export.json").read_text(encoding="utf-8"))
    foreign = copy.deepcopy(document)
    for task in foreign:
        del task["data"]["labelkit"]
    result = foreign[0]["annotations"][0]["result"]
    found = read_foreign(foreign, "f.json", load_skeleton("lsp14"))
    assert len(found.annotations) == sum(item["type"] == "rectanglelabels" for item in result)
    points = sum(int(item.pose.present.sum()) for item in found.annotations)
    assert points == sum(item["type"] == "keypointlabels" for item in result)
