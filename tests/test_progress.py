import io
import sys
from types import SimpleNamespace

import pytest

from labelkit.progress import Console, Silent, default_progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_lines_go_to_stderr_and_leave_stdout_to_results(capsys):
    Console().line("Round 000: epoch 1/2")
    assert capsys.readouterr() == ("", "Round 000: epoch 1/2\n")


def test_without_a_terminal_what_is_soon_done_prints_nothing(capsys):
    with Console().bar("Reading images") as step:
        step(1, 2)
        step(2, 2)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_long_work_prints_a_line_after_one_two_four_minutes(
    monkeypatch, capsys
):
    now = 1000.0
    monkeypatch.setattr("labelkit.progress.time.monotonic", lambda: now)
    with Console().bar("Reading images") as step:
        now += 500  # loading
        for done in range(2000, 2301):  # a resumed run; one image a second
            step(done, 5000)
            now += 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Reading images: 2,060 of 5,000  49 min 00 s left",
        "Reading images: 2,120 of 5,000  48 min 00 s left",
        "Reading images: 2,240 of 5,000  46 min 00 s left",
    ]


def test_on_a_terminal_a_bar_says_what_is_done_and_how_much(monkeypatch, capsys):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Console().bar("Reading images") as step:
        step(3, 4)
    assert "Reading images" in screen.getvalue()
    assert "3/4" in screen.getvalue()
    assert capsys.readouterr().out == ""


def test_items_pass_through_a_bar_unchanged_and_in_order():
    assert list(Console().track(iter("abc"), "Looking", 3)) == ["a", "b", "c"]


def test_tracking_is_lazy():
    def one_then_trouble():
        yield 1
        raise RuntimeError("asked for too much")

    tracked = Console().track(one_then_trouble(), "Looking", 2)
    assert next(tracked) == 1
    with pytest.raises(RuntimeError, match="asked for too much"):
        next(tracked)


@pytest.fixture
def notebook(monkeypatch):
    """What the cell shows, where IPython says that a kernel runs it; its texts, in order."""
    texts = []

    class Shown:
        def update(self, data, raw):
            texts.append(data["text/plain"])

    def display(data, raw, display_id):
        texts.append(data["text/plain"])
        return Shown()

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return texts


def test_in_a_notebook_one_line_is_written_over_twice_a_second(notebook, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("labelkit.progress.time.monotonic", lambda: now)
    with Console().bar("Reading images") as step:
        for done in range(1, 13):  # ten images a second
            step(done, 12)
            now += 0.1
    assert notebook == [
        "Reading images",
        "Reading images: 1 of 12",
        "Reading images: 6 of 12  1 s left",
        "Reading images: 11 of 12  0 s left",
        "Reading images: 12 of 12",
    ]


def test_in_a_notebook_lines_belong_to_the_output_of_the_cell(notebook, capsys):
    Console().line("Round 000: epoch 1/2")
    assert capsys.readouterr() == ("Round 000: epoch 1/2\n", "")


def test_the_default_shows_progress_only_where_a_person_watches(monkeypatch, request):
    assert isinstance(default_progress(), Silent)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", Terminal())
        assert isinstance(default_progress(), Console)
    request.getfixturevalue("notebook")
    assert isinstance(default_progress(), Console)


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("Yes\n", True), ("\n", False), ("", False)]
)
def test_a_question_in_a_terminal_is_answered_by_typing_and_no_is_the_default(
    monkeypatch, typed, answer
):
    asked = Terminal()
    monkeypatch.setattr(sys, "stderr", asked)
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert Console().confirm("Finish?") is answer
    assert "Finish?" in asked.getvalue()


def test_without_a_terminal_nothing_is_asked(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert not Console().confirm("Finish?")
    assert not Silent().confirm("Finish?")
    assert capsys.readouterr() == ("", "")
