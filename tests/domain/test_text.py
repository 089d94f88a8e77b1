import pytest

from labelkit.domain.text import counted, duration, named


@pytest.mark.parametrize(("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_is_singular(number, text):
    assert counted(number, "image") == text


def test_the_first_five_of_many_are_named():
    assert named(["a", "b"]) == "a, b"
    assert named(list("abcde")) == "a, b, c, d, e"
    assert named(list("abcdefg")) == "a, b, c, d, e and 2 more"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "0 s"),
        (45, "45 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_have_readable_units(seconds, expected):
    assert duration(seconds) == expected
