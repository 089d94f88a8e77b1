"""Findings on a skeleton of four keypoints in a box of 40 x 30 pixels."""

import numpy as np
import pytest
from builders import make_instance, make_pose, stick_skeleton

from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton_edit import edited
from labelkit.metrics.findings import Finding, Work, assess, work_on
from labelkit.project.preannotation import pre_annotation
from labelkit.project.response_maps import ResponseMaps
from labelkit.store.journal import Entry, Recorded

SKELETON = stick_skeleton()  # nose, left_paw, right_paw, tail
PLACES = ((20.0, 25.0), (15.0, 30.0), (45.0, 30.0), (30.0, 45.0))


def predicted(xy=PLACES, presence=(0.9, 0.8, 0.7, 0.6), score=0.75) -> Prediction:
    pose = Pose(np.array(xy), np.full(4, 2), np.array([0.9, 0.8, 0.7, 0.6]))
    return Prediction("x-0", pose, np.array(presence), score)


def find(prediction=None, human=None, answer=None, work=None, corrected=None, maps=None) -> Finding:
    prediction = predicted() if prediction is None else prediction
    instance = make_instance()
    return assess(
        instance,
        SKELETON,
        prediction=prediction,
        shown=pre_annotation(prediction, answer, instance.image),
        human=human,
        answer=answer,
        work=work or Work(),
        corrected=corrected,
        maps=maps,
    )


def test_without_a_round_nothing_is_known():
    finding = assess(
        make_instance(), SKELETON, prediction=None, shown=None, human=None, answer=None, work=Work()
    )
    assert finding.uncertainty is finding.error is finding.oks is finding.correction is None
    assert finding.doubt.tolist() == [0, 0, 0, 0]


def test_uncertainty_is_one_minus_confidence():
    finding = find()
    assert finding.uncertainty == 0.25
    assert finding.doubt == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert finding.error is None


def test_a_keypoint_that_is_not_shown_has_no_uncertainty():
    finding = find(answer=np.array([True, True, False, False]))
    assert finding.doubt == pytest.approx([0.1, 0.2, 0, 0])


def test_error_is_the_mean_distance_of_present_keypoints_over_the_long_side():
    human = make_pose([(20, 25), (15, 34), (45, 38), (0, 0)], [2, 2, 1, 0])
    assert find(human=human).error == pytest.approx((0 + 4 + 8) / 3 / 40)


def test_an_exact_prediction_has_oks_1():
    assert find(human=make_pose(PLACES)).oks == pytest.approx(1.0)


def test_answers_that_contradict_the_model_are_named():
    finding = find(
        predicted(presence=(0.9, 0.2, 0.6, 0.1)), answer=np.array([True, True, False, False])
    )
    assert finding.not_found == ("left_paw",)
    assert finding.answered_absent == ("right_paw",)


def test_a_model_that_predicts_no_presence_contradicts_no_answer():
    finding = find(predicted(presence=[np.nan] * 4), answer=np.array([True, True, False, False]))
    assert finding.not_found == finding.answered_absent == ()


def test_paws_that_are_right_once_exchanged_are_a_suspected_swap():
    exchanged = (PLACES[0], PLACES[2], PLACES[1], PLACES[3])
    assert find(predicted(exchanged), human=make_pose(PLACES)).swaps == ("left_paw / right_paw",)
    assert find(predicted(PLACES), human=make_pose(PLACES)).swaps == ()


def maps_with_peaks(*peaks: list[tuple[int, int]]) -> ResponseMaps:
    """Cells of 5 x 5 pixels over the image of 100 x 80; peaks as (column, row) by keypoint."""
    response = np.zeros((4, 16, 20), dtype=np.float32)
    for keypoint, cells in enumerate(peaks):
        for strength, (column, row) in zip((1.0, 0.6), cells, strict=False):
            response[keypoint, row, column] = strength
    return ResponseMaps("x-0", (0.2, 0, 0, 0, 0.2, 0), response[:, ::-1], response, response)


