from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelkit.errors import FormatError
from labelkit.project.features import LENGTH, FeatureWriter, iter_features, projected


def test_features_come_back_by_object_from_all_files_of_a_round(tmp_path: Path):
    features = np.arange(2 * LENGTH, dtype=np.float16).reshape(2, LENGTH)
    for name, id_, feature in (("f", "a", features[0]), ("f-2", "b", features[1])):
        with FeatureWriter(tmp_path / f"{name}.parquet") as writer:
            writer.add(id_, feature)
            writer.add("gone", feature)
    found = {}
    for ids, rows in iter_features(tmp_path / "f.parquet"):
        found.update(zip(ids, rows, strict=True))
    assert found.keys() == {"a", "b", "gone"}
    assert (found["a"] == features[0]).all()
    assert (found["b"] == features[1]).all()


def test_a_round_without_features_has_none(tmp_path: Path):
    assert [*iter_features(tmp_path / "f.parquet")] == []


def test_another_file_is_refused(tmp_path: Path):
    (tmp_path / "f.parquet").write_bytes(b"no features")
    with pytest.raises(FormatError):
        next(iter_features(tmp_path / "f.parquet"))


def test_a_failed_writer_leaves_no_file(tmp_path: Path):
    with pytest.raises(KeyError), FeatureWriter(tmp_path / "f.parquet"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_projection_nearly_keeps_distances():
    vectors = np.random.default_rng(1).standard_normal((50, 300))
    before = np.linalg.norm(vectors[0] - vectors[1:], axis=1)
    after = np.linalg.norm(projected(vectors)[0] - projected(vectors)[1:].astype(float), axis=1)
    assert projected(vectors).shape == (50, LENGTH)
    assert np.abs(after / before - 1).max() < 0.5
    assert np.abs(after / before - 1).mean() < 0.15
