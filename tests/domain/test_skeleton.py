from __future__ import annotations

from dataclasses import replace

import pytest
from builders import stick_skeleton
from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.skeleton import BUILTIN, DEFAULT_SIGMA, load_skeleton, make_skeleton
from labelkit.errors import SkeletonError

LIMBS = (0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089)


@pytest.mark.parametrize(
    ("name", "sigmas"),
    [
        ("coco17", (0.026, 0.025, 0.025, 0.035, 0.035, *LIMBS)),
        ("crowdpose14", (*LIMBS, 0.079, 0.079)),
    ],
)
def test_built_in_skeletons_have_the_published_sigmas(name, sigmas):
    assert load_skeleton(name).sigmas == pytest.approx(sigmas)


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_skeletons_are_whole(name):
    skeleton = load_skeleton(name)
    assert (skeleton.name, len(skeleton)) == (name, int(name[-2:]))
    joined = {index for link in skeleton.links for index in link}
    assert joined == set(range(len(skeleton)))
    for left, right in skeleton.pairs:
        assert skeleton.keypoints[left].replace("left", "right") == skeleton.keypoints[right]
    sided = [name for name in skeleton.keypoints if "left" in name or "right" in name]
    assert len(sided) == 2 * len(skeleton.pairs)
    assert len(set(skeleton.layout)) == len(skeleton)


def test_a_mirror_image_swaps_sides_and_nothing_else():
    skeleton = make_skeleton("s", ["nose", "left_ear", "right_ear", "tail"])
    assert skeleton.flip_indices == (0, 2, 1, 3)
    assert skeleton.index("right_ear") == 2


def test_what_is_not_said_is_filled_in():
    skeleton = make_skeleton("s", ["a", "b", "c"])
    assert skeleton.links == ((0, 1), (1, 2))
    assert skeleton.sigmas == (DEFAULT_SIGMA,) * 3
    assert skeleton.layout == ((0.5, 0.5),) * 3
    assert not skeleton.has_layout
    assert skeleton.pairs == ()


@pytest.mark.parametrize(
    ("left", "right"),
    [("left_ear", "right_ear"), ("earLeft", "earRight"), ("l_ear", "r_ear"), ("ear-L", "ear-R")],
)
def test_sides_are_read_from_names(left, right):
    assert make_skeleton("s", ["nose", right, left]).pairs == ((2, 1),)


def test_a_side_without_its_partner_is_refused_unless_pairs_are_given():
    with pytest.raises(SkeletonError, match="'left_ear' has no partner named like 'right_ear'"):
        make_skeleton("s", ["nose", "left_ear"])
    assert make_skeleton("s", ["nose", "left_ear"], pairs=[]).pairs == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": ()}, "has no keypoints"),
        ({"keypoints": ("a", "a", "b", "c")}, "names the keypoint 'a' twice"),
        ({"keypoints": ("a", " ", "b", "c")}, "a keypoint without a name"),
        ({"links": ((0, 4),)}, r"link \(0, 4\) does not join two of its 4"),
        ({"links": ((1, 1),)}, r"link \(1, 1\) does not join"),
        ({"pairs": ((0, 1), (1, 2))}, "is in two left/right pairs"),
        ({"sigmas": (0.1, 0.1, 0.1)}, "4 keypoints but sigmas"),
        ({"sigmas": (0.1, 0.1, 0.1, 0.0)}, "4 keypoints but sigmas"),
        ({"layout": ((0.0, 0.0),) * 3}, "layout wants 4 points"),
        ({"layout": ((0.0, 1.5),) * 4}, "layout wants 4 points"),
    ],
)
def test_a_skeleton_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(SkeletonError, match=message):
        replace(stick_skeleton(), **changes)


def test_an_unknown_keypoint_is_said_with_those_there_are():
    with pytest.raises(SkeletonError, match="has no keypoint 'fin'") as caught:
        stick_skeleton().index("fin")
    assert ", ".join(stick_skeleton().keypoints) in caught.value.next_step


NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    min_size=2,
    max_size=6,
    unique=True,
)


@given(NAMES, st.data())
def test_any_skeleton_comes_back_from_its_toml_file(tmp_path_factory, names, data):
    count = len(names)
    unit = st.floats(0, 1)
    skeleton = make_skeleton(
        data.draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)),
        names,
        links=[(0, 1)],
        pairs=[(1, 0)],
        sigmas=data.draw(st.lists(st.floats(0.001, 9.9), min_size=count, max_size=count)),
        layout=data.draw(st.lists(st.tuples(unit, unit), min_size=count, max_size=count)),
    )
    path = tmp_path_factory.mktemp("skeleton") / "any.toml"
    path.write_text(skeleton.to_toml(), encoding="utf-8")
    assert load_skeleton(path) == skeleton


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("keypoints = [1]", "keypoints must be a list of names"),
        ("keypoints = ['a', 'b']\ncolour = 'red'", "unknown key 'colour'"),
        ("keypoints = ['a', 'b']\nlinks = [['a']]", "links wants pairs of names"),
        ("keypoints = ['a', 'b']\nlinks = [['a', 'z']]", "names the unknown keypoint 'z'"),
        ("keypoints = ['a', 'b']\nsigmas = ['x', 'y']", "could not convert"),
        ("keypoints = [", "is not a TOML file"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises(SkeletonError, match=message) as caught:
        load_skeleton(path)
    assert str(path) in caught.value.problem


def test_a_name_that_is_neither_built_in_nor_a_file_lists_what_is_built_in():
    with pytest.raises(SkeletonError, match="neither a built-in skeleton nor a file") as caught:
        load_skeleton("coco18")
    assert "coco17, crowdpose14, mpii16, lsp14" in caught.value.next_step
