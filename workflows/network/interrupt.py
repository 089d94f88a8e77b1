"""Ctrl-C during a training, which Python may lose."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import lightning.pytorch as pl


class LastingInterrupt(pl.Callback):
    """Ctrl-C takes effect at once, and where it is lost, after the step.

    It is lost where Python ignores exceptions, as when it closes a generator that is not used up.
    """

    def __init__(self) -> None:
        self._asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear Ctrl-C while the block runs, unless something else than Python's default does."""
        is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not is_default or threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, *_: object) -> NoReturn:
        self._asked = True
        raise KeyboardInterrupt

    def on_train_batch_end(self, *_: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
