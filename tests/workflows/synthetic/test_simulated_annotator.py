import numpy as np
import pytest
from builders import make_instance, make_pose, stick_skeleton

from labelkit.domain.pose import Pose, human_pose
from labelkit.formats.label_studio.export import read_export
from labelkit.formats.label_studio.tasks import correction_task
from labelkit.workflows.synthetic.simulated_annotator import GOOD_ENOUGH_PX, NAME, correct

SKELETON = stick_skeleton()
INSTANCE = make_instance(box=(0, 0, 100, 80))
TRUE_XY = ((50.25, 10.5), (20.0, 40.0), (80.0, 40.0), (50.0, 70.125))


def served(pose: Pose | None, truth: Pose):
    """The annotation of one instance whose pre-annotation was `pose`."""
    task = correction_task(
        INSTANCE.image,
        [(INSTANCE, pose)],
        SKELETON,
        image_url="/data/a.png",
        model_version="round-000",
    )
    export = correct([task], {INSTANCE.id: INSTANCE}, {INSTANCE.id: truth}, SKELETON)
    (annotation,) = read_export(export, SKELETON, "export")
    return annotation, annotation.instances[0]


def test_a_point_within_a_pixel_is_left_where_it_is():
    shown = make_pose([(x + GOOD_ENOUGH_PX * 0.6, y + GOOD_ENOUGH_PX * 0.6) for x, y in TRUE_XY])
    _, back = served(shown, make_pose(TRUE_XY))
    assert back.origins == ("untouched",) * 4
    assert back.pose.xy == pytest.approx(shown.xy, abs=1e-6)


def test_a_point_further_off_is_moved_to_the_truth():
    shown = make_pose([(x + 1.5, y) for x, y in TRUE_XY])
    _, back = served(shown, make_pose(TRUE_XY))
    assert back.origins == ("changed",) * 4
    assert back.pose.xy == pytest.approx(np.array(TRUE_XY), abs=1e-6)


def test_missing_points_are_added_and_surplus_ones_deleted():
    shown = human_pose(TRUE_XY, [2, 0, 2, 2])
    _, back = served(shown, human_pose(TRUE_XY, [2, 2, 0, 2]))
    assert back.origins == ("untouched", "new", "removed", "untouched")
    assert back.pose.visibility.tolist() == [2, 2, 0, 2]


def test_occlusion_is_marked():
    _, back = served(make_pose(TRUE_XY), human_pose(TRUE_XY, [2, 1, 2, 2]))
    assert back.pose.visibility.tolist() == [2, 1, 2, 2]


def test_without_pre_annotation_every_point_is_placed_by_hand():
    _, back = served(None, make_pose(TRUE_XY))
    assert back.origins == ("new",) * 4
    assert back.pose.xy == pytest.approx(np.array(TRUE_XY), abs=1e-6)


def test_its_name_is_recorded_but_no_working_time():
    annotation, _ = served(make_pose(TRUE_XY), make_pose(TRUE_XY))
    assert annotation.annotator == NAME == "simulated annotator"
    assert annotation.lead_time_s is None
    assert annotation.model_version == "round-000"


def test_correcting_twice_gives_the_same_export():
    task = correction_task(
        INSTANCE.image,
        [(INSTANCE, make_pose(TRUE_XY))],
        SKELETON,
        image_url="/data/a.png",
        model_version="round-000",
    )
    truth = {INSTANCE.id: make_pose(TRUE_XY)}
    one, two = (correct([task], {INSTANCE.id: INSTANCE}, truth, SKELETON) for _ in range(2))
    assert one == two
