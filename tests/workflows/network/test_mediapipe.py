"""Poses of objects by a network of MediaPipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_instance
from label_studio import point_home_at
from mediapipe_stub import make_stub, white_pixel
from PIL import Image as Picture

from labelkit.bridges.mediapipe.networks import NETWORKS, OWN
from labelkit.domain.instance import Image, Instance
from labelkit.errors import ServiceError
from labelkit.progress import Silent
from labelkit.workflows.network.mediapipe import find_poses

POSE = NETWORKS["mediapipe-pose"]


@pytest.fixture(autouse=True)
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that find the white pixel of the upper half."""
    point_home_at(tmp_path / "home", monkeypatch)
    make_stub()


def objects(folder: Path) -> list[Instance]:
    """Two boxes in a picture of 400 x 200 pixels with one white pixel, at (120, 30)."""
    white_pixel((400, 200), (120, 30), folder / "a.png")
    image = Image("a.png", "0" * 64, 400, 200)
    boxes = ((100, 20, 40, 40), (300, 100, 40, 40))
    return [make_instance(image, ordinal, box) for ordinal, box in enumerate(boxes)]


def test_a_pose_is_found_in_the_box_of_its_object_and_comes_in_pixels_of_the_image(tmp_path):
    first, second = objects(tmp_path)
    rows = find_poses(POSE, tmp_path, [second, first], tmp_path / "kept", Silent())
    assert [instance for instance, _ in rows] == [first, second]
    found = rows[0][1]
    assert found is not None
    np.testing.assert_allclose(found[:, :2], [[120.5, 30.5]] * 33)
    assert rows[1][1] is None


def test_a_large_picture_is_made_smaller_and_its_pose_is_not(tmp_path):
    picture = Picture.new("RGB", (4000, 3000))
    picture.paste("white", (1000, 500, 1040, 540))
    picture.save(tmp_path / "a.png")
    whole = make_instance(Image("a.png", "0" * 64, 4000, 3000), box=(0, 0, 4000, 3000))
    ((_, found),) = find_poses(POSE, tmp_path, [whole], tmp_path / "kept", Silent())
    assert found is not None
    np.testing.assert_allclose(found[0, :2], [1000, 500], atol=10)


def test_an_interrupted_call_continues_where_it_stopped(tmp_path):
    first, second = objects(tmp_path)
    kept = tmp_path / "kept"
    find_poses(POSE, tmp_path, [first], kept, Silent())
    with kept.open("a") as file:
        file.write('\n["a line that was cut')
    (tmp_path / "a.png").unlink()
    moved = replace(second, image=replace(second.image, path="b.png"))
    white_pixel((400, 200), (320, 110), tmp_path / "b.png")
    rows = find_poses(POSE, tmp_path, [first, moved], kept, Silent())
    assert [None if found is None else found[0, 0] for _, found in rows] == [120.5, 320.5]


def test_an_environment_that_is_broken_is_named(tmp_path):
    (OWN.folder / "stub" / "mediapipe" / "python" / "solutions" / "pose.py").unlink()
    with pytest.raises(ServiceError, match="No module named"):
        find_poses(POSE, tmp_path, objects(tmp_path), tmp_path / "kept", Silent())
