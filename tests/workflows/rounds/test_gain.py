"""What a round gained: the finest accuracy that clearly changed."""

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from builders import make_image, make_instance, make_pose, stick_skeleton, write_picture
from labelling import BOX, SIZE_WH, bench_of, make_bench

from labelkit.domain.pose import Pose
from labelkit.domain.pose_priors import skeleton_in_box
from labelkit.domain.prediction import prior_predictions
from labelkit.project.rounds import RoundPlan, begin_round, finish_round, latest_complete
from labelkit.workflows.rounds import gain
from labelkit.workflows.rounds.gain import advice, gain_between
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.served import COMPARABLE

XY = [(12, 25), (22, 25), (32, 25), (42, 25)]


class Given(dict[str, Pose]):
    """Poses that the journal does not hold."""

    def some(self, ids: Sequence[str]) -> dict[str, Pose]:
        return {id_: self[id_] for id_ in ids}


def dev_set(count):
    """Objects in boxes with a long side of 40 pixels, and their true poses."""
    instances = {
        item.id: item for item in (make_instance(make_image(f"{n}.png")) for n in range(count))
    }
    return instances, {item: make_pose(XY) for item in instances}


def shifted(truth, pixels):
    """Predictions that are as many pixels off as the list says, object by object."""
    xy = np.stack([pose.xy for pose in truth.values()]) + np.reshape(pixels, (-1, 1, 1)) * (1, 0)
    return prior_predictions(list(truth), xy, [math.nan] * 4)


def test_the_finest_accuracy_that_clearly_changed_is_named():
    instances, truth = dev_set(10)
    # Of 40 pixels, .02 is 0.8 and .05 is 2: all objects come from 3 to 1.5 pixels.
    gain = gain_between(shifted(truth, [3.0] * 10), shifted(truth, [1.5] * 10), truth, instances)
    assert (gain.threshold, gain.difference, gain.standard_error) == (0.05, 1.0, 0.0)
    assert gain.objects == 10
    assert gain.is_clear


def test_a_change_within_its_uncertainty_is_not_clear():
    instances, truth = dev_set(4)
    # One object of four comes into reach of .2 (8 pixels): 1/4, with a standard error of
    # sqrt(3 (4 x 1/4)^2 + (4 x 3/4)^2) x sqrt(4/3) / 16 = sqrt(12 x 4/3) / 16 = 1/4.
    gain = gain_between(
        shifted(truth, [9.0] * 4), shifted(truth, [9.0] * 3 + [7.0]), truth, instances
    )
    assert (gain.threshold, gain.difference, gain.standard_error) == (0.2, 0.25, 0.25)
    assert not gain.is_clear


def test_one_object_tells_nothing():
    instances, truth = dev_set(1)
    assert gain_between(shifted(truth, [9.0]), shifted(truth, [1.0]), truth, instances) is None


def test_objects_that_a_round_did_not_predict_do_not_count():
    instances, truth = dev_set(3)
    before = shifted(truth, [3.0] * 3)
    del before[next(iter(before))]
    assert gain_between(before, shifted(truth, [1.0] * 3), truth, instances).objects == 2


def test_a_dev_set_too_small_to_compare_rounds_gives_no_advice(tmp_path):
    bench = make_bench(tmp_path, COMPARABLE)
    with bench.store as store:
        first = latest_complete(bench.project)
        path = begin_round(bench.project, RoundPlan(1, "semi-weak", (), 0.0, store.head(), {}, 0))
        shutil.copy(first.path / "predictions.parquet", path)
        finish_round(path, {})
        poses = Given({id_: make_pose() for id_ in bench.ids})
        snapshot = replace(
            read_snapshot(bench.project, store), poses=poses, dev=frozenset(bench.ids)
        )
        assert "10 dev objects" in advice(bench.project, snapshot)
        del poses[bench.ids[0]]
        assert advice(bench.project, snapshot) == ""


def test_ticks_paid_if_their_network_is_nearer_than_the_skeleton_in_the_box(tmp_path):
    for number in range(COMPARABLE):
        write_picture(tmp_path / "frames" / f"{number}.png", SIZE_WH, seed=number)
    skeleton = stick_skeleton()
    (layout,) = skeleton_in_box([BOX], skeleton)
    shifted_by_half = layout + np.array([BOX.w / 2, 0])
    bench = bench_of(tmp_path, skeleton, places=shifted_by_half)
    with bench.store as store:
        snapshot = read_snapshot(bench.project, store)

        def told(xy, count=COMPARABLE):
            poses = Given({id_: make_pose(xy) for id_ in bench.ids[:count]})
            return advice(bench.project, replace(snapshot, poses=poses))

        paid, lost = told(shifted_by_half), told(layout)
        assert paid.startswith("Ticks paid")
        assert "4.00 [4.00, 4.00]" in paid  # all four keypoints
        assert "not paid" in lost
        assert "-4.00 [-4.00, -4.00]" in lost
        assert told(layout, COMPARABLE - 1) == ""


def test_advice_is_remembered_until_a_label_or_the_predictions_change(tmp_path, monkeypatch):
    monkeypatch.setattr(gain, "MANY", 1)
    bench = make_bench(tmp_path, COMPARABLE)
    predictions = latest_complete(bench.project).path / "predictions.parquet"
    with bench.store as store:
        snapshot = read_snapshot(bench.project, store)
        poses = Given({id_: make_pose() for id_ in bench.ids})
        first = advice(bench.project, replace(snapshot, poses=poses))
        kept = bench.project.root / gain.GAIN_FILE
        kept.write_text(kept.read_text().replace(first, "as before"))
        assert advice(bench.project, replace(snapshot, poses=poses)) == "as before"
        moved = Given(poses | {bench.ids[0]: make_pose(XY)})
        assert advice(bench.project, replace(snapshot, poses=moved)) != "as before"
        kept.write_text(kept.read_text().replace("Ticks", "As before"))
        os.utime(predictions, ns=(1, 1))
        assert advice(bench.project, replace(snapshot, poses=moved)).startswith("Ticks")
