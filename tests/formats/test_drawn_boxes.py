import numpy as np

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box
from labelkit.domain.pose import human_pose
from labelkit.formats.drawn_boxes import with_drawn_boxes


def points(*xy, box="extent", path="1.jpg"):
    pose = human_pose(np.array(xy, dtype=float).reshape(-1, 2), [2] * len(xy))
    box = pose.extent if box == "extent" else box
    return Annotation(path, "p", box, None, pose, False, "default")


def drawn(*box, name="person", path="1.jpg"):
    pose = human_pose(np.zeros((0, 2)), [])
    return Annotation(path, "b", Box(*box), 7.0, pose, False, name)


def boxes_of(objects, others):
    found, left = with_drawn_boxes(objects, others)
    return [item.box for item in found], [others.index(item) for item in left]


def test_keypoints_take_the_only_box_that_holds_them_with_its_area_and_category():
    (found,), left = with_drawn_boxes([points((5, 5), (9, 8))], [drawn(0, 0, 20, 20)])
    assert (found.box, found.area, found.category, left) == (Box(0, 0, 20, 20), 7.0, "person", [])


def test_keypoints_without_any_box_or_area_take_one_too():
    for own in (None, Box(0, 0, 0, 0)):
        found, _ = boxes_of([points((5, 5), (9, 8), box=own)], [drawn(0, 0, 20, 20)])
        assert found == [Box(0, 0, 20, 20)]


def test_a_box_that_was_drawn_stays():
    own = Box(4, 4, 8, 8)
    found, left = boxes_of([points((5, 5), (9, 8), box=own)], [drawn(0, 0, 20, 20)])
    assert (found, left) == ([own], [0])


def test_of_two_boxes_that_hold_the_same_keypoints_neither_is_certain():
    person, head = drawn(0, 0, 20, 20), drawn(4, 4, 9, 9)
    found, left = boxes_of([points((5, 5), (9, 8))], [person, head])
    assert (found, left) == ([Box(5, 5, 4, 3)], [0, 1])


def test_a_box_that_is_certain_for_another_object_is_counted_out():
    inner, outer = drawn(0, 0, 10, 10), drawn(0, 0, 40, 40)
    far, near = points((5, 5), (30, 30)), points((2, 2), (8, 8))
    found, left = boxes_of([near, far], [inner, outer])
    assert (found, left) == ([Box(0, 0, 10, 10), Box(0, 0, 40, 40)], [])


def test_a_box_around_two_objects_is_not_the_box_of_either():
    one, two = points((5, 5), (9, 8)), points((11, 5), (15, 8))
    found, left = boxes_of([one, two], [drawn(0, 0, 20, 20)])
    assert (found, left) == ([Box(5, 5, 4, 3), Box(11, 5, 4, 3)], [0])


def test_a_box_in_another_image_holds_nothing():
    found, left = boxes_of([points((5, 5), (9, 8))], [drawn(0, 0, 20, 20, path="2.jpg")])
    assert (found, left) == ([Box(5, 5, 4, 3)], [0])


def test_no_objects_take_no_boxes():
    assert with_drawn_boxes([], []) == ([], [])
