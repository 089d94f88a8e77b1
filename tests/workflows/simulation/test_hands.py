"""What a simulated annotator does at the labelling page, and what it costs, worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from labelling import PLACES, Bench, make_bench, with_tree

from labelkit.domain.pose import Pose, human_pose
from labelkit.errors import UsageError
from labelkit.store.journal import Entry
from labelkit.workflows.labelling.work import Work
from labelkit.workflows.simulation.hands import Annotator, Habits, read_seconds

#: The box is 200 x 150: .05 of its long side are 10 pixels.
EXACT = Habits(tolerance=0.05, noise=0.0, follows=False)


def answered(bench: Bench, truth: Pose, habits: Habits, mode: str = "keypoints") -> Entry:
    work = Work(bench.project, bench.store, mode)  # type: ignore[arg-type]
    assert Annotator(work, dict.fromkeys(bench.ids, truth), habits).answer_all() == 1
    assert Annotator(work, {}, habits).answer_all() == 0
    return bench.entries()[-1]


def moved(by: Sequence[tuple[float, float]], visibility: Sequence[int] = (2, 2, 2, 2)) -> Pose:
    return human_pose(np.array(PLACES) + np.array(by), visibility)


def counts(entry: Entry) -> tuple[int, int, int]:
    effort = entry.shown["effort"]
    return effort["clicks"], effort["drags"], effort["keys"]


def test_what_is_right_within_the_tolerance_is_accepted(tmp_path: Path):
    entry = answered(make_bench(tmp_path, 1), moved([(9, 0), (0, -9), (0, 0), (6, 6)]), EXACT)
    assert counts(entry) == (0, 0, 1)
    assert entry.content["nose"] == [*PLACES[0], 2]
    assert set(entry.shown["origins"].values()) == {"untouched"}
    # An object, four looks and a key: 1.35 + 4 * .23 + .28.
    assert entry.lead_time_s == pytest.approx(2.5, abs=0.06)


def test_the_worst_is_dragged_until_all_are_right(tmp_path: Path):
    entry = answered(make_bench(tmp_path, 1), moved([(11, 0), (0, 40), (0, 0), (0, 9)]), EXACT)
    assert counts(entry) == (0, 2, 1)
    assert entry.content["left_paw"] == [150.0, 190.0, 2]
    assert entry.shown["origins"] == {
        "nose": "changed",
        "left_paw": "changed",
        "right_paw": "untouched",
        "tail": "untouched",
    }


def test_a_pose_that_is_mostly_wrong_is_taken_away_and_placed(tmp_path: Path):
    # Three drags are 7.2 s, four clicks and a key 5.48 s.
    entry = answered(make_bench(tmp_path, 1), moved([(40, 0), (0, 40), (0, 40), (0, 9)]), EXACT)
    assert counts(entry) == (4, 0, 2)
    assert entry.content["tail"] == [PLACES[3][0], PLACES[3][1] + 9.0, 2]
    assert set(entry.shown["origins"].values()) == {"changed"}


def test_a_keypoint_that_is_not_there_is_removed(tmp_path: Path):
    entry = answered(make_bench(tmp_path, 1), moved([(0, 0)] * 4, (2, 0, 1, 2)), EXACT)
    assert counts(entry) == (0, 0, 3)
    assert entry.content["left_paw"] == [0.0, 0.0, 0]
    assert entry.content["right_paw"][2] == 1
    assert entry.shown["origins"]["left_paw"] == "removed"


@pytest.mark.parametrize("predicted", [True, False])
def test_where_nothing_is_shown_every_keypoint_is_placed(tmp_path: Path, predicted: bool):
    bench = make_bench(tmp_path, 1, predicted=predicted, control=(0,))
    entry = answered(bench, moved([(0, 0)] * 4, (2, 0, 2, 2)), EXACT)
    assert counts(entry) == (3, 0, 2)
    assert entry.shown["arm"] == ("control" if predicted else "nothing")
    assert entry.content["tail"] == [*PLACES[3], 2]


def test_a_tick_is_a_look_and_an_absent_keypoint_a_click(tmp_path: Path):
    bench = make_bench(tmp_path, 1, predicted=False)
    entry = answered(bench, moved([(0, 0)] * 4, (2, 0, 0, 2)), EXACT, "ticks")
    assert (entry.kind, counts(entry)) == ("visibility", (2, 0, 1))
    assert entry.content == {"nose": True, "left_paw": False, "right_paw": False, "tail": True}


def test_placed_keypoints_are_noisy_and_stay_in_the_image(tmp_path: Path):
    bench = make_bench(tmp_path, 1, predicted=False)
    truth = human_pose([(0, 0), (150, 150), (250, 150), (400, 300)], [2] * 4)
    entry = answered(bench, truth, Habits(noise=0.05))
    xy = np.array([entry.content[name][:2] for name in bench.project.skeleton.keypoints])
    assert (xy >= 0).all()
    assert (xy <= (400, 300)).all()
    assert 1 < np.linalg.norm(xy - truth.xy, axis=1).max() < 50


def test_others_follow_the_keypoint_that_is_set(tmp_path: Path):
    # The whole pose lies 21 pixels lower, a tenth of the box are 20: once one is set, the tree
    # moves its neighbours there.
    truth = moved([(0, 21)] * 4)
    following, not_following = Habits(0.1, 0.0, True), Habits(0.1, 0.0, False)
    followed = answered(with_tree(make_bench(tmp_path / "a", 1)), truth, following)
    alone = answered(with_tree(make_bench(tmp_path / "b", 1)), truth, not_following)
    assert counts(alone) == (4, 0, 2)  # four drags would take longer than to place all
    assert counts(followed)[1] < 4
    assert "followed" in followed.shown["origins"].values()


def test_seconds_are_read_by_the_names_of_actions():
    assert read_seconds("") == {}
    assert read_seconds("click=1, drag=2.5") == {"click_s": 1.0, "drag_s": 2.5}
    for wrong in ("blink=1", "click=fast", "click", "click=-1"):
        with pytest.raises(UsageError) as caught:
            read_seconds(wrong)
        assert "object, look, click, drag, key" in (caught.value.next_step or "")
