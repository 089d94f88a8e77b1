import json

import pytest
from builders import write_picture
from team import SIZE, annotation, assert_refused, coco


@pytest.mark.parametrize(
    ("written", "value"), [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")]
)
def test_coordinates_that_are_not_finite_are_refused(team, written, value):
    text = json.dumps(coco(annotation(77))).replace("[5, 4, 2,", f"[{written}, 4, 2,")
    labels = team.write("labels.json", text)
    assert_refused(
        team.bootstrap("--labels", labels),
        "labels.json: annotation 77",
        value,
        next_step="0, 0, 0",
    )


@pytest.mark.parametrize("x", [-4.0, 33.5, 1e9])
def test_a_keypoint_outside_the_image_is_refused_by_name(team, x):
    xyv = [5, 4, 2, x, 10, 2, 15, 10, 2, 10, 20, 2]
    labels = team.write("labels.json", coco(annotation(77, xyv=xyv)))
    assert_refused(
        team.bootstrap("--labels", labels),
        f"annotation 77: 'left_paw' lies at ({x}, 10.0)",
        next_step="v = 0",
    )


@pytest.mark.slow
def test_an_absent_keypoint_may_lie_anywhere(team):
    xyv = [-900, 4, 0, 4, 10, 2, 15, 10, 2, 10, 20, 2]
    labels = team.write("labels.json", coco(annotation(xyv=xyv)))
    assert team.bootstrap("--labels", labels, "--labeled", "0%").code == 0


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([2, 2, 10, -1], "left, top, width, height"),
        ([2, 2, 10], "left, top, width, height"),
        ([200, 2, 10, 10], "outside"),
    ],
)
@pytest.mark.parametrize("option", ["--labels", "--boxes"])
def test_boxes_that_are_none_or_outside_are_refused_by_name(team, bbox, reason, option):
    write_picture(team.frames / "new.png", SIZE, seed=30)
    labels = team.write("labels.json", coco(annotation(77, bbox=bbox), file_name="new.png"))
    assert_refused(
        team.bootstrap(option, labels), "annotation 77", reason, next_step="remove the annotation"
    )
