"""Maps as pictures, made on request."""

import io
from pathlib import Path

import numpy as np
import pytest
from builders import make_image, make_instance
from PIL import Image as Pictures

from labelkit.errors import InputError
from labelkit.project.response_maps import MapWriter, ResponseMaps
from labelkit.project.response_pictures import MapPictures, map_levels, over_image

IMAGE = make_image(width=40, height=20)


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Pictures.open(io.BytesIO(content)))


def one_map(response, cam=None) -> ResponseMaps:
    response = np.array(response, dtype=np.float32)
    cam = response if cam is None else np.array(cam, dtype=np.float32)
    return ResponseMaps("x-0", (1, 0, 0, 0, 1, 0), response, response, cam)


def test_a_response_map_is_relative_to_its_own_maximum():
    maps = one_map([[[0.0, 0.1], [0.2, 0.0]], [[4.0, 0.0], [0.0, 2.0]]])
    assert map_levels(maps, "response", 0).tolist() == [[0, 128], [255, 0]]


def test_a_class_activation_map_is_relative_to_the_strongest_of_the_instance():
    maps = one_map([[[1.0]], [[4.0]]])
    assert map_levels(maps, "cam", 0).tolist() == [[64]]
    assert map_levels(maps, "cam", 1).tolist() == [[255]]


def test_an_empty_map_is_dark():
    assert map_levels(one_map([[[0.0]]]), "response", 0).tolist() == [[0]]


def test_over_the_image_a_map_lies_where_its_crop_was():
    # A crop of 2 x 2 cells over the 20 x 20 pixels on the right half of a 40 x 20 image.
    levels = np.full((2, 2), 200, dtype=np.uint8)
    crop = (0.1, 0, -2, 0, 0.1, 0)
    picture = np.asarray(over_image(levels, crop, IMAGE))
    assert picture.shape == (160, 320)
    assert (picture[:, :160] == 0).all()
    assert (picture[:, 160:] == 200).all()


@pytest.fixture
def round_file(tmp_path: Path) -> Path:
    """Two instances in one image, left half and right half, keypoints "a" and "b"."""
    path = tmp_path / "maps.parquet"
    with MapWriter(path, ["a", "b"]) as writer:
        for ordinal, left in ((0, 0), (1, 20)):
            response = np.zeros((2, 2, 2))
            response[0, 0, 0], response[1] = 1.0, ordinal
            crop = (0.1, 0, -left / 10, 0, 0.1, 0)
            writer.add(
                make_instance(IMAGE, ordinal).id, crop, response, response[::-1], np.zeros(0)
            )
    return path


def pictures(path: Path, **options) -> MapPictures:
    instances = [make_instance(IMAGE, ordinal, box_source="given") for ordinal in (0, 1)]
    return MapPictures(path, instances, **options)


def test_an_instance_has_its_own_picture_and_its_image_one_of_all(round_file: Path):
    source = pictures(round_file)
    first, second = (make_instance(IMAGE, ordinal).id for ordinal in (0, 1))
    assert opened(source.get("response", 0, first)).tolist() == [[255, 0], [0, 0]]
    assert opened(source.get("response", 1, second)).tolist() == [[255, 255], [255, 255]]
    assert opened(source.get("heatmap", 0, second)).tolist() == [[255, 255], [255, 255]]
    assert opened(source.get("heatmap", 1, first)).tolist() == [[255, 0], [0, 0]]
    assert opened(source.get("cam", 1, first)).tolist() == [[0]]  # there is none
    whole = opened(source.get("response", 1, IMAGE.id))
    assert (whole[:, :160] == 0).all()
    assert (whole[:, 160:] == 255).all()


def test_a_model_without_cams_gives_an_empty_picture(round_file: Path):
    source = pictures(round_file)
    assert opened(source.get("cam", 0, make_instance(IMAGE, 0).id)).tolist() == [[0]]
    assert opened(source.get("cam", 0, IMAGE.id)).tolist() == [[0]]


def test_the_cache_keeps_to_its_limit_and_drops_the_least_recently_used(round_file: Path):
    first, second = (make_instance(IMAGE, ordinal).id for ordinal in (0, 1))
    size = len(pictures(round_file).get("response", 0, first))
    source = pictures(round_file, cache_bytes=2 * size)
    for id_ in (first, second, first):
        source.get("response", 0, id_)
    source.get("response", 1, first)
    assert source.cached_bytes <= 2 * size
    assert list(source._cache) == [("response", 0, first), ("response", 1, first)]


def test_a_picture_larger_than_the_cache_is_still_given(round_file: Path):
    source = pictures(round_file, cache_bytes=0)
    assert source.get("response", 0, make_instance(IMAGE, 0).id).startswith(b"\x89PNG")
    assert source.cached_bytes == 0


@pytest.mark.parametrize(("kind", "keypoint"), [("heat", 0), ("cam", 2), ("cam", -1)])
def test_what_is_not_there_is_an_error(round_file: Path, kind: str, keypoint: int):
    with pytest.raises(InputError, match=f"{kind} .*{keypoint}"):
        pictures(round_file).get(kind, keypoint, IMAGE.id)
    with pytest.raises(InputError, match="unknown-0") as caught:
        pictures(round_file).get("cam", 0, "unknown-0")
    assert "labelkit retrain" in caught.value.next_step
