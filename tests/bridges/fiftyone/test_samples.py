"""Samples as FiftyOne stores them, worked by hand, and against FiftyOne's own."""

import math
from dataclasses import replace

import pytest
from builders import make_pose
from reviewed import HUMAN, IMAGE, SKELETON, make_item

from labelkit.bridges.fiftyone.samples import (
    Picture,
    crop_documents,
    digest,
    edited_pose,
    image_document,
    map_fields,
    whole_picture,
    written_points,
)
from labelkit.domain.skeleton import make_skeleton
from labelkit.metrics.findings import ReviewItem, Work

pytest.importorskip("bson", reason="pymongo comes with fiftyone")


def document(*items: ReviewItem, url=None) -> dict:
    return image_document(IMAGE, "/images/a.png", items or [make_item()], SKELETON, url)


def test_boxes_and_points_are_shares_of_the_image():
    made = document()
    assert made["boxes"]["detections"][0]["bounding_box"] == pytest.approx([0.1, 0.25, 0.4, 0.375])
    points = made["human"]["keypoints"][0]["points"]
    assert points[:3] == [[0.1, 0.25], [0.5, 0.5], [0.25, 0.75]]
    assert all(math.isnan(value) for value in points[3])
    assert made["human"]["keypoints"][0]["visibility"] == [2, 2, 1, 0]


def test_a_prediction_has_confidence_presence_and_visibility_for_each_point():
    label = document()["round_000"]["keypoints"][0]
    assert label["confidence"] == [0.5, 0.25, 0.75, 1.0]
    assert label["presence"] == [0.9, 0.8, 0.7, 0.1]
    assert label["visibility"] == [2, 2, 2, 0]
    assert label["points"][0] == [0.4, 0.5]


def test_answers_are_attributes_of_the_box():
    box = document()["boxes"]["detections"][0]
    assert box["can_be_seen"] == ["nose", "left_paw", "right_paw"]
    assert box["cannot_be_seen"] == ["tail"]


def test_a_box_is_labelled_with_the_category_of_its_object():
    item = make_item()
    named = replace(item, instance=replace(item.instance, category="cat"))
    labels = [box["label"] for box in document(item, named)["boxes"]["detections"]]
    assert labels == ["object", "cat"]


def test_an_image_shows_the_worst_score_of_its_instances_and_all_findings():
    one = make_item(0, uncertainty=0.2, oks=0.9, swaps=("a / b",), work=Work(("ann",)))
    two = make_item(1, uncertainty=0.7, oks=0.3, swaps=("a / b", "c / d"), work=Work(("bob",)))
    made = document(one, two)
    assert (made["instances"], made["uncertainty"], made["oks"]) == (2, 0.7, 0.3)
    assert made["swaps"] == ["a / b", "c / d"]
    assert made["annotators"] == ["ann", "bob"]
    assert made["error"] is None
    assert [box["labelkit_id"] for box in made["boxes"]["detections"]] == [
        one.instance.id,
        two.instance.id,
    ]


def test_an_image_tells_what_is_probably_wrong_with_labels():
    assert document(make_item(0))["suspicions"] == []
    item = replace(make_item(0), suspicions=("tail of a.png#0 is probably in the wrong place",))
    assert document(item)["suspicions"] == list(item.suspicions)


def test_ids_are_the_same_in_every_run_and_differ_between_fields():
    first, second = document(), document()
    assert str(first) == str(second)
    assert first["human"]["keypoints"][0]["_id"] == second["human"]["keypoints"][0]["_id"]
    assert first["human"]["keypoints"][0]["_id"] != first["round_000"]["keypoints"][0]["_id"]


def test_maps_are_addresses_one_field_a_keypoint_and_kind():
    made = document(url=lambda kind, keypoint, id_: f"{kind}/{keypoint}/{id_}")
    assert made["map_left_paw"]["map_path"] == f"response/1/{IMAGE.id}"
    assert made["cam_tail"]["map_path"] == f"cam/3/{IMAGE.id}"
    assert made["heatmap_nose"]["map_path"] == f"heatmap/0/{IMAGE.id}"
    assert "map_left_paw" not in document()


