"""Prefetching: a thread makes the next items while the caller processes one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

T = TypeVar("T")


def ahead(items: Iterable[T], count: int = 2) -> Iterator[T]:
    """The same items, prefetched by a thread while the caller processes one.

    Args:
        items: slow to produce; iterated over in the thread from now on.
        count: how many are prefetched.
    """
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, source, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield cast(T, item)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a Ctrl-C while it waits would be lost
