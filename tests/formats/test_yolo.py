import numpy as np
import pytest
import yaml

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import make_skeleton
from labelkit.errors import FormatError
from labelkit.formats.yolo import write_yolo

EARS = make_skeleton("mouse: #1", ("nose", "left <ear>", "right <ear>"))


def item(path: str, ordinal: int, box: Box, xy, visibility):
    image = Image(path, "0f" * 32, 200, 100)
    return Instance(image, ordinal, box, "given", 1.0), human_pose(xy, visibility)


def test_a_label_line_worked_by_hand():
    one = item("a/1.jpg", 0, Box(50, 20, 100, 40), [[100, 50], [25, 75], [9, 9]], [2, 1, 0])
    labels, _ = write_yolo([one], EARS)
    assert labels == {
        "labels/a/1.txt": "0 0.5 0.4 0.5 0.4 0.5 0.5 2 0.125 0.75 1 0.0 0.0 0\n",
    }


def test_data_yaml_says_what_a_mirror_image_swaps():
    data = yaml.safe_load(write_yolo([], EARS).data_yaml)
    assert data["kpt_shape"] == [3, 3]
    assert data["flip_idx"] == [0, 2, 1]
    assert data["names"] == {0: "mouse: #1"}
    assert data["kpt_names"] == {0: ["nose", "left <ear>", "right <ear>"]}


def test_pixels_come_back_from_the_shares():
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 100, (3, 2))
    box = Box(np.float64(1 / 3), 2 / 7, 100 / 9, 50 / 11)
    items = [item("ö.png", n, box, xy + n, [2, 2, 1]) for n in range(2)]
    labels, _ = write_yolo(items, EARS)
    for n, line in enumerate(labels["labels/ö.txt"].splitlines()):
        cells = np.array([float(cell) for cell in line.split()])
        points = cells[5:].reshape(3, 3)
        assert np.abs(points[:, :2] * (200, 100) - (xy + n)).max() < 1e-9
        assert points[:, 2].tolist() == [2, 2, 1]
        centre, size = cells[1:3] * (200, 100), cells[3:5] * (200, 100)
        assert np.abs(np.concatenate([centre - size / 2, size]) - box).max() < 1e-9


def test_images_that_would_share_a_label_file_are_refused():
    twins = [
        item(path, 0, Box(0, 0, 9, 9), np.ones((3, 2)), [2, 2, 2]) for path in ("a.jpg", "a.png")
    ]
    with pytest.raises(FormatError, match=r"a\.jpg and a\.png .*labels/a\.txt"):
        write_yolo(twins, EARS)
