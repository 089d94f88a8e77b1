import math

import numpy as np
import pytest
from coco_documents import annotation, generated, result, truth
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_oks import ap_and_ar

from labelkit.domain.skeleton import load_skeleton
from labelkit.formats.coco_people import read_people
from labelkit.formats.coco_results import read_results
from labelkit.metrics.official.crowdpose import (
    OFFICIAL_EDGES,
    CrowdBin,
    crowd_bin_scores,
    crowd_index,
    crowdpose_scores,
)

CROWDPOSE14 = load_skeleton("crowdpose14")
# Left and right shoulder, elbow, wrist, hip, knee, ankle; head, neck.
SIGMAS = [
    *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    *(0.079, 0.079),
]
HEAD = 12


def read(document, results):
    people = read_people(document, "truth.json", CROWDPOSE14, needs={"crowdIndex"})
    return people, read_results(results, "results.json", people)


def area_of(person) -> float:
    return 0.53 * person["bbox"][2] * person["bbox"][3]


def in_images(*crowd_indices: float):
    """A person with a head at (50, 50) in each image, and images by their Crowd Index."""
    images = [
        {"id": n, "file_name": f"{n}.jpg", "crowdIndex": value}
        for n, value in enumerate(crowd_indices, 1)
    ]
    people = [annotation(14, {HEAD: (50.0, 50.0)}, image=row["id"]) for row in images]
    return truth(CROWDPOSE14, people, images)


def test_the_skeleton_has_the_sigmas_of_the_official_code():
    assert list(CROWDPOSE14.sigmas) == SIGMAS
    assert CROWDPOSE14.keypoints[HEAD:] == ("head", "neck")


def test_the_scale_is_53_percent_of_the_box_whatever_the_file_calls_area():
    # Box 10 x 20: area 106; head, sigma .079, 1 px off: exp(-1 / (2 * 106 * .158^2)) = .828,
    # which is a hit at .50, .55 ... .80.
    person = annotation(14, {HEAD: (50.0, 50.0)}, box=(0.0, 0.0, 10.0, 20.0), area=1e6)
    document = truth(CROWDPOSE14, [person], [{"id": 1, "file_name": "1.jpg", "crowdIndex": 0.1}])
    found = crowdpose_scores(*read(document, [result(14, {HEAD: (51.0, 50.0)})]))
    assert found == pytest.approx(
        {"AP": 0.7, "AP50": 1.0, "AP75": 1.0, "AR": 0.7, "AR50": 1.0, "AR75": 1.0}
    )


def test_the_official_split_is_at_2_and_8_tenths_and_an_edge_belongs_to_the_harder_side():
    document = in_images(0.1, 0.19, 0.2, 0.79, 0.8, 3.0)
    # Image 1 of the easy two, 3 of the medium two and both hard ones are found: with one of two
    # found, 51 of 101 recall levels are reached.
    results = [result(14, {HEAD: (50.0, 50.0)}, image=image) for image in (1, 3, 5, 6)]
    easy, medium, hard = crowd_bin_scores(*read(document, results))
    assert (easy.images, medium.images, hard.images) == (2, 2, 2)
    assert (easy.ap, medium.ap, hard.ap) == pytest.approx((51 / 101, 51 / 101, 1.0))
    assert [found.name for found in (easy, medium, hard)] == [
        "below 0.2",
        "0.2 to 0.8",
        "0.8 and more",
    ]


def test_bins_are_free_and_a_last_edge_of_1_is_open():
    document = in_images(0.0, 0.1, 0.8, 1.3)
    results = [result(14, {HEAD: (50.0, 50.0)}, image=image) for image in (1, 2, 3)]
    bins = crowd_bin_scores(*read(document, results), (0, 0.1, 0.8, 1))
    assert [(found.name, found.images) for found in bins] == [
        ("0 to 0.1", 1),
        ("0.1 to 0.8", 1),
        ("0.8 and more", 2),
    ]
    assert [found.ap for found in bins] == pytest.approx([1.0, 1.0, 51 / 101])
    (middle,) = crowd_bin_scores(*read(document, results), (0.1, 0.5))
    assert middle == CrowdBin(0.1, 0.5, 1, pytest.approx(1.0))


def test_a_bin_without_images_has_no_score():
    easy, medium, hard = crowd_bin_scores(*read(in_images(0.1), []))
    assert (easy.ap, medium.images, hard.images) == (0.0, 0, 0)
    assert math.isnan(medium.ap)
    assert math.isnan(hard.ap)


def test_large_people_have_no_score_of_their_own():
    assert list(crowdpose_scores(*read(in_images(0.5), []))) == [
        *("AP", "AP50", "AP75"),
        *("AR", "AR50", "AR75"),
    ]


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_all_numbers_are_those_of_plain_loops(seed: int):
    document, results = generated(CROWDPOSE14, seed)
    people, found = read(document, results)
    expected = ap_and_ar(document, results, SIGMAS, area_of)
    ours = list(crowdpose_scores(people, found).values())
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)
    for one in crowd_bin_scores(people, found, OFFICIAL_EDGES):
        inside = {i["id"] for i in document["images"] if one.low <= i["crowdIndex"] < one.high}
        expected = ap_and_ar(document, results, SIGMAS, area_of, inside)
        np.testing.assert_allclose(one.ap, expected[0], rtol=0, atol=1e-6)
        assert one.images == len(inside)


def test_the_crowd_index_counts_the_keypoints_of_others_in_each_box():
    # Two people with two keypoints each; one keypoint of the second lies in the first one's box.
    keypoints = np.array([[[1, 1, 2], [3, 3, 2]], [[4, 4, 1], [9, 9, 2]]], float)
    boxes = np.array([[0, 0, 5, 5], [4, 4, 6, 6]], float)
    assert crowd_index(keypoints, boxes) == (1 / 2 + 0 / 2) / 2
    assert crowd_index(keypoints[:1], boxes[:1]) == 0
    assert crowd_index(np.zeros((0, 2, 3)), np.zeros((0, 4))) == 0
