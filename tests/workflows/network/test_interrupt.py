"""Ctrl-C during a training, also where Python loses it."""

import signal
import threading

import pytest

from labelkit.workflows.network.interrupt import LastingInterrupt


@pytest.fixture(autouse=True)
def heard():
    """The tests may run where Ctrl-C is ignored, which programs inherit."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def unfinished():
    try:
        yield 1
    finally:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_ctrl_c_that_python_loses_takes_effect_after_the_step():
    interrupt = LastingInterrupt()
    with interrupt.listening():
        generator = unfinished()
        next(generator)
        del generator  # Python closes it, and ignores what is raised there
        with pytest.raises(KeyboardInterrupt):
            interrupt.on_train_batch_end()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_any_other_takes_effect_at_once():
    interrupt = LastingInterrupt()
    with pytest.raises(KeyboardInterrupt), interrupt.listening():
        signal.raise_signal(signal.SIGINT)


def test_without_ctrl_c_nothing_happens():
    interrupt = LastingInterrupt()
    with interrupt.listening():
        interrupt.on_train_batch_end()


def test_who_ignores_ctrl_c_or_trains_in_a_thread_is_left_alone():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with LastingInterrupt().listening():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = []

    def train() -> None:
        with LastingInterrupt().listening():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
