import math

import pytest
from coco_documents import annotation, truth

from labelkit.domain.skeleton import load_skeleton
from labelkit.errors import FormatError
from labelkit.formats.coco_people import read_people

CROWDPOSE14 = load_skeleton("crowdpose14")


def document(**changes):
    """Two images, the second without people; a person with a head and its neighbour, a crowd."""
    images = [
        {"id": 9, "file_name": "9.jpg", "crowdIndex": 0.25},
        {"id": 4, "file_name": "4.jpg", "crowdIndex": 1.5},
    ]
    people = [
        annotation(14, {12: (5.0, 6.0)}, image=9, box=(1.0, 2.0, 30.0, 40.0), area=700.0),
        annotation(14, {}, image=9, iscrowd=1),
    ]
    people[0] |= changes
    return truth(CROWDPOSE14, people, images)


def read(content, needs=()):
    return read_people(content, "truth.json", CROWDPOSE14, needs=needs)


def test_everything_that_a_score_needs_is_read():
    people = read(document(), {"crowdIndex", "area"})
    assert people.image_ids == (4, 9)
    assert people.crowd_index.tolist() == [1.5, 0.25]
    assert people.image.tolist() == [1, 1]
    assert people.keypoints.shape == (2, 14, 3)
    assert people.keypoints[0, 12].tolist() == [5.0, 6.0, 2.0]
    assert people.labelled.tolist() == [1, 0]
    assert people.box_xywh[0].tolist() == [1.0, 2.0, 30.0, 40.0]
    assert people.area.tolist() == [700.0, 1600.0]
    assert people.counted.tolist() == [True, False]


def test_the_number_of_keypoints_is_the_files_own_and_else_counted():
    assert read(document(num_keypoints=0)).counted.tolist() == [False, False]
    assert read(document(num_keypoints=None)).labelled.tolist() == [1, 0]


def test_what_no_score_needs_may_be_missing():
    content = document(area=None)
    del content["images"][0]["crowdIndex"]
    del content["categories"][0]["keypoints"]
    people = read(content)
    assert math.isnan(people.area[0])
    assert math.isnan(people.crowd_index[1])


def test_people_of_other_categories_are_left_out():
    content = document()
    content["categories"].append({"id": 2, "name": "ball"})
    content["annotations"].append(annotation(0, {}, image=4) | {"id": 99, "category_id": 2})
    assert len(read(content).image) == 2


def without(key):
    content = document()
    del content[key]
    return content


def with_image(**changes):
    content = document()
    content["images"][0] |= changes
    return content


def with_category(**changes):
    content = document()
    content["categories"][0] |= changes
    return content


def with_second_category(**changes):
    content = document()
    second = content["categories"][0] | {"id": 7, "name": "child"} | changes
    content["categories"].append(second)
    content["annotations"].append(annotation(14, {0: (1.0, 2.0)}, image=4, id=77, category_id=7))
    return content


def with_same_ids():
    content = document()
    content["annotations"][1]["id"] = content["annotations"][0]["id"]
    return content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([], ["list"]),
        (without("annotations"), ["'annotations'"]),
        (with_same_ids(), ["annotation 11", "id"]),
        (with_image(id=4), ["images", "id 4"]),
        (with_category(keypoints=5), ["keypoints", "not 5"]),
        (document(num_keypoints=-1), ["annotation 11", "-1"]),
        (document(num_keypoints=0.5), ["annotation 11", "0.5"]),
        (with_image(id="9"), ["annotation 11", "image 9"]),
        (document(image_id=7), ["annotation 11", "image 7"]),
        (with_image(crowdIndex=None), ["image 9", "crowdIndex"]),
        (with_image(crowdIndex=-1), ["image 9", "crowdIndex", "-1.0"]),
        (with_image(crowdIndex=math.nan), ["image 9", "crowdIndex", "nan"]),
        (document(keypoints=[1.0] * 51), ["annotation 11", "51", "14", "42"]),
        (document(keypoints=[math.nan] * 42), ["annotation 11", "keypoints", "nan"]),
        (document(bbox=None), ["annotation 11", "bbox"]),
        (document(bbox=[1, 2, 3]), ["annotation 11", "bbox", "[1.0, 2.0, 3.0]"]),
        (document(area=None), ["annotation 11", "area"]),
        (with_category(keypoints=["nose"]), ["nose", "crowdpose14"]),
        (with_second_category(keypoints=["paw"]), ["paw", "crowdpose14"]),
    ],
)
def test_what_cannot_be_scored_is_named(content, named):
    with pytest.raises(FormatError) as caught:
        read(content, {"crowdIndex", "area"})
    assert caught.value.problem.startswith("truth.json")
    assert [part for part in named if part not in caught.value.problem] == []


def test_people_of_every_category_with_the_same_keypoints_are_read():
    people = read(with_second_category())
    assert people.category_ids == (1, 7)
    assert people.category.tolist() == [0, 0, 1]
    assert people.counted.tolist() == [True, False, True]


def test_other_keypoints_are_refused_with_the_metric_for_any():
    with pytest.raises(FormatError) as caught:
        read(with_category(keypoints=["nose"]))
    assert "--metric oks" in caught.value.next_step


def test_people_without_names_of_keypoints_are_read_of_every_category():
    content = with_second_category(keypoints=None)
    content["categories"][0]["keypoints"] = None
    assert read(content).category.tolist() == [0, 0, 1]


def test_ids_of_images_may_be_text_but_not_both():
    content = document()
    content["images"][0]["id"] = "a"
    for row in content["annotations"]:
        row["image_id"] = "a"
    with pytest.raises(FormatError, match="image ids"):
        read(content)
    content["images"][1]["id"] = "b"
    assert read(content).image_ids == ("a", "b")
