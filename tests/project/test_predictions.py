from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import make_pose, stick_skeleton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import make_skeleton
from labelkit.domain.skeleton_edit import edited
from labelkit.errors import FormatError, SkeletonError
from labelkit.files.parquet import next_part
from labelkit.project.predictions import (
    find_predictions,
    iter_predictions,
    iter_tables,
    later_ids,
    read_predictions,
    write_predictions,
)


def make_prediction(name: str = "a-0", score: float = 0.5) -> Prediction:
    return Prediction(name, make_pose(), np.array([0.1, 0.2, 0.3, 1 / 3]), score)


def assert_same(a: Prediction, b: Prediction) -> None:
    assert (a.instance_id, a.score) == (b.instance_id, b.score)
    assert a.pose == b.pose
    assert np.array_equal(a.presence, b.presence, equal_nan=True)


finite = st.floats(allow_nan=False, allow_infinity=False)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
@given(
    st.lists(finite, min_size=8, max_size=8),
    st.lists(st.sampled_from([0, 1, 2]), min_size=4, max_size=4),
    st.lists(st.floats(0, 1), min_size=4, max_size=4),
    st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=4, max_size=4),
    finite,
)
def test_every_number_comes_back_exactly(
    tmp_path: Path,
    xy: list[float],
    visibility: list[int],
    keypoint_score: list[float],
    presence: list[float],
    score: float,
):
    pose = Pose(np.reshape(xy, (4, 2)), np.array(visibility), np.array(keypoint_score))
    before = Prediction("a-0", pose, np.array(presence), score)
    path = tmp_path / "predictions.parquet"
    assert write_predictions(path, [before], stick_skeleton()) == 1
    assert_same(read_predictions(path, stick_skeleton())["a-0"], before)


