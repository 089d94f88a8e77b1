from hashlib import sha256

import numpy as np
import pytest
import yaml

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import FormatError, InputError
from labelkit.formats.yolo import read_yolo, write_yolo, yolo_settings

EARS = make_skeleton("mouse: #1", ("nose", "left <ear>", "right <ear>"))


def item(path: str, ordinal: int, box: Box, xy, visibility, category: str = ""):
    image = Image(path, sha256(path.encode()).hexdigest(), 200, 100)
    instance = Instance(image, ordinal, box, "given", 1.0, category)
    return instance, human_pose(xy, visibility)


def point(path: str, category: str = ""):
    return item(path, 0, Box(0, 0, 9, 9), np.ones((3, 2)), [2, 2, 2], category)


def settings(items, skeleton=EARS) -> dict:
    return yaml.safe_load(write_yolo(items, skeleton).texts["data.yaml"])


def test_a_label_line_worked_by_hand():
    one = item("a/1.jpg", 0, Box(50, 20, 100, 40), [[100, 50], [25, 75], [9, 9]], [2, 1, 0])
    found = write_yolo([one], EARS)
    line = "0 0.5 0.4 0.5 0.4 0.5 0.5 2 0.125 0.75 1 0.0 0.0 0\n"
    assert found.texts["labels/a/1.txt"] == line
    assert found.pictures == {"images/a/1.jpg": "a/1.jpg"}


def test_data_yaml_says_what_a_mirror_image_swaps_and_starts_from_its_own_folder():
    data = settings([])
    assert data["kpt_shape"] == [3, 3]
    assert data["flip_idx"] == [0, 2, 1]
    assert data["names"] == {0: "mouse: #1"}
    assert data["kpt_names"] == {0: ["nose", "left <ear>", "right <ear>"]}
    assert "path" not in data


def test_no_mirror_image_is_trained_on_where_a_side_has_no_partner():
    assert "flip_idx" not in settings([], make_skeleton("fish", ["left_eye", "tail"]))
    assert settings([], make_skeleton("fish", ["eye", "tail"]))["flip_idx"] == [0, 1]


def test_nor_where_no_name_has_a_side_and_no_object_looks_like_the_mirror_image_of_another():
    numbered = make_skeleton("face", ["p0", "p1", "p2"])
    right_angle = np.array([(60.0, 40.0), (80.0, 40.0), (60.0, 30.0)])
    one_way = [
        item(f"{n}.jpg", 0, Box(50, 20, 90, 60), right_angle + n, [2, 2, 2]) for n in range(4)
    ]
    assert "flip_idx" not in settings(one_way, numbered)
    assert settings(one_way, EARS)["flip_idx"] == [0, 2, 1]  # sides swap their names
    mirrored = right_angle * (-1, 1) + np.array([140.0, 0.0])
    other_way = [
        item(f"m{n}.jpg", 0, Box(50, 20, 90, 60), mirrored + n, [2, 2, 2]) for n in range(4)
    ]
    assert settings([*one_way, *other_way], numbered)["flip_idx"] == [0, 1, 2]


def test_each_category_is_a_class_and_an_object_without_one_belongs_to_the_only_one():
    items = [point("1.png", "jaguar"), point("2.png", "antelope"), point("3.png", "jaguar")]
    found = write_yolo(items, EARS)
    data = yaml.safe_load(found.texts["data.yaml"])
    assert data["names"] == {0: "antelope", 1: "jaguar"}
    assert data["kpt_names"] == {0: list(EARS.keypoints), 1: list(EARS.keypoints)}
    assert [found.texts[f"labels/{n}.txt"][0] for n in (1, 2, 3)] == ["1", "0", "1"]
    assert settings([point("1.png", "jaguar"), point("2.png")])["names"] == {0: "jaguar"}
    several = [*items, point("4.png")]
    assert settings(several)["names"] == {0: "antelope", 1: "jaguar", 2: "mouse: #1"}


def test_images_of_the_dev_set_validate_and_the_others_train():
    items = [point("a.png"), point("b.png")]
    texts = write_yolo(items, EARS, {items[1][0].image.id}).texts
    assert (texts["train.txt"], texts["val.txt"]) == ("./images/a.png\n", "./images/b.png\n")


