"""Predictions that several machines share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from builders import make_pose, stick_skeleton
from command_line import labelkit
from trained import Trained

from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.prediction import Prediction
from labelkit.errors import UsageError
from labelkit.files.documents import load_json
from labelkit.workflows.network import shards
from labelkit.workflows.network.shards import Parts, Shard, parse_shard


@pytest.fixture(autouse=True)
def parts_of_two_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OBJECTS", 2)


def five_objects(long_side: float = 10) -> dict[str, Instance]:
    image = Image("a.png", "0" * 64, 100, 100)
    box = Box(0, 0, long_side, 5)
    return {it.id: it for it in (Instance(image, n, box, "given", 50) for n in range(5))}


def made(some: Mapping[str, Instance]) -> Iterator[Prediction]:
    for id_ in some:
        yield Prediction(id_, make_pose(), np.full(4, int(id_[-1]) / 10), 0.5)


def test_a_shard_is_its_number_and_how_many_there_are():
    assert parse_shard("2/4") == Shard(2, 4)
    for text in ("", "2", "0/4", "5/4", "a/4", "1/", "-1/2"):
        with pytest.raises(UsageError, match="4/4"):
            parse_shard(text)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shards_in_any_order_predict_every_object_once(tmp_path: Path, count: int):
    model = tmp_path / "model"
    model.write_bytes(b"weights")
    asked: list[str] = []

    def predict(some: Mapping[str, Instance]) -> Iterable[Prediction]:
        asked.extend(some)
        return made(some)

    parts = Parts(tmp_path / "out.json", model, five_objects(), stick_skeleton())
    for number in range(count, 0, -1):
        assert parts.missing > 0
        parts.predict(Shard(number, count), predict)
    assert parts.missing == 0
    assert sorted(asked) == sorted(five_objects())
    found = [(row.instance_id, row.presence[0]) for row in parts]
    assert found == [(id_, n / 10) for n, id_ in enumerate(five_objects())]
    assert parts.predict(Shard(1, 1), predict) == 0


def test_a_killed_shard_predicts_only_what_is_missing(tmp_path: Path):
    model = tmp_path / "model"
    model.write_bytes(b"weights")
    parts = Parts(tmp_path / "out.json", model, five_objects(), stick_skeleton())

    def killed_at_the_third(some: Mapping[str, Instance]) -> Iterator[Prediction]:
        for row in made(some):
            if row.instance_id.endswith("-3"):
                raise KeyboardInterrupt
            yield row

    with pytest.raises(KeyboardInterrupt):
        parts.predict(Shard(1, 1), killed_at_the_third)
    assert parts.missing == 3
    again = Parts(tmp_path / "out.json", model, five_objects(), stick_skeleton())
    assert again.predict(Shard(1, 1), made) == 3
    assert [row.instance_id for row in again] == list(five_objects())


def test_parts_of_other_boxes_or_another_network_are_not_taken(tmp_path: Path):
    model = tmp_path / "model"
    model.write_bytes(b"weights")
    first = Parts(tmp_path / "out.json", model, five_objects(), stick_skeleton())
    moved = Parts(tmp_path / "out.json", model, five_objects(20), stick_skeleton())
    model.write_bytes(b"other weights")
    trained = Parts(tmp_path / "out.json", model, five_objects(), stick_skeleton())
    assert len({first.folder, moved.folder, trained.folder}) == 3


def test_sharded_commands_write_the_same_file(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shards, "OBJECTS", 8)
    fixed = (
        "--images",
        trained.images,
        "--boxes",
        "whole-image",
        "--project",
        trained.project.root,
    )
    files = [tmp_path / "one.json", tmp_path / "two.json", tmp_path / "all.json"]
    for file, numbers in zip(files, (["1/1"], ["2/2", "1/2"], []), strict=True):
        for number in numbers:
            options = (*fixed, "--output", file, "--shard", number)
            assert labelkit("predict", *options).code == 0
            assert file.exists() == (number == numbers[-1])
    assert labelkit("predict", *fixed, "--output", files[2]).code == 0
    one, two, everything = (load_json(file) for file in files)
    assert one == two
    assert len(everything["annotations"]) == len(one["annotations"]) == 24
    for a, b in zip(one["annotations"], everything["annotations"], strict=True):
        np.testing.assert_allclose(a["keypoints"], b["keypoints"], atol=1e-3)
