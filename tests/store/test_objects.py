from dataclasses import replace

import pytest
from builders import make_image, make_pose, stick_skeleton

from labelkit.domain.instance import Box
from labelkit.store.journal import Entry, keypoints_content
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance, move_box

STICK = stick_skeleton()
A = make_image("a.png")
BOX, GROWN = Box(10.0, 10.0, 40.0, 40.0), Box(6.0, 10.0, 44.0, 40.0)
POSE = keypoints_content(STICK, make_pose())


@pytest.fixture
def store(store_url):
    with LabelStore.open(store_url) as opened:
        opened.add_images([A])
        yield opened


def add(store, *items):
    return store.add_instances(items)


def annotated(box=BOX, number="1", source="given", file="a.json", **more):
    origin = (f"file:{file}", number)
    return NewInstance(A, box, source, box.w * box.h, origin=origin, **more)


def stand_in():
    return NewInstance(A, Box(0.0, 0.0, 100.0, 80.0), "whole-image", 8000.0)


def label(store, instance, kind="keypoints", content=POSE):
    store.record([Entry(instance.id, kind, content, "label-studio", instance.id, "1")])


def test_a_corrected_annotation_keeps_its_object_and_gives_it_its_box(store):
    (first,) = add(store, annotated())
    (again,) = add(store, annotated(GROWN))
    assert again == replace(first, box=GROWN, area=44.0 * 40.0)
    assert store.instances() == {first.id: again}


def test_an_annotation_without_keypoints_is_recognised_too_after_reopening(store, store_url):
    (first,) = add(store, annotated())
    with LabelStore.open(store_url) as again:
        (same,) = add(again, annotated(Box(60.0, 40.0, 10.0, 10.0)))
    assert same.id == first.id


def test_category_and_individual_are_kept_and_follow_the_file(store):
    (first,) = add(store, annotated(category="cat", individual="m1"))
    assert store.instances()[first.id] == first
    assert (first.category, first.individual) == ("cat", "m1")
    (again,) = add(store, annotated(category="dog", individual="m1"))
    assert again == replace(first, category="dog")
    (silent,) = add(store, annotated())
    assert silent == store.instances()[first.id] == again


def test_a_box_that_tells_less_does_not_take_the_place_of_one_that_tells_more(store):
    (given,) = add(store, annotated(individual="m1"))
    (around,) = add(store, annotated(GROWN, source="keypoints", individual="m1"))
    assert around == given
    (drawn,) = add(store, annotated(GROWN, individual="m1"))
    assert drawn.box == GROWN


def test_a_box_that_an_annotator_moved_stays_when_the_file_comes_again(store):
    (first,) = add(store, annotated())
    with store.database.writing() as connection:
        move_box(connection, first.id, GROWN)
    (again,) = add(store, annotated(category="cat"))
    assert (again.id, again.box, again.category) == (first.id, GROWN, "cat")


def test_a_detected_box_becomes_that_of_the_annotation_that_it_found(store):
    (detected,) = add(store, NewInstance(A, BOX, "detected", 1600.0))
    (given,) = add(store, annotated(GROWN, number="7"))
    assert (given.id, given.box, given.box_source) == (detected.id, GROWN, "given")


def test_a_whole_image_gives_way_to_boxes(store):
    (whole,) = add(store, stand_in())
    found = add(store, annotated(), annotated(Box(60.0, 10.0, 30.0, 60.0), "2"))
    assert [item.ordinal for item in found] == [1, 2]
    assert list(store.instances()) == [item.id for item in found]
    assert whole.id not in store.instances()


@pytest.mark.parametrize(
    ("kind", "content"),
    [("keypoints", POSE), ("visibility", dict.fromkeys(STICK.keypoints, True)), ("skip", {})],
)
def test_a_whole_image_with_an_answer_stays(store, kind, content):
    (whole,) = add(store, stand_in())
    label(store, whole, kind, content)
    add(store, annotated())
    assert whole.id in store.instances()
    assert len(store.instances()) == 2


def test_a_whole_image_stays_beside_what_an_annotator_draws_or_a_file_calls_whole(store):
    (whole,) = add(store, stand_in())
    (same,) = add(store, annotated(stand_in().box, source="whole-image"))
    assert same.id == whole.id
    add(store, NewInstance(A, BOX, "human", 1600.0))
    assert len(store.instances()) == 2


def test_a_labelled_whole_image_is_the_object_that_a_file_labels_alike(store):
    (whole,) = add(store, stand_in())
    label(store, whole)
    (same,) = add(store, annotated(number="5", keypoints=POSE))
    assert (same.id, same.box, same.box_source) == (whole.id, BOX, "given")


def test_a_drawn_box_is_a_new_object_unless_it_is_equal(store):
    (first,) = add(store, annotated())
    drawn = NewInstance(A, GROWN, "human", 1760.0)
    assert add(store, drawn)[0].id != first.id
    assert add(store, NewInstance(A, BOX, "human", 1600.0))[0] == first
