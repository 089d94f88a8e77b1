"""A skeleton that grows: what stays, what follows by name, and what is ambiguous."""

import pytest

from labelkit.domain.skeleton import DEFAULT_SIGMA, make_skeleton, skeleton_from_table
from labelkit.domain.skeleton_edit import difference, edited
from labelkit.errors import SkeletonError

MOUSE = make_skeleton(
    "mouse",
    ["snout", "earL", "earR", "tail"],
    links=[(0, 1), (0, 2), (0, 3)],
    sigmas=[0.1, 0.2, 0.3, 0.4],
    layout=[(0.5, 0.1), (0.2, 0.2), (0.8, 0.2), (0.5, 0.9)],
)


def change(**table):
    return edited(MOUSE, table, "mouse.toml")


def test_no_change_is_no_change():
    assert change() == MOUSE
    assert edited(MOUSE, MOUSE.to_table(), "mouse.toml") == MOUSE


def test_a_new_keypoint_leaves_what_the_others_have():
    after = change(keypoints=["snout", "earL", "back", "earR", "tail"])
    assert after.links == ((0, 1), (0, 3), (0, 4))
    assert after.pairs == ((1, 3),)
    assert after.sigmas == (0.1, 0.2, DEFAULT_SIGMA, 0.3, 0.4)
    assert after.layout == ((0.5, 0.1), (0.2, 0.2), (0.5, 0.5), (0.8, 0.2), (0.5, 0.9))
    assert difference(MOUSE, after) == (("back",), (), ())
    assert after.columns_in(MOUSE.keypoints) == (0, 1, -1, 2, 3)


def test_new_keypoints_are_paired_by_name_and_old_pairs_stay_as_they_were_chosen():
    unpaired = make_skeleton("s", ["earL", "earR"], pairs=[])
    after = edited(unpaired, {"keypoints": ["earL", "earR", "pawR", "pawL"]}, "s.toml")
    assert after.pairs == ((3, 2),)


def test_a_removed_keypoint_takes_its_links_and_its_pair_with_it():
    after = change(keypoints=["tail", "earR", "snout"])
    assert after.links == ((2, 1), (2, 0))
    assert after.pairs == ()
    assert after.sigmas == (0.4, 0.3, 0.1)
    assert difference(MOUSE, after) == ((), ("earL",), ())


def test_a_rename_keeps_everything_and_remembers_the_former_name():
    after = change(renamed=[["snout", "nose"]])
    assert after.keypoints == ("nose", "earL", "earR", "tail")
    assert (after.links, after.pairs, after.sigmas) == (MOUSE.links, MOUSE.pairs, MOUSE.sigmas)
    assert after.columns_in(MOUSE.keypoints) == (0, 1, 2, 3)
    assert difference(MOUSE, after) == ((), (), (("snout", "nose"),))
    assert skeleton_from_table(after.to_table(), "again") == after


def test_descriptions_follow_their_keypoints_until_others_are_given():
    described = edited(MOUSE, {"descriptions": {"snout": "its tip", "tail": "its root"}}, "m.toml")
    after = edited(described, {"renamed": [["snout", "nose"]]}, "m.toml")
    assert dict(after.descriptions) == {"nose": "its tip", "tail": "its root"}
    assert edited(after, {"descriptions": {}}, "m.toml").descriptions == ()


def test_another_name_without_a_rename_is_another_keypoint():
    after = change(keypoints=["nose", "earL", "earR", "tail"])
    assert difference(MOUSE, after) == (("nose",), ("snout",), ())


def test_names_are_followed_through_several_renames_and_back():
    twice = edited(change(renamed=[["snout", "nose"]]), {"renamed": [["nose", "tip"]]}, "m")
    assert twice.columns_in(["snout", "tail"]) == (0, -1, -1, 1)
    assert twice.columns_in(["nose"]) == (0, -1, -1, -1)
    by_its_first_name = edited(twice, {"renamed": [["snout", "muzzle"]]}, "m")
    assert by_its_first_name.keypoints[0] == "muzzle"
    back = edited(change(renamed=[["snout", "nose"]]), {"renamed": [["nose", "snout"]]}, "m")
    assert back.keypoints == MOUSE.keypoints
    assert back.columns_in(["nose"]) == (0, -1, -1, -1)


def test_labels_of_a_keypoint_that_was_removed_can_be_given_to_its_new_name_later():
    later = edited(
        change(keypoints=["nose", "earL", "earR", "tail"]), {"renamed": [["snout", "nose"]]}, "m"
    )
    assert later.keypoints == ("nose", "earL", "earR", "tail")
    assert later.columns_in(["snout"]) == (0, -1, -1, -1)


def test_what_the_table_gives_wins():
    after = change(links=[["snout", "tail"]], pairs=[], sigmas=[0.5] * 4, name="rat")
    assert (after.name, after.links, after.pairs) == ("rat", ((0, 3),), ())
    assert after.sigmas == (0.5,) * 4
    assert after.layout == MOUSE.layout


@pytest.mark.parametrize(
    ("table", "item"),
    [
        ({"renamed": [["snout", "tail"]]}, "'tail'"),
        ({"renamed": [["earL", "earR"], ["earR", "earL"]]}, "'ear[LR]'"),
        ({"renamed": [["snout"]]}, r"\['snout'\]"),
        ({"renamed": {"snout": "nose"}}, "renamed"),
        ({"keypoints": ["snout", "snout"]}, "'snout' twice"),
        ({"keypoints": "snout"}, "keypoints"),
        ({"sigmas": [0.1]}, "sigmas"),
        ({"colour": "red"}, "'colour'"),
    ],
)
def test_changes_that_contradict_themselves_are_refused(table, item):
    with pytest.raises(SkeletonError, match=item):
        change(**table)


def test_a_former_name_cannot_become_another_keypoint():
    renamed = change(renamed=[["snout", "nose"]])
    with pytest.raises(SkeletonError, match="'snout'"):
        edited(renamed, {"keypoints": [*renamed.keypoints, "snout"]}, "m")
