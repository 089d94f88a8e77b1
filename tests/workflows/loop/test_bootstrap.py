import json
from dataclasses import replace

import numpy as np
import pytest
from builders import stick_skeleton, write_picture
from command_line import TINY as TINY_FLAGS
from command_line import labelkit
from trained import FIGURES, SKIP_NOTHING, TINY

from labelkit.errors import (
    ImageError,
    LabelkitError,
    MissingDependencyError,
    StoreError,
    UsageError,
)
from labelkit.models.checkpoint import load_model, save_checkpoint
from labelkit.models.parts import pretrained
from labelkit.models.presets import PRESETS
from labelkit.progress import Silent
from labelkit.project import images
from labelkit.project.predictions import read_predictions
from labelkit.project.project import BENCHMARK_FILE, open_project, project_with_own_store
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import latest_complete, rounds
from labelkit.store.journal import SKIP, Entry
from labelkit.store.label_store import LabelStore
from labelkit.workflows.loop.bootstrap import bootstrap
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.networks import load_network
from labelkit.workflows.rounds.queue_file import read_queue
from labelkit.workflows.rounds.settings import TrainingOptions


@pytest.fixture
def frames(tmp_path):
    """Three pictures and a skeleton file beside them."""
    for number in range(3):
        write_picture(tmp_path / "frames" / f"{number}.png", (32, 24), seed=number)
    (tmp_path / "stick.toml").write_text(stick_skeleton().to_toml())
    return tmp_path / "frames"


def run(images, **changes):
    options = {
        "project_root": None,
        "skeleton": str(images.parent / "stick.toml"),
        "labels": (),
        "boxes": None,
        "percent": None,
        "skip": SKIP_NOTHING,
        "options": TINY,
    }
    return bootstrap(images, Silent(), **(options | changes))


# Without answers


def test_images_alone_give_a_project_beside_them_and_the_files_that_ask_what_can_be_seen(frames):
    report = run(frames)
    assert report.project == frames.parent / "frames-labelkit"
    assert (report.registered.images, report.registered.instances) == (3, 3)
    assert report.round is None
    assert report.exit_code == 3
    interface, tasks = report.files
    assert "left_paw" in interface.read_text()
    assert [t["data"]["image_path"] for t in json.loads(tasks.read_text())] == [
        "0.png",
        "1.png",
        "2.png",
    ]


def test_the_report_names_the_commands_that_ask_people(frames):
    report = run(frames)
    steps = ("labelkit studio", "labelkit push", "labelkit pull", "labelkit push --files")
    for words in (str(report.files[1]), *steps):
        assert words in report.text()


def test_the_images_are_only_read(frames):
    before = {path: path.read_bytes() for path in frames.iterdir()}
    run(frames)
    assert {path: path.read_bytes() for path in frames.iterdir()} == before


def test_running_it_again_changes_nothing(frames):
    first = run(frames)
    with LabelStore.open(open_project(first.project).store_url) as store:
        before = store.instances()
    again = run(frames)
    with LabelStore.open(open_project(first.project).store_url) as store:
        assert store.instances() == before
    assert again.files == first.files


def test_the_same_command_again_neither_reads_an_image_nor_writes_a_task(frames, monkeypatch):
    first = run(frames, boxes="whole-image")
    before = [path.stat().st_mtime_ns for path in first.files]
    monkeypatch.setattr(images, "_opened", None)  # what opens an image
    again = run(frames, boxes="whole-image")
    assert again.files == first.files
    assert [path.stat().st_mtime_ns for path in again.files] == before
    assert again.registered == replace(first.registered, new_images=0)
    assert again.start == first.start


def test_a_file_written_over_in_place_is_found_by_the_same_command(frames):
    first = run(frames)
    write_picture(frames / "1.png", (40, 30), seed=7)
    run(frames)
    with LabelStore.open(open_project(first.project).store_url) as store:
        assert [image.width for image in store.images()] == [32, 40, 32]


def test_tasks_are_written_again_after_an_answer_and_where_their_file_changed(frames):
    first = run(frames)
    _, tasks = first.files
    asked = len(json.loads(tasks.read_text()))
    tasks.write_text("[]")
    run(frames)
    assert len(json.loads(tasks.read_text())) == asked
    with LabelStore.open(open_project(first.project).store_url) as store:
        store.record([Entry(first.start.ids[0], SKIP, {}, "label", "1", "1")])
    run(frames)
    assert len(json.loads(tasks.read_text())) == asked - 1


def test_a_boxes_option_that_changes_nothing_is_noted(frames):
    assert run(frames).registered.notes == ()
    (note,) = run(frames, boxes="whole-image").registered.notes
    assert "--boxes" in note


