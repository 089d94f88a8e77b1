import json

import pytest
from command_line import labelkit
from team import SIZE, annotation, assert_refused, coco, journal


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_id": 5}, "belongs to image 5, which the file does not list"),
        ({"category_id": 9}, "has category 9, which the file does not list"),
    ],
)
def test_coco_with_dangling_ids_is_refused(team, changes, said):
    labels = team.write("labels.json", coco(annotation(77, **changes)))
    assert_refused(
        team.bootstrap("--labels", labels),
        f"annotation 77 {said}",
        next_step="or remove the annotation",
    )


@pytest.mark.parametrize("name", ["config.yaml", "stick.toml"])
def test_a_skeleton_is_no_label_file(team, name):
    labels = team.write(name, "bodyparts: [nose]")
    assert_refused(
        team.bootstrap("--labels", labels),
        f"{name} describes a skeleton; it holds no labels.",
        next_step=f"{name}, and labels as --labels FILE.csv",
    )


def test_csv_with_another_order_of_columns_is_read_by_name(team):
    answers = team.write("answers.csv", "tail,right_paw,image,nose,left_paw\n0,1,0.png,1,0\n")
    outcome = team.bootstrap("--labels", answers, "--json")
    assert outcome.code == 0
    document = json.loads(outcome.out)
    assert document["registered"]["new_labels"] == 1
    (entry,) = [recorded.entry for recorded in journal(team.project)[3:]]
    assert entry.content == {"nose": True, "left_paw": False, "right_paw": True, "tail": False}


@pytest.mark.parametrize("name", ["labels.json", "labels.csv"])
@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_an_empty_annotation_file_is_said_to_be_one(team, name, content):
    labels = team.write(name, content)
    assert_refused(
        team.bootstrap("--labels", labels),
        f"{labels} is empty",
        next_step="Export the annotations again",
    )


def test_a_coco_file_without_annotations_is_refused(team):
    labels = team.write("labels.json", coco() | {"annotations": []})
    assert_refused(
        team.bootstrap("--labels", labels),
        "annotations is empty",
        next_step="Export the annotations again",
    )


def test_an_empty_export_is_refused(team):
    export = team.write("export.json", "")
    assert_refused(
        labelkit("pull", "--file", export, "--project", team.project),
        f"{export} is empty",
        next_step="Export the annotations again",
    )


def test_a_file_that_was_cut_off_is_refused_with_the_place(team):
    labels = team.write("labels.json", json.dumps(coco())[:100])
    assert_refused(
        team.bootstrap("--labels", labels),
        f"{labels} is not JSON",
        "line 1, column",
        next_step="export it again",
    )


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
    assert_refused(outcome, f"{huge} has 2.0 GB", next_step="Split it by image")


def test_labels_of_images_that_are_not_there_are_refused_or_skipped_on_request(team):
    document = coco(annotation(1), annotation(2, image_id=2))
    document["images"].append(
        {"id": 2, "file_name": "gone.png", "width": SIZE[0], "height": SIZE[1]}
    )
    labels = team.write("labels.json", document)
    assert_refused(
        team.bootstrap("--labels", labels),
        "labels gone.png, which is not among the images",
        next_step="--skip-missing",
    )
    outcome = team.bootstrap("--labels", labels, "--skip-missing", "--labeled", "0%")
    assert outcome.code == 0
    assert "1 items were skipped" in outcome.out
