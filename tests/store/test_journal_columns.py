"""Columns of the journal are those of its entries, whatever a file kept of them before."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import make_image, make_pose, stick_skeleton

from labelkit.domain.instance import Box
from labelkit.domain.skeleton_edit import edited
from labelkit.store import label_store
from labelkit.store.journal import (
    KEYPOINTS,
    SKIP,
    VISIBILITY,
    WITHDRAWN,
    Entry,
    keypoints_content,
)
from labelkit.store.journal_columns import EMPTY, read_columns, write_columns
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance

STICK = stick_skeleton()
IMAGE = make_image("a.png")
IDS = [f"{IMAGE.id}-{n}" for n in range(12)]


def placed(number: int, x: float) -> Entry:
    """Keypoints of an object, all of them at x."""
    pose = make_pose([(x, 1.0)] * len(STICK))
    content = keypoints_content(STICK, pose)
    return Entry(IDS[number], KEYPOINTS, content, "label", f"{number}-{x}", "1", "ann")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where columns are kept, from the first entry on."""
    monkeypatch.setattr(label_store, "_MANY", 1)
    return tmp_path / "journal.cache"


@pytest.fixture
def opened(tmp_path: Path, kept: Path) -> Callable[[], LabelStore]:
    """Opens the store of twelve objects anew, as another process does."""
    url = f"sqlite:///{tmp_path / 'labels.db'}"

    def open_again() -> LabelStore:
        store = LabelStore.open(url)
        store.kept = kept
        return store

    with open_again() as store:
        store.add_images([IMAGE])
        boxes = [Box(float(n), 0.0, 9.0, 7.0) for n in range(len(IDS))]
        store.add_instances([NewInstance(IMAGE, box, "given", 63.0) for box in boxes])
    return open_again


def xs(store: LabelStore, as_of: int | None = None) -> dict[str, float]:
    """Where the first keypoint of each labelled object is."""
    return {id_: float(pose.xy[0, 0]) for id_, pose in store.poses(STICK, as_of).items()}


def test_no_entries_are_no_columns_and_no_file(opened, kept):
    with opened() as store:
        assert len(store.columns().rows) == 0
        assert store.annotators() == {}
        assert not kept.exists()


def test_columns_tell_who_answered_what_about_what(opened):
    shown = {"effort": {"clicks": 1}}
    entries = [
        Entry(IDS[7], VISIBILITY, {"nose": True}, "label", "1", "1", "zoe", lead_time_s=2.5),
        Entry(IDS[2], SKIP, {}, "file:a.json", "1", "1"),
        Entry(IDS[7], VISIBILITY, {}, "label", "1", "2", "zoe", shown=shown),
    ]
    with opened() as store:
        store.record(entries)
        columns = store.columns()
    assert [it.decode() for it in columns.about.tolist()] == [IDS[7], IDS[2], IDS[7]]
    assert [columns.kinds[it] for it in columns.rows["kind"]] == [VISIBILITY, SKIP, VISIBILITY]
    assert [columns.annotators[it] for it in columns.rows["annotator"]] == ["zoe", "", "zoe"]
    assert [columns.names[it] for it in columns.rows["names"]] == [("nose",), (), ()]
    assert columns.rows["of_file"].tolist() == [False, True, False]
    assert columns.rows["effort"].tolist() == [False, False, True]
    assert columns.rows["lead_time_s"][0] == 2.5
    assert np.isnan(columns.rows["lead_time_s"][1:]).all()
    first, other, edit = columns.rows["annotation"].tolist()
    assert first == edit != other


def test_names_with_quotes_and_backslashes_are_read_as_they_are(opened):
    with opened() as store:
        store.record([Entry(IDS[0], VISIBILITY, {'a"b': True, "c\\": False}, "label", "1", "1")])
        assert store.columns().names == [('a"b', "c\\")]


