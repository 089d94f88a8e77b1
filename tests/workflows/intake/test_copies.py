import numpy as np
from builders import make_image

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box
from labelkit.domain.pose import human_pose
from labelkit.workflows.intake.copies import without_copies

IMAGE = make_image("a.png")


def labelled(path, *xy, box=None, visibility=2):
    pose = human_pose(np.reshape(xy, (-1, 2)), np.full(len(xy), visibility))
    return IMAGE, Annotation(path, path, box and Box(*box), None, pose, False)


def paths(*found):
    kept, notes = without_copies(found, "f.json")
    return [item.image_path for _, item in kept], notes


def test_labels_of_different_images_all_stay():
    other = make_image("b.png")
    found = [labelled("a.png", (5, 5), (9, 9)), (other, labelled("b.png", (5, 5), (9, 9))[1])]
    assert without_copies(found, "f.json") == (found, [])


def test_two_objects_of_one_file_are_two_even_where_they_overlap():
    assert paths(labelled("a.png", (5, 5), (9, 9)), labelled("a.png", (5, 5), (9, 9))) == (
        ["a.png", "a.png"],
        [],
    )


def test_the_same_object_in_a_copy_is_taken_once():
    assert paths(labelled("a.png", (5, 5), (9, 9)), labelled("c.png", (5.5, 5), (9, 9))) == (
        ["a.png"],
        [],
    )


def test_labels_of_a_copy_that_differ_are_noted_with_the_distance():
    kept, (note,) = paths(labelled("a.png", (5, 5), (9, 9)), labelled("c.png", (5, 5), (12, 13)))
    assert kept == ["a.png"]
    assert "f.json" in note
    assert "c.png (of a.png: 5.0 pixels)" in note


def test_labels_of_a_copy_with_other_keypoints_are_noted():
    _, (note,) = paths(
        labelled("a.png", (5, 5), (9, 9)), labelled("c.png", (5, 5), (9, 9), visibility=1)
    )
    assert "c.png" in note


def test_an_object_that_only_the_copy_labels_is_kept():
    kept, notes = paths(
        labelled("a.png", (5, 5), (9, 9)),
        labelled("c.png", (60, 60), (70, 70)),
        labelled("c.png", (5, 5), (9, 9)),
    )
    assert (kept, notes) == (["a.png", "c.png"], [])


def test_of_two_copies_the_one_with_keypoints_counts():
    assert paths(
        labelled("a.png", (0, 0), (0, 0), visibility=0), labelled("c.png", (5, 5), (9, 9))
    ) == (
        ["c.png"],
        [],
    )


def test_three_equal_files_have_each_object_once():
    names = ["a.png", "b.png", "c.png"]
    kept, notes = paths(*(labelled(name, (5, 5), (9, 9), box=(0, 0, 20, 20)) for name in names))
    assert (kept, notes) == (["a.png"], [])


def test_no_labels_have_no_copies():
    assert without_copies([], "f.json") == ([], [])
