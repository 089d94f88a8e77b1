"""The generated data set: exact truth, reproducible, and hard for a mean pose."""

import json

import numpy as np
import pytest
from PIL import Image as Pictures

from labelkit.workflows.synthetic.figures import SKELETON, figure, generate
from labelkit.workflows.synthetic.textures import KINDS


@pytest.fixture(scope="module")
def figures():
    return [figure(np.random.default_rng((7, index))) for index in range(150)]


def boxes_xywh(figures):
    return np.array([drawn.box for drawn in figures])


def test_the_same_generator_state_draws_the_same_figure():
    first, second = (figure(np.random.default_rng(3)) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert (first.pose, first.box, first.area) == (second.pose, second.box, second.area)


def test_another_seed_draws_another_figure():
    first, second = (figure(np.random.default_rng(seed)) for seed in (3, 4))
    assert first.image.tobytes() != second.image.tobytes()


@pytest.mark.parametrize("size", [64, 160, 333])
def test_pictures_have_the_requested_size(size):
    drawn = figure(np.random.default_rng(0), size)
    assert (drawn.image.size, drawn.image.mode) == ((size, size), "RGB")


def test_boxes_lie_inside_the_picture_and_contain_every_present_keypoint(figures):
    for drawn in figures:
        left, top, width, height = drawn.box
        assert 0 <= left < left + width <= 160
        assert 0 <= top < top + height <= 160
        xy = drawn.pose.xy[drawn.pose.present]
        assert (xy >= (left, top)).all()
        assert (xy <= (left + width, top + height)).all()
        assert 0 < drawn.area <= width * height


def test_each_keypoint_is_hidden_in_about_a_fifth_of_the_figures(figures):
    hidden = 1 - np.mean([drawn.pose.present for drawn in figures], axis=0)
    assert 0.17 < hidden.mean() < 0.27
    assert hidden.min() > 0.08
    assert hidden.max() < 0.36


def test_keypoints_are_hidden_independently(figures):
    present = np.array([drawn.pose.present for drawn in figures], dtype=float)
    correlation = np.corrcoef(present.T) - np.eye(len(SKELETON))
    assert np.abs(correlation).mean() < 0.12


def test_a_mean_pose_in_the_box_finds_fewer_than_45_percent(figures):
    box = boxes_xywh(figures)
    xy = np.array([drawn.pose.xy for drawn in figures])
    present = np.array([drawn.pose.present for drawn in figures])
    in_box = (xy - box[:, None, :2]) / box[:, None, 2:]
    mean = np.array([in_box[present[:, k], k].mean(axis=0) for k in range(len(SKELETON))])
    error = np.linalg.norm(mean * box[:, None, 2:] + box[:, None, :2] - xy, axis=-1)
    assert (error / box[:, 2:].max(axis=1)[:, None] <= 0.2)[present].mean() < 0.45


def test_figures_are_rotated_by_any_angle(figures):
    neck, hip = SKELETON.index("neck"), SKELETON.index("left_hip")
    directions = [
        drawn.pose.xy[hip] - drawn.pose.xy[neck]
        for drawn in figures
        if drawn.pose.present[[neck, hip]].all()
    ]
    quadrants = {(dx > 0, dy > 0) for dx, dy in directions}
    assert len(quadrants) == 4


def test_left_and_right_wrists_differ_in_colour_on_average(figures):
    """Warm means more red than blue; over many figures the sides fall on either side of grey."""
    warmth = {}
    for name in ("left_wrist", "right_wrist"):
        k = SKELETON.index(name)
        reds = []
        for drawn in figures:
            if drawn.pose.present[k]:
                x, y = drawn.pose.xy[k].astype(int)
                patch = np.asarray(drawn.image, float)[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5]
                reds.append(patch[..., 0].mean() - patch[..., 2].mean())
        warmth[name] = np.mean(reds)
    assert warmth["left_wrist"] > 20
    assert warmth["right_wrist"] < -20


def test_every_ground_fills_its_square():
    for kind in KINDS:
        colours = kind(np.random.default_rng(1), 50)
        assert colours.shape == (50, 50, 3)
        assert 0 <= colours.min() < colours.max() <= 1


def test_generate_writes_pictures_and_exact_coco_truth(tmp_path):
    path = generate(tmp_path / "set", 3, seed=5)
    document = json.loads(path.read_text())
    assert path == tmp_path / "set" / "keypoints.json"
    assert [row["file_name"] for row in document["images"]] == [f"{i:06d}.jpg" for i in range(3)]
    for index, annotation in enumerate(document["annotations"]):
        drawn = figure(np.random.default_rng((5, index)))
        triples = np.reshape(annotation["keypoints"], (14, 3))
        assert np.array_equal(triples[:, :2], drawn.pose.xy)
        assert np.array_equal(triples[:, 2], drawn.pose.visibility)
        assert annotation["num_keypoints"] == drawn.pose.present.sum()
        assert (annotation["bbox"], annotation["area"]) == (list(drawn.box), drawn.area)
        with Pictures.open(tmp_path / "set" / "images" / f"{index:06d}.jpg") as picture:
            assert picture.size == (160, 160)
    (category,) = document["categories"]
    assert category["keypoints"] == list(SKELETON.keypoints)
    assert category["skeleton"] == [[a + 1, b + 1] for a, b in SKELETON.links]


def test_a_larger_set_begins_with_the_smaller_one(tmp_path):
    small, large = (
        json.loads(generate(tmp_path / str(count), count, seed=1).read_text()) for count in (2, 4)
    )
    assert large["annotations"][:2] == small["annotations"]


def test_generate_reports_its_progress(tmp_path):
    counts = []
    generate(tmp_path, 3, seed=0, on_progress=counts.append)
    assert counts == [1, 2, 3]


def test_an_empty_set_is_written_too(tmp_path):
    assert json.loads(generate(tmp_path, 0, seed=0).read_text())["annotations"] == []
