from __future__ import annotations

import re
from dataclasses import replace

import pytest
from builders import stick_skeleton
from hypothesis import given
from hypothesis import strategies as st

from labelkit.domain.skeleton import (
    BUILTIN,
    DEFAULT_SIGMA,
    load_skeleton,
    make_skeleton,
    pairs_in_words,
    with_pairs,
)
from labelkit.errors import SkeletonError, UsageError

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


def test_what_is_not_given_is_filled_in():
    skeleton = make_skeleton("s", ["a", "b", "c"])
    assert skeleton.links == ((0, 1), (1, 2))
    assert skeleton.sigmas == (DEFAULT_SIGMA,) * 3
    assert skeleton.layout == ((0.5, 0.5),) * 3
    assert not skeleton.has_layout
    assert skeleton.pairs == ()


def test_pairs_are_found_by_name_and_a_side_without_partner_is_listed():
    skeleton = make_skeleton("s", ["head", "wingR", "left_leg", "wingL", "bright_spot"])
    assert skeleton.pairs == ((3, 1),)
    assert skeleton.unpaired_sides == (2,)
    assert pairs_in_words(skeleton) == (
        "Left/right pairs: wingL/wingR. Without a partner: left_leg."
    )


def test_pairs_that_are_given_win_over_names():
    names = ["wingL", "wingR", "antL", "antR"]
    skeleton = make_skeleton("s", names, pairs=[(0, 1)])
    assert (skeleton.pairs, skeleton.unpaired_sides) == (((0, 1),), (2, 3))


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("none", ()),
        ("a:b", ((0, 1),)),
        (" c : a , d:b", ((2, 0), (3, 1))),
    ],
)
def test_pairs_are_typed_as_names_left_first(text, pairs):
    assert with_pairs(make_skeleton("s", ["a", "b", "c", "d"]), text).pairs == pairs


@pytest.mark.parametrize("text", ["a", "a:b:c", "", "a:b,"])
def test_pairs_that_are_not_pairs_are_refused(text):
    with pytest.raises(UsageError, match=re.escape(repr(text))) as caught:
        with_pairs(make_skeleton("s", ["a", "b", "c"]), text)
    assert "--pairs none" in caught.value.next_step


@pytest.mark.parametrize("text", ["a:z", "a:b,a:c", "a:a"])
def test_pairs_of_unknown_or_repeated_keypoints_are_refused(text):
    with pytest.raises(SkeletonError, match=r"'z'|'a'|pair"):
        with_pairs(make_skeleton("s", ["a", "b", "c"]), text)


@pytest.mark.parametrize(
    ("changes", "item"),
    [
        ({"keypoints": ()}, "no keypoints"),
        ({"keypoints": ("a", "a", "b", "c")}, "'a' twice"),
        ({"keypoints": ("a", " ", "b", "c")}, "without a name"),
        ({"links": ((0, 4),)}, r"link \(0, 4\)"),
        ({"links": ((1, 1),)}, r"link \(1, 1\)"),
        ({"pairs": ((0, 1), (1, 2))}, "'left_paw'.* two left/right pairs"),
        ({"sigmas": (0.1, 0.1, 0.1)}, r"sigmas \[0.1, 0.1, 0.1\]"),
        ({"sigmas": (0.1, 0.1, 0.1, 0.0)}, r"sigmas \[0.1, 0.1, 0.1, 0.0\]"),
        ({"layout": ((0.0, 0.0),) * 3}, "layout .* 4 points"),
        ({"layout": ((0.0, 1.5),) * 4}, "layout .* 0..1"),
    ],
)
def test_a_skeleton_that_contradicts_itself_is_refused(changes, item):
    with pytest.raises(SkeletonError, match=item) as caught:
        replace(stick_skeleton(), **changes)
    assert repr(stick_skeleton().name) in caught.value.problem


def test_an_unknown_keypoint_is_named_with_the_known_ones():
    with pytest.raises(SkeletonError, match="'fin'") as caught:
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
        descriptions=data.draw(
            st.dictionaries(
                st.sampled_from(names), st.text(st.characters(exclude_categories=["Cs"]))
            )
        ),
    )
    path = tmp_path_factory.mktemp("skeleton") / "any.toml"
    path.write_text(skeleton.to_toml(), encoding="utf-8")
    assert load_skeleton(path) == skeleton


def test_a_file_has_one_pair_a_line_and_one_point_a_line():
    text = make_skeleton("s", ["nose", "left [1]", "right [1]"], links=[(0, 1)]).to_toml()
    assert text == (
        'name = "s"\n'
        'keypoints = [\n    "nose",\n    "left [1]",\n    "right [1]",\n]\n'
        # Brackets in names keep the longer form.
        'links = [\n    [\n        "nose",\n        "left [1]",\n    ],\n]\n'
        'pairs = [\n    [\n        "left [1]",\n        "right [1]",\n    ],\n]\n'
        "sigmas = [\n    0.08,\n    0.08,\n    0.08,\n]\n"
        "layout = [\n    [0.5, 0.5],\n    [0.5, 0.5],\n    [0.5, 0.5],\n]\n"
    )


@pytest.mark.parametrize(
    ("content", "item"),
    [
        ("keypoints = [1]", "keypoints"),
        ("keypoints = ['a', 'b']\ncolour = 'red'", "'colour'"),
        ("keypoints = ['a', 'b']\nlinks = [['a']]", r"links .*\['a'\]"),
        ("keypoints = ['a', 'b']\nlinks = [['a', 'z']]", "links .*'z'"),
        ("keypoints = ['a', 'b']\nsigmas = ['x', 'y']", "'x'"),
        ("keypoints = ['a', 'b']\ndescriptions.z = 'the end'", "'z'"),
        ("keypoints = ['a', 'b']\ndescriptions = ['the start', 'the end']", "descriptions"),
        ("keypoints = [", "TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, content, item):
    path = tmp_path / "wrong.toml"
    path.write_text(content)
    with pytest.raises(SkeletonError, match=item) as caught:
        load_skeleton(path)
    assert str(path) in caught.value.problem


def test_a_name_that_is_neither_built_in_nor_a_file_lists_the_built_in_ones():
    with pytest.raises(SkeletonError, match="coco18") as caught:
        load_skeleton("coco18")
    assert "coco17, crowdpose14, mpii16, lsp14" in caught.value.next_step
