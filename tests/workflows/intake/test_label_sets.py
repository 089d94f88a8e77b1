import json

import pytest
from builders import stick_skeleton

from labelkit.errors import FormatError, SkeletonError
from labelkit.workflows.intake.label_files import read_box_file, read_skeleton
from labelkit.workflows.intake.label_sets import read_label_files

STICK = stick_skeleton()
COCO = {
    "images": [{"id": 1, "file_name": "0.png"}],
    "categories": [{"id": 1, "name": "stick", "keypoints": list(STICK.keypoints)}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * 4, "bbox": [0, 0, 9, 9]}
    ],
}
TABLE = """\
scorer,me,me,me,me,me,me,me,me
bodyparts,nose,nose,left_paw,left_paw,right_paw,right_paw,tail,tail
coords,x,y,x,y,x,y,x,y
v/1.png,1,2,3,4,5,6,7,8
"""
TICKS = "image,nose,left_paw,right_paw,tail\n0.png,1,0,1,0\n"
YOLO = """\
kpt_shape: [4, 3]
names: {0: stick}
kpt_names: {0: [nose, left_paw, right_paw, tail]}
"""


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_no_files_are_no_labels():
    assert read_label_files([], STICK) == ()


def test_answers_come_last_and_for_the_skeleton_of_the_other_files(write):
    ticks, coco = write("ticks.csv", TICKS), write("a.json", COCO)
    first, second = read_label_files([ticks, coco], None)
    assert (first.path, second.path) == (coco, ticks)
    assert second.skeleton == first.skeleton
    assert second.answers[0].presence.tolist() == [True, False, True, False]


def test_a_file_that_is_given_twice_is_read_once(write, tmp_path):
    coco = write("a.json", COCO)
    (only,) = read_label_files([coco, tmp_path / "." / "a.json", tmp_path], STICK)
    assert only.path == coco


def test_files_with_other_keypoints_than_the_first_are_refused(write):
    other = json.loads(json.dumps(COCO))
    other["categories"][0]["keypoints"][0] = "snout"
    with pytest.raises(SkeletonError, match=r"snout|nose"):
        read_label_files([write("a.json", COCO), write("b.json", other)], None)


def test_a_folder_is_every_label_file_in_it(write, tmp_path):
    taken = [
        write("splits/train/_annotations.coco.json", COCO),
        write("splits/valid/_annotations.coco.json", COCO),
        write("v/CollectedData_me.csv", TABLE),
        write("w/CollectedData_me.csv", TABLE.replace("v/1", "w/1")),
        write("z/ticks.csv", TICKS),
    ]
    predicted = write("v/videoDLC_resnet50.csv", TABLE.replace("x,y,x", "x,y,likelihood"))
    other = write("package.json", {"name": "x"})
    write("training-datasets/iteration-0/CollectedData_me.csv", TABLE)
    write("v/config.yaml", "Task: mouse\n")
    write(".cache/a.json", COCO)
    files = read_label_files([tmp_path], STICK)
    assert sorted(file.path for file in files) == sorted(taken)
    assert [file.source for file in files if "coco" in file.path.name] == [
        "file:splits/train/_annotations.coco.json",
        "file:splits/valid/_annotations.coco.json",
    ]
    (note,) = [note for file in files for note in file.notes]
    assert all(str(path) in note for path in (predicted, other))
    assert "config.yaml" not in note


def test_a_yolo_data_set_in_a_folder_is_its_data_yaml(write, tmp_path):
    write("yolo/data.yaml", YOLO)
    write("yolo/labels/0.txt", "0 .5 .5 .2 .2" + " .5 .5 2" * 4 + "\n")
    (file,) = read_label_files([tmp_path], STICK)
    assert file.path.name == "data.yaml"
    assert len(file.annotations) == 1


def test_a_folder_without_labels_is_refused(tmp_path):
    with pytest.raises(FormatError, match=str(tmp_path)) as caught:
        read_label_files([tmp_path], STICK)
    assert "--labels FILE" in caught.value.next_step


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"gone\.json"):
        read_label_files([tmp_path / "gone.json"], STICK)


def test_a_file_of_cvat_names_a_skeleton_and_is_not_one_of_boxes(write):
    point = '<points label="nose" outside="0" occluded="0" points="1,2"/>'
    file = write(
        "annotations.xml",
        f'<annotations><image name="0.png"><skeleton label="mouse">{point}</skeleton></image>'
        "</annotations>",
    )
    assert read_skeleton(str(file)).keypoints == ("nose",)
    with pytest.raises(FormatError, match="CVAT") as caught:
        read_box_file(file)
    assert "--labels" in caught.value.next_step


def test_skeletons_of_cvat_are_read_in_the_order_of_the_project(write, tmp_path):
    points = "".join(
        f'<points label="{name}" outside="0" occluded="0" points="{number},9"/>'
        for number, name in enumerate(reversed(STICK.keypoints))
    )
    image = f'<image id="0" name="0.png" width="40" height="40"><skeleton label="stick">{points}'
    write("annotations.xml", f"<annotations>{image}</skeleton></image></annotations>")
    write("voc.xml", "<annotation><folder>images</folder></annotation>")
    (file,) = read_label_files([tmp_path], STICK)
    assert file.annotations[0].pose.xy[:, 0].tolist() == [3, 2, 1, 0]
    assert file.sizes.of("0.png") == (40, 40)
    assert "voc.xml" in file.notes[0]
