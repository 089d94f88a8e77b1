import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelkit.metrics.official.people import Results
from labelkit.metrics.official.rescoring import rescored, without_duplicates

SIGMAS = (0.05, 0.1)


def results(xy, score, *, joint=0.5, image=None, category=None, crop_area=100.0) -> Results:
    xy = np.asarray(xy, dtype=float).reshape(-1, 2, 2)
    count = len(xy)
    joint = np.broadcast_to(np.asarray(joint, dtype=float), (count, 2))
    return Results(
        image=np.zeros(count, dtype=np.int64) if image is None else np.asarray(image),
        category=np.zeros(count, dtype=np.int64) if category is None else np.asarray(category),
        keypoints=np.concatenate([xy, joint[..., None]], axis=2),
        score=np.asarray(score, dtype=float),
        area=np.ones(count),
        crop_area=np.broadcast_to(np.asarray(crop_area, dtype=float), (count,)),
    )


def test_a_person_scores_box_times_the_mean_of_the_joints_above_2_tenths():
    # (.6 + .4) / 2 * .8;  .2 is not above .2, so .9 alone counts: .9 * .5;  none counts: 0.
    joint = [[0.6, 0.4], [0.2, 0.9], [0.1, 0.2]]
    found = rescored(results(np.zeros((3, 2, 2)), [0.8, 0.5, 1.0], joint=joint))
    assert found.score == pytest.approx([0.4, 0.45, 0.0])


def test_people_who_tie_in_the_reference_tie_here():
    # The reference adds joint after joint. Any other order of adding differs in the last bit.
    few, many = 0.3, 0.5
    joint = np.array([[many, few] * 8 + [many], [few] * 8 + [many] * 9])
    people = Results(
        image=np.arange(2),
        category=np.zeros(2, dtype=np.int64),
        keypoints=np.concatenate([np.zeros((2, 17, 2)), joint[..., None]], axis=2),
        score=np.ones(2),
        area=np.ones(2),
        crop_area=np.ones(2),
    )
    totals = []
    for scores in joint.tolist():
        total = 0.0
        for score in scores:
            total += score
        totals.append(total / 17)
    assert rescored(people).score.tolist() == totals


def test_a_duplicate_has_an_oks_above_9_tenths():
    # Both keypoints d away: OKS is the mean of exp(-d^2 / (2 * 100 * .01)) and of
    # exp(-d^2 / (2 * 100 * .04)). d = .4: .9231 and .9802, mean .952. d = .7: .7827, .9406, .862.
    here, near, far = [[0, 0], [10, 0]], [[0, 0.4], [10, 0.4]], [[0, 0.7], [10, 0.7]]
    kept = without_duplicates(results([near, here, far], [0.5, 0.9, 0.1]), SIGMAS)
    assert kept.score.tolist() == [0.9, 0.1]


def test_the_scale_is_the_mean_of_both_crops():
    here, near = [[0, 0], [10, 0]], [[0, 0.7], [10, 0.7]]
    # At (100 + 500) / 2 the OKS is the mean of exp(-.49 / 6) and exp(-.49 / 24): .951.
    kept = without_duplicates(results([here, near], [0.9, 0.5], crop_area=[100, 500]), SIGMAS)
    assert kept.score.tolist() == [0.9]


def test_what_a_dropped_result_would_have_dropped_stays():
    # Each .55 px from the next: neighbours are alike (.912), the outer two are not (.706).
    chain = [[[0, 0.55 * n], [10, 0.55 * n]] for n in range(3)]
    kept = without_duplicates(results(chain, [0.9, 0.8, 0.7]), SIGMAS)
    assert kept.score.tolist() == [0.9, 0.7]


def test_of_equal_scores_the_later_result_stays():
    same = results([[[0, 0], [10, 0]]] * 3, [0.5, 0.5, 0.5], joint=[[0.1, 0.1]] * 2 + [[0.9, 0.9]])
    (kept,) = without_duplicates(same, SIGMAS).keypoints
    assert kept[:, 2].tolist() == [0.9, 0.9]


def test_images_do_not_drop_each_others_results_and_keep_their_order():
    same = [[[0, 0], [10, 0]]] * 3
    kept = without_duplicates(results(same, [0.1, 0.5, 0.9], image=[4, 2, 4]), SIGMAS)
    assert (kept.image.tolist(), kept.score.tolist()) == ([4, 2], [0.9, 0.5])


def test_categories_do_not_drop_each_others_results():
    same = [[[0, 0], [10, 0]]] * 3
    kept = without_duplicates(results(same, [0.1, 0.5, 0.9], category=[1, 0, 1]), SIGMAS)
    assert (kept.category.tolist(), kept.score.tolist()) == ([1, 0], [0.9, 0.5])


def test_no_results_stay_none():
    empty = results(np.zeros((0, 2, 2)), [])
    assert len(without_duplicates(rescored(empty), SIGMAS)) == 0


def kept_in_plain_loops(found: Results) -> list[int]:
    """Places that stay in one image, best first."""
    left = sorted(range(len(found)), key=lambda i: (found.score[i], i), reverse=True)
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        stay = []
        for other in left:
            area = (found.crop_area[best] + found.crop_area[other]) / 2
            terms = []
            for k, sigma in enumerate(SIGMAS):
                dx, dy = found.keypoints[best, k, :2] - found.keypoints[other, k, :2]
                terms.append(math.exp(-(dx**2 + dy**2) / (2 * area * (2 * sigma) ** 2)))
            if sum(terms) / len(terms) <= 0.9:
                stay.append(other)
        left = stay
    return kept


@given(st.integers(0, 2**32 - 1))
def test_the_same_results_stay_as_with_plain_loops(seed: int):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 9))
    found = results(
        rng.choice([0.0, 0.3, 0.6, 0.9], (count, 2, 2)),
        rng.integers(1, 4, count) / 10,
        crop_area=rng.choice([50.0, 100.0, 300.0], count),
    )
    kept = without_duplicates(found, SIGMAS)
    expected = found.take(np.array(kept_in_plain_loops(found), dtype=np.int64))
    assert np.array_equal(kept.keypoints, expected.keypoints)
    assert np.array_equal(kept.score, expected.score)
