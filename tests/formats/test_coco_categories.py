import pytest

from labelkit.domain.skeleton import load_skeleton, make_skeleton
from labelkit.errors import FormatError, SkeletonError
from labelkit.formats.coco import read_coco, skeleton_of_coco
from labelkit.formats.coco_categories import skeleton_from_category


def category(skeleton, keypoints=("a", "b", "c")):
    return {"name": "x", "keypoints": list(keypoints), "skeleton": skeleton}


@pytest.mark.parametrize(
    ("written", "links"),
    [
        ([[1, 3], [3, 2]], ((0, 2), (2, 1))),
        ([["a", "c"], ["c", "b"]], ((0, 2), (2, 1))),
    ],
)
def test_links_are_counted_from_one_or_named(written, links):
    skeleton, notes = skeleton_from_category(category(written), "f")
    assert (skeleton.links, notes) == (links, [])


def test_links_with_a_0_count_from_0_which_is_noted():
    skeleton, notes = skeleton_from_category(category([[0, 1], [0, 2]]), "f.json")
    assert skeleton.links == ((0, 1), (0, 2))
    (note,) = notes
    assert note.startswith("f.json: category 'x'")


@pytest.mark.parametrize(
    "wrong", [[0, 3], [1, 4], [-1, 2], [2, 2], [1], [1, 2, 3], 7, "ab", [1.5, 2], ["a", "z"], None]
)
def test_a_link_that_joins_no_two_keypoints_is_left_out_and_named(wrong):
    skeleton, notes = skeleton_from_category(category([[1, 2], [3, 1], wrong]), "f.json")
    assert skeleton.links == ((0, 1), (2, 0))
    (note,) = notes
    assert note.startswith("f.json: category 'x'")
    assert str(wrong) in note


def test_keypoints_of_a_built_in_skeleton_bring_its_sigmas_along():
    coco = load_skeleton("coco17")
    found, _ = skeleton_from_category({"name": "p", "keypoints": list(coco.keypoints)}, "f")
    assert found == coco


def test_built_in_keypoints_in_another_order_keep_their_pairs_and_sigmas():
    coco = load_skeleton("coco17")
    names = list(reversed(coco.keypoints))
    skeleton, _ = skeleton_from_category({"name": "p", "keypoints": names}, "f")
    assert skeleton.keypoints == tuple(names)
    assert skeleton.sigmas == tuple(reversed(coco.sigmas))
    assert {(names[a], names[b]) for a, b in skeleton.pairs} == {
        (coco.keypoints[a], coco.keypoints[b]) for a, b in coco.pairs
    }


def test_a_skeleton_that_contradicts_itself_names_file_and_category():
    with pytest.raises(SkeletonError, match=r"f\.json: category 'x': .*'a' twice") as caught:
        skeleton_from_category(category([], ["a", "a"]), "f.json")
    assert caught.value.next_step


def nameless(names=(), count=3):
    return {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "categories": [{"id": 1, "name": "fly", "keypoints": list(names), "skeleton": []}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2] * count},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]},
        ],
    }


def test_the_skeleton_of_the_project_names_keypoints_in_their_order():
    skeleton = make_skeleton("fly", ("head", "wingL", "wingR"))
    file = read_coco(nameless(), "f.json", skeleton)
    assert file.skeleton == skeleton
    assert [item.reference for item in file.annotations] == ["1", "2"]
    assert "head, wingL, wingR" in file.notes[0]


@pytest.mark.parametrize("skeleton", [None, make_skeleton("fly", ("head", "tail"))])
def test_keypoints_without_names_and_without_a_skeleton_that_fits_are_refused(skeleton):
    with pytest.raises(FormatError, match=r"f\.json .*3 keypoints") as caught:
        read_coco(nameless(), "f.json", skeleton)
    assert "--skeleton" in caught.value.next_step
    if skeleton:
        assert "'fly' has 2" in caught.value.problem


def two_kinds():
    text = nameless(["head", "wingL", "wingR"])
    text["categories"].append({"id": 2, "name": "rat", "keypoints": ["nose", "tail"]})
    rat = {"id": 3, "image_id": 1, "category_id": 2, "keypoints": [1, 2, 2] * 2}
    text["annotations"].append(rat)
    return text


def test_categories_with_different_keypoints_are_refused_by_name():
    with pytest.raises(FormatError, match="'fly', 'rat'") as caught:
        read_coco(two_kinds(), "f.json")
    assert "--skeleton" in caught.value.next_step


def test_the_skeleton_of_the_project_chooses_among_categories():
    rat = make_skeleton("rat", ("nose", "tail"))
    file = read_coco(two_kinds(), "f.json", rat)
    assert [item.reference for item in file.annotations] == ["3"]
    assert "2 x fly" in file.notes[0]


def test_a_file_without_annotations_still_describes_a_skeleton():
    text = nameless(["head", "wingL", "wingR"]) | {"annotations": [], "images": []}
    skeleton, notes = skeleton_of_coco(text, "f.json")
    assert (skeleton.keypoints, notes) == (("head", "wingL", "wingR"), [])


def test_boxes_alone_lead_to_the_option_for_boxes():
    text = nameless()
    del text["annotations"][0]["keypoints"]
    with pytest.raises(FormatError) as caught:
        read_coco(text, "my boxes.json")
    assert "--boxes 'my boxes.json'" in caught.value.next_step
