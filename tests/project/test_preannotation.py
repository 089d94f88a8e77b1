import numpy as np
from builders import make_image, make_pose

from labelkit.domain.pose import ABSENT, UNKNOWN, VISIBLE, Pose
from labelkit.domain.prediction import Prediction
from labelkit.project.preannotation import pre_annotation, predicted_pose

IMAGE = make_image(width=100, height=80)


def make_prediction(presence=(0.9, 0.9, 0.9, 0.9), xy=((1, 2), (3, 4), (5, 6), (7, 8))):
    return Prediction("id", make_pose(xy), np.array(presence, dtype=float), 0.5)


def test_without_an_answer_the_model_decides_what_is_there():
    shown = pre_annotation(make_prediction(presence=(0.51, 0.5, 0.0, 1.0)), None, IMAGE)
    assert shown.visibility.tolist() == [VISIBLE, ABSENT, ABSENT, VISIBLE]


def test_a_human_answer_overrules_the_model_both_ways():
    prediction = make_prediction(presence=(0.99, 0.01, 0.99, 0.01))
    shown = pre_annotation(prediction, np.array([False, True, True, False]), IMAGE)
    assert shown.visibility.tolist() == [ABSENT, VISIBLE, VISIBLE, ABSENT]
    assert shown.xy.tolist() == [[0, 0], [3, 4], [5, 6], [0, 0]]


def test_locations_outside_the_image_or_on_its_border_move_inside_where_they_can_be_grabbed():
    prediction = make_prediction(xy=((-3.5, 2), (120, 4), (5, -1), (7, 79.5)))
    shown = pre_annotation(prediction, None, IMAGE)  # 100 x 80: two pixels
    assert shown.xy.tolist() == [[2, 2], [98, 4], [5, 2], [7, 78]]
    large = pre_annotation(prediction, None, make_image(width=4000, height=3000))
    assert large.xy.tolist() == [[20, 20], [120, 20], [20, 20], [20, 79.5]]
    tiny = pre_annotation(prediction, None, make_image(width=9, height=3))
    assert tiny.xy.tolist() == [[2, 1.5], [7, 1.5], [5, 1.5], [7, 1.5]]


def test_what_is_exported_is_moved_no_further_than_to_the_border():
    prediction = make_prediction(xy=((-3.5, 2), (120, 4), (5, -1), (7, 79.5)))
    pose = predicted_pose(prediction, None, IMAGE)
    assert pose.xy.tolist() == [[0, 2], [100, 4], [5, 0], [7, 79.5]]


def test_confidences_stay_those_of_the_model():
    pose = make_pose()
    uncertain = Pose(pose.xy, pose.visibility, np.array([0.1, 0.2, 0.3, 0.4]))
    prediction = Prediction("id", uncertain, np.ones(4), 0.25)
    assert pre_annotation(prediction, None, IMAGE).score.tolist() == [0.1, 0.2, 0.3, 0.4]


def test_where_the_answer_leaves_a_keypoint_unknown_the_model_decides():
    prediction = make_prediction(presence=(0.9, 0.1, 0.9, 0.1))
    shown = pre_annotation(prediction, np.array([UNKNOWN, UNKNOWN, 0, 1]), IMAGE)
    assert shown.visibility.tolist() == [VISIBLE, ABSENT, ABSENT, VISIBLE]


def test_a_keypoint_that_the_model_has_not_learned_is_unknown_unless_answered_as_absent():
    learned = make_prediction().take([0, 1, -1, -1])
    shown = pre_annotation(learned, np.array([1, 0, 1, 0]), IMAGE)
    assert shown.visibility.tolist() == [VISIBLE, ABSENT, UNKNOWN, ABSENT]
    assert pre_annotation(learned, None, IMAGE).visibility.tolist() == [2, 2, UNKNOWN, UNKNOWN]
