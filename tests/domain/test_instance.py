import math

import pytest

from labelkit.domain.instance import Box, Image, Instance, check_box
from labelkit.errors import InputError

IMAGE = Image("frames/a.png", "0123456789abcdef" * 4, 100, 80)


def test_ids_come_from_the_content_and_survive_a_rename():
    assert IMAGE.id == "0123456789abcdef"
    moved = Image("elsewhere/b.png", IMAGE.sha256, 100, 80)
    assert Instance(moved, 3, Box(0, 0, 1, 1), "given", 1.0).id == "0123456789abcdef-3"


def test_the_long_side_is_the_longer_one():
    assert Box(5, 5, 30, 40).long_side == Box(5, 5, 40, 30).long_side == 40


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        (Box(0.0, 0.0, 100.0, 80.0), Box(0.0, 0.0, 100.0, 80.0)),
        (Box(10.25, 20.5, 30.125, 40.0), Box(10.25, 20.5, 30.125, 40.0)),
        (Box(-10.0, -5.0, 30.0, 25.0), Box(0.0, 0.0, 20.0, 20.0)),
        (Box(90.0, 70.0, 30.0, 30.0), Box(90.0, 70.0, 10.0, 10.0)),
        (Box(-1.0, -1.0, 500.0, 500.0), Box(0.0, 0.0, 100.0, 80.0)),
    ],
)
def test_a_box_is_cut_at_the_border_of_its_image(box, inside):
    assert check_box(box, IMAGE) == inside


@pytest.mark.parametrize(
    ("box", "why"),
    [
        (Box(0.0, 0.0, 0.0, 5.0), "area"),
        (Box(0.0, 0.0, 5.0, -1.0), "area"),
        (Box(100.0, 0.0, 5.0, 5.0), "100 x 80"),
        (Box(0.0, -5.0, 5.0, 5.0), "100 x 80"),
        (Box(math.nan, 0.0, 5.0, 5.0), "finite"),
        (Box(0.0, 0.0, math.inf, 5.0), "finite"),
    ],
)
def test_a_box_without_any_of_its_image_is_refused_with_both(box, why):
    with pytest.raises(InputError, match=why) as caught:
        check_box(box, IMAGE)
    assert "frames/a.png" in caught.value.problem
    assert str(tuple(box)) in caught.value.problem


def test_a_box_knows_its_corners_and_whether_it_has_area():
    assert Box(1, 2, 3, 4).corners == (1, 2, 4, 6)
    assert [Box(1, 2, *size).has_area for size in ((3, 4), (0, 4), (3, -1))] == [True, False, False]
