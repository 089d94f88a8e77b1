import json
import re
import shutil
from dataclasses import replace

import pytest
from command_line import labelkit
from team import SIZE, annotation, assert_refused, coco, journal

from labelkit.project.project import open_project
from labelkit.store.conflicts import find_conflicts, settle
from labelkit.store.label_store import LabelStore


@pytest.mark.parametrize(
    ("changes", "value"), [({"image_id": 5}, "image 5"), ({"category_id": 9}, "category 9")]
)
def test_coco_with_dangling_ids_is_refused(team, changes, value):
    labels = team.write("labels.json", coco(annotation(77, **changes)))
    assert_refused(
        team.bootstrap("--labels", labels),
        "annotation 77",
        value,
        next_step="remove the annotation",
    )


@pytest.mark.parametrize("name", ["config.yaml", "stick.toml"])
def test_a_skeleton_is_refused_as_a_label_file(team, name):
    labels = team.write(name, "bodyparts: [nose]")
    assert_refused(
        team.bootstrap("--labels", labels), name, "skeleton", next_step="--labels FILE.csv"
    )


@pytest.mark.slow
def test_csv_with_another_order_of_columns_is_read_by_name(team):
    answers = team.write("answers.csv", "tail,right_paw,image,nose,left_paw\n0,1,0.png,1,0\n")
    outcome = team.bootstrap("--labels", answers, "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document["registered"]["new_labels"] == 1
    later = [recorded.entry for recorded in journal(team.project)[3:]]
    (entry,) = [entry for entry in later if entry.source == "file:answers.csv"]
    assert entry.content == {"nose": True, "left_paw": False, "right_paw": True, "tail": False}


@pytest.mark.parametrize("name", ["labels.json", "labels.csv"])
@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_an_empty_annotation_file_is_refused(team, name, content):
    labels = team.write(name, content)
    assert_refused(team.bootstrap("--labels", labels), str(labels), "empty", next_step="again")


def test_a_coco_file_without_annotations_is_refused(team):
    labels = team.write("labels.json", coco() | {"annotations": []})
    assert_refused(
        team.bootstrap("--labels", labels), "labels.json", "annotations", next_step="again"
    )


def test_an_empty_export_is_refused(team):
    export = team.write("export.json", "")
    assert_refused(
        labelkit("pull", "--file", export, "--project", team.project),
        str(export),
        "empty",
        next_step="again",
    )


def test_an_incomplete_file_is_refused_with_the_place(team):
    labels = team.write("labels.json", json.dumps(coco())[:100])
    assert_refused(
        team.bootstrap("--labels", labels), str(labels), "line 1, column", next_step="again"
    )


def test_a_json_file_that_is_not_json_is_refused_with_the_place(team):
    labels = team.write("broken.json", "not json")
    outcome = team.bootstrap("--labels", labels)
    assert_refused(outcome, str(labels), "not JSON", "line 1, column 1", next_step="again")
    assert "--add" not in outcome.err


@pytest.mark.parametrize("command", ["bootstrap", "pull"])
def test_two_gigabytes_of_json_are_refused_before_they_fill_the_memory(team, command):
    huge = team.write("huge.json", '{"images": [')
    with huge.open("r+b") as stream:
        stream.truncate(2 * 10**9)  # sparse: it takes no room
    outcome = (
        team.bootstrap("--labels", huge)
        if command == "bootstrap"
        else labelkit("pull", "--file", huge, "--project", team.project)
    )
    assert_refused(outcome, str(huge), "2.0 GB", next_step="Split it")


@pytest.mark.slow
def test_labels_of_images_that_are_not_there_are_refused_or_skipped_on_request(team):
    document = coco(annotation(1), annotation(2, image_id=2))
    document["images"].append(
        {"id": 2, "file_name": "gone.png", "width": SIZE[0], "height": SIZE[1]}
    )
    labels = team.write("labels.json", document)
    assert_refused(
        team.bootstrap("--labels", labels),
        "gone.png",
        next_step="--skip-missing",
    )
    outcome = team.bootstrap("--labels", labels, "--skip-missing", "--labeled", "0%")
    assert outcome.code == 0
    assert re.search(r"Skipped 1\b.*: gone\.png", outcome.out)


def two_cameras(team, *names):
    """A label file about these pictures; the frames are only those of the first camera."""
    (team.frames / "cam1").mkdir()
    for number in range(3):
        (team.frames / f"{number}.png").rename(team.frames / "cam1" / f"{number}.png")
    document = coco(*(annotation(number, number) for number, _ in enumerate(names, start=1)))
    document["images"] = [
        {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
        for number, name in enumerate(names, start=1)
    ]
    return team.write("labels.json", document)


def labelled(team):
    """Images and COCO ids of the labels that came from a file."""
    with LabelStore.open(open_project(team.project).store_url) as store:
        of = store.instances()
        return [
            (of[entry.instance_id].image.path, entry.reference)
            for _, _, entry in store.entries()
            if entry.source.startswith("file:")
        ]


@pytest.mark.slow
@pytest.mark.parametrize("before", ["", "data/", "/mnt/data/"])
def test_labels_of_another_folder_do_not_belong_to_a_file_of_the_same_name(team, before):
    labels = two_cameras(team, f"{before}cam1/0.png", f"{before}cam2/0.png", f"{before}cam2/1.png")
    assert_refused(
        team.bootstrap("--labels", labels),
        f"{before}cam2/0.png",
        "2 ",
        next_step="--skip-missing",
    )
    assert labelled(team) == []
    outcome = team.bootstrap("--labels", labels, "--skip-missing", "--labeled", "0%")
    assert outcome.code == 0
    assert re.search(rf"Skipped 2\b.*: {before}cam2/0\.png, {before}cam2/1\.png", outcome.out)
    assert labelled(team) == [("cam1/0.png", "1")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["0.png", "./0.png", "cam1/0.png", "data/cam1/0.png"])
def test_a_label_file_may_write_less_or_more_of_a_path(team, name):
    labels = two_cameras(team, name, name.replace("0", "1"))
    assert team.bootstrap("--labels", labels, "--labeled", "0%").code == 0
    assert labelled(team) == [("cam1/0.png", "1"), ("cam1/1.png", "2")]


def test_folders_that_the_images_folder_does_not_have_are_refused(team):
    document = coco(annotation(1), annotation(2, image_id=2))
    document["images"] = [
        {"id": 1, "file_name": "cam1/0.png", "width": SIZE[0], "height": SIZE[1]},
        {"id": 2, "file_name": "cam2/1.png", "width": SIZE[0], "height": SIZE[1]},
    ]
    labels = team.write("labels.json", document)
    assert_refused(
        team.bootstrap("--labels", labels),
        "cam1/0.png and cam2/1.png",
        next_step="--images",
    )


@pytest.mark.parametrize(
    ("names", "next_step"),
    [(["cam2/0.png"], "--images"), (["0.png", "cam1/0.png"], "images folder")],
    ids=["another folder alone", "two paths of one image"],
)
def test_paths_that_mean_no_image_or_one_twice_are_refused(team, names, next_step):
    labels = two_cameras(team, *names)
    assert_refused(team.bootstrap("--labels", labels), *names, next_step=next_step)


@pytest.mark.slow
@pytest.mark.parametrize("moved", [0, 7])
def test_labels_of_a_copy_are_taken_once_and_compared(team, moved):
    labels = two_cameras(team, "cam1/0.png", "cam2/0.png")
    document = json.loads(labels.read_text())
    document["annotations"][1]["keypoints"][0] += moved
    labels.write_text(json.dumps(document))
    (team.frames / "cam2").mkdir()
    shutil.copy(team.frames / "cam1" / "0.png", team.frames / "cam2" / "0.png")
    outcome = team.bootstrap("--labels", labels, "--labeled", "0%")
    assert outcome.code == 0
    assert labelled(team) == [("cam1/0.png", "1")]
    assert ("cam2/0.png (of cam1/0.png: 7.0 pixels)" in outcome.out) == bool(moved)


@pytest.mark.slow
def test_a_label_file_never_overrides_a_correction_silently(team):
    def bootstrap(name, *rows):
        document = coco(*rows)
        document["images"].append(
            {"id": 2, "file_name": "1.png", "width": SIZE[0], "height": SIZE[1]}
        )
        labels = team.write(name, document)
        return team.bootstrap("--labels", labels, "--labeled", "0%")

    def x_of_nose():
        return store.poses(project.skeleton)[corrected.instance_id].xy[0, 0]

    assert "1 new label (0 known before)" in bootstrap("labels.json", annotation(1)).out
    project = open_project(team.project)
    with LabelStore.open(project.store_url) as store:
        *_, first = (entry for _, _, entry in store.entries())
        content = {**first.content, "nose": [7.0, 4.0, 2]}
        corrected = replace(first, content=content, source="label-studio", version="later")
        store.record([corrected])
        again = bootstrap("labels_v2.json", annotation(8), annotation(9, 2))
        assert "1 new label (1 known before)" in again.out
        assert (x_of_nose(), find_conflicts(store)) == (7.0, [])
        moved = annotation(8, xyv=[9, 4, 2, 4, 10, 2, 15, 10, 2, 10, 20, 2])
        outcome = bootstrap("labels_v3.json", moved)
        assert "1 new label (0 known before)" in outcome.out
        assert "1 of the new labels" in outcome.out
        assert len(find_conflicts(store)) == 1
        assert x_of_nose() == 7.0
        assert settle(store, "theirs") == 1
        assert x_of_nose() == 9.0
