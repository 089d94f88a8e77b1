"""Strategies on points whose best choice is plain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelkit.store.ids import Ids
from labelkit.workflows.choosing import strategies
from labelkit.workflows.choosing.strategies import RANDOM_SHARE, STRATEGIES, Drawn, Objects, draw


def make_objects(features: list[float], uncertainty: list[float] | None = None) -> Objects:
    """Objects on a line, each in an image of its own."""
    count = len(features)
    return Objects(
        Ids.of(f"object-{number}" for number in range(count)),
        np.array([0.5] * count if uncertainty is None else uncertainty, dtype=np.float32),
        np.zeros(count, dtype=np.float32),
        np.array(features, dtype=np.float16)[:, None],
        np.arange(count),
        np.full(count, -1),
        np.zeros(count),
    )


def drawn(objects: Objects, strategy: str, count: int = 100, labelled: tuple[int, ...] = ()):
    mask = np.isin(np.arange(len(objects.ids)), labelled)
    return list(draw(objects, ~mask, mask, count, strategy, seed=0))


@pytest.fixture
def without_coins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies, "RANDOM_SHARE", 0.0)


def places(found: list[Drawn]) -> list[int]:
    return [item.place for item in found]


def test_uncertain_takes_the_highest_first(without_coins: None):
    objects = make_objects([0, 1, 2, 3], [0.1, 0.9, 0.4, 0.6])
    assert places(drawn(objects, "uncertain", 3)) == [1, 3, 2]


def test_diverse_takes_what_is_farthest_from_all_that_is_labelled_or_drawn(without_coins: None):
    # From 0 the farthest is 10; then 5 is 5 away from both; then 2 is 2 away from 0, 7 from 5.
    objects = make_objects([0, 2, 5, 7.5, 10])
    assert places(drawn(objects, "diverse", labelled=(0,))) == [4, 2, 3, 1]


def test_mixed_prefers_the_uncertain_among_those_as_far(without_coins: None):
    objects = make_objects([0, 9, -9, 1], [0.5, 0.2, 0.8, 0.9])
    assert places(drawn(objects, "mixed", 2, labelled=(0,)))[0] == 2


def test_mixed_prefers_rare_keypoints_and_images_without_labels(without_coins: None):
    objects = make_objects([0, 9, 9, 9])
    rare = replace(objects, rarity=np.array([0, 0, 1, 0], dtype=np.float32))
    assert places(drawn(rare, "mixed", 1, labelled=(0,))) == [2]
    crowded = replace(objects, image=np.array([0, 0, 0, 1]))
    assert places(drawn(crowded, "mixed", 1, labelled=(0,))) == [3]


def test_near_duplicates_come_last(without_coins: None):
    objects = make_objects([0, 0, 10, 20], [1.0, 0.9, 0.1, 0.2])
    assert places(drawn(objects, "uncertain")) == [0, 3, 2, 1]


def test_frames_next_to_a_drawn_one_come_last(without_coins: None):
    objects = replace(
        make_objects([0, 10, 20, 30], [1.0, 0.9, 0.1, 0.2]),
        video=np.array([0, 0, 0, 1]),
        seconds=np.array([5.0, 6.0, 6.5, 5.0]),
    )
    assert places(drawn(objects, "uncertain")) == [0, 3, 2, 1]
    assert places(drawn(objects, "uncertain", labelled=(1,))) == [3, 0, 2]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_object_is_drawn_at_most_once_and_none_that_does_not_wait(strategy):
    objects = make_objects(list(range(40)))
    found = places(drawn(objects, strategy, 30, labelled=(3, 7)))
    assert len(found) == len(set(found)) == (0 if strategy == "manual" else 30)
    assert not {3, 7} & set(found)
    assert places(drawn(objects, strategy, 30, labelled=(3, 7))) == found


def test_no_objects_no_draws():
    assert drawn(make_objects([]), "mixed") == []
    assert drawn(make_objects([1.0]), "mixed", labelled=(0,)) == []


def test_the_probability_is_that_of_the_coin_and_of_chance():
    found = drawn(make_objects(list(range(40))), "uncertain")
    for left, item in zip(range(40, 0, -1), found, strict=True):
        by_chance = RANDOM_SHARE / left
        expected = (
            by_chance if item.probability < 0.5 and left > 1 else by_chance + 1 - RANDOM_SHARE
        )
        assert item.probability == pytest.approx(expected)
        if not item.at_random:
            assert item.probability > 0.8
    assert 2 <= sum(item.at_random for item in found) <= 16


def test_a_random_draw_takes_all_that_are_left_alike():
    found = drawn(make_objects([0] * 30), "random")
    assert [item.probability for item in found] == pytest.approx([1 / n for n in range(30, 0, -1)])
    assert all(item.at_random for item in found)


def test_a_larger_count_begins_with_a_smaller_one():
    objects = make_objects(list(range(50)))
    assert drawn(objects, "mixed", 40)[:10] == drawn(objects, "mixed", 10)


def test_blocks_take_turns(without_coins: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strategies, "BLOCK", 10)
    objects = make_objects(list(range(20)), [number / 20 for number in range(20)])
    found = places(drawn(objects, "uncertain"))
    assert sorted(found) == list(range(20))
    first, second = found[0::2], found[1::2]  # each block from its most uncertain one on
    assert first == sorted(first, reverse=True)
    assert second == sorted(second, reverse=True)