def test_images_that_came_later_are_registered_and_known_ones_keep_their_ids(frames):
    first = run(frames)
    with LabelStore.open(open_project(first.project).store_url) as store:
        before = store.instances()
    write_picture(frames / "later" / "9.png", (32, 24), seed=9)
    again = run(frames)
    assert again.registered.images == 4
    with LabelStore.open(open_project(first.project).store_url) as store:
        assert {k: v for k, v in store.instances().items() if k in before} == before


@pytest.mark.parametrize("changes", [{"boxes": "whole_image"}, {"labels": "nothing.json"}])
def test_what_fails_at_once_leaves_no_project_behind(frames, changes):
    if "labels" in changes:
        changes = {"labels": [frames.parent / changes["labels"]]}
    else:
        (frames / "0.png").write_bytes(b"no picture")
    with pytest.raises(LabelkitError):
        run(frames, **changes)
    assert not (frames.parent / "frames-labelkit").exists()


def test_a_fault_of_labelkit_leaves_no_project_behind_either(frames, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("labelkit.workflows.loop.bootstrap.register", fail)
    with pytest.raises(ZeroDivisionError):
        run(frames)
    assert not (frames.parent / "frames-labelkit").exists()


@pytest.mark.parametrize("given", ["clip.mp4", "frames/clip.mp4"])
def test_a_video_is_refused_with_the_command_that_takes_frames_out_of_it(tmp_path, given):
    clip = tmp_path / given
    clip.parent.mkdir(exist_ok=True)
    clip.write_bytes(b"\0\0\0\x18ftypmp42")
    images = clip if clip.parent == tmp_path else clip.parent
    with pytest.raises(ImageError) as caught:
        run(images, skeleton=None)
    assert f"labelkit frames {clip}" in caught.value.next_step
    assert not list(tmp_path.glob("*labelkit*"))


@pytest.mark.parametrize("typo", [{"preset": "tinny"}, {"backbone": "resnet9000"}, {"epochs": 0}])
def test_a_typo_in_how_to_train_is_found_before_anything_is_made(frames, typo):
    with pytest.raises(UsageError):
        run(frames, options=replace(TINY, **typo))
    assert not (frames.parent / "frames-labelkit").exists()


def test_what_fails_later_keeps_the_project(frames):
    project = run(frames).project
    (frames / "0.png").write_bytes(b"no picture any more")
    with pytest.raises(LabelkitError):
        run(frames)
    assert len(LabelStore.open(open_project(project).store_url).instances()) == 3


def test_the_skeleton_can_change_until_the_first_label(frames, trained):
    project = run(frames).project
    assert run(frames, skeleton="coco17", boxes="whole-image").project == project
    assert open_project(project).skeleton.name == "coco17"
    with pytest.raises(UsageError, match=r"'lsp14'.*'coco17'(?s:.*)--project"):
        run(trained.images, project_root=trained.project.root, skeleton="coco17")


def test_a_labelled_project_keeps_its_own_links_and_pairs(trained, tmp_path):
    before = trained.project.skeleton
    (tmp_path / "other.toml").write_text(replace(before, name="other", links=()).to_toml())
    run(
        trained.images,
        project_root=trained.project.root,
        skeleton=str(tmp_path / "other.toml"),
        percent=0.0,
    )
    assert open_project(trained.project.root).skeleton == before


def test_a_project_is_for_one_folder_of_images(frames, tmp_path):
    report = run(frames)
    write_picture(tmp_path / "others" / "a.png", seed=5)
    with pytest.raises(UsageError, match=rf"{frames}.*others(?s:.*)--project"):
        run(tmp_path / "others", project_root=report.project)


def test_the_project_of_a_folder_is_found_beside_it_whatever_it_is_called(frames):
    first = run(frames, project_root=frames.parent / "one").project
    assert run(frames).project == first
    run(frames, project_root=frames.parent / "two")
    with pytest.raises(UsageError) as caught:
        run(frames)
    assert f"--project {first}" in caught.value.next_step


def test_a_benchmark_on_the_same_images_is_not_their_project(frames):
    made = project_with_own_store(frames.parent / "benchmark", frames, stick_skeleton())
    (made.root / BENCHMARK_FILE).write_text("{}")
    assert run(frames).project == frames.parent / "frames-labelkit"


def test_boxes_come_from_a_coco_file(frames, tmp_path):
    boxes = {
        "images": [{"id": 1, "file_name": "0.png", "width": 32, "height": 24}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1.5, 2, 10, 12.25], "area": 80.0},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [12, 2, 10, 12]},
        ],
        "categories": [{"id": 1, "name": "animal"}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    report = run(frames, boxes=str(tmp_path / "boxes.json"))
    with LabelStore.open(open_project(report.project).store_url) as store:
        found = list(store.instances().values())
    assert [(tuple(i.box), i.area) for i in found] == [
        ((1.5, 2.0, 10.0, 12.25), 80.0),
        ((12.0, 2.0, 10.0, 12.0), 120.0),
    ]


# With answers


def test_with_answers_it_trains_without_locations_and_poses_every_instance(trained_once):
    (found,) = rounds(trained_once.project)
    assert (found.plan.kind, found.plan.labelled, found.status) == (
        "location-free",
        (),
        "complete",
    )
    instances = trained_once.store.instances()
    skeleton = trained_once.project.skeleton
    predictions = read_predictions(found.path / "predictions.parquet", skeleton)
    assert list(predictions) == list(instances)
    with MapReader(found.path / "maps" / "maps.parquet") as maps:
        assert maps.get(next(iter(instances))).response.shape[0] == len(skeleton)


def test_its_network_is_read_with_the_pose_prior(trained_once):
    (found,) = rounds(trained_once.project)
    network, _ = load_model(found.path / "model.safetensors")
    # Wider than where everything is present.
    assert network.reader.pose_prior > PRESETS["tiny"]["lofr"]["pose_prior"] > 0
    assert network.reader.tree.log_density.any()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"located": 0, "read_from": "heatmaps"}, "heatmaps"),
        ({"located": 0, "read_from": "response"}, "response"),
        ({"located": 0}, "response"),  # of versions without pseudo-labels before locations
        ({"located": 2}, "heatmaps"),
    ],
)
def test_a_network_is_read_off_what_its_training_taught(trained_once, tmp_path, record, expected):
    (found,) = rounds(trained_once.project)
    skeleton = trained_once.project.skeleton
    network, header = load_network(found.path / "model.safetensors", skeleton)
    assert network.reader.read_from == header["training"]["read_from"] == "response"
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, network, {**header, "training": record})
    assert load_network(path, skeleton)[0].reader.read_from == expected