def test_an_entry_that_another_process_records_is_read_beside_those_of_the_file(opened, kept):
    with opened() as store, opened() as other:
        store.record([placed(5, 1.0), placed(3, 2.0)])
        assert xs(store) == {IDS[5]: 1.0, IDS[3]: 2.0}
        kept_first = len(read_columns(kept).rows)
        other.record([placed(4, 3.0), placed(5, 4.0)])
        assert xs(store) == {IDS[3]: 2.0, IDS[4]: 3.0, IDS[5]: 4.0}
    assert kept_first == 2
    with opened() as store:
        store.record([Entry(IDS[3], WITHDRAWN, {}, "label", "gone", "1")])
        assert xs(store) == {IDS[4]: 3.0, IDS[5]: 4.0}
        assert xs(store, 4) == {IDS[3]: 2.0, IDS[4]: 3.0, IDS[5]: 4.0}
        assert xs(store, 1) == {IDS[5]: 1.0}
        assert xs(store, 0) == {}


def test_a_keypoint_that_was_renamed_has_its_place_in_what_the_file_keeps(opened):
    with opened() as store:
        store.record([placed(0, 1.0)])
        assert len(store.poses(STICK)) == 1
    first = STICK.keypoints[0]
    renamed = edited(
        STICK, {"keypoints": ["beak", *STICK.keypoints[1:]], "renamed": [[first, "beak"]]}, "s.toml"
    )
    with opened() as store:
        store.renamed = {first: "beak"}
        poses = store.poses(renamed)
        assert poses[IDS[0]].xy[0].tolist() == [1.0, 1.0]
        assert poses.known.all()


@pytest.mark.parametrize("others", [0, 1, 2, 3])
def test_a_store_that_was_restored_counts_and_not_what_the_file_kept_of_another(
    opened, kept, tmp_path, others
):
    file, backup = tmp_path / "labels.db", tmp_path / "backup.db"
    with opened() as store:
        store.record([placed(0, 1.0)])
    shutil.copy(file, backup)
    lost = [placed(1, 2.0), placed(2, 3.0)]
    with opened() as store:
        store.record(lost)
        assert len(xs(store)) == 3
    shutil.copy(backup, file)
    with opened() as store:
        again = [placed(1, 7.0), lost[1], placed(4, 8.0)][:others]
        store.record(again)
        expected = {IDS[0]: 1.0} | {it.instance_id: it.content["nose"][0] for it in again}
        assert xs(store) == expected
    with opened() as store:
        assert xs(store) == expected
        assert len(read_columns(kept).rows) == 1 + others


@pytest.mark.parametrize("damage", ["cut", "byte", "empty", "other", "longer"])
def test_a_damaged_file_is_read_anew(opened, kept, damage):
    with opened() as store:
        store.record([placed(0, 1.0), placed(1, 2.0)])
        assert len(xs(store)) == 2
    whole = kept.read_bytes()
    middle = len(whole) // 2
    changed = bytes([whole[middle] ^ 1])
    kept.write_bytes(
        {
            "cut": whole[:-1],
            "byte": whole[:middle] + changed + whole[middle + 1 :],
            "empty": b"",
            "other": b"labelkit-journal-0\n" + whole[19:],
            "longer": whole + b"\0",
        }[damage]
    )
    assert read_columns(kept) is EMPTY
    with opened() as store:
        assert xs(store) == {IDS[0]: 1.0, IDS[1]: 2.0}
    assert kept.read_bytes() == whole


def test_a_file_that_lacks_an_entry_is_read_anew(opened, kept):
    with opened() as store:
        store.record([placed(0, 1.0), placed(1, 2.0)])
        columns = store.columns()
    write_columns(kept, replace(columns, rows=columns.rows[1:]))
    with opened() as store:
        assert xs(store) == {IDS[0]: 1.0, IDS[1]: 2.0}


def test_a_project_that_only_others_may_write_to_is_read(opened, kept):
    kept.mkdir()
    with opened() as store:
        store.record([placed(0, 1.0)])
        assert xs(store) == {IDS[0]: 1.0}
