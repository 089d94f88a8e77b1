"""SLEAP projects, written by sleap-io itself and by labelkit."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import sleap_io as sio
from builders import make_image, make_instance, make_pose, stick_skeleton

from labelkit.domain.pose import Pose
from labelkit.errors import FormatError, MissingDependencyError
from labelkit.formats.hdf5 import kind_of_hdf5
from labelkit.formats.sleap import labelled_frames, read_sleap, write_sleap
from labelkit.workflows.intake.label_files import read_label_file

NAN = float("nan")


def fly() -> sio.Skeleton:
    return sio.Skeleton(
        ["head", "wingL", "wingR"],
        edges=[("head", "wingL"), ("head", "wingR")],
        symmetries=[("wingL", "wingR")],
        name="fly",
    )


def pictures(*names: str) -> sio.Video:
    about = {"type": "ImageVideo", "filename": names[0], "filenames": list(names)}
    return sio.Video(list(names), backend_metadata=about, open_backend=False)


def write(path: Path, *frames: sio.LabeledFrame) -> Path:
    sio.save_slp(sio.Labels(list(frames)), str(path), embed=False, verbose=False)
    return path


def user(xy, skeleton, **more) -> sio.Instance:
    return sio.Instance.from_numpy(np.array(xy, dtype=float), skeleton, **more)


@pytest.fixture
def project(tmp_path) -> Path:
    """Two flies on the first of three images, one of them occluded in part; the last has none."""
    skeleton, video = fly(), pictures("C:\\data\\a.png", "C:\\data\\b.png", "C:\\data\\c.png")
    anna = user([[1.25, 2.5], [NAN, NAN], [3, 4]], skeleton, track=sio.Track("anna"))
    bert = user([[7, 8], [9, 10], [11, 12]], skeleton, category="drone")
    bert.points["visible"][1] = False
    bert.points["complete"][1] = True
    guess = sio.PredictedInstance.from_numpy(np.ones((3, 2)), skeleton=skeleton, score=0.5)
    return write(
        tmp_path / "labels.slp",
        sio.LabeledFrame(video, 0, [anna, guess, bert]),
        sio.LabeledFrame(video, 1, [guess]),
        sio.LabeledFrame(video, 2, [], is_negative=True),
    )


def test_a_project_worked_by_hand(project):
    found = read_sleap(project)
    assert found.skeleton.keypoints == ("head", "wingL", "wingR")
    assert found.skeleton.links == ((0, 1), (0, 2))
    assert found.skeleton.pairs == ((1, 2),)
    anna, bert = found.annotations
    assert (anna.image_path, anna.individual, anna.category) == ("C:/data/a.png", "anna", "")
    assert anna.pose.xy.tolist() == [[1.25, 2.5], [0, 0], [3, 4]]
    assert anna.pose.visibility.tolist() == [2, 0, 2]
    assert (bert.individual, bert.category) == ("", "drone")
    assert bert.pose.visibility.tolist() == [2, 1, 2]
    assert found.image_paths == ("C:/data/a.png", "C:/data/c.png")
    assert len({anna.reference, bert.reference}) == 2


def test_a_point_that_no_person_placed_is_absent(tmp_path):
    item = user([[1, 1], [2, 2], [3, 3]], fly())
    item.points["visible"][1] = False
    path = write(tmp_path / "a.slp", sio.LabeledFrame(pictures("a.png"), 0, [item]))
    found = read_sleap(path)
    assert found.annotations[0].pose.visibility.tolist() == [2, 0, 2]
    assert "1 point" in found.notes[0]


def test_it_is_recognised_by_what_is_in_it(project):
    renamed = project.rename(project.with_suffix(".dat"))
    assert kind_of_hdf5(renamed) == "sleap"
    assert len(read_label_file(renamed, None).annotations) == 2


def test_nodes_in_another_order_keep_their_names(tmp_path):
    skeleton = sio.Skeleton(["tail", "nose", "right_paw", "left_paw"])
    item = user([[1, 1], [2, 2], [3, 3], [4, 4]], skeleton)
    path = write(tmp_path / "a.slp", sio.LabeledFrame(pictures("a.png"), 0, [item]))
    (read,) = read_label_file(path, stick_skeleton()).annotations
    assert read.pose.xy[:, 0].tolist() == [2, 4, 3, 1]


def test_frames_of_a_video_are_called_as_labelkit_frames_calls_them(tmp_path):
    video = sio.Video("D:\\films\\cage 1.mp4", open_backend=False)
    frame = sio.LabeledFrame(video, 7, [user(np.ones((3, 2)), fly())])
    path = write(tmp_path / "a.slp", frame)
    assert read_sleap(path).image_paths == ("cage 1/cage 1-f000007",)
    assert labelled_frames(path) == {"cage 1.mp4": {7}}


def test_predictions_alone_are_no_labels(tmp_path):
    guess = sio.PredictedInstance.from_numpy(np.ones((3, 2)), skeleton=fly(), score=0.5)
    path = write(tmp_path / "a.slp", sio.LabeledFrame(pictures("a.png"), 0, [guess]))
    with pytest.raises(FormatError, match="1 predicted"):
        read_sleap(path)


def test_several_skeletons_are_named(tmp_path):
    items = [
        user(np.ones((3, 2)), fly()),
        user(np.ones((2, 2)), sio.Skeleton(["a", "b"], name="ant")),
    ]
    path = write(tmp_path / "a.slp", sio.LabeledFrame(pictures("a.png"), 0, items))
    with pytest.raises(FormatError, match=r"'fly'.*'ant'"):
        read_sleap(path)


def test_a_cut_file_is_damaged(project):
    project.write_bytes(project.read_bytes()[:2000])
    with pytest.raises(FormatError, match="damaged"):
        read_label_file(project, None)


@pytest.mark.parametrize(("package", "extra"), [("h5py", "hdf5"), ("sleap_io", "sleap")])
def test_the_extra_is_named_where_its_package_is_missing(project, package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"h5py|sleap-io") as caught:
        read_label_file(project, None)
    assert f"'labelkit-keypoints[{extra}]'" in caught.value.next_step


# What labelkit writes


def test_what_was_written_opens_in_sleap_io_with_every_digit(tmp_path):
    stick = stick_skeleton()
    image = make_image("day 1/a.png")
    xy = [[1.25, 2.123456789012345], [3, 4], [5, 6], [7, 8]]
    items = [
        (make_instance(image), make_pose(xy, [2, 1, 0, -1])),
        (make_instance(make_image("b.png", 64, 48)), make_pose()),
    ]
    write_sleap(items, stick, tmp_path / "frames", (), tmp_path / "labels.slp")
    labels = sio.load_slp(str(tmp_path / "labels.slp"), open_videos=False)
    assert labels.skeleton.node_names == list(stick.keypoints)
    assert [frame.frame_idx for frame in labels] == [0, 0]  # a size is a video
    first, second = labels.videos
    assert first.filename == [str(tmp_path / "frames" / "day 1" / "a.png")]
    assert tuple(first.shape) == (1, 80, 100, 3)
    assert tuple(second.shape) == (1, 48, 64, 3)
    points = labels[0].instances[0].points
    assert points["xy"][:2].tolist() == xy[:2]
    assert np.isnan(points["xy"][2:]).all()
    assert points["visible"].tolist() == [True, False, False, False]
    assert points["complete"].tolist() == [True, True, False, False]


def test_predicted_objects_are_predicted_instances(tmp_path):
    instance, pose = make_instance(), make_pose()
    predicted = Pose(pose.xy, pose.visibility, np.array([0.5, 0.5, 1, 1]))
    path = tmp_path / "labels.slp"
    write_sleap([(instance, predicted)], stick_skeleton(), tmp_path, {instance.id}, path)
    (item,) = sio.load_slp(str(path), open_videos=False)[0].predicted_instances
    assert item.score == 0.75
    assert item.points["score"].tolist() == [0.5, 0.5, 1, 1]
