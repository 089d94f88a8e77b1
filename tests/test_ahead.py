"""Prefetched items are the same ones, in the same order, and few at a time."""

from __future__ import annotations

import pytest

from labelkit.ahead import ahead


def test_prefetching_changes_neither_items_nor_order():
    assert list(ahead(range(5))) == [0, 1, 2, 3, 4]
    assert list(ahead([], 3)) == []


def test_prefetching_takes_no_more_than_it_may():
    taken = []

    def source():
        for number in range(100):
            taken.append(number)
            yield number

    items = ahead(source(), 2)
    assert next(items) == 0
    items.close()
    # One was handed out, two may wait, one was begun meanwhile.
    assert len(taken) <= 4


def test_an_error_while_prefetching_reaches_the_caller():
    def source():
        yield 1
        raise OSError("the disk went away")

    items = ahead(source())
    assert next(items) == 1
    with pytest.raises(OSError, match="went away"):
        next(items)
