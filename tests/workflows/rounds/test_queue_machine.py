"""A project in any order of labelling, queueing, pulling and training: what is promised holds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from builders import make_image, make_pose, stick_skeleton
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from trained import ticked

from labelkit.domain.instance import Box
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import labelled_set
from labelkit.formats.label_studio.tasks import VISIBILITY_TASK
from labelkit.progress import Silent
from labelkit.project.predictions import write_predictions
from labelkit.project.project import create_project, remember
from labelkit.project.rounds import (
    RoundPlan,
    begin_round,
    finish_round,
    locked_labelled,
    next_round_number,
    rounds,
)
from labelkit.store.journal import KEYPOINTS, SKIP, Entry, keypoints_content
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.choosing.draw_records import newest_record
from labelkit.workflows.choosing.strategies import RANDOM_SHARE, STRATEGIES
from labelkit.workflows.loop.pull import pull
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.queue_file import (
    Choices,
    fill_queue,
    read_choices,
    read_queue,
    waiting,
    write_choices,
)
from labelkit.workflows.sync.push_files import push_files
from labelkit.workflows.synthetic.simulated_annotator import correct

SKELETON = stick_skeleton()
percents = st.sampled_from([5.0, 10.0, 25.0, 50.0, 100.0])


class AnyOrder(RuleBasedStateMachine):
    """Labels by people, fills by commands, rounds without a network."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.project = create_project(self.folder / "p", self.folder, SKELETON, 0)
        self.store = open_store(self.project)
        self.kept: dict[str, str] = {}
        self.add()

    @rule()
    def add(self) -> None:
        have = len(self.store.instances()) // 2
        images = [make_image(f"{number:03d}.png") for number in range(have, have + 12)]
        for image in images:
            (self.folder / image.path).touch()
        self.store.add_images(images)
        self.store.add_instances(
            NewInstance(image, Box(x, 0, 40, 40), "given", 1600.0)
            for image in images
            for x in (0, 50)
        )

    @property
    def snapshot(self) -> LabelSnapshot:
        return read_snapshot(self.project, self.store)

    @rule(count=st.integers(1, 8), skip=st.booleans())
    def answer(self, count: int, skip: bool) -> None:
        """People label from the front of the queue, and skip one now and then."""
        content = keypoints_content(SKELETON, make_pose())
        for item in waiting(self.project, self.snapshot)[:count]:
            kind = SKIP if skip else KEYPOINTS
            self.store.record(
                [Entry(item.instance_id, kind, {} if skip else content, "label", "", "1")]
            )
            skip = False

    @rule(count=st.integers(1, 4))
    def send_and_pull(self, count: int) -> None:
        """Label Studio gets what is asked next, and people answer about some of the images."""
        pushed = push_files(self.project, self.store, dry_run=False, per_instance=False)
        tasks = json.loads(pushed.files[1].read_text("utf-8"))[:count] if pushed.tasks else []
        instances = self.store.instances()
        truth = dict.fromkeys(instances, make_pose())
        if pushed.kind == VISIBILITY_TASK:
            rows = ticked(tasks, truth, SKELETON.keypoints)
        else:
            rows = correct(tasks, instances, truth, SKELETON)
        file = self.folder / "export.json"
        file.write_text(json.dumps(rows), "utf-8")
        before = self.store.counts().with_presence
        report = pull(self.project, self.store, Silent(), file=file)
        assert report.annotations == len(rows)
        assert report.problems == []
        assert self.store.counts().with_presence >= before
        assert pull(self.project, self.store, Silent(), file=file).added == 0

    @rule(percent=percents, strategy=st.sampled_from(STRATEGIES))
    def fill(self, percent: float, strategy: str) -> None:
        self.project = remember(self.project, queue=strategy)
        items = fill_queue(self.project, self.snapshot, percent)
        files = set((self.folder / "p" / "draws").glob("*"))
        assert fill_queue(self.project, self.snapshot, percent) == items == read_queue(self.project)
        assert set((self.folder / "p" / "draws").glob("*")) == files
        record, complete = newest_record(self.project), rounds(self.project)
        dev = self.snapshot.dev
        assert all(item.control for item in items if complete and item.instance_id in dev)
        if record and strategy != "manual" and complete:
            share = 1.0 if record.strategy == "random" else RANDOM_SHARE
            for drawn in record.draws:
                left = drawn.pool - np.arange(len(drawn.ids))
                floor = np.array(drawn.probabilities) - share / left
                assert (floor > -1e-9).all()
                assert (np.array(drawn.probabilities) < 1 + 1e-9).all()

    @rule(percent=percents)
    def train(self, percent: float) -> None:
        """Lock labels and predict, as a round does."""
        snapshot, locked = self.snapshot, locked_labelled(self.project)
        size = len(snapshot.instances)
        labelled = labelled_set(snapshot.trainable, size, percent, locked, self.project.seed)
        number = next_round_number(self.project)
        kind = "semi-weak" if labelled else "location-free"
        plan = RoundPlan(number, kind, labelled, len(labelled) / size, self.store.head(), {}, 0)
        path = begin_round(self.project, plan)
        rng = np.random.default_rng(number)
        rows = [
            Prediction(id_, make_pose(rng.random((4, 2)) * 40), rng.random(4), rng.random())
            for id_ in snapshot.instances
        ]
        write_predictions(path / "predictions.parquet", rows, SKELETON)
        finish_round(path, {})

    @rule(place=st.integers(0, 30), exclude=st.booleans())
    def choose(self, place: int, exclude: bool) -> None:
        ids, choices = list(self.store.instances()), read_choices(self.project)
        one = ids[place % len(ids)]
        first = [item for item in choices.first if item != one]
        out = [item for item in choices.excluded if item != one]
        (out if exclude else first).append(one)
        write_choices(self.project, Choices(tuple(first), tuple(out)))

    @invariant()
    def locked_sets_are_nested(self) -> None:
        sets = [item.plan.labelled for item in rounds(self.project)]
        for one in sets:
            for other in sets:
                shorter = min(len(one), len(other))
                assert one[:shorter] == other[:shorter]

    @invariant()
    def no_round_trains_on_the_dev_set(self) -> None:
        # Dev images are drawn by their ids: none that is labelled enters later.
        dev = self.snapshot.dev
        assert all(dev.isdisjoint(item.plan.labelled) for item in rounds(self.project))

    @invariant()
    def nothing_is_asked_twice_or_although_it_is_done(self) -> None:
        snapshot = self.snapshot
        ids = [item.instance_id for item in waiting(self.project, snapshot)]
        assert len(ids) == len(set(ids))
        assert not snapshot.poses.keys() & set(ids)

    @invariant()
    def records_of_draws_never_change(self) -> None:
        files = sorted((self.folder / "p" / "draws").glob("*"))
        now = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        assert self.kept.items() <= now.items()
        self.kept = now

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=100 if os.environ.get("LABELKIT_LONG") else 6,
    stateful_step_count=12,
    deadline=None,
)
