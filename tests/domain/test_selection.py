from __future__ import annotations

from collections import Counter

import pytest
from builders import make_instance
from hypothesis import given, settings
from hypothesis import strategies as st

from labelkit.domain.selection import (
    DevDraw,
    QueueItem,
    coin,
    coins,
    control_arm,
    dev_set,
    draws,
    format_percent,
    grow_dev_set,
    labelled_count,
    labelled_set,
    parse_percent,
    stable_order,
    unasked,
)
from labelkit.errors import UsageError

IDS = [f"{number:016x}-0" for number in range(200)]
ids = st.sets(st.sampled_from(IDS), max_size=60)


@pytest.mark.parametrize(
    ("text", "percent", "back"),
    [
        ("10%", 10.0, "10%"),
        ("10", 10.0, "10%"),
        (" 0.5 % ", 0.5, "0.5%"),
        ("0%", 0.0, "0%"),
        ("100%", 100.0, "100%"),
    ],
)
def test_a_percentage_is_read_and_written(text: str, percent: float, back: str):
    assert parse_percent(text) == percent
    assert format_percent(percent) == back


@pytest.mark.parametrize(
    "text", ["0.1", "", "%", "ten", "10%%", "-1%", "100.1%", "nan", "inf", "0,5%"]
)
def test_a_wrong_percentage_is_a_usage_error_that_quotes_it(text: str):
    with pytest.raises(UsageError) as caught:
        parse_percent(text)
    assert repr(text) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_number_that_may_be_a_share_is_refused_with_both_meanings():
    with pytest.raises(UsageError) as caught:
        parse_percent("0.1")
    assert "10%" in caught.value.next_step
    assert "0.1%" in caught.value.next_step


@pytest.mark.parametrize(
    ("size", "percent", "count"),
    [
        (1000, 10.0, 100),
        (1000, 0.0, 0),
        (0, 10.0, 0),
        (3, 10.0, 1),  # at least one above 0 %
        (1994, 10.0, 199),  # 199.4
        (1995, 10.0, 200),  # 199.5: halves round up
        (25, 10.0, 3),  # 2.5, where rounding to even would give 2
        (1000, 1.15, 12),  # 11.5 exactly, although 1.15 is not a binary fraction
        (7, 100.0, 7),
    ],
)
def test_the_number_of_labelled_instances(size: int, percent: float, count: int):
    assert labelled_count(size, percent) == count


def test_the_order_is_a_permutation_that_changes_with_the_seed():
    assert sorted(stable_order(IDS, 0)) == IDS
    assert stable_order(IDS, 0) != stable_order(IDS, 1)
    assert stable_order([], 0) == ()


def test_the_order_is_the_same_on_every_machine():
    # sha256 of "order:7:a", "order:7:d", ... begins with 02, 17, bf, fd.
    assert stable_order(["a", "b", "c", "d"], seed=7) == ("a", "d", "c", "b")


@settings(deadline=None)
@given(ids, ids, st.integers(0, 5))
def test_the_order_ignores_input_order_and_duplicates_and_survives_additions(
    some: set[str], more: set[str], seed: int
):
    order = stable_order(some, seed)
    assert stable_order([*sorted(some), *sorted(some)], seed) == order
    assert tuple(item for item in stable_order(some | more, seed) if item in some) == order


def test_the_dev_set_takes_whole_images_and_about_its_share():
    instances = [make_instance(f"{n}.png", ordinal) for n in range(500) for ordinal in range(2)]
    chosen = set(dev_set(instances, 0, DevDraw(0.2)))
    assert 140 < len(chosen) < 260
    assert {item.image.id for item in instances if item.id in chosen}.isdisjoint(
        item.image.id for item in instances if item.id not in chosen
    )
    assert dev_set(instances, 0, DevDraw(0.0)) == ()
    assert len(dev_set(instances, 0, DevDraw(1.0))) == 1000


def test_added_images_move_nothing_in_or_out_of_the_dev_set():
    instances = [make_instance(f"{number}.png") for number in range(200)]
    before = dev_set(instances[:100], 3, DevDraw(0.2))
    after = dev_set(reversed(instances), 3, DevDraw(0.2))
    old = {item.id for item in instances[:100]}
    assert tuple(item for item in after if item in old) == before


FEW = [make_instance(f"{number}.png") for number in range(100)]
IMAGES = {item.image.id for item in FEW}


def images_of(draw: DevDraw) -> set[str]:
    inside = set(dev_set(FEW, 3, draw))
    return {item.image.id for item in FEW if item.id in inside}


def grown(before: DevDraw, share: float, size: int, trained_on=(), exactly=True) -> DevDraw:
    return grow_dev_set(
        Counter(it.image.id for it in FEW),
        3,
        before,
        share,
        size,
        trained_on,
        exactly=exactly,
        videos={},
    )


@pytest.mark.parametrize("size", [0, 1, 10, 37, 100])
def test_a_dev_set_has_exactly_the_size_that_was_asked_for(size):
    assert len(images_of(grown(DevDraw(0.0), size / 100, size))) == size


