"""`labelkit frames`: pictures from videos, a folder and a table for each."""

import csv
import json

import numpy as np
import pytest
import sleap_io as sio
from builders import stick_skeleton
from command_line import labelkit
from PIL import Image as Picture
from videos import make_video, moving_square, turn_by_90_degrees

from labelkit.domain.instance import Box
from labelkit.errors import FormatError, InputError, ProjectError, UsageError
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.project.project import create_project
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.loop.frames import frames
from labelkit.workflows.loop.predictions import add_predictions


def run(videos, output, count=6, how="kmeans", dry_run=False):
    return frames(videos, output, Silent(), count=count, how=how, seed=0, dry_run=dry_run)


def rows(folder):
    return list(csv.DictReader((folder / "frames.csv").read_text("utf-8").splitlines()))


@pytest.fixture
def video(tmp_path):
    return make_video(tmp_path / "cage.mp4", range(0, 1000, 40))  # 25 frames


@pytest.mark.parametrize("how", ["kmeans", "even"])
def test_each_video_gets_a_folder_with_its_share(tmp_path, video, how):
    other = make_video(tmp_path / "field.avi", range(0, 800, 40))
    report = run([video, other], tmp_path / "frames", how=how)
    for name, item in zip(("cage", "field"), report.videos, strict=True):
        folder = tmp_path / "frames" / name
        assert sorted(path.name for path in folder.glob("*.png")) == sorted(item.new)
        assert len(item.new) == 3
        assert [row["file"] for row in rows(folder)] == list(item.new)
    assert [item.read for item in report.videos] == [25, 20]


def test_even_frames_are_the_middles_of_equal_stretches(tmp_path, video):
    report = run([video], tmp_path / "frames", count=5, how="even")
    numbers = [int(row["frame"]) for row in rows(report.videos[0].folder)]
    assert [number // 5 for number in numbers] == [0, 1, 2, 3, 4]


def test_names_and_table_carry_time_stamps_of_a_variable_frame_rate(tmp_path):
    video = make_video(tmp_path / "v.mp4", [0, 40, 45, 1300])
    run([video], tmp_path / "frames", count=4)
    found = rows(tmp_path / "frames" / "v")
    assert [row["seconds"] for row in found] == ["0.000000", "0.040000", "0.045000", "1.300000"]
    assert found[3]["file"] == "v-f000003-1.300s.png"
    assert {(row["video"], int(row["bytes"])) for row in found} == {("v.mp4", video.stat().st_size)}


def test_run_again_it_changes_nothing_and_with_a_larger_count_it_adds(tmp_path, video):
    output = tmp_path / "frames"
    run([video], output, count=4)
    before = {path: path.read_bytes() for path in output.rglob("*.*")}
    assert run([video], output, count=4).videos[0].new == ()
    assert {path: path.read_bytes() for path in output.rglob("*.*")} == before
    more = run([video], output, count=8).videos[0]
    assert more.before == 4
    assert 0 < len(more.new) <= 4
    assert set(before) <= set(output.rglob("*.*"))
    assert len(rows(output / "cage")) == 4 + len(more.new) == len(list(output.rglob("*.png")))


def test_a_scan_of_the_folder_finds_the_frames_and_ignores_nothing(tmp_path, video):
    (item,) = run([video], tmp_path / "frames", count=3).videos
    scan = scan_images(tmp_path / "frames")
    assert [image.path for image in scan.images] == [f"cage/{file}" for file in item.new]
    assert not scan.ignored


def test_still_pictures_are_taken_once(tmp_path, video):
    still = make_video(tmp_path / "still.mp4", range(0, 400, 40), lambda _: moving_square(0))
    (item,) = run([still], tmp_path / "frames", how="even").videos
    assert (len(item.new), item.alike) == (1, 5)


def test_a_dry_run_writes_nothing_and_names_the_same_frames(tmp_path, video):
    dry = run([video], tmp_path / "frames", dry_run=True)
    assert not (tmp_path / "frames").exists()
    assert dry.videos[0].new == run([video], tmp_path / "frames").videos[0].new


def test_frames_of_a_turned_video_are_upright(tmp_path, video):
    turn_by_90_degrees(video)
    (item,) = run([video], tmp_path / "frames", count=1).videos
    with Picture.open(item.folder / item.new[0]) as picture:
        assert picture.size == (48, 64)


def test_a_broken_video_is_named_before_anything_is_written(tmp_path, video):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:200])
    with pytest.raises(InputError, match=r"broken\.mp4"):
        run([video, broken], tmp_path / "frames")
    assert not (tmp_path / "frames").exists()


def test_a_cut_off_video_gives_the_frames_that_it_has(tmp_path):
    whole = make_video(tmp_path / "whole.mkv", range(0, 4000, 40))
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (item,) = run([cut], tmp_path / "frames", count=4).videos
    assert 10 < item.read < 90
    assert len(item.new) == 4


def test_videos_of_one_name_get_folders_of_their_own(tmp_path):
    for cage in ("left", "right"):
        (tmp_path / cage).mkdir()
        make_video(tmp_path / cage / "day1.mp4", range(0, 400, 40))
    videos = [tmp_path / "left" / "day1.mp4", tmp_path / "right" / "day1.mp4"]
    report = run(videos, tmp_path / "frames")
    assert [item.folder.name for item in report.videos] == ["left_day1", "right_day1"]
    with pytest.raises(UsageError):
        run([videos[0], videos[0]], tmp_path / "frames")