@pytest.mark.parametrize("dev", [True, False])
def test_a_split_without_images_is_the_other_one(dev):
    one = point("a.png")
    texts = write_yolo([one], EARS, {one[0].image.id} if dev else ()).texts
    assert texts["train.txt"] == texts["val.txt"] == "./images/a.png\n"


def test_labels_lie_where_ultralytics_looks_for_them_below_a_folder_called_images():
    found = write_yolo([point("train/images/a.png")], EARS)
    assert "images/train/labels/a.txt" in found.texts
    assert found.pictures == {"images/train/images/a.png": "train/images/a.png"}


def test_a_location_outside_the_image_moves_to_its_border():
    one = item("a.png", 0, Box(0, 0, 9, 9), [[-3, 50], [200.0001, 101], [9, 9]], [2, 2, 0])
    cells = write_yolo([one], EARS).texts["labels/a.txt"].split()[5:]
    assert cells == ["0.0", "0.5", "2", "1.0", "1.0", "2", "0.0", "0.0", "0"]


def test_pixels_come_back_from_the_shares():
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 100, (3, 2))
    box = Box(np.float64(1 / 3), 2 / 7, 100 / 9, 50 / 11)
    items = [item("ö.png", n, box, xy + n, [2, 2, 1]) for n in range(2)]
    texts = write_yolo(items, EARS).texts
    for n, line in enumerate(texts["labels/ö.txt"].splitlines()):
        cells = np.array([float(cell) for cell in line.split()])
        points = cells[5:].reshape(3, 3)
        assert np.abs(points[:, :2] * (200, 100) - (xy + n)).max() < 1e-9
        assert points[:, 2].tolist() == [2, 2, 1]
        centre, size = cells[1:3] * (200, 100), cells[3:5] * (200, 100)
        assert np.abs(np.concatenate([centre - size / 2, size]) - box).max() < 1e-9


def test_images_that_would_share_a_label_file_are_refused():
    twins = [point("a.jpg"), point("a.png")]
    with pytest.raises(FormatError, match=r"a\.jpg and a\.png .*labels/a\.txt"):
        write_yolo(twins, EARS)


# Reading


def read(labels, skeleton=EARS, **changes):
    data = {"kpt_shape": [3, 3], "names": {0: "mouse", 1: "rat"}, **changes}
    return read_yolo(data, labels, "data.yaml", skeleton)


def test_a_line_is_read_as_shares_with_its_class_and_line_number():
    line = "1 0.5 0.4 0.5 0.4 0.5 0.5 2 0.125 0.75 1 0.3 0.3 0\n"
    found = read({"images/a/1.jpg": "\n" + line, "images/2.jpg": ""})
    (item,) = found.annotations
    assert item.image_path == "images/a/1.jpg"
    assert item.reference == "labels/a/1.txt:2"
    assert item.box == pytest.approx(Box(0.25, 0.2, 0.5, 0.4))
    assert item.pose == human_pose([[0.5, 0.5], [0.125, 0.75], [0, 0]], [2, 1, 0])
    assert item.category == "rat"


def test_two_numbers_a_keypoint_are_visible_or_at_0_absent():
    found = read({"images/1.jpg": "0 .5 .5 1 1 .5 .5 0 0 .25 0\n"}, kpt_shape=[3, 2])
    assert found.annotations[0].pose.visibility.tolist() == [2, 0, 2]