def test_keypoints_of_visibility_answers_are_never_made_up(trained_once):
    assert trained_once.store.poses(trained_once.project.skeleton) == {}
    assert trained_once.store.counts().with_presence == FIGURES


def test_no_training_state_is_left_behind(trained_once):
    left = {path.name for path in (trained_once.project.rounds_root / "000").iterdir()}
    assert left == {
        "features.parquet",
        "labelled.json",
        "maps",
        "metrics.json",
        "model.safetensors",
        "predictions.parquet",
        "round.json",
        "training.png",
    }


def test_the_queue_leads_to_ten_percent_and_begins_with_the_dev_set(trained_once):
    items = read_queue(trained_once.project)
    dev = [item for item in items if item.reason == "dev"]
    assert [item.reason for item in items[: len(dev)]] == ["dev"] * len(dev)
    # 10 % of 24 is 2.4: 2 besides the dev set.
    assert 2 <= len(dev) <= 4
    assert len(items) == len(dev) + 2


def test_weights_that_cannot_be_downloaded_leave_no_round_behind(
    frames, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(pretrained, "cached", lambda *_: None)
    project = tmp_path / "another-project"
    answers = trained.folder / "visibility.csv"
    with pytest.raises(MissingDependencyError, match="--no-pretrained"):
        run(
            trained.images,
            project_root=project,
            skeleton="lsp14",
            labels=[answers],
            boxes="whole-image",
            options=replace(TINY, pretrained=True),
        )
    assert rounds(open_project(project)) == []
    assert run(trained.images, project_root=project, skeleton=None).round.round == 0


def test_the_round_is_not_trained_twice(trained):
    before = latest_complete(trained.project)
    report = trained.bootstrap(trained.folder / "visibility.csv")
    assert report.registered.new_labels == 0
    assert report.registered.known_labels == FIGURES
    assert report.round is not None
    assert (report.round.round, report.round.is_new) == (0, False)
    assert latest_complete(trained.project) == before


def test_a_project_works_after_a_move_with_its_images(trained, tmp_path):
    trained.store.close()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("images", "project"):
        (tmp_path / name).rename(moved / name)
    places = ("--images", moved / "images", "--project", moved / "project")
    outcome = labelkit("bootstrap", *places, *TINY_FLAGS, "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["round"]
    assert (found["round"], found["kind"], found["is_new"]) == (0, "location-free", False)


def test_keypoints_can_be_held_back_as_truth(trained, tmp_path):
    report = trained.bootstrap(trained.truth_file)
    assert report.round is not None
    assert (report.round.kind, report.round.labelled) == ("location-free", 0)
    known = trained.store.poses(trained.project.skeleton)
    assert len(known) == FIGURES
    truth = trained.truth
    assert all(np.array_equal(known[item].xy, truth[item].xy) for item in known)


# What the user chose once


def test_what_decides_the_project_is_remembered(frames):
    (frames / "broken.png").write_bytes(b"no picture")
    chosen = replace(TINY, pretrained=False, rotation=5.0)
    skip = {"unreadable": True, "missing": False}
    project = run(frames, boxes="whole-image", skip=skip, start="keypoints", options=chosen).project
    assert open_project(project).options == {
        "start": "keypoints",
        "boxes": "whole-image",
        "skip": ["unreadable"],
        "preset": "tiny",
        "backbone": "test_resnet",
        "epochs": 1,
        "pretrained": False,
        "rotation": 5.0,
    }
    write_picture(frames / "later.png", (32, 24), seed=9)
    again = run(frames, skeleton=None, skip=SKIP_NOTHING, options=TrainingOptions())
    assert (again.registered.new_images, again.start.asks) == (1, "keypoints")
    with LabelStore.open(open_project(project).store_url) as store:
        assert [i.box_source for i in store.instances().values()] == ["whole-image"] * 4


def test_a_file_of_boxes_is_remembered_relative_to_the_project(frames, tmp_path):
    document = {
        "images": [{"id": 1, "file_name": "0.png", "width": 32, "height": 24}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 12]}],
        "categories": [{"id": 1, "name": "animal"}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    project = run(frames, boxes=str(tmp_path / "boxes.json")).project
    assert open_project(project).options["boxes"] == "../boxes.json"
    (tmp_path / "boxes.json").unlink()
    with pytest.raises(UsageError, match=r"boxes\.json"):
        run(frames)
    assert open_project(project).options["boxes"] == "../boxes.json"
    run(frames, boxes="whole-image")
    assert open_project(project).options["boxes"] == "whole-image"


def test_a_choice_that_fails_is_not_remembered(frames):
    project = run(frames).project
    write_picture(frames / "later.png", (32, 24), seed=9)
    with pytest.raises(UsageError):
        run(frames, boxes="nowhere.json")
    with pytest.raises(UsageError, match="sideways"):
        run(frames, start="sideways")
    with pytest.raises(UsageError):
        run(frames, options=replace(TINY, preset="tinny"))
    assert open_project(project).options.keys().isdisjoint({"boxes", "start"})
    assert open_project(project).options["preset"] == "tiny"


def test_the_first_training_is_as_it_was_chosen_before_there_was_anything_to_train(
    trained, tmp_path
):
    project = tmp_path / "another"
    where = ("--images", trained.images, "--project", project)
    first = labelkit(
        "bootstrap", *where, "--skeleton", "lsp14", "--boxes", "whole-image", *TINY_FLAGS
    )
    assert first.code == 3
    answers = ("--labels", trained.folder / "visibility.csv")
    assert labelkit("bootstrap", *where, *answers).code == 0
    (done,) = rounds(open_project(project))
    chosen = {"preset": "tiny", "backbone": "test_resnet", "pretrained": False, "epochs": 1}
    assert chosen.items() <= done.plan.settings.items()


def test_keypoints_that_were_held_back_stay_so_when_bootstrap_runs_again(trained):
    report = trained.bootstrap(trained.truth_file)
    assert report.round.kind == "location-free"
    again = labelkit("bootstrap", "--images", trained.images, "--project", trained.project.root)
    assert again.code == 0
    assert [item.plan.kind for item in rounds(trained.project)][-1] == "location-free"


# One project, one store


def test_a_second_project_in_the_store_of_the_first_is_refused_and_leaves_nothing(
    frames, tmp_path, store_url, monkeypatch
):
    monkeypatch.setenv("LABELKIT_DB", store_url)
    first = run(frames).project
    with LabelStore.open(store_url) as store:
        before = store.images(), store.instances()
    write_picture(tmp_path / "others" / "0.png", (32, 24), seed=70)
    with pytest.raises(StoreError, match="'frames'") as caught:
        run(tmp_path / "others", skeleton=str(frames.parent / "stick.toml"))
    assert open_project(first).id in caught.value.problem
    assert not (tmp_path / "others-labelkit").exists()
    with LabelStore.open(store_url) as store:
        assert (store.images(), store.instances()) == before
    assert run(frames).registered.new_images == 0


def test_a_project_that_could_not_be_made_leaves_its_store_to_the_next(
    frames, store_url, monkeypatch
):
    monkeypatch.setenv("LABELKIT_DB", store_url)
    for _ in range(2):
        with pytest.raises(UsageError):
            run(frames, boxes="nowhere.json")
        assert not (frames.parent / "frames-labelkit").exists()
    assert run(frames).registered.images == 3


def test_the_dev_set_has_the_size_that_was_asked_for(frames):
    for number in range(3, 40):
        write_picture(frames / f"{number}.png", (32, 24), seed=number)
    project = open_project(run(frames, dev_percent=10.0).project)
    with LabelStore.open(project.store_url) as store:
        assert len(read_snapshot(project, store).dev) == 4
    outcome = labelkit("bootstrap", "--images", frames, "--dev", "20%")
    assert "8 instances of 40" in outcome.out
