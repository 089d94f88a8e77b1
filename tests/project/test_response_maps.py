from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import stick_skeleton

from labelkit.domain.skeleton import make_skeleton
from labelkit.domain.skeleton_edit import edited
from labelkit.errors import FormatError
from labelkit.project.predictions import read_predictions
from labelkit.project.response_maps import MapReader, MapWriter

CROP = (0.25, 0.0, -2.5, 0.0, 0.25, 1 / 3)
NAMES = ["nose", "tail"]
NONE = np.zeros(0)


def random_maps(seed: int, size_hw: tuple[int, int] = (6, 4)) -> np.ndarray:
    return np.random.default_rng(seed).random((2, *size_hw)).astype(np.float32)


def write(path: Path, count: int) -> None:
    with MapWriter(path, NAMES) as writer:
        for number in range(count):
            writer.add(
                f"{number}-0",
                CROP,
                random_maps(number),
                random_maps(number + 50),
                random_maps(number, (3, 2)),
            )


def test_maps_come_back_to_within_half_a_level_with_their_peaks_exact(tmp_path: Path):
    write(tmp_path / "maps.parquet", 1)
    with MapReader(tmp_path / "maps.parquet") as reader:
        maps = reader.get("0-0")
    assert reader.keypoints == ("nose", "tail")
    assert maps.crop == CROP
    for back, sent in (
        (maps.response, random_maps(0)),
        (maps.heatmap, random_maps(50)),
        (maps.cam, random_maps(0, (3, 2))),
    ):
        peak = sent.max(axis=(1, 2))
        assert back.dtype == np.float32
        assert np.array_equal(back.max(axis=(1, 2)), peak)
        assert (np.abs(back - sent).max(axis=(1, 2)) <= peak / 510 * 1.0001).all()
        assert (back.reshape(2, -1).argmax(axis=1) == sent.reshape(2, -1).argmax(axis=1)).all()


def test_each_keypoint_keeps_its_own_scale(tmp_path: Path):
    response = np.zeros((2, 1, 3), dtype=np.float32)
    response[0, 0] = [0.0, 51e-6, 255e-6]
    response[1, 0] = [255.0, 51.0, 0.0]
    with MapWriter(tmp_path / "maps.parquet", NAMES) as writer:
        writer.add("a-0", CROP, response, NONE, NONE)
    with MapReader(tmp_path / "maps.parquet") as reader:
        assert reader.get("a-0").response == pytest.approx(response)


def test_empty_maps_and_a_model_without_activation_maps_are_accepted(tmp_path: Path):
    with MapWriter(tmp_path / "maps.parquet", NAMES) as writer:
        writer.add("a-0", CROP, np.zeros((2, 6, 4)), NONE, NONE)
    with MapReader(tmp_path / "maps.parquet") as reader:
        maps = reader.get("a-0")
    assert np.array_equal(maps.response, np.zeros((2, 6, 4)))
    assert maps.cam.shape == (2, 0, 0)


def test_any_instance_is_found_across_row_groups(tmp_path: Path):
    path = tmp_path / "maps.parquet"
    write(path, 150)
    assert pq.ParquetFile(path).num_row_groups == 3
    with MapReader(path) as reader:
        assert len(reader) == 150
        assert list(reader) == [f"{number}-0" for number in range(150)]
        for number in (149, 0, 63, 64, 100):
            assert f"{number}-0" in reader
            back = reader.get(f"{number}-0").response
            assert back == pytest.approx(random_maps(number), abs=1 / 500)


def test_only_the_row_group_of_an_instance_is_read(tmp_path: Path):
    path = tmp_path / "maps.parquet"
    write(path, 150)
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    assert column.path_in_schema == "response"
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    with MapReader(path) as reader:
        assert reader.get("149-0").instance_id == "149-0"
        with pytest.raises(FormatError, match="damaged"):
            reader.get("0-0")


