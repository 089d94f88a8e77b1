import pytest

from labelkit.domain.instance import Box
from labelkit.errors import FormatError
from labelkit.formats.label_studio.grouping import by_box, origin
from labelkit.formats.label_studio.regions import KeypointRegion

LEFT = Box(0, 0, 50, 100)
PLACES = {"nose": (60.0, 20.0), "tail": (90.0, 80.0)}
#: What the deleted box "right" showed at the start, in an image of 100 x 100 pixels.
SHOWN = {"right": PLACES}


def dot(name, xy=None, parent="right", origin="untouched"):
    xy = xy or PLACES[name]
    return KeypointRegion(f"right.{name}", parent, name, xy, xy, origin)


def group(points, choices=None, **drawn):
    boxes = {"left": LEFT, **drawn}
    owned = by_box(points, boxes, {"left", "right"}, choices or {}, SHOWN, "export.json: task 9")
    return {region: [point.label for point in theirs] for region, theirs in owned.items()}


def test_a_deleted_box_takes_its_untouched_keypoints_along():
    assert group([dot("nose"), dot("tail")]) == {"left": []}


@pytest.mark.parametrize(
    ("points", "choices"),
    [
        ([dot("nose"), dot("tail", (90.0, 81.0))], {}),
        ([dot("nose"), dot("tail")], {"right.tail": ["Occluded"]}),
        ([dot("nose"), dot("ear", (70.0, 20.0), origin="changed")], {}),
    ],
    ids=["moved", "marked", "renamed"],
)
def test_a_deleted_box_with_a_touched_keypoint_is_an_error_that_names_them_all(points, choices):
    with pytest.raises(FormatError, match=f"box right .* nose, {points[1].label}"):
        group(points, choices)


@pytest.mark.parametrize("tail", [(90.0, 80.0), (80.0, 70.0)])
def test_a_box_drawn_instead_gets_them_as_they_are(tail):
    points = [dot("nose"), dot("tail", tail)]
    around = Box(51, 0, 49, 100)
    assert group(points, drawn=around) == {"left": [], "drawn": ["nose", "tail"]}


def test_a_box_around_some_of_them_does_not():
    with pytest.raises(FormatError, match=r"box right .* nose, tail"):
        group([dot("nose"), dot("tail")], drawn=Box(55, 0, 10, 100))


def test_nor_does_one_that_has_keypoints_of_its_own():
    own = dot("nose", (60.0, 30.0), parent="drawn", origin="new")._replace(region="own")
    with pytest.raises(FormatError, match=r"box right .* nose, tail"):
        group([own, dot("nose"), dot("tail")], drawn=Box(51, 0, 49, 100))


def test_a_keypoint_drawn_in_a_deleted_box_does_not_go_to_the_only_other():
    drawn = dot("ear", (70.0, 20.0), parent="", origin="new")
    assert group([drawn]) == {"left": ["ear"]}
    with pytest.raises(FormatError, match=r"'ear' at \(70.0, 20.0\) .* 0 of 1 boxes"):
        group([drawn, dot("nose"), dot("tail")])


def test_after_a_draft_the_origin_that_label_studio_gives_counts():
    points = [dot("nose"), dot("tail")]
    assert by_box(points, {"left": LEFT}, {"left", "right"}, {}, {}, "") == {"left": []}
    with pytest.raises(FormatError, match=r"box right .* nose, tail"):
        by_box(points, {"left": LEFT}, {"left"}, {}, {}, "")  # of unknown origin


def test_a_drawn_keypoint_replaces_one_that_was_marked_as_absent():
    drawn = dot("nose", (65.0, 25.0), parent="", origin="new")._replace(region="drawn")
    points = [dot("nose"), dot("tail"), drawn]
    boxes = {"right": Box(51, 0, 49, 100)}
    choices = {"right.nose": ["Absent"]}
    owned = by_box(points, boxes, {"left", "right"}, choices, SHOWN, "")
    assert [point.region for point in owned["right"]] == ["right.tail", "drawn"]


def test_a_keypoint_renamed_to_one_that_was_not_shown_is_new():
    renamed = dot("ear", (60.0, 20.0), origin="changed")
    assert origin(renamed, PLACES) == "new"
    assert origin(renamed, {}) == "changed"  # it is unknown what was shown


def drawn_elsewhere(name, xy):
    """`name` of the right box was deleted, and one of that name is drawn."""
    others = [dot(other) for other in PLACES if other != name]
    drawn = dot(name, xy, parent="", origin="new")._replace(region="drawn")
    return group([*others, drawn], right=Box(51, 0, 49, 100))


def test_a_keypoint_drawn_again_outside_its_box_still_belongs_to_it():
    assert drawn_elsewhere("tail", (60.0, 101.0)) == {"left": [], "right": ["nose", "tail"]}


def test_one_drawn_in_another_box_could_belong_to_either():
    with pytest.raises(FormatError, match=r"'tail' at \(40.0, 50.0\) .* 2 of 2 boxes"):
        drawn_elsewhere("tail", (40.0, 50.0))


def test_one_drawn_next_to_another_of_its_name_is_refused():
    drawn = dot("nose", (65.0, 25.0), parent="", origin="new")._replace(region="drawn")
    with pytest.raises(FormatError, match=r"'nose' at \(65.0, 25.0\) pixels"):
        group([dot("nose"), dot("tail"), drawn], right=Box(51, 0, 49, 100))
