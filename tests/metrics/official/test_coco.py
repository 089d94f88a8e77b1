import io
import math
from contextlib import redirect_stdout

import numpy as np
import pytest
from coco_documents import annotation, generated, result, truth
from hypothesis import given, settings
from hypothesis import strategies as st

from labelkit.domain.skeleton import load_skeleton
from labelkit.formats.coco_people import read_people
from labelkit.formats.coco_results import read_results
from labelkit.metrics.official.coco import coco_keypoint_scores

COCO17 = load_skeleton("coco17")
NOSE = 0


def scores(document, results):
    people = read_people(document, "truth.json", COCO17, needs={"area"})
    found = read_results(results, "results.json", people)
    return coco_keypoint_scores(people, found, COCO17.sigmas)


def by_pycocotools(document, results) -> list[float]:
    """The ten numbers as its own readers and summary give them, -1 as NaN."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = document
        coco.createIndex()
        found = coco.loadRes(results) if results else COCO()  # it cannot read an empty list
        evaluation = COCOeval(coco, found, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [math.nan if value == -1 else float(value) for value in evaluation.stats]


def near(oks: float, area: float) -> tuple[float, float]:
    """A place for the nose, which is at (100, 100), with this OKS: sigma .026."""
    return 100 + math.sqrt(-2 * math.log(oks) * area * (2 * 0.026) ** 2), 100.0


def test_a_medium_person_at_oks_62_is_found_at_three_of_ten_thresholds():
    document = truth(COCO17, [annotation(17, {NOSE: (100.0, 100.0)})])  # 40 x 40
    found = scores(document, [result(17, {NOSE: near(0.62, 1600)})])
    assert found == pytest.approx(
        {
            **{"AP": 0.3, "AP50": 1.0, "AP75": 0.0, "APM": 0.3, "APL": math.nan},
            **{"AR": 0.3, "AR50": 1.0, "AR75": 0.0, "ARM": 0.3, "ARL": math.nan},
        },
        nan_ok=True,
    )


def test_a_wrong_result_of_higher_score_halves_precision_but_not_recall():
    document = truth(COCO17, [annotation(17, {NOSE: (100.0, 100.0)})])
    lost = result(17, {NOSE: (500.0, 500.0)}, score=0.9)
    found = scores(document, [lost, result(17, {NOSE: (100.0, 100.0)}, score=0.8)])
    assert (found["AP"], found["AR"]) == pytest.approx((0.5, 1.0))


def test_one_of_two_people_is_half_the_recall():
    people = [annotation(17, {NOSE: (100.0, 100.0)}, image=image) for image in (1, 2)]
    # Recall reaches .5: 51 of 101 levels.
    found = scores(truth(COCO17, people, 2), [result(17, {NOSE: (100.0, 100.0)})])
    assert (found["AP"], found["AR"]) == pytest.approx((51 / 101, 0.5))


def test_the_scale_is_the_area_of_the_segment_and_not_of_the_box():
    person = annotation(17, {NOSE: (100.0, 100.0)}, area=1200.0)
    found = scores(truth(COCO17, [person]), [result(17, {NOSE: near(0.62, 1200)})])
    assert found["AP"] == pytest.approx(0.3)


def test_a_result_on_a_crowd_is_neither_right_nor_wrong():
    people = [
        annotation(17, {NOSE: (100.0, 100.0)}),
        annotation(17, {NOSE: (300.0, 300.0)}, iscrowd=1),
    ]
    on_crowd = [result(17, {NOSE: (300.0, 300.0)}, score=score) for score in (0.9, 0.8)]
    found = scores(truth(COCO17, people), [*on_crowd, result(17, {NOSE: (100.0, 100.0)}, 0.1)])
    assert (found["AP"], found["AR"]) == pytest.approx((1.0, 1.0))


def test_the_21st_result_of_an_image_is_not_scored():
    document = truth(COCO17, [annotation(17, {NOSE: (100.0, 100.0)})])
    lost = [result(17, {NOSE: (500.0, 500.0)}, score=0.9)] * 20
    right = result(17, {NOSE: (100.0, 100.0)}, score=0.1)
    assert scores(document, [*lost, right])["AR"] == 0.0
    assert scores(document, [*lost[1:], right])["AR"] == 1.0


def test_no_person_found_is_0_and_no_person_to_find_is_undefined():
    document = truth(COCO17, [annotation(17, {NOSE: (100.0, 100.0)})])
    assert scores(document, [])["AP"] == 0.0
    unlabelled = truth(COCO17, [annotation(17, {})])
    assert all(math.isnan(value) for value in scores(unlabelled, []).values())


def test_an_annotation_with_the_number_0_counts_like_any_other():
    # pycocotools uses 0 for "unmatched" and would score the exact result as wrong.
    document = truth(COCO17, [annotation(17, {NOSE: (100.0, 100.0)}, id=0)])
    assert scores(document, [result(17, {NOSE: (100.0, 100.0)})])["AP"] == pytest.approx(1.0)


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_all_ten_numbers_are_those_of_pycocotools(seed: int):
    document, results = generated(COCO17, seed)
    ours = list(scores(document, results).values())
    np.testing.assert_allclose(ours, by_pycocotools(document, results), rtol=0, atol=1e-6)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_several_categories_have_the_mean_that_pycocotools_has(seed: int):
    document, results = generated(COCO17, seed)
    document["categories"].append({**document["categories"][0], "id": 3, "name": "child"})
    rng = np.random.default_rng(seed)
    for item in [*document["annotations"], *results]:
        item["category_id"] = int(rng.choice([1, 3]))
    ours = list(scores(document, results).values())
    np.testing.assert_allclose(ours, by_pycocotools(document, results), rtol=0, atol=1e-6)