def test_predictions_are_streamed_in_row_groups_and_in_order(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    stream = (make_prediction(f"{number}-0", number) for number in range(1500))
    assert write_predictions(path, stream, stick_skeleton()) == 1500
    assert pq.ParquetFile(path).num_row_groups == 2
    assert [row.score for row in iter_predictions(path, stick_skeleton())] == list(range(1500))


def test_a_few_are_found_among_many(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, (make_prediction(f"{n}-0", n) for n in range(1500)), stick_skeleton())
    found = find_predictions(path, stick_skeleton(), {"3-0", "1499-0", "of another round"})
    assert {id_: row.score for id_, row in found.items()} == {"3-0": 3, "1499-0": 1499}
    assert_same(found["3-0"], make_prediction("3-0", 3))


def test_each_is_read_from_its_row_group_in_any_order_and_the_last_one_of_an_instance_counts(
    tmp_path: Path,
):
    path = tmp_path / "predictions.parquet"
    ids = [f"{n}-0" for n in range(2500)]
    write_predictions(path, map(make_prediction, ids, range(2500)), stick_skeleton())
    write_predictions(next_part(path), [make_prediction("7-0", 0.25)], stick_skeleton())
    found = read_predictions(path, stick_skeleton())
    assert [found[id_].score for id_ in ("2400-0", "0-0", "1024-0", "7-0")] == [2400, 0, 1024, 0.25]
    assert len(found) == 2500
    assert set(found) == set(ids)
    assert "2500-0" not in found
    with pytest.raises(KeyError, match="2500-0"):
        found["2500-0"]


def test_no_predictions_are_a_file_too(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    assert write_predictions(path, [], stick_skeleton()) == 0
    assert read_predictions(path, stick_skeleton()) == {}


def test_names_in_any_script_survive(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    skeleton = make_skeleton("Maus <b>", ["鼻", 'a "quoted" & <tag>', "ø", "tail"])
    write_predictions(path, [make_prediction("ünï-0")], skeleton)
    assert list(read_predictions(path, skeleton)) == ["ünï-0"]


def test_predictions_of_another_skeleton_are_refused(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [make_prediction()], stick_skeleton())
    other = make_skeleton("other", ["cockpit", "rudder"])
    with pytest.raises(SkeletonError, match="written for the keypoints nose, left_paw"):
        read_predictions(path, other)


def test_predictions_are_read_by_name_and_new_keypoints_are_unknown(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [make_prediction("a-0")], stick_skeleton())
    renamed = edited(stick_skeleton(), {"renamed": [["nose", "snout"]]}, "s.toml")
    later = edited(renamed, {"keypoints": ["tail", "wing", "snout"]}, "s.toml")
    expected = make_prediction("a-0").take([3, -1, 0])
    assert expected.pose.visibility.tolist() == [2, -1, 2]
    assert_same(read_predictions(path, later)["a-0"], expected)
    assert_same(find_predictions(path, later, ["a-0"])["a-0"], expected)
    write_predictions(next_part(path), [expected], later)  # predicted after the edit
    assert_same(read_predictions(path, later)["a-0"], expected)


def test_tables_hold_the_same_numbers(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    pose = make_pose(visibility=[2, 0, 2, 2])
    write_predictions(path, [Prediction("a-0", pose, np.full(4, 0.5), 0.25)], stick_skeleton())
    skeleton = make_skeleton("other", ["tail", "left_paw", "new"])
    (table,) = iter_tables(path, skeleton)
    (row,) = iter_predictions(path, skeleton)
    assert (list(table.ids), table.score.tolist()) == (["a-0"], [0.25])
    assert np.array_equal(table.xy[0], row.xy, equal_nan=True)
    assert np.array_equal(table.presence[0], row.presence, equal_nan=True)
    assert table.keypoint_score[0].tolist() == row.pose.score.tolist()


def test_a_prediction_of_another_length_is_refused_when_written(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    with pytest.raises(SkeletonError, match=r"a-0 .*4 keypoints.*'two'.* 2"):
        write_predictions(path, [make_prediction()], make_skeleton("two", ["a", "b"]))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_half_way_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [make_prediction("old-0")], stick_skeleton())

    def broken() -> Iterator[Prediction]:
        for number in range(2000):
            yield make_prediction(f"{number}-0")
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        write_predictions(path, broken(), stick_skeleton())
    assert list(read_predictions(path, stick_skeleton())) == ["old-0"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_cut_or_foreign_file_is_named(tmp_path: Path):
    path = tmp_path / "predictions.parquet"

    def refused(reason: str) -> None:
        with pytest.raises(FormatError, match=reason) as caught:
            read_predictions(path, stick_skeleton())
        assert str(path) in caught.value.problem
        assert "labelkit retrain" in caught.value.next_step

    refused("no file")
    write_predictions(path, [make_prediction()], stick_skeleton())
    path.write_bytes(path.read_bytes()[:-20])
    refused("Parquet")
    path.write_bytes(b"")
    refused("Parquet")
    pq.write_table(pa.table({"instance_id": ["a-0"]}), path)
    refused("another program")


def test_damaged_rows_are_an_error_and_not_wrong_numbers(tmp_path: Path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [make_prediction(f"{n}-0") for n in range(50)], stick_skeleton())
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    with pytest.raises(FormatError, match="damaged"):
        read_predictions(path, stick_skeleton())["3-0"]


def test_predictions_of_instances_that_came_later_lie_beside_the_file_and_are_read_with_it(
    tmp_path: Path,
):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, [make_prediction("a-0"), make_prediction("b-0")], stick_skeleton())
    before = path.read_bytes()
    assert later_ids(path) == set()
    for name in "cdefghijkl":
        write_predictions(next_part(path), [make_prediction(f"{name}-0")], stick_skeleton())
    assert path.read_bytes() == before
    assert [p.instance_id[0] for p in iter_predictions(path, stick_skeleton())] == [*"abcdefghijkl"]
    assert later_ids(path) == {f"{name}-0" for name in "cdefghijkl"}
    assert find_predictions(path, stick_skeleton(), {"b-0", "k-0"}).keys() == {"b-0", "k-0"}
