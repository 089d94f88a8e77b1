import numpy as np
import pytest
from builders import make_pose

from labelkit.domain.prediction import Prediction, prior_predictions
from labelkit.errors import InputError


def test_a_prediction_checks_itself():
    with pytest.raises(InputError, match=r"a-0: 4 keypoints.*\(3,\)"):
        Prediction("a-0", make_pose(), np.ones(3), 0.5)
    with pytest.raises(InputError, match=r"a-0: .*nan"):
        Prediction("a-0", make_pose(), np.ones(4), float("nan"))


def test_a_keypoint_without_a_location_is_nan_and_not_the_corner():
    pose = make_pose([(1, 2), (3, 4), (5, 6), (7, 8)], [2, 0, 1, 2])
    xy = Prediction("a-0", pose, np.ones(4), 1.0).xy
    assert np.array_equal(xy, [[1, 2], [np.nan, np.nan], [5, 6], [7, 8]], equal_nan=True)


def test_prior_predictions_rank_nothing():
    xy = np.arange(16.0).reshape(2, 4, 2)
    rows = prior_predictions(["a-0", "b-0"], xy, [np.nan] * 4)
    assert list(rows) == ["a-0", "b-0"]
    assert np.array_equal(rows["b-0"].xy, xy[1])
    assert [row.score for row in rows.values()] == [1.0, 1.0]
    assert np.isnan(rows["a-0"].presence).all()


def test_a_prediction_of_other_keypoints_knows_nothing_of_new_ones():
    pose = make_pose([(1, 2), (3, 4), (5, 6), (7, 8)], [2, 2, 2, 2])
    found = Prediction("a-0", pose, np.array([0.1, 0.2, 0.3, 0.4]), 0.75).take([3, -1])
    assert np.array_equal(found.xy, [[7, 8], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(found.presence, [0.4, np.nan], equal_nan=True)
    assert (found.instance_id, found.score) == ("a-0", 0.75)