def test_a_larger_dev_set_holds_a_smaller_one():
    small = grown(DevDraw(0.0), 0.1, 10)
    assert images_of(small) < images_of(grown(small, 0.2, 20))
    assert images_of(grown(small, 0.2, 20)) == images_of(grown(DevDraw(0.0), 0.2, 20))


def test_a_dev_set_that_is_large_enough_keeps_what_is_drawn_anyway():
    drawn = images_of(DevDraw(0.2))
    assert len(drawn) > 10
    assert grown(DevDraw(0.2), 0.2, 10, exactly=False) == DevDraw(0.2)
    assert images_of(grown(DevDraw(0.0), 0.2, 10, exactly=False)) == drawn


def test_what_was_trained_on_never_enters_the_dev_set():
    small = grown(DevDraw(0.0), 0.1, 10)
    trained_on = IMAGES - images_of(small) - set(sorted(IMAGES - images_of(small))[:5])
    large = grown(small, 0.5, 50, trained_on)
    assert len(images_of(large)) == 15
    assert images_of(large) == IMAGES - trained_on
    assert images_of(grown(large, 1.0, 100, trained_on)) == IMAGES - trained_on


def test_what_was_trained_on_stays_out_when_it_is_removed_and_comes_back():
    trained_on = sorted(IMAGES)[:50]
    without = [item for item in FEW if item.image.id not in trained_on]
    draw = grow_dev_set(
        Counter(it.image.id for it in without),
        3,
        DevDraw(0.05),
        1.0,
        50,
        trained_on,
        exactly=True,
        videos={},
    )
    assert images_of(draw) == IMAGES - set(trained_on)


def test_images_that_come_later_are_drawn_at_the_share_of_the_dev_set():
    more = [make_instance(f"later-{number}.png") for number in range(1000)]
    draw = grown(DevDraw(0.0), 0.1, 10)
    assert 60 < len(dev_set(more, 3, draw)) < 140
    assert dev_set(more, 3, draw) == dev_set(more, 3, DevDraw(0.1))


def test_a_larger_control_arm_contains_a_smaller_one():
    small, large = control_arm(IDS, 0, 0.1), control_arm(IDS, 0, 0.3)
    assert small < large
    assert 5 < len(small) < 40
    assert control_arm(IDS, 0, 0.0) == frozenset()


@settings(deadline=None)
@given(ids, ids, st.integers(0, 60), st.floats(0, 100), st.floats(0, 100), st.integers(0, 3))
def test_a_smaller_percentage_is_the_beginning_of_a_larger_one(
    labelled: set[str], locked: set[str], unlabelled: int, a: float, b: float, seed: int
):
    size = len(labelled) + unlabelled
    small, large = sorted((a, b))
    order = stable_order(locked, 99)
    fewer = labelled_set(labelled, size, small, order, seed)
    more = labelled_set(sorted(labelled), size, large, order, seed)
    assert more[: len(fewer)] == fewer
    assert len(set(more)) == len(more) == min(len(labelled), labelled_count(size, large))
    assert set(more) <= labelled


@settings(deadline=None)
@given(ids, ids, st.floats(0, 100), st.floats(0, 100))
def test_what_a_round_locked_stays_when_people_label_more(
    labelled: set[str], more_labels: set[str], first: float, second: float
):
    size = len(IDS)
    locked = labelled_set(labelled, size, first, (), 0)
    later = labelled_set(labelled | more_labels, size, second, locked, 0)
    assert later[: len(locked)] == locked[: len(later)]


def test_a_locked_instance_that_lost_its_label_is_left_out():
    assert labelled_set({"a", "b"}, 2, 100, ["gone", "b"], 0) == ("b", "a")


def test_what_nothing_asks_for_yet_is_the_dev_set_and_then_the_rest_in_random_order():
    items = unasked(["a", "b", "c", "d"], done={"c"}, dev={"a", "c"}, seed=0)
    others = [item for item in stable_order("abcd", 0) if item in "bd"]
    assert items == (
        QueueItem("a", "dev", False),
        *(QueueItem(item, "random", False) for item in others),
    )
    assert unasked([], done=(), dev=(), seed=0) == ()


def test_random_numbers_lie_between_0_and_1_and_change_with_the_purpose():
    numbers = draws("one", IDS, 0)
    assert numbers.shape == (len(IDS),)
    assert 0 <= numbers.min() < numbers.max() < 1
    assert (numbers != draws("another", IDS, 0)).all()
    assert (numbers == draws("one", IDS, 0)).all()


@given(st.lists(st.sampled_from(IDS)), st.sampled_from((0.0, 1e-19, 0.3, 0.5, 1.0)), st.integers())
def test_many_coins_are_those_thrown_one_by_one(many, share, seed):
    thrown = [coin("dev", id_, seed, share) for id_ in many]
    assert coins("dev", many, seed, share).tolist() == thrown
    draw = DevDraw(share, frozenset(IDS[:50]), frozenset(IDS[40:100]))
    assert draw.held(many, seed).tolist() == [draw.holds(id_, seed) for id_ in many]
