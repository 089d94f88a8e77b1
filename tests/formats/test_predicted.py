"""Predictions of other tools, read with their scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import write_picture

from labelkit.domain.instance import Box
from labelkit.errors import FormatError
from labelkit.formats.predicted import is_results, read_results, read_slp, read_table, read_texts

TABLE = """\
scorer,net,net,net,net,net,net
bodyparts,nose,nose,nose,tail,tail,tail
coords,x,y,likelihood,x,y,likelihood
a/1.png,1.5,2.5,0.9,,,
a/2.png,3,4,0.25,5,6,1
"""

SEVERAL = """\
scorer,net,net,net,net,net,net
individuals,mus1,mus1,mus1,mus2,mus2,mus2
bodyparts,nose,nose,nose,nose,nose,nose
coords,x,y,likelihood,x,y,likelihood
a/1.png,1,2,0.5,,,
"""


def test_results_have_a_score_for_each_keypoint_and_a_box():
    rows = [
        {"image_id": 7, "keypoints": [1, 2, 0.5, 0, 0, 0], "bbox": [1, 2, 3, 4]},
        {"image_id": "b.png", "keypoints": [3, 4, 1.2, 5, 6, 0.1]},
    ]
    assert is_results(rows)
    found = read_results(rows, "results.json", {7: "a.png"}, ("nose", "tail"))
    first, second = found.annotations
    assert (first.image_path, first.box) == ("a.png", Box(1, 2, 3, 4))
    assert first.pose.xy.tolist() == [[1, 2], [0, 0]]
    assert first.pose.present.tolist() == [True, False]
    assert second.image_path == "b.png"
    assert second.box is None
    assert second.pose.score.tolist() == [1.0, 0.1]  # a peak may exceed 1


def test_an_image_id_without_a_file_name_is_refused():
    rows = [{"image_id": 7, "keypoints": [1, 2, 0.5]}]
    with pytest.raises(FormatError, match=r"7.*\n.*--ids FILE"):
        read_results(rows, "results.json", {}, ())


@pytest.mark.parametrize(
    "more", [{"keypoints": [1, 2]}, {"keypoints": ["x", 2, 1]}, {"bbox": [1, 2, 3]}]
)
def test_a_result_of_another_shape_is_named(more):
    rows = [{"image_id": "a.png", "keypoints": [1, 2, 0.5]}]
    with pytest.raises(FormatError, match="result 2"):
        read_results([*rows, rows[0] | more], "results.json", {}, ())


def test_a_table_of_one_animal_has_a_pose_a_row():
    found = read_table(TABLE, "t.csv")
    assert found.keypoints == ("nose", "tail")
    first, second = found.annotations
    assert (first.image_path, first.pose.visibility.tolist()) == ("a/1.png", [2, 0])
    assert second.pose.xy.tolist() == [[3, 4], [5, 6]]
    assert second.pose.score.tolist() == [0.25, 1.0]


def test_a_table_of_several_animals_leaves_out_those_that_are_not_there():
    found = read_table(SEVERAL, "t.csv")
    assert [item.reference for item in found.annotations] == ["a/1.png#mus1"]


def test_the_column_of_lightning_pose_for_the_split_is_ignored():
    cells = ["net", "set", "", "train", "train"]
    text = "\n".join(map(",".join, zip(TABLE.splitlines(), cells, strict=True)))
    assert len(read_table(text, "t.csv").annotations) == 2


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace("likelihood", "score"),
        TABLE.replace("tail,tail,tail", "tail,tail,ear"),
        TABLE.replace("2.5", "two"),
        TABLE.replace("a/1.png", "17"),
        "frame,x,y\n1,2,3\n",
    ],
)
def test_another_table_is_refused(text):
    with pytest.raises(FormatError, match=r"t\.csv"):
        read_table(text, "t.csv")


def test_lines_of_yolo_may_end_with_the_confidence_of_the_box_and_a_track():
    pose = "0 0.5 0.5 0.2 0.4 0.1 0.2 0.9 0.3 0.4 0.8"
    found = read_texts({"a.png": f"{pose}\n{pose} 0.7\n{pose} 0.7 3\n"}, "labels")
    assert found.are_shares
    assert [item.pose.score.tolist() for item in found.annotations] == [[0.9, 0.8]] * 3
    assert np.allclose(found.annotations[0].box, (0.4, 0.3, 0.2, 0.4))


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.2 0.4", "0 0.5 0.5 0.2 0.4 x 0.2 0.9"])
def test_a_line_without_keypoints_is_named(line):
    with pytest.raises(FormatError, match=r"a\.png, line 1"):
        read_texts({"a.png": line}, "labels")


def test_predicted_instances_of_sleap_have_their_scores(tmp_path: Path):
    sleap_io = pytest.importorskip("sleap_io")
    write_picture(tmp_path / "im.png")
    skeleton = sleap_io.Skeleton(["nose", "tail"])
    place = np.array([[1.0, 2.0], [np.nan, np.nan]])
    instance = sleap_io.PredictedInstance.from_numpy(
        place, skeleton=skeleton, point_scores=np.array([0.5, 0.1]), score=0.7
    )
    video = sleap_io.Video.from_filename([str(tmp_path / "im.png")])
    frame = sleap_io.LabeledFrame(video=video, frame_idx=0, instances=[instance])
    sleap_io.Labels([frame]).save(str(tmp_path / "p.slp"))
    found = read_slp(tmp_path / "p.slp")
    assert found.keypoints == ("nose", "tail")
    (only,) = found.annotations
    assert only.image_path.endswith("im.png")
    assert only.pose.visibility.tolist() == [2, 0]
    assert only.pose.score.tolist() == [0.5, 0.0]


def test_a_sleap_file_that_cannot_be_read_is_named(tmp_path: Path):
    pytest.importorskip("sleap_io")
    (tmp_path / "p.slp").write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"p\.slp"):
        read_slp(tmp_path / "p.slp")