#: Where the cells of PLACES are.
CELLS = [(4, 5)], [(3, 6)], [(9, 6)], [(6, 9)]


def test_maps_that_peak_at_the_predicted_locations_agree():
    assert find(maps=maps_with_peaks(*CELLS)).map_disagrees == ()


def test_a_map_that_peaks_far_from_the_predicted_location_disagrees():
    # The nose's peak is the cell (14, 5), centre (72.5, 27.5): 52 px away, 0.2 x 40 = 8.
    finding = find(maps=maps_with_peaks([(14, 5)], *CELLS[1:]))
    assert finding.map_disagrees == ("nose",)


def test_paws_whose_maps_both_respond_at_the_other_paw_are_a_suspected_swap():
    both = [(3, 6), (9, 6)]
    finding = find(maps=maps_with_peaks(CELLS[0], both, both[::-1], CELLS[3]))
    assert finding.swaps == ("left_paw / right_paw",)
    one = find(maps=maps_with_peaks(CELLS[0], both, CELLS[2], CELLS[3]))
    assert one.swaps == ()


def test_correction_is_the_farthest_that_a_human_moved_a_point():
    human = make_pose([(20, 25), (15, 34), (45, 38), (30, 45)])
    work = Work(("ann",), "round-000", ("left_paw", "right_paw"))
    assert find(human=human, work=work, corrected=predicted()).correction == pytest.approx(8 / 40)
    untouched = Work(("ann",), "round-000", ())
    assert find(human=human, work=untouched, corrected=predicted()).correction == 0.0


def test_keypoints_without_a_pre_annotation_have_no_correction():
    assert find(human=make_pose(PLACES)).correction is None


def test_work_names_all_annotators_and_what_the_latest_keypoints_started_from():
    def entry(seq: int, kind: str, who: str, **shown: object) -> Recorded:
        made = Entry("x-0", kind, {}, "label-studio", str(seq), "1", annotator=who, shown=shown)
        return Recorded(seq, "", made)

    work = work_on(
        [
            entry(1, "visibility", "ann"),
            entry(2, "keypoints", "ann", model_version="round-000", origins={"nose": "changed"}),
            entry(3, "keypoints", "bob", model_version="round-001", origins={"tail": "changed"}),
            entry(4, "skip", "ann"),
        ]
    )
    assert work == {"x-0": Work(("ann", "bob"), "round-001", ("tail",))}
    new = entry(5, "keypoints", "ann", model_version="round-001", origins={"tail": "new"})
    assert work_on([new]) == {"x-0": Work(("ann",), "", ())}
    assert work_on([]) == {}


def test_a_keypoint_that_the_model_has_not_learned_is_no_error_of_it():
    learned = predicted().take([0, 1, 2, -1])
    human = make_pose([(20, 25), (15, 34), (45, 38), (99, 99)], [2, 2, 1, 2])
    finding = find(learned, human=human, answer=human.presence)
    assert finding.error == pytest.approx((0 + 4 + 8) / 3 / 40)
    assert finding.not_found == ()
    exact = find(learned, human=make_pose([*PLACES[:3], (99, 99)]))
    assert exact.oks == pytest.approx(1.0)


def test_a_keypoint_that_no_one_has_answered_contradicts_nothing():
    finding = find(
        predicted(presence=(0.9, 0.2, 0.6, 0.1)),
        answer=np.array([-1, -1, -1, -1]),
        human=make_pose(PLACES, [2, 2, -1, -1]),
    )
    assert finding.not_found == finding.answered_absent == ()
    assert finding.error == 0


def test_a_correction_is_found_under_the_former_name_of_its_keypoint():
    renamed = edited(SKELETON, {"renamed": [["tail", "tail_base"]]}, "s.toml")
    human = make_pose([*PLACES[:3], (30, 53)])
    finding = assess(
        make_instance(),
        renamed,
        prediction=predicted(),
        shown=human,
        human=human,
        answer=None,
        work=Work(changed=("tail",)),
        corrected=predicted(),
    )
    assert finding.correction == pytest.approx(8 / 40)