def test_a_line_of_only_a_box_waits_for_its_keypoints():
    (item,) = read({"images/1.jpg": "0 .5 .5 1 1"}).annotations
    assert not item.pose.present.any()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 .5 .5 1", "4 numbers"),
        ("0 .5 .5 1 1 .5 .5 2", "8 numbers"),
        ("0 .5 .5 1 1 .5 .5 2 .5 .5 2 .5 x 2", "'x'"),
        ("0 .5 .5 1 nan .5 .5 2 .5 .5 2 .5 .5 2", "numbers"),
        ("0 .5 .5 -1 1 .5 .5 2 .5 .5 2 .5 .5 2", "-1"),
        ("0 .5 .5 1 1 .5 .5 3 .5 .5 2 .5 .5 2", "visibility 3"),
        ("0 .5 .5 1 1 .5 .5 -1 .5 .5 2 .5 .5 2", "visibility -1"),
        ("0 .5 .5 1 1 .5 .5 .9 .5 .5 2 .5 .5 2", "visibility 0.9"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_with_its_file(line, words):
    with pytest.raises(FormatError) as caught:
        read({"images/1.jpg": f"0 .5 .5 1 1\n{line}\n"})
    assert caught.value.problem.startswith("data.yaml: labels/1.txt, line 2")
    assert words in caught.value.problem
    assert caught.value.next_step


def test_a_data_set_without_names_refuses_a_skeleton_that_does_not_fit():
    with pytest.raises(FormatError, match="3 keypoints") as caught:
        read({"images/1.jpg": ""}, make_skeleton("fly", ("head", "tail")))
    assert "--skeleton" in caught.value.next_step


def test_a_data_set_without_names_gets_numbers_for_them_and_says_how_to_name_them():
    found = read({"images/1.jpg": ""}, None, flip_idx=[0, 2, 1])
    assert found.skeleton.keypoints == ("keypoint 1", "keypoint 2", "keypoint 3")
    assert found.skeleton.pairs == ((1, 2),)
    assert "--rename 'keypoint 1=NAME'" in found.notes[0]
    assert "--skeleton FILE.toml" in found.notes[0]


def test_names_of_the_skeleton_stand_in_for_missing_ones_which_is_noted():
    found = read({"images/1.jpg": ""})
    assert found.skeleton == EARS
    assert "nose, left <ear>, right <ear>" in found.notes[0]


def test_kpt_names_and_flip_idx_make_the_skeleton():
    names = {0: ["a", "b", "mid"], 1: ["a", "b", "mid"]}
    found = read({"images/1.jpg": ""}, None, kpt_names=names, flip_idx=[1, 0, 2])
    assert found.skeleton.keypoints == ("a", "b", "mid")
    assert (found.skeleton.name, found.skeleton.pairs) == ("mouse", ((0, 1),))
    left = read(
        {"images/1.jpg": ""}, None, kpt_names={0: ["right", "left", "x"]}, flip_idx=[1, 0, 2]
    )
    assert left.skeleton.pairs == ((1, 0),)


@pytest.mark.parametrize(
    "changes",
    [
        {"kpt_names": {0: ["a", "b"]}},
        {"kpt_names": {0: ["a", "b", "c"], 1: ["a", "b", "d"]}},
        {"kpt_names": {0: ["a", "a", "c"]}},
        {"kpt_names": 3},
        {"kpt_shape": None},
        {"kpt_shape": [3]},
        {"kpt_shape": [3, 4]},
    ],
)
def test_settings_that_contradict_themselves_are_refused_with_the_file_and_what_to_do(changes):
    with pytest.raises(InputError) as caught:
        read({"images/1.jpg": ""}, None, **changes)
    assert caught.value.problem.startswith("data.yaml")
    assert caught.value.next_step


def test_what_is_written_is_read_back_to_the_last_digits():
    xy = np.array([[100 / 3, 50], [25.125, 75], [9, 9]])
    one = item("a/1.jpg", 0, Box(50, 20, 100 / 7, 40), xy, [2, 1, 0], "jaguar")
    written = write_yolo([one], EARS)
    data = yolo_settings(written.texts["data.yaml"], "data.yaml")
    found = read_yolo(data, {"images/a/1.jpg": written.texts["labels/a/1.txt"]}, "data.yaml", None)
    (back,) = found.annotations
    assert back.pose.xy * [200, 100] == pytest.approx(one[1].xy, rel=1e-12)
    assert back.box == pytest.approx(Box(50 / 200, 20 / 100, 100 / 7 / 200, 40 / 100))
    assert (back.category, found.skeleton.pairs) == ("jaguar", EARS.pairs)


@pytest.mark.parametrize("text", ["bodyparts: [a]", "3", "", "names: [a]"])
def test_yaml_of_another_kind_is_no_data_set(text):
    assert yolo_settings(text, "f.yaml") is None
