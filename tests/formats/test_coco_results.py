import math

import numpy as np
import pytest
from coco_documents import annotation, result, truth

from labelkit.domain.skeleton import load_skeleton
from labelkit.errors import FormatError
from labelkit.formats.coco_people import read_people
from labelkit.formats.coco_results import check_joint_scores, one_result_each, read_results

LSP14 = load_skeleton("lsp14")


def people(*images: int):
    """One labelled person in each of these images; there are three images."""
    rows = [annotation(14, {0: (1.0, 2.0)}, image=image) for image in images]
    return read_people(truth(LSP14, rows, 3), "truth.json", LSP14)


def read(*rows):
    return read_results(list(rows), "results.json", people(1, 2))


def test_results_keep_the_order_of_the_file():
    found = read(
        result(14, {3: (7.0, 8.0)}, 0.25, image=2), result(14, {}, 0.75, image=1), result(14, {})
    )
    assert found.image.tolist() == [1, 0, 0]
    assert found.score.tolist() == [0.25, 0.75, 1.0]
    assert found.keypoints[0, 3].tolist() == [7.0, 8.0, 0.5]


def test_the_area_is_the_boxs_and_else_that_of_the_keypoints_extent():
    placed = {3: (7.0, 8.0)}  # the others are at (0, 0)
    assert read(result(14, placed)).area.tolist() == [56.0]
    assert read(result(14, placed, bbox=[1, 2, 3, 4])).area.tolist() == [12.0]


def test_the_crop_is_the_area_or_the_scale_that_the_file_gives_and_else_the_box():
    box = {"bbox": [1, 2, 3, 4]}
    found = read(
        result(14, {}, **box),
        result(14, {}, scale=[0.5, 0.25], center=[1, 2], **box),
        result(14, {}, area=99.0, scale=[0.5, 0.25], **box),
    )
    assert found.crop_area.tolist() == [12.0, 5000.0, 99.0]  # 100 x 50 px
    assert found.area.tolist() == [12.0, 12.0, 12.0]


def test_a_method_that_found_no_people_writes_an_empty_list():
    assert len(read()) == 0
    assert read().keypoints.shape == (0, 14, 3)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("person", ["'person'"]),
        (result(14, {}, image=7), ["image 7"]),
        (result(14, {}, image="9"), ["image '9'"]),
        (result(14, {}, image=True), ["image True"]),
        (result(14, {}, category_id=2), ["category_id 2", " 1."]),
        (result(14, {}, math.nan), ["score", "nan"]),
        (result(14, {}, score=None), ["score"]),
        (result(14, {}, score="high"), ["score", "'high'"]),
        (result(17, {}), ["51", "14", "42"]),
        (result(14, {}, keypoints=[[1, 2, 3]]), ["keypoints", "[1, 2, 3]"]),
        (result(14, {0: (math.inf, 0.0)}), ["keypoints", "inf"]),
        (result(14, {}, keypoints=None), ["keypoints"]),
        (result(14, {}, bbox=[1, 2, 3]), ["bbox", "[1.0, 2.0, 3.0]"]),
        (result(14, {}, scale=[1.0]), ["scale", "200 pixels"]),
        ({"score": 1.0}, ["image_id"]),
    ],
)
def test_a_result_that_cannot_be_scored_is_named(row, named):
    with pytest.raises(FormatError) as caught:
        read(row)
    assert caught.value.problem.startswith("results.json: result 1")
    assert [part for part in named if part not in caught.value.problem] == []
    assert caught.value.next_step


def test_the_advice_fits_what_is_wrong():
    def advice(**changes):
        with pytest.raises(FormatError) as caught:
            read(result(14, {}, **changes))
        return caught.value.next_step

    assert "list" not in advice(score="high")
    assert "list" in advice(keypoints=[[1, 2, 3]])
    assert "bbox" in advice(bbox=[1, 2, 3])
    assert "scale" in advice(scale=[1.0])


def test_boxes_are_for_all_results_or_none():
    with pytest.raises(FormatError, match=r"1 of 2 results .*bbox"):
        read(result(14, {}), result(14, {}, bbox=[1, 2, 3, 4]))


def test_a_truth_file_is_not_a_results_file():
    with pytest.raises(FormatError) as caught:
        read_results({"annotations": []}, "results.json", people(1))
    assert "results.json" in caught.value.problem
    assert "object" in caught.value.problem
    assert "{image_id, category_id, keypoints" in caught.value.next_step


def test_visibility_is_not_taken_for_joint_scores():
    check_joint_scores(read(result(14, {})), "results.json")
    check_joint_scores(read(), "results.json")
    flags = result(14, {}, keypoints=[1.0, 2.0, 1.0] * 14)
    with pytest.raises(FormatError, match="joint scores") as caught:
        check_joint_scores(read(flags), "results.json")
    assert "--rescore" in caught.value.next_step


def test_each_person_gets_the_result_of_their_image():
    found = read(result(14, {}, image=3), result(14, {}, image=2), result(14, {}, image=1))
    chosen, places = one_result_each(people(2, 1), found, "results.json")
    assert (chosen.tolist(), places.tolist()) == ([0, 1], [1, 2])
    only = one_result_each(people(1), read(result(14, {})), "results.json")
    assert np.array_equal(only, ([0], [0]))


@pytest.mark.parametrize(
    ("images", "results", "named"),
    [
        ((1, 2), (1, 2, 1), ["results.json", "1 and 3", "image 1."]),
        ((1, 1), (1,), ["truth", "image 1."]),
        ((1, 2), (1,), ["results.json", "image 2."]),
    ],
)
def test_pck_needs_one_person_and_one_result_for_each_image(images, results, named):
    found = read(*(result(14, {}, image=image) for image in results))
    with pytest.raises(FormatError) as caught:
        one_result_each(people(*images), found, "results.json")
    assert [part for part in named if part not in caught.value.problem] == []