def test_an_unknown_instance_is_named(tmp_path: Path):
    write(tmp_path / "maps.parquet", 0)
    with MapReader(tmp_path / "maps.parquet") as reader:
        assert len(reader) == 0
        with pytest.raises(FormatError, match="new-0") as caught:
            reader.get("new-0")
        assert "labelkit retrain" in caught.value.next_step


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "maps.parquet"
    write(path, 2)

    def break_half_way() -> None:
        with MapWriter(path, NAMES) as writer:
            for number in range(100):
                writer.add(f"new-{number}", CROP, random_maps(0), NONE, random_maps(0))
            raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        break_half_way()
    with MapReader(path) as reader:
        assert list(reader) == ["0-0", "1-0"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("response", "complaint"),
    [
        (np.zeros((3, 6, 4)), r"response of a-0 .*\(2, h, w\), not \(3, 6, 4\)"),
        (np.zeros((2, 6)), r"not \(2, 6\)"),
        (np.full((2, 6, 4), np.nan), "response of a-0 .*NaN"),
    ],
)
def test_wrong_maps_are_refused(tmp_path: Path, response: np.ndarray, complaint: str):
    path = tmp_path / "maps.parquet"
    with pytest.raises(ValueError, match=complaint), MapWriter(path, NAMES) as writer:
        writer.add("a-0", CROP, response, NONE, random_maps(0))
    assert not path.exists()


def test_maps_are_not_taken_for_predictions(tmp_path: Path):
    write(tmp_path / "maps.parquet", 1)
    with pytest.raises(FormatError, match="labelkit-maps-2, not labelkit-predictions-1"):
        read_predictions(tmp_path / "maps.parquet", stick_skeleton())


def test_maps_are_small(tmp_path: Path):
    """Sixteen keypoints of a sharp 24 x 24 map: well below the byte a cell of raw levels."""
    path = tmp_path / "maps.parquet"
    rows, columns = np.mgrid[:24, :24]
    response = np.stack([np.exp(-((rows - k) ** 2 + (columns - k) ** 2) / 8) for k in range(16)])
    with MapWriter(path, [str(k) for k in range(16)]) as writer:
        for number in range(64):
            writer.add(f"{number}-0", CROP, response, NONE, NONE)
    assert path.stat().st_size < 64 * 16 * 24 * 24 / 4


def test_keypoints_are_read_off_heatmaps_once_there_are_any(tmp_path: Path):
    with MapWriter(tmp_path / "maps.parquet", NAMES) as writer:
        writer.add("before-0", CROP, random_maps(1), NONE, NONE)
        writer.add("after-0", CROP, random_maps(1), random_maps(2), NONE)
    with MapReader(tmp_path / "maps.parquet") as reader:
        before, after = reader.get("before-0"), reader.get("after-0")
        assert reader.kinds == ("response",)
    assert np.array_equal(before.read, before.response)
    assert np.array_equal(after.read, after.heatmap)
    assert np.array_equal(before.response, after.response)
    assert before.heatmap.shape == (2, 0, 0)


def test_the_kinds_of_maps_are_those_of_the_first_instance(tmp_path: Path):
    write(tmp_path / "maps.parquet", 1)
    with MapReader(tmp_path / "maps.parquet") as reader:
        assert reader.kinds == ("response", "heatmap", "cam")
    write(tmp_path / "none.parquet", 0)
    with MapReader(tmp_path / "none.parquet") as reader:
        assert reader.kinds == ()


def test_maps_of_instances_that_came_later_lie_beside_the_file_and_are_read_with_it(tmp_path: Path):
    write(tmp_path / "maps.parquet", 2)
    with MapWriter(tmp_path / "maps-2.parquet", NAMES) as writer:
        writer.add("later-0", CROP, random_maps(9), NONE, NONE)
    with MapReader(tmp_path / "maps.parquet") as reader:
        assert list(reader) == ["0-0", "1-0", "later-0"]
        for name, seed in (("later-0", 9), ("1-0", 1), ("later-0", 9)):
            peak = random_maps(seed).max(axis=(1, 2))
            assert np.array_equal(reader.get(name).response.max(axis=(1, 2)), peak)


def test_maps_are_read_by_name_and_those_of_a_new_keypoint_are_empty(tmp_path: Path):
    write(tmp_path / "maps.parquet", 1)
    before = make_skeleton("s", NAMES)
    later = edited(before, {"keypoints": ["wing", "snout"], "renamed": [["nose", "snout"]]}, "s")
    with MapReader(tmp_path / "maps.parquet", later) as reader:
        maps = reader.get("0-0")
        assert reader.keypoints == ("wing", "snout")
    with MapReader(tmp_path / "maps.parquet") as reader:
        own = reader.get("0-0")
    assert np.array_equal(maps.response, [np.zeros((6, 4)), own.response[0]])
    assert np.array_equal(maps.cam, [np.zeros((3, 2)), own.cam[0]])
