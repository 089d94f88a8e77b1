"""Tasks out to Label Studio and annotations back: one circle, tested as one."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.label_studio.config import (
    ALL_CHOICE,
    NOTHING_CHOICE,
    correction_config,
    visibility_config,
)
from labelkit.formats.label_studio.export import read_export
from labelkit.formats.label_studio.tasks import correction_task, visibility_task

IMAGE = Image("a/ö <1>.jpg", "0123456789abcdef" * 4, 200, 100)
FIRST = Instance(IMAGE, 0, Box(20, 10, 100, 50), "given", 5000)
SECOND = Instance(IMAGE, 1, Box(100, 0, 100, 100), "given", 10000)
MOUSE = make_skeleton("mouse", ("nose", "left_ear", "right_ear"))
HOSTILE = make_skeleton("x", ('<Label value="a"/>', "&amp;'", "näse 鼻", "two\nlines", "a, b"))
URL = "/data/local-files/?d=frames/a.jpg"
SEEN = human_pose([[30, 25], [0, 0], [50.5, 33]], [2, 0, 1])
ALL = human_pose([[150, 50], [160, 60], [170, 70]], [2, 2, 2])


def task(*items, skeleton=MOUSE):
    return correction_task(IMAGE, items, skeleton, image_url=URL, model_version="round-1")


def submitted(served, edit=lambda result: None, **fields):
    """An export in which the annotator did `edit` to the prediction and submitted it."""
    result = copy.deepcopy(served["predictions"][0]["result"])
    for item in result:
        item["origin"] = "prediction"
    edit(result)
    annotation = {
        "id": 5,
        "completed_by": {"id": 1, "email": "ann@example.org"},
        "result": result,
        "was_cancelled": False,
        "created_at": "2025-01-02T03:04:05Z",
        "updated_at": "2025-01-02T03:05:05Z",
        "lead_time": 12.5,
        "parent_prediction": 77,
        **fields,
    }
    predictions = [{"id": 77, **served["predictions"][0]}]
    return [
        {"id": 9, "data": served["data"], "annotations": [annotation], "predictions": predictions}
    ]


def read_one(export, skeleton=MOUSE):
    (annotation,) = read_export(json.loads(json.dumps(export)), skeleton, "export.json")
    return annotation


def region(result, name):
    return next(item for item in result if item["id"] == name)


def test_a_task_names_the_categories_and_individuals_that_are_known():
    pose = human_pose(np.full((3, 2), 9.0), [2, 2, 2])
    ours = task((replace(FIRST, category="cat", individual="m1"), pose), (SECOND, pose))["data"]
    assert ours["labelkit"]["categories"] == {FIRST.id: "cat"}
    assert ours["labelkit"]["individuals"] == {FIRST.id: "m1"}
    plain = task((FIRST, pose))["data"]["labelkit"]
    assert not {"categories", "individuals"} & plain.keys()


def test_a_task_worked_by_hand():
    pose = Pose(
        np.array([[30, 25], [0, 0], [50.5, 33]]), np.array([2, 0, 1]), np.array([0.5, 0, 1])
    )
    made = task((FIRST, pose))
    assert made["data"]["image"] == URL
    assert made["data"]["image_id"] == "0123456789abcdef"
    assert made["data"]["image_path"] == "a/ö <1>.jpg"
    prediction = made["predictions"][0]
    assert prediction["model_version"] == "round-1"
    assert prediction["score"] == 0.75
    nose, right_ear, occluded, box = prediction["result"]
    assert (nose["id"], nose["parentID"]) == (f"{FIRST.id}.0", FIRST.id)
    assert "score" not in nose  # Label Studio would write it over the image, beside the name
    assert (nose["value"]["x"], nose["value"]["y"]) == (15.0, 25.0)
    assert nose["value"]["keypointlabels"] == ["nose"]
    assert right_ear["id"] == occluded["id"] == f"{FIRST.id}.2"
    assert occluded["value"]["choices"] == ["Occluded"]
    assert right_ear["value"]["width"] > nose["value"]["width"]
    assert box["id"] == FIRST.id
    assert [box["value"][k] for k in ("x", "y", "width", "height")] == [10.0, 10.0, 50.0, 50.0]


def test_all_keypoints_come_before_all_boxes():
    kinds = [
        item["type"] for item in task((FIRST, SEEN), (SECOND, ALL))["predictions"][0]["result"]
    ]
    assert kinds.index("rectanglelabels") == len(kinds) - 2


def test_the_control_arm_gets_its_boxes_and_nothing_else():
    prediction = task((FIRST, None), (SECOND, None))["predictions"][0]
    assert [item["id"] for item in prediction["result"]] == [FIRST.id, SECOND.id]
    assert "score" not in prediction


def test_a_predicted_point_outside_the_image_is_shown_at_its_border():
    outside = human_pose([[-5, 50], [250, 120], [0, 0]], [2, 2, 0])
    result = task((FIRST, outside))["predictions"][0]["result"]
    assert [(i["value"]["x"], i["value"]["y"]) for i in result[:2]] == [(0.0, 50.0), (100.0, 100.0)]


def test_an_image_without_objects_makes_a_task_without_regions():
    assert task()["predictions"][0]["result"] == []


@pytest.mark.parametrize("skeleton", [MOUSE, HOSTILE])
def test_label_studio_accepts_our_tasks_under_our_configuration(skeleton):
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    pose = human_pose(np.full((len(skeleton), 2), 7.0), [1] + [2] * (len(skeleton) - 1))
    made = task((FIRST, pose), skeleton=skeleton)
    config = interface(correction_config(skeleton))
    assert config.validate_prediction(made["predictions"][0], return_errors=True) == []
    ticks = visibility_task(IMAGE, [FIRST, SECOND], skeleton, URL)
    config = interface(visibility_config(skeleton))
    assert config.validate_prediction(ticks["predictions"][0], return_errors=True) == []
    options = {"image_url": URL, "model_version": "r", "one_object": True}
    one = correction_task(IMAGE, [(FIRST, pose)], skeleton, **options)
    config = interface(correction_config(skeleton, one_object=True))
    assert config.validate_prediction(one["predictions"][0], return_errors=True) == []


def test_an_untouched_submission_comes_back_as_it_was_served():
    annotation = read_one(submitted(task((FIRST, SEEN), (SECOND, ALL))))
    assert (annotation.annotation_id, annotation.annotator) == ("5", "ann@example.org")
    assert (annotation.image_id, annotation.image_path) == (IMAGE.id, IMAGE.path)
    assert (annotation.created_at, annotation.updated_at) == (
        "2025-01-02T03:04:05Z",
        "2025-01-02T03:05:05Z",
    )
    assert (annotation.lead_time_s, annotation.skipped) == (12.5, False)
    assert (annotation.parent_prediction, annotation.model_version) == ("77", "round-1")
    first, second = annotation.instances
    assert (first.region_id, first.is_new, first.presence) == (FIRST.id, False, None)
    assert first.box == pytest.approx(FIRST.box, abs=1e-6)
    assert first.pose.visibility.tolist() == [2, 0, 1]
    assert first.pose.xy == pytest.approx(SEEN.xy, abs=1e-6)
    assert first.origins == ("untouched", "", "untouched")
    assert second.region_id == SECOND.id
    assert second.pose.xy == pytest.approx(ALL.xy, abs=1e-6)


@st.composite
def points(draw, width, height):
    xy = draw(
        st.lists(
            st.tuples(st.floats(0, width), st.floats(0, height)),
            min_size=len(HOSTILE),
            max_size=len(HOSTILE),
        )
    )
    codes = st.lists(st.integers(0, 2), min_size=len(HOSTILE), max_size=len(HOSTILE))
    return human_pose(xy, draw(codes))


@given(points(4001, 2999))
def test_points_survive_the_circle_to_a_millionth_of_a_pixel(pose):
    image = Image("a.jpg", "0f" * 32, 4001, 2999)
    one = Instance(image, 0, Box(1 / 3, 2 / 7, 4000, 2998.5), "given", 1)
    made = correction_task(image, [(one, pose)], HOSTILE, image_url=URL, model_version="r")
    (back,) = read_one(submitted(made), HOSTILE).instances
    assert np.abs(back.pose.xy - pose.xy).max() < 1e-6
    assert back.pose.visibility.tolist() == pose.visibility.tolist()
    assert np.abs(np.subtract(back.box, one.box)).max() < 1e-6


def test_each_point_has_an_origin_that_tells_what_the_annotator_did():
    def edit(result):
        moved = region(result, f"{FIRST.id}.0")
        moved["value"]["x"], moved["origin"] = 40.0, "prediction-changed"
        result[:] = [item for item in result if item["id"] != f"{FIRST.id}.2"]
        new = copy.deepcopy(moved) | {"id": "zz", "origin": "manual"}
        new["value"] |= {"x": 50.0, "y": 60.0, "keypointlabels": ["left_ear"]}
        result.insert(0, new)

    (instance,) = read_one(submitted(task((FIRST, SEEN)), edit)).instances
    assert instance.origins == ("changed", "new", "removed")
    assert instance.pose == human_pose([[80, 25], [100, 60], [0, 0]], [2, 2, 0])


def test_removed_points_are_known_without_the_prediction_in_the_export():
    export = submitted(task((FIRST, SEEN)), lambda result: result.pop(0))
    export[0]["predictions"] = [77]
    annotation = read_one(export)
    assert annotation.instances[0].origins == ("removed", "", "untouched")
    assert annotation.model_version == "round-1"


def test_no_point_counts_as_removed_if_the_annotator_started_from_nothing():
    export = submitted(task((FIRST, SEEN)), lambda result: result.pop(0), parent_prediction=None)
    export[0]["predictions"] = []
    annotation = read_one(export)
    assert annotation.instances[0].origins == ("", "", "untouched")
    assert (annotation.parent_prediction, annotation.model_version) == ("", "")


@pytest.mark.parametrize(
    ("choice", "code", "origin"),
    [("Visible", 2, "untouched"), ("Occluded", 1, "untouched"), ("Absent", 0, "removed")],
)
def test_the_choice_on_a_keypoint_is_its_visibility(choice, code, origin):
    def edit(result):
        dot = region(result, f"{FIRST.id}.0")
        extra = {"type": "choices", "from_name": "visibility", "value": {"choices": [choice]}}
        result.append(dot | extra)

    (instance,) = read_one(submitted(task((FIRST, SEEN)), edit)).instances
    assert instance.pose.visibility[0] == code
    assert instance.origins[0] == origin


def test_a_box_drawn_by_the_annotator_is_new_and_owns_its_points():
    def edit(result):
        box = copy.deepcopy(region(result, FIRST.id)) | {"id": "new-box", "origin": "manual"}
        dot = copy.deepcopy(region(result, f"{FIRST.id}.0"))
        result += [box, dot | {"id": "dot", "parentID": "new-box", "origin": "manual"}]

    first, new = read_one(submitted(task((FIRST, SEEN)), edit)).instances
    assert (first.is_new, new.is_new) == (False, True)
    assert new.origins == ("new", "", "")


def test_points_without_a_parent_belong_to_the_only_box():
    def edit(result):
        for item in result:
            item.pop("parentID", None)

    (instance,) = read_one(submitted(task((FIRST, SEEN)), edit)).instances
    assert instance.pose.visibility.tolist() == [2, 0, 1]


def test_drafts_are_left_out_and_every_annotation_of_a_task_is_read():
    export = submitted(task((FIRST, SEEN)))
    export[0]["drafts"] = [{"id": 1, "result": []}]
    second = copy.deepcopy(export[0]["annotations"][0]) | {"id": 6, "completed_by": 3}
    export[0]["annotations"].append(second)
    annotations = read_export(export, MOUSE, "export.json")
    assert [(a.annotation_id, a.annotator) for a in annotations] == [
        ("5", "ann@example.org"),
        ("6", "3"),
    ]


def test_a_skipped_task_is_told_apart_from_one_without_objects():
    skipped = read_one(submitted(task((FIRST, SEEN)), was_cancelled=True))
    assert (skipped.skipped, skipped.instances) == (True, ())
    empty = read_one(submitted(task((FIRST, SEEN)), lambda result: result.clear()))
    assert (empty.skipped, empty.instances) == (False, ())


def test_an_export_without_annotations_is_empty():
    assert read_export([], MOUSE, "export.json") == []
    export = submitted(task((FIRST, SEEN)))
    export[0]["annotations"] = []
    assert read_export(export, MOUSE, "export.json") == []


def ticked(*answers):
    """A submitted visibility task; one list of ticks a box, None for no answer."""

    def edit(result):
        for item, ticks in zip(list(result), answers, strict=True):
            if ticks is not None:
                value = item["value"] | {"choices": ticks}
                result.append(item | {"type": "choices", "from_name": "presence", "value": value})

    boxes = [FIRST, SECOND][: len(answers)]
    return submitted(visibility_task(IMAGE, boxes, MOUSE, URL), edit)


def test_ticks_answer_for_every_keypoint_of_their_box():
    first, second = read_one(ticked(["right_ear", "nose"], [NOTHING_CHOICE])).instances
    assert first.presence == {"nose": True, "left_ear": False, "right_ear": True}
    assert second.presence == {"nose": False, "left_ear": False, "right_ear": False}
    assert (first.pose, first.origins) == (None, ())


def test_all_is_an_answer_too_also_beside_single_ticks():
    first, second = read_one(ticked([ALL_CHOICE], ["nose", ALL_CHOICE])).instances
    everything = dict.fromkeys(MOUSE.keypoints, True)
    assert (first.presence, second.presence) == (everything, everything)


def test_a_box_without_ticks_is_not_an_answer():
    first, second = read_one(ticked(["nose"], None)).instances
    assert first.presence is not None
    assert second.presence is None


def test_a_project_that_is_not_ours_is_read_by_its_image():
    export = submitted(task((FIRST, SEEN)))
    export[0]["data"] = {"image": "https://example.org/a.jpg"}
    export[0]["annotations"][0]["id"] = 12
    annotation = read_one(export)
    assert (annotation.image_id, annotation.image_path) == ("", "https://example.org/a.jpg")
    (instance,) = annotation.instances
    assert instance.is_new
    assert instance.pose.xy == pytest.approx(SEEN.xy, abs=1e-6)


def blank(served, edit=lambda result: None, **fields):
    """An annotation begun with the plus button, which shows no boxes."""
    export = submitted(served, lambda result: result.clear(), parent_prediction=None, **fields)
    edit(export[0]["annotations"][0]["result"])
    return export


def test_an_annotation_begun_on_a_blank_page_declines_no_object():
    served = task((FIRST, SEEN), (SECOND, ALL))
    assert read_one(blank(served)).declined == ()
    assert read_one(blank(served, was_cancelled=True)).declined == (FIRST.id, SECOND.id)
    emptied = submitted(served, lambda result: result.clear())
    assert read_one(emptied).declined == (FIRST.id, SECOND.id)
    without_box = submitted(served, lambda result: result.remove(region(result, SECOND.id)))
    assert [instance.region_id for instance in read_one(without_box).instances] == [FIRST.id]
    assert read_one(without_box).declined == (SECOND.id,)


def test_the_prediction_that_a_draft_began_with_is_found():
    moved = with_value(DOT, x=20)
    export = submitted(task((FIRST, SEEN)), moved, parent_prediction=None)
    region(export[0]["annotations"][0]["result"], DOT)["origin"] = "prediction-changed"
    newer = copy.deepcopy(export[0]["predictions"][0]) | {"id": 78, "model_version": "round-2"}
    for item in newer["result"]:
        item["value"]["x"] += 1
    export[0]["predictions"].insert(0, newer)
    annotation = read_one(export)
    assert (annotation.parent_prediction, annotation.model_version) == ("77", "round-1")
    assert annotation.instances[0].origins == ("changed", "", "untouched")


def test_a_choice_on_a_box_is_refused():
    def on_the_box(result):
        box = region(result, FIRST.id)
        result.append(box | {"type": "choices", "value": {"choices": ["Absent"]}})

    with pytest.raises(FormatError, match=f"box {FIRST.id} .*Absent"):
        read_one(submitted(task((FIRST, SEEN)), on_the_box))


def with_value(name, **value):
    return lambda result: region(result, name)["value"].update(value)


DOT = f"{FIRST.id}.0"


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (with_value(DOT, keypointlabels=["tail"]), [f"keypoint {DOT}", "['tail']"]),
        (with_value(DOT, keypointlabels=[]), [f"keypoint {DOT}", "[]"]),
        (with_value(DOT, keypointlabels=["right_ear"]), [FIRST.id, "'right_ear' twice"]),
        (with_value(DOT, x=180), ["'nose'", "x = 360.0", "(200 x 100)"]),
        (with_value(DOT, x=float("nan")), ["x = nan"]),
        (with_value(FIRST.id, width=0), ["area"]),
        (with_value(FIRST.id, rotation=30), [f"box {FIRST.id}", "30 degrees"]),
        (lambda r: region(r, DOT).update(parentID="gone"), ["box gone", "nose"]),
        (lambda r: region(r, DOT).update(id=FIRST.id), [f"region id '{FIRST.id}'"]),
        (lambda r: region(r, DOT).update(image_rotation=90), ["90 degrees"]),
        (lambda r: region(r, DOT).update(origin="magic"), ["origin 'magic'"]),
        (lambda r: region(r, DOT).update(value=None), ["AttributeError"]),
        (
            lambda r: region(r, DOT).update(original_width=100, original_height=200),
            ["100 x 200", "200 x 100"],
        ),
    ],
)
def test_wrong_content_is_one_error_that_names_task_and_annotation(edit, named):
    with pytest.raises(FormatError) as caught:
        read_one(submitted(task((FIRST, SEEN), (SECOND, ALL)), edit))
    assert caught.value.problem.startswith("export.json: task 9, annotation 5")
    assert [part for part in named if part not in caught.value.problem] == []


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "not a list"),
        ([3], "entry 1"),
        ([{"id": 4, "data": {}, "nose": 1}], "task 4 .*annotations"),
        ([{"id": 4, "data": {}, "annotations": [{}]}], "task 4 .*id"),
        ([{"id": 4, "data": {}, "annotations": [{"id": 1}]}], "task 4, annotation 1: .*image"),
    ],
)
def test_a_document_that_is_not_an_export_is_refused(document, named):
    with pytest.raises(FormatError, match=f"export.json.*{named}") as caught:
        read_export(document, MOUSE, "export.json")
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("ticks", "named"),
    [
        (["tail"], "'tail'"),
        (["nose", NOTHING_CHOICE], "nose"),
        ([ALL_CHOICE, NOTHING_CHOICE], "all of them"),
    ],
)
def test_ticks_that_contradict_the_skeleton_or_themselves_are_refused(ticks, named):
    with pytest.raises(FormatError, match=named):
        read_one(ticked(ticks))


# Tasks about one object, which show no box

CROP = Box(10, 5, 120, 60)


def alone(pose, **changes):
    options = {"image_url": URL, "model_version": "round-1", "one_object": True} | changes
    return correction_task(IMAGE, [(FIRST, pose)], MOUSE, **options)


def drawn(label, x, y, name="drawn"):
    value = {"x": x, "y": y, "width": 0.2, "keypointlabels": [label]}
    return {
        "id": name,
        "type": "keypointlabels",
        "from_name": "keypoints",
        "to_name": "image",
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "origin": "manual",
        "value": value,
    }


def test_a_task_about_one_object_holds_its_box_but_shows_none():
    made = alone(SEEN)
    assert made["data"]["labelkit"]["box"] == [20, 10, 100, 50]
    nose, right_ear, occluded = made["predictions"][0]["result"]
    assert "parentID" not in nose | right_ear | occluded
    ticks = visibility_task(IMAGE, [FIRST], MOUSE, URL, one_object=True)
    assert ticks["predictions"][0]["result"] == []
    assert ticks["data"]["labelkit"]["box"] == [20, 10, 100, 50]


@pytest.mark.parametrize("crop", [None, CROP])
def test_everything_in_a_task_about_one_object_is_about_that_object(crop):
    def edit(result):
        result.append(drawn("left_ear", 95.0, 5.0))  # far outside the box

    (instance,) = read_one(submitted(alone(SEEN, crop=crop), edit)).instances
    assert (instance.region_id, instance.is_new, instance.box) == (FIRST.id, False, FIRST.box)
    frame = crop or Box(0, 0, 200, 100)
    ear = [frame.x + 0.95 * frame.w, frame.y + 0.05 * frame.h]
    assert instance.pose.xy == pytest.approx(np.array([[30, 25], ear, [50.5, 33]]))
    assert instance.pose.visibility.tolist() == [2, 2, 1]
    assert instance.origins == ("untouched", "new", "untouched")


def test_a_deleted_keypoint_is_removed_and_the_object_stays():
    export = submitted(alone(SEEN), lambda result: result.pop(0))
    annotation = read_one(export)
    assert annotation.declined == ()
    (instance,) = annotation.instances
    assert instance.pose.visibility.tolist() == [0, 0, 1]
    assert instance.origins == ("removed", "", "untouched")


def test_an_object_that_shows_no_keypoint_is_an_answer_and_a_skipped_one_is_declined():
    emptied = read_one(submitted(alone(SEEN), lambda result: result.clear()))
    (instance,) = emptied.instances
    assert (instance.pose.visibility.tolist(), emptied.declined) == ([0, 0, 0], ())
    (instance,) = read_one(submitted(alone(None))).instances  # of the control arm
    assert instance.origins == ("", "", "")
    assert read_one(submitted(alone(SEEN), was_cancelled=True)).declined == (FIRST.id,)


def test_a_blank_page_of_a_task_about_one_object_is_no_answer():
    annotation = read_one(blank(alone(SEEN)))
    assert (annotation.instances, annotation.declined) == ((), ())
    (instance,) = read_one(blank(alone(SEEN), lambda r: r.append(drawn("nose", 10, 10)))).instances
    assert instance.pose.visibility.tolist() == [2, 0, 0]


def test_a_keypoint_twice_is_refused_unless_one_of_them_is_marked_as_absent():
    def twice(result):
        result.append(drawn("nose", 50.0, 60.0))

    def instead(result):
        twice(result)
        dot = region(result, f"{FIRST.id}.0")
        result.append(dot | {"type": "choices", "value": {"choices": ["Absent"]}})

    with pytest.raises(FormatError, match="'nose' twice"):
        read_one(submitted(alone(SEEN), twice))
    (instance,) = read_one(submitted(alone(SEEN), instead)).instances
    assert instance.pose.xy[0].tolist() == [100.0, 60.0]
    assert instance.origins[0] == "changed"


@pytest.mark.parametrize(
    ("ticks", "present"),
    [
        (["nose", "right_ear"], (True, False, True)),
        ([ALL_CHOICE], (True, True, True)),
        ([NOTHING_CHOICE], (False, False, False)),
        (None, None),
    ],
)
def test_ticks_of_a_task_about_one_object_answer_for_it(ticks, present):
    def edit(result):
        if ticks is not None:
            whole = {"id": "5gx", "type": "choices", "from_name": "presence", "to_name": "image"}
            result.append({**whole, "value": {"choices": ticks}})

    made = visibility_task(IMAGE, [FIRST], MOUSE, URL, one_object=True)
    (instance,) = read_one(submitted(made, edit)).instances
    expected = None if present is None else dict(zip(MOUSE.keypoints, present, strict=True))
    assert (instance.region_id, instance.presence) == (FIRST.id, expected)


def test_a_message_about_a_task_on_a_server_has_its_address():
    export = submitted(alone(SEEN), lambda result: result.append(drawn("nose", 50.0, 60.0)))
    export[0]["project"] = 4
    with pytest.raises(FormatError) as caught:
        read_export(export, MOUSE, "http://127.0.0.1:8080")
    address = "http://127.0.0.1:8080/projects/4/data?task=9"
    assert caught.value.problem.startswith(f"{address}, annotation 5")
    (annotation,) = read_export(
        [{**submitted(alone(SEEN))[0], "project": 4}], MOUSE, "http://127.0.0.1:8080"
    )
    assert annotation.address == address
    assert read_one(submitted(alone(SEEN))).address == ""