def test_a_folder_with_frames_of_another_video_is_refused(tmp_path, video):
    run([video], tmp_path / "frames")
    (tmp_path / "later").mkdir()
    other = make_video(tmp_path / "later" / "cage.mp4", range(0, 400, 40))
    with pytest.raises(FormatError, match="--folder"):
        run([other], tmp_path / "frames")


def test_fewer_frames_than_videos_are_refused(tmp_path, video):
    with pytest.raises(UsageError, match="--count 2"):
        run([video, video], tmp_path / "frames", count=1)


@pytest.fixture
def predicted(tmp_path):
    """A project of 4 frames of a video of 20 seconds; a round is least sure of the third."""
    video = make_video(tmp_path / "cage.mp4", range(0, 20_000, 200))
    run([video], tmp_path / "frames", count=4, how="even")
    project = create_project(tmp_path / "frames-labelkit", tmp_path / "frames", stick_skeleton())
    with open_store(project) as store:
        images = scan_images(project.images_root).images
        store.add_images(images)
        store.add_instances(
            [NewInstance(i, Box(0, 0, 64, 48), "whole-image", 64 * 48) for i in images]
        )
        scores = (0.9, 0.8, 0.5, 0.7)

        def spread(score):
            return [value for x in (9, 19, 29, 39) for value in (x, x, score)]

        results = [
            {"image_id": image.path, "category_id": 1, "keypoints": spread(score)}
            for image, score in zip(images, scores, strict=True)
        ]
        (tmp_path / "results.json").write_text(json.dumps(results))
        add_predictions(project, store, tmp_path / "results.json", name="m")
    return video, project


def test_around_takes_new_frames_near_what_the_round_is_least_sure_of(tmp_path, predicted):
    video, project = predicted
    folder = tmp_path / "frames" / "cage"
    before = rows(folder)
    given = ("--folder", tmp_path / "frames", "--project", project.root, "--json")
    outcome = labelkit("frames", video, "--around", "--count", "1", *given)
    assert outcome.code == 0, outcome
    (new,) = [row for row in rows(folder) if row not in before]
    assert 0 < abs(float(new["seconds"]) - float(before[2]["seconds"])) <= 2
    assert json.loads(outcome.out)["videos"][0]["new"] == [new["file"]]
    again = labelkit("frames", video, "--around", "--count", "2", *given)
    assert len(json.loads(again.out)["videos"][0]["new"]) == 1  # near the fourth


def test_around_needs_a_round_that_predicts_frames_of_the_videos(tmp_path, predicted):
    video, project = predicted
    other = make_video(tmp_path / "other.mp4", range(0, 1000, 40))
    call = {"count": 2, "how": "even", "seed": 0, "dry_run": True}
    with pytest.raises(UsageError, match="no frame of these videos"):
        frames([other], tmp_path / "frames", Silent(), around=project, **call)
    empty = create_project(tmp_path / "empty", tmp_path / "frames", stick_skeleton())
    with pytest.raises(ProjectError):
        frames([video], tmp_path / "frames", Silent(), around=empty, **call)


# Frames that a SLEAP project labels


@pytest.fixture
def slp(tmp_path):
    """A SLEAP project that labels frames 3 and 20 of cage.mp4, which it has in another folder."""
    skeleton = sio.Skeleton(list(stick_skeleton().keypoints))
    film = sio.Video("/lab/films/cage.mp4", open_backend=False)
    frames = [
        sio.LabeledFrame(film, n, [sio.Instance.from_numpy(np.full((4, 2), n + 0.5), skeleton)])
        for n in (3, 20)
    ]
    sio.save_slp(sio.Labels(frames), str(tmp_path / "labels.slp"), embed=False, verbose=False)
    return tmp_path / "labels.slp"


def test_the_frames_that_a_sleap_project_labels_come_out_and_get_their_labels(tmp_path, video, slp):
    folder = tmp_path / "frames"
    for _ in range(2):  # the second time changes nothing
        done = labelkit("frames", video, "--from-labels", slp, "--folder", folder)
        assert done.code == 0, done.err
        assert [int(row["frame"]) for row in rows(folder / "cage")] == [3, 20]
    project = create_project(tmp_path / "project", folder, stick_skeleton())
    added = labelkit("labels", "add", slp, "--project", project.root)
    assert added.code == 0, added.err
    with open_store(project) as store:
        poses = store.poses(stick_skeleton())
        paths = {id_: store.instances()[id_].image.path for id_ in poses}
    assert {paths[id_]: pose.xy[0, 0] for id_, pose in poses.items()} == {
        "cage/cage-f000003-0.120s.png": 3.5,
        "cage/cage-f000020-0.800s.png": 20.5,
    }


def test_labels_of_frames_that_were_not_taken_name_the_command(tmp_path, video, slp):
    run([video], tmp_path / "frames", count=1)
    project = create_project(tmp_path / "project", tmp_path / "frames", stick_skeleton())
    refused = labelkit("labels", "add", slp, "--project", project.root)
    assert refused.code == 1
    assert f"labelkit frames VIDEO --from-labels {slp}" in refused.err


def test_a_sleap_project_of_other_videos_is_refused_and_they_are_named(tmp_path, slp):
    other = make_video(tmp_path / "field.mp4", range(0, 400, 40))
    refused = labelkit("frames", other, "--from-labels", slp, "--folder", tmp_path / "frames")
    assert refused.code == 2
    assert "cage.mp4" in refused.err
