"""Exports of a Label Studio 1.23.2 server, answered and corrected in its browser screens.

Most keypoints are left out to keep the files short, and one that the annotator had moved to the
wrong box is back in its own.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from labelkit.domain.skeleton import load_skeleton
from labelkit.errors import FormatError
from labelkit.formats.label_studio.export import read_export

FOLDER = Path(__file__).parent
LSP = load_skeleton("lsp14")
FIRST, SECOND = "02bd2bc3f37e8175-0", "02bd2bc3f37e8175-1"

#: Drawn inside the second box with Ctrl+click; Label Studio gives it no parent.
DRAWN = "0Zw9pMdW0N"


def load(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def read(export):
    return read_export(export, LSP, "export.json")


def regions(export):
    return export[0]["annotations"][0]["result"]


def region(export, name):
    return next(item for item in regions(export) if item["id"] == name)


def origins(instance):
    return {n: o for n, o in zip(LSP.keypoints, instance.origins, strict=True) if o}


@pytest.fixture
def correction():
    return load("correction_export.json")


def test_each_point_says_what_the_annotator_did_to_it(correction):
    first, second = read(correction)[0].instances
    assert origins(first) == {
        "right_knee": "new",
        "right_wrist": "untouched",
        "left_elbow": "changed",
        "left_wrist": "untouched",
        "neck": "untouched",
    }
    assert origins(second) == {
        "right_knee": "untouched",
        "right_wrist": "removed",
        "left_elbow": "untouched",
        "left_wrist": "new",
        "neck": "untouched",
    }


def test_a_point_marked_as_occluded_stays_where_it_was_shown(correction):
    first, second = read(correction)[0].instances
    neck = LSP.index("neck")
    assert (first.pose.visibility[neck], second.pose.visibility[neck]) == (1, 2)


def test_untouched_points_come_back_exactly(correction):
    shown = correction[0]["annotations"][0]["prediction"]["result"]
    for instance in read(correction)[0].instances:
        for name, what in origins(instance).items():
            if what == "untouched":
                index = LSP.index(name)
                value = next(r for r in shown if r["id"] == f"{instance.region_id}.{index}")
                there = np.array([value["value"]["x"] * 6.4, value["value"]["y"] * 3.2])
                assert np.abs(instance.pose.xy[index] - there).max() < 1e-9


def test_a_drawn_point_belongs_to_the_only_box_around_it_that_lacks_it(correction):
    assert "parentID" not in region(correction, DRAWN)
    _, second = read(correction)[0].instances
    at = LSP.index("left_wrist")
    assert second.pose.xy[at] == pytest.approx([512.613909, 64.460432], abs=1e-6)


def test_a_drawn_point_outside_every_box_has_to_be_given_to_one(correction):
    region(correction, DRAWN)["value"]["y"] = 95
    with pytest.raises(FormatError) as caught:
        read(correction)
    assert caught.value.problem.startswith("export.json: task 22, annotation 13: 'left_wrist'")
    assert "(512.6, 304.0) pixels" in caught.value.problem
    assert "0 of 2 boxes" in caught.value.problem
    assert "list of regions" in caught.value.next_step


def test_a_drawn_point_inside_two_boxes_that_lack_it_has_to_be_given_to_one(correction):
    region(correction, FIRST)["value"].update(x=0, y=0, width=100, height=100)
    regions(correction).remove(region(correction, f"{FIRST}.11"))
    with pytest.raises(FormatError, match="2 of 2 boxes"):
        read(correction)


def test_a_drawn_point_does_not_go_to_a_box_around_it_that_has_the_keypoint(correction):
    region(correction, FIRST)["value"].update(x=0, y=0, width=100, height=100)
    first, second = read(correction)[0].instances
    assert (origins(first)["left_wrist"], origins(second)["left_wrist"]) == ("untouched", "new")


def test_a_point_dragged_onto_a_box_that_has_the_keypoint_is_refused(correction):
    region(correction, f"{SECOND}.1")["parentID"] = FIRST
    with pytest.raises(FormatError, match=f"{FIRST} .*'right_knee' twice"):
        read(correction)


def test_points_of_a_deleted_box_do_not_go_to_another(correction):
    regions(correction).remove(region(correction, SECOND))
    with pytest.raises(FormatError, match=r"'left_wrist' at .* 0 of 1 boxes"):
        read(correction)  # the annotator drew it
    region(correction, f"{SECOND}.1")["value"]["x"] += 1
    with pytest.raises(FormatError, match=f"box {SECOND} .*right_knee"):
        read(correction)


def test_a_point_deleted_and_drawn_again_elsewhere_is_changed(correction):
    dot = region(correction, f"{SECOND}.10")
    dot.update(id="again", origin="manual")
    del dot["parentID"]
    dot["value"]["x"] -= 5
    _, second = read(correction)[0].instances
    assert origins(second)["left_elbow"] == "changed"


def test_an_unmoved_point_that_label_studio_calls_changed_is_untouched(correction):
    region(correction, f"{SECOND}.10")["origin"] = "prediction-changed"
    _, second = read(correction)[0].instances
    assert origins(second)["left_elbow"] == "untouched"


def test_a_skip_in_the_browser_is_a_skip(correction):
    skipped = read(correction)[1]
    assert (skipped.skipped, skipped.instances, skipped.image_path) == (True, (), "one.png")


def test_annotator_times_and_prediction_are_read(correction):
    done = read(correction)[0]
    assert (done.annotation_id, done.annotator, done.lead_time_s) == ("13", "1", 13.578)
    assert done.updated_at == "2026-11-20T11:16:31.735307Z"
    assert (done.parent_prediction, done.model_version) == ("22", "round-000")


def test_the_prediction_that_was_shown_is_known_if_only_its_copy_is_left(correction):
    correction[0]["annotations"][0]["parent_prediction"] = None
    assert origins(read(correction)[0].instances[1])["right_wrist"] == "removed"


def test_ticks_and_none_of_them_are_answers():
    answered, skipped = read(load("visibility_export.json"))
    first, second = answered.instances
    assert [name for name, seen in first.presence.items() if seen] == [
        "right_ankle",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_elbow",
        "right_shoulder",
    ]
    assert second.presence == dict.fromkeys(LSP.keypoints, False)
    assert skipped.skipped


def test_every_annotation_that_has_to_be_corrected_is_named_at_once():
    export = load("visibility_export.json")[:1]
    export[0]["annotations"][0]["result"][3]["value"]["choices"].append("neck")
    twelve = [{**export[0], "id": number} for number in range(1, 13)]
    with pytest.raises(FormatError) as caught:
        read([*load("correction_export.json"), *twelve])
    lines = caught.value.problem.splitlines()
    assert lines[0].startswith("12 annotations")
    assert lines[1].startswith("export.json: task 1, annotation 15, box 02bd2bc3f37e8175-1: '(none")
    assert (len(lines), lines[-1]) == (12, "... and 2 more.")
    assert "export again" in caught.value.next_step
