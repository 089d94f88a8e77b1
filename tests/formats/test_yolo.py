from hashlib import sha256

import numpy as np
import pytest
import yaml

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.yolo import write_yolo

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
