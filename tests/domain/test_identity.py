from labelkit.domain.identity import Candidate, same_objects
from labelkit.domain.instance import Box

HERE, BESIDE, AWAY = Box(0, 0, 100, 50), Box(20, 0, 100, 50), Box(300, 0, 100, 50)
POSE = {"nose": (10, 10, 2), "paw": (50, 20, 2), "tail": (90, 40, 1)}


def item(box=HERE, who="", origin=("a.json", "1"), keypoints=None):
    origins = frozenset([origin] if origin else [])
    return Candidate(box, who, origins, keypoints or {})


def test_nothing_is_known_at_first():
    assert same_objects([], [item(), item()]) == [None, None]
    assert same_objects([item()], []) == []


def test_the_same_box_is_the_same_object_whatever_its_number():
    known = [item(HERE, origin=("a.json", "1")), item(AWAY, origin=("a.json", "2"))]
    found = [item(AWAY, origin=("b.json", "1")), item(HERE, origin=None)]
    assert same_objects(known, found) == [1, 0]


def test_of_equal_boxes_each_annotation_keeps_its_own():
    known = [item(origin=("a.json", "1")), item(origin=("a.json", "2"))]
    found = [item(origin=("a.json", "2")), item(origin=("a.json", "1"))]
    assert same_objects(known, found) == [1, 0]


def test_the_same_annotation_of_the_same_file_is_the_same_object_wherever_its_box_moved():
    assert same_objects([item(HERE)], [item(AWAY)]) == [0]
    assert same_objects([item(HERE)], [item(AWAY, origin=("b.json", "1"))]) == [None]


def test_an_annotation_that_was_numbered_anew_is_known_by_what_it_shows():
    # The first object was deleted in the file, so the second is number 1 now, and its box grew.
    known = [
        item(HERE, origin=("a.json", "1"), keypoints=POSE),
        item(AWAY, origin=("a.json", "2"), keypoints={"nose": (310, 10, 2)}),
    ]
    grown = Box(290, 0, 110, 50)  # overlaps AWAY by 100/110
    found = [item(grown, origin=("a.json", "1"), keypoints={"nose": (310, 10, 2)})]
    assert same_objects(known, found) == [1]


def test_most_keypoints_near_make_the_same_object_in_another_file():
    # The larger box is 120 long, so 6 pixels are near. Two of three keypoints are.
    known = [item(HERE, keypoints=POSE)]
    moved = {"nose": (14, 10, 2), "paw": (50, 20, 2), "tail": (60, 40, 2)}
    box = Box(0, 0, 120, 50)
    assert same_objects(known, [item(box, origin=("b.json", "9"), keypoints=moved)]) == [0]
    far = {"nose": (20, 10, 2), "paw": (50, 20, 2), "tail": (60, 40, 2)}
    assert same_objects(known, [item(box, origin=("b.json", "9"), keypoints=far)]) == [None]


def test_without_keypoints_a_box_that_overlaps_by_half_is_the_same_object():
    # 80 x 50 of 120 x 50 are shared: two thirds. Of HERE and a box 60 further, 40/160: a quarter.
    known = [item(HERE, keypoints=POSE)]
    assert same_objects(known, [item(BESIDE, origin=("b.json", "9"))]) == [0]
    assert same_objects(known, [item(Box(60, 0, 100, 50), origin=("b.json", "9"))]) == [None]


def test_absent_keypoints_are_nowhere():
    absent = dict.fromkeys(POSE, (0, 0, 0))
    known = [item(HERE, keypoints=absent)]
    assert same_objects(known, [item(BESIDE, origin=("b.json", "9"), keypoints=POSE)]) == [0]


def test_an_individual_is_itself_wherever_it_went():
    known = [item(HERE, "anna", ("a.csv", "f#anna")), item(AWAY, "ben", ("a.csv", "f#ben"))]
    swapped = [item(AWAY, "anna", ("b.csv", "f#anna")), item(HERE, "ben", ("b.csv", "f#ben"))]
    assert same_objects(known, swapped) == [0, 1]


def test_a_renamed_individual_in_the_same_box_is_the_same_object():
    assert same_objects([item(HERE, "anna")], [item(HERE, "mum", ("b.csv", "f#mum"))]) == [0]


def test_what_no_file_describes_is_only_known_by_its_box():
    assert same_objects([item(HERE)], [item(BESIDE, origin=None)]) == [None]


def test_no_known_object_is_taken_twice():
    found = [
        item(BESIDE, origin=("b.json", "8")),
        item(Box(10, 0, 100, 50), origin=("b.json", "9")),
    ]
    assert same_objects([item(HERE)], found) == [None, 0]
