"""Data sets of Lightning Pose."""

import pytest
from builders import make_image, make_instance, make_pose, stick_skeleton

from labelkit.errors import FormatError
from labelkit.formats.deeplabcut.lightning_pose import TABLE, write_lightning_pose


def test_a_data_set_worked_by_hand():
    items = [
        (
            make_instance("mouse/a.png"),
            make_pose([[1.5, 2.25], [3, 4], [5, 6], [7, 8]], [2, 1, 0, -1]),
        ),
        (make_instance("b.png"), make_pose()),
    ]
    found = write_lightning_pose(items, stick_skeleton(), "anna", "frames")
    assert found.pictures == {
        "labeled-data/mouse/a.png": "mouse/a.png",
        "labeled-data/frames/b.png": "b.png",
    }
    lines = found.texts[TABLE].splitlines()
    assert lines[0] == "scorer" + ",anna" * 12
    assert lines[1].startswith("bodyparts,nose,nose,nose,left_paw,")
    assert lines[2] == "coords" + ",x,y,visible" * 4
    assert lines[3] == "labeled-data/mouse/a.png,1.5,2.25,2,3.0,4.0,1,,,0,,,0"


def test_several_objects_in_an_image_lead_to_deeplabcut():
    image = make_image()
    items = [(make_instance(image), make_pose()), (make_instance(image, 1), make_pose())]
    with pytest.raises(FormatError, match="one animal") as caught:
        write_lightning_pose(items, stick_skeleton(), "anna", "frames")
    assert caught.value.next_step.endswith("--format dlc")


def test_images_that_would_get_one_name_are_named():
    items = [(make_instance("a_b/1.png"), make_pose()), (make_instance("a/b/1.png"), make_pose())]
    with pytest.raises(FormatError, match=r"a_b/1.png and a/b/1.png"):
        write_lightning_pose(items, stick_skeleton(), "anna", "frames")
