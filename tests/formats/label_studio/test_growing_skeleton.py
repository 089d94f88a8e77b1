"""Answers to tasks that were made before the skeleton was edited, and after."""

import pytest
from builders import make_instance, stick_skeleton

from labelkit.domain.skeleton_edit import edited
from labelkit.formats.label_studio.config import NOTHING_CHOICE
from labelkit.formats.label_studio.export import StudioInstance, read_export
from labelkit.formats.label_studio.tasks import visibility_task

STICK = stick_skeleton()  # nose, left_paw, right_paw, tail
GROWN = edited(STICK, {"keypoints": [*STICK.keypoints, "wing"]}, "s.toml")
SHRUNK = edited(STICK, {"keypoints": ["nose", "left_paw", "right_paw"]}, "s.toml")
RENAMED = edited(STICK, {"renamed": [["tail", "tail_base"]]}, "s.toml")
ITEM = make_instance()


def region(id_, kind, control, **value):
    return {
        "id": id_,
        "type": kind,
        "from_name": control,
        "to_name": "image",
        "original_width": 100,
        "original_height": 80,
        "image_rotation": 0,
        "value": value,
    }


BOX = region(ITEM.id, "rectanglelabels", "box", x=10, y=25, width=40, height=37.5)


def dots(**places):
    """Keypoints in percent, by the labels of the interface in which they were placed."""
    return [
        region(f"dot-{name}", "keypointlabels", "keypoints", x=x, y=y, keypointlabels=[name])
        | {"parentID": ITEM.id}
        for name, (x, y) in places.items()
    ]


def ticks(*names):
    box = {key: BOX["value"][key] for key in ("x", "y", "width", "height")}
    return [region(ITEM.id, "choices", "presence", **box, choices=list(names))]


def answer(results, skeleton, asked=STICK.keypoints, kind="correction", first=()) -> StudioInstance:
    """The object of a task that asks about some keypoints; None is a task that does not say."""
    ours = {"kind": kind, "width": 100, "height": 80, "instances": [ITEM.id]}
    if asked is not None:
        ours["keypoints"] = list(asked)
    data = {"image": "a.png", "image_id": ITEM.image.id, "image_path": "a.png", "labelkit": ours}
    annotation = {"id": 5, "result": [BOX, *results], "updated_at": "2026-01-01T10:00:00Z"}
    task = {"id": 9, "data": data, "annotations": [annotation]}
    (found,) = read_export([task], skeleton, "export.json", first)
    (instance,) = found.instances
    return instance


def test_a_keypoint_that_the_task_did_not_ask_about_is_unknown_and_the_others_are_answered():
    found = answer(dots(nose=(20, 30), tail=(40, 50)), GROWN)
    assert found.pose.visibility.tolist() == [2, 0, 0, 2, -1]
    assert answer(dots(nose=(20, 30)), GROWN, GROWN.keypoints).pose.visibility.tolist() == [
        2,
        0,
        0,
        0,
        0,
    ]


def test_a_new_keypoint_that_was_placed_all_the_same_counts():
    found = answer(dots(nose=(20, 30), wing=(40, 50)), GROWN)
    assert found.pose.visibility.tolist() == [2, 0, 0, 0, 2]
    assert found.pose.xy[4].tolist() == pytest.approx([40, 40])
    assert found.origins == ("new", "", "", "", "new")


@pytest.mark.parametrize("first", [STICK.keypoints, ()])
def test_a_task_of_an_earlier_version_asks_about_the_first_skeleton(first):
    found = answer(dots(nose=(20, 30)), GROWN, asked=None, first=first)
    assert found.pose.visibility.tolist() == [2, 0, 0, 0, -1 if first else 0]


def test_ticks_answer_about_the_keypoints_of_their_task():
    def presence(*names, **more):
        return answer(ticks(*names), GROWN, kind="visibility", **more).presence

    old = {"nose": True, "left_paw": False, "right_paw": False, "tail": False}
    assert presence("nose") == old
    assert presence("nose", "wing") == {**old, "wing": True}
    assert presence(NOTHING_CHOICE) == dict.fromkeys(STICK.keypoints, False)
    assert presence("nose", asked=GROWN.keypoints) == {**old, "wing": False}


def test_a_removed_keypoint_is_still_read_from_the_tasks_that_asked_about_it():
    found = answer(dots(nose=(20, 30), tail=(40, 50)), SHRUNK)
    assert found.pose.visibility.tolist() == [2, 0, 0, 2]
    seen = answer(ticks("tail"), SHRUNK, kind="visibility").presence
    assert seen == {"nose": False, "left_paw": False, "right_paw": False, "tail": True}


def test_a_renamed_keypoint_is_read_under_both_names():
    old = answer(dots(nose=(20, 30), tail=(40, 50)), RENAMED)
    mixed = answer(dots(nose=(20, 30), tail_base=(40, 50)), RENAMED)
    new = answer(dots(nose=(20, 30), tail_base=(40, 50)), RENAMED, RENAMED.keypoints)
    assert old.pose == mixed.pose == new.pose
    assert old.pose.visibility.tolist() == [2, 0, 0, 2]
    for ticked in ("tail", "tail_base"):
        seen = answer(ticks(ticked), RENAMED, kind="visibility").presence
        assert seen == {"nose": False, "left_paw": False, "right_paw": False, "tail_base": True}


@pytest.mark.parametrize("one_object", [True, False])
def test_what_is_ticked_already_is_ticked_in_the_task_that_asks_for_the_rest(one_object):
    known = {ITEM.id: ["nose", "tail"]}
    task = visibility_task(ITEM.image, [ITEM], GROWN, "a.png", one_object=one_object, ticks=known)
    result = task["predictions"][0]["result"]
    choice = next(it for it in result if it["type"] == "choices")
    choice["value"]["choices"].append("wing")
    annotation = {"id": 5, "result": result, "updated_at": "2026-01-01T10:00:00Z"}
    (found,) = read_export([{"id": 9, **task, "annotations": [annotation]}], GROWN, "export.json")
    assert found.instances[0].presence == {
        "nose": True,
        "left_paw": False,
        "right_paw": False,
        "tail": True,
        "wing": True,
    }
    plain = visibility_task(ITEM.image, [ITEM], GROWN, "a.png", one_object=one_object)
    assert all(it["type"] != "choices" for it in plain["predictions"][0]["result"])