def test_a_kind_of_maps_that_a_round_lacks_replaces_the_addresses_of_another_round():
    made = document(url=lambda kind, keypoint, id_: None if kind == "heatmap" else id_)
    assert made["heatmap_nose"] is None  # missing would leave the address that is stored
    assert made["map_nose"]["map_path"] == IMAGE.id


def test_hostile_names_get_different_fields():
    names = ["left.knee", "left knee", "$x", "_id", "<script>", "колено", "Ω"]
    fields = map_fields(make_skeleton("odd", names, pairs=[]), "response")
    assert fields[:5] == ("map_left_knee", "map_left_knee_1", "map_x", "map_id", "map_script")
    assert len(set(fields)) == len(names)
    assert all(field.isascii() and field.replace("_", "").isalnum() for field in fields)


def test_a_crop_is_grouped_with_its_image_and_has_maps_of_its_own():
    # The crop shows x 10..60 and y 20..70.
    crop = Picture("/crops/a.jpg", (384, 384), (0.02, 0, -0.2, 0, 0.02, -0.4))
    item = make_item()
    close, far = crop_documents(
        item, crop, "/images/a.png", SKELETON, lambda kind, keypoint, id_: id_
    )
    assert close["group"]["_id"] == far["group"]["_id"]
    assert (close["group"]["name"], far["group"]["name"]) == ("instance", "image")
    assert close["labelkit_id"] == item.instance.id
    assert far["labelkit_id"] == f"{item.instance.id}:image"
    assert close["human"]["keypoints"][0]["points"][0] == pytest.approx([0.0, 0.0])
    assert close["boxes"]["detections"][0]["bounding_box"] == pytest.approx([0, 0, 0.8, 0.6])
    assert close["map_nose"]["map_path"] == item.instance.id
    assert far["map_nose"]["map_path"] == IMAGE.id


def test_an_edit_moves_one_point_and_leaves_the_others_to_the_last_bit():
    frame = whole_picture(IMAGE, "").frame
    third = make_pose([(10.1, 20.3), (100 / 3, 40), (25, 60), (0, 0)], [2, 2, 1, 0])
    points = written_points(third, frame)
    points[0] = [0.5, 0.5]
    pose, origins = edited_pose(points, [2, 2, 1, 0], frame, third)
    assert pose.xy[0] == pytest.approx([50, 40])
    assert (pose.xy[1:] == third.xy[1:]).all()
    assert pose.visibility.tolist() == [2, 2, 1, 0]
    assert origins == ("changed", "untouched", "untouched", "")


def test_an_edit_can_remove_and_add_a_point():
    frame = whole_picture(IMAGE, "").frame
    points = written_points(HUMAN, frame)
    points[0], points[3] = [None, None], [0.25, 0.25]
    pose, origins = edited_pose(points, [2, 2, 1, 0], frame, HUMAN)
    assert pose.visibility.tolist() == [0, 2, 1, 2]
    assert pose.xy[3] == pytest.approx([25, 20])
    assert origins == ("removed", "untouched", "untouched", "new")


def test_a_digest_changes_with_an_edit_and_treats_null_as_nan():
    nan = math.nan
    assert digest([[0.1, 0.2], [nan, nan]], [2, 0]) == digest([[0.1, 0.2], [None, None]], [2, 0])
    assert digest([[0.1, 0.2]], [2]) != digest([[0.1, 0.3]], [2])
    assert digest([[0.1, 0.2]], [2]) != digest([[0.1, 0.2]], [1])


def test_an_unknown_keypoint_without_a_place_stays_unknown_and_with_one_is_visible():
    frame = whole_picture(IMAGE, "").frame
    before = make_pose([(5, 5), (0, 0), (0, 0), (0, 0)], [2, -1, -1, 0])
    points = written_points(before, frame)
    points[1] = [0.25, 0.25]
    pose, origins = edited_pose(points, [2, -1, -1, 0], frame, before)
    assert pose.visibility.tolist() == [2, 2, -1, 0]
    assert origins == ("untouched", "new", "", "")
