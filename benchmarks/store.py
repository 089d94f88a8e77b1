"""Recording 10,000 poses in the label store, compared with a bare `executemany` of the same rows.

The store checks every answer, recognises those it already has, and reports them; the bare insert
does not. Both are one durable transaction on a new SQLite file with the same settings.

    python benchmarks/store.py
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from machine import machine

from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import human_pose
from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.table import markdown
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.rows import row_of_entry

POSES = 10_000
TURNS = 5


def main() -> None:
    turns = [one_turn() for _ in range(TURNS)]
    bare, first, again, read = (statistics.median(column) for column in zip(*turns, strict=True))
    print(f"{machine()}; {TURNS} turns, medians\n")
    rows = [
        (what, f"{seconds:.2f}", f"{POSES / seconds:,.0f}", f"{seconds / bare:.1f}")
        for what, seconds in (
            ("bare executemany", bare),
            ("record, all new", first),
            ("record, all known", again),
            ("read every pose", read),
        )
    ]
    print(markdown(((f"{POSES:,} poses of 17 keypoints", "s", "poses/s", "times bare"), *rows)))


def one_turn() -> tuple[float, float, float, float]:
    """Seconds for the bare insert, for recording, for recording again, and for reading."""
    skeleton = load_skeleton("coco17")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with LabelStore.open(f"sqlite:///{folder / 'ours.db'}") as store:
            entries = list(_entries(store, len(skeleton)))
            started = time.perf_counter()
            assert store.record(entries).added == POSES
            first = time.perf_counter() - started
            started = time.perf_counter()
            assert store.record(entries).known == POSES
            again = time.perf_counter() - started
            started = time.perf_counter()
            assert len(store.poses(skeleton)) == POSES
            read = time.perf_counter() - started
        bare = _bare(folder / "bare.db", entries)
    return bare, first, again, read


def _entries(store: LabelStore, count: int) -> list[Entry]:
    """A pose for each of so many registered instances."""
    skeleton = load_skeleton("coco17")
    rng = np.random.default_rng(0)
    images = [Image(f"{n:05d}.jpg", f"{n:064x}", 640, 480) for n in range(POSES)]
    store.add_images(images)
    box = Box(0.0, 0.0, 640.0, 480.0)
    made = store.add_instances(NewInstance(i, box, "given", box.w * box.h) for i in images)
    return [
        Entry(
            instance_id=instance.id,
            kind=KEYPOINTS,
            content=keypoints_content(
                skeleton, human_pose(rng.uniform(1, 400, (count, 2)), np.full(count, 2))
            ),
            source="label-studio",
            reference=str(n),
            version="2026-01-01T00:00:00Z",
        )
        for n, instance in enumerate(made)
    ]


def _bare(path: Path, entries: list[Entry]) -> float:
    """Seconds to insert the finished rows into the same table in another file."""
    with LabelStore.open(f"sqlite:///{path}") as store:
        for _ in _entries(store, 17):
            pass  # registers the instances
    bare = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        bare.execute(f"PRAGMA {pragma}")
    now = datetime.now(UTC).isoformat()
    rows = [row_of_entry(entry, now) for entry in entries]
    names = list(rows[0])
    marks = ", ".join(f":{name}" for name in names)
    started = time.perf_counter()
    bare.execute("BEGIN IMMEDIATE")
    bare.executemany(f"INSERT INTO journal ({', '.join(names)}) VALUES ({marks})", rows)
    bare.execute("COMMIT")
    took = time.perf_counter() - started
    bare.close()
    return took


if __name__ == "__main__":
    main()
