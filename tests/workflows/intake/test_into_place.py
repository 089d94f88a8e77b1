"""Where labels of files that give another size than the picture has come to lie."""

import numpy as np
import pytest
from PIL import Image as Picture

from labelkit.domain.annotation import Annotation
from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import human_pose
from labelkit.errors import FormatError
from labelkit.project.images import open_upright, upright_size
from labelkit.workflows.intake.into_place import Sizes, into_place

STORED = (32, 24)


def picture(folder, name="a.jpg", orientation=1, size=STORED):
    """A grey picture with one bright dot at pixel (5, 3) of what is stored."""
    pixels = np.full((size[1], size[0], 3), 60, dtype=np.uint8)
    pixels[3, 5] = 255
    exif = Picture.Exif()
    exif[0x0112] = orientation
    suffix = {"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}
    Picture.fromarray(pixels).save(folder / name, exif=exif, **suffix)
    return Image(name, f"{name:x>64}", *upright_size(folder / name))


def labels(path, *xy, box=None, area=None):
    """An object of two keypoints or more."""
    pose = human_pose(np.reshape(xy, (-1, 2)), np.full(len(xy), 2))
    return Annotation(path, "7", box and Box(*box), area, pose, False)


def placed(folder, *pairs, sizes=None, **more):
    about = {image.path: STORED for image, _ in pairs} if sizes is None else sizes
    about = about if isinstance(about, Sizes) else Sizes(about)
    found, notes = into_place(pairs, about, folder, "f.json", **more)
    return [item for _, item in found], notes


def test_labels_of_a_file_that_agrees_with_its_pictures_stay_to_the_bit(tmp_path):
    image, item = picture(tmp_path), labels("a.jpg", (0.1, 0.2), (30, 23), box=(0, 0, 32, 24))
    for sizes in ({}, {"a.jpg": STORED}, {"a.jpg": (33, 24)}, {"a.jpg": (32, 0)}):
        (found,), notes = placed(tmp_path, (image, item), sizes=sizes)
        assert found is item
        assert notes == []


# EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_labels_of_the_stored_picture_come_to_where_it_is_displayed(tmp_path, orientation, name):
    image = picture(tmp_path, name, orientation)
    item = labels(name, (5.5, 3.5), (30.0, 3.5), box=(5, 3, 1, 1), area=1.0)
    (found,), notes = placed(tmp_path, (image, item), chosen="file")
    shown = np.asarray(open_upright(tmp_path / name))[..., 0]
    y, x = np.unravel_index(shown.argmax(), shown.shape)
    assert found.pose.xy[0].tolist() == [x + 0.5, y + 0.5]
    assert found.box == Box(float(x), float(y), 1.0, 1.0)
    assert found.area == pytest.approx(1.0)
    assert found.pose.visibility.tolist() == [2, 2]
    assert len(notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_the_size_as_stored_and_a_label_that_only_fits_it_turn_the_labels(tmp_path, orientation):
    image = picture(tmp_path, orientation=orientation)
    assert (image.width, image.height) == (24, 32)
    (found,), (note,) = placed(tmp_path, (image, labels("a.jpg", (5.5, 3.5), (31, 3))))
    shown = np.asarray(open_upright(tmp_path / "a.jpg"))[..., 0]
    y, x = np.unravel_index(shown.argmax(), shown.shape)
    assert found.pose.xy[0].tolist() == [x + 0.5, y + 0.5]
    for words in ("f.json", "a.jpg", "32 x 24", "24 x 32"):
        assert words in note


def test_a_swapped_size_with_a_label_that_only_fits_the_picture_changes_nothing(tmp_path):
    image, item = picture(tmp_path, orientation=6), labels("a.jpg", (5, 3), (3, 31))
    (found,), (note,) = placed(tmp_path, (image, item))
    assert found is item
    assert "32 x 24" in note


@pytest.mark.parametrize(("box", "fits"), [((1, 1, 30, 20), "file"), ((1, 1, 20, 30), "picture")])
def test_boxes_tell_what_labels_count_too(tmp_path, box, fits):
    image, item = picture(tmp_path, orientation=6), labels("a.jpg", (5, 3), (6, 4), box=box)
    (found,), _ = placed(tmp_path, (image, item))
    assert (found is item) == (fits == "picture")


def test_one_picture_tells_it_for_all_that_the_same_file_turns(tmp_path):
    one, two = (picture(tmp_path, f"{n}.jpg", 6) for n in "ab")
    (first, second), (note,) = placed(
        tmp_path, (one, labels("a.jpg", (5, 3), (6, 4))), (two, labels("b.jpg", (31, 3), (6, 4)))
    )
    assert first.pose.xy.tolist() == [[21, 5], [20, 6]]  # 24 - y, x
    assert second.pose.xy.tolist() == [[21, 31], [20, 6]]
    assert "2 pictures" in note


def test_labels_that_fit_the_picture_and_the_size_as_stored_are_refused(tmp_path):
    image, item = picture(tmp_path, orientation=6), labels("a.jpg", (5, 3), (6, 4))
    with pytest.raises(FormatError) as caught:
        placed(tmp_path, (image, item))
    for words in ("f.json", "a.jpg", "32 x 24", "24 x 32"):
        assert words in caught.value.problem
    for words in ("--label-pixels file", "--label-pixels picture"):
        assert words in caught.value.next_step


def test_pictures_that_contradict_each_other_are_refused_by_name(tmp_path):
    one, two = (picture(tmp_path, f"{n}.jpg", 6) for n in "ab")
    with pytest.raises(FormatError, match=r"a\.jpg.*b\.jpg"):
        placed(
            tmp_path,
            (one, labels("a.jpg", (31, 3), (6, 4))),
            (two, labels("b.jpg", (3, 31), (6, 4))),
        )


def test_a_choice_of_the_user_decides(tmp_path):
    image, item = picture(tmp_path, orientation=6), labels("a.jpg", (5, 3), (6, 4))
    (turned,), _ = placed(tmp_path, (image, item), chosen="file")
    assert turned.pose.xy.tolist() == [[21, 5], [20, 6]]
    (kept,), _ = placed(tmp_path, (image, item), chosen="picture")
    assert kept is item


def test_a_command_without_the_option_does_not_name_it(tmp_path):
    image, item = picture(tmp_path, orientation=6), labels("a.jpg", (5, 3), (6, 4))
    with pytest.raises(FormatError) as caught:
        placed(tmp_path, (image, item), can_choose=False)
    assert "--label-pixels" not in caught.value.next_step
    assert "24 x 32" in caught.value.next_step


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_exif_that_keeps_the_size_is_noted_and_follows_the_other_pictures(tmp_path, orientation):
    mirrored, item = picture(tmp_path, "m.jpg", orientation), labels("m.jpg", (5, 3), (6, 4))
    (found,), (note,) = placed(tmp_path, (mirrored, item))
    assert found is item
    assert "m.jpg" in note
    other = (picture(tmp_path, "a.jpg", 6), labels("a.jpg", (31, 3), (6, 4)))
    (found, _), notes = placed(tmp_path, (mirrored, item), other)
    assert found.pose.xy[0].tolist() == {2: [27, 3], 3: [27, 21], 4: [5, 21]}[orientation]
    assert len(notes) == 2


@pytest.mark.parametrize(("far", "expected"), [((3, 31), (5, 3)), ((31, 3), (21, 5))])
def test_without_a_size_in_the_file_labels_tell_whether_they_follow_exif(tmp_path, far, expected):
    image = picture(tmp_path, orientation=6)
    (found,), (note,) = placed(tmp_path, (image, labels("a.jpg", (5, 3), far)), sizes={})
    assert found.pose.xy[0].tolist() == list(expected)
    assert "a.jpg" in note


def test_without_a_size_and_without_a_sign_labels_are_of_the_picture_as_displayed(tmp_path):
    image, item = picture(tmp_path, orientation=6), labels("a.jpg", (5, 3), (6, 4))
    (found,), (note,) = placed(tmp_path, (image, item), sizes={})
    assert found is item
    assert "as it is displayed" in note


# Scaled


def test_labels_that_only_fit_the_larger_size_in_the_file_are_scaled(tmp_path):
    image = picture(tmp_path)
    item = labels("a.jpg", (8, 4), (100, 60), box=(0, 0, 128, 96), area=400.0)
    (found,), (note,) = placed(tmp_path, (image, item), sizes={"a.jpg": (128, 96)})
    assert found.pose.xy.tolist() == [[2, 1], [25, 15]]
    assert (found.box, found.area) == (Box(0, 0, 32, 24), 25.0)
    for words in ("f.json", "a.jpg", "128 x 96", "32 x 24"):
        assert words in note


def test_a_scaled_size_may_be_rounded_and_turned_by_exif_as_well(tmp_path):
    image = picture(tmp_path, orientation=6)
    item = labels("a.jpg", (10, 6), (60, 8))
    (found,), _ = placed(tmp_path, (image, item), sizes={"a.jpg": (64, 49)})
    assert found.pose.xy[0].tolist() == pytest.approx([24 - 6 * 24 / 49, 5])


def test_labels_that_exceed_the_smaller_size_in_the_file_are_those_of_the_picture(tmp_path):
    image, item = picture(tmp_path), labels("a.jpg", (5, 3), (30, 4))
    (found,), (note,) = placed(tmp_path, (image, item), sizes={"a.jpg": (16, 12)})
    assert found is item
    assert "16 x 12" in note


@pytest.mark.parametrize("size", [(128, 96), (16, 12), (32, 48), (64, 0), (24, 32)])
def test_labels_that_fit_both_sizes_are_refused(tmp_path, size):
    image, item = picture(tmp_path), labels("a.jpg", (5, 3), (6, 4))
    with pytest.raises(FormatError, match=r"a\.jpg") as caught:
        placed(tmp_path, (image, item), sizes={"a.jpg": size})
    assert "--label-pixels picture" in caught.value.next_step


def test_labels_that_fit_neither_size_are_refused(tmp_path):
    image, item = picture(tmp_path), labels("a.jpg", (5, 3), (300, 4))
    with pytest.raises(FormatError, match="neither"):
        placed(tmp_path, (image, item), sizes={"a.jpg": (64, 48)})


def test_only_the_images_with_another_size_are_changed(tmp_path):
    right, wrong = picture(tmp_path, "a.jpg"), picture(tmp_path, "b.jpg")
    item = labels("a.jpg", (5, 3), (6, 4))
    (first, second), (note,) = placed(
        tmp_path,
        (right, item),
        (wrong, labels("b.jpg", (10, 6), (60, 8))),
        sizes={"a.jpg": STORED, "b.jpg": (64, 48)},
    )
    assert first is item
    assert second.pose.xy.tolist() == [[5, 3], [30, 4]]
    assert "1 picture" in note
    assert "b.jpg" in note


def test_labels_of_another_shape_are_stretched_only_if_the_user_says_so(tmp_path):
    image, item = picture(tmp_path), labels("a.jpg", (5, 3), (60, 50))
    sizes = {"a.jpg": (64, 64)}
    with pytest.raises(FormatError, match="64 x 64"):
        placed(tmp_path, (image, item), sizes=sizes)
    (found,), _ = placed(tmp_path, (image, item), sizes=sizes, chosen="file")
    assert found.pose.xy.tolist() == [[2.5, 1.125], [30, 18.75]]


def test_a_picture_that_was_turned_by_hand_cannot_be_turned_back_by_a_choice(tmp_path):
    image, item = picture(tmp_path), labels("a.jpg", (5, 3), (6, 4))
    with pytest.raises(FormatError, match="24 x 32"):
        placed(tmp_path, (image, item), sizes={"a.jpg": (24, 32)}, chosen="file")
    (found,), _ = placed(
        tmp_path, (image, labels("a.jpg", (30, 3), (6, 4))), sizes={"a.jpg": (24, 32)}
    )
    assert found.pose.xy[0].tolist() == [30, 3]


def test_a_format_that_counts_the_pixels_of_its_sizes_is_scaled_without_a_word(tmp_path):
    image, item = picture(tmp_path), labels("a.jpg", (5, 3), (6, 4))
    (found,), notes = placed(
        tmp_path, (image, item), sizes=Sizes({"a.jpg": (64, 48)}, pixels_of="file")
    )
    assert found.pose.xy.tolist() == [[2.5, 1.5], [3, 2]]
    assert notes == []


def test_a_format_that_counts_the_pixels_of_its_sizes_is_turned_with_a_note(tmp_path):
    image, item = picture(tmp_path, orientation=6), labels("a.jpg", (5, 3), (6, 4))
    (found,), (note,) = placed(
        tmp_path, (image, item), sizes=Sizes({"a.jpg": STORED}, pixels_of="file")
    )
    assert found.pose.xy.tolist() == [[21, 5], [20, 6]]
    assert "32 x 24" in note


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_size_of_one_pixel_stands_for_shares_of_what_was_displayed(tmp_path, orientation):
    image = picture(tmp_path, orientation=orientation)
    (found,), notes = placed(
        tmp_path,
        (image, labels("a.jpg", (0.5, 0.25))),
        sizes=Sizes({"a.jpg": (1, 1)}, pixels_of="file"),
    )
    assert found.pose.xy.tolist() == [[image.width / 2, image.height / 4]]
    assert notes == []


def test_a_choice_about_sizes_leaves_pictures_of_the_right_size_alone(tmp_path):
    upside_down, item = picture(tmp_path, "m.jpg", 3), labels("m.jpg", (5, 3), (6, 4))
    scaled = (picture(tmp_path, "a.jpg"), labels("a.jpg", (5, 3), (6, 4)))
    sizes = {"m.jpg": STORED, "a.jpg": (64, 48)}
    (found, _), _ = placed(tmp_path, (upside_down, item), scaled, sizes=sizes, chosen="file")
    assert found is item


# Shares


@pytest.mark.parametrize("sizes", [{}, {"a.jpg": STORED}, {"a.jpg": (128, 96)}, {"a.jpg": (9, 9)}])
def test_keypoints_and_boxes_that_are_shares_are_taken_as_such(tmp_path, sizes):
    image = picture(tmp_path)
    item = labels("a.jpg", (0.5, 0.25), (1, 1), box=(0.25, 0, 0.5, 1), area=0.5)
    (found,), (note,) = placed(tmp_path, (image, item), sizes=sizes)
    assert found.pose.xy.tolist() == pytest.approx(np.array([[16, 6], [32, 24]]))
    assert found.box == pytest.approx(Box(8, 0, 16, 24))
    assert found.area == pytest.approx(0.5 * 32 * 24)
    assert "f.json" in note


@pytest.mark.parametrize(
    ("xy", "box", "expected"),
    [
        ([(0.5, 0.25), (1, 1)], (8, 0, 16, 24), ([16, 6], Box(8, 0, 16, 24))),
        ([(16, 6), (20, 8)], (0.25, 0, 0.5, 1), ([16, 6], Box(8, 0, 16, 24))),
    ],
)
def test_keypoints_and_boxes_are_judged_apart(tmp_path, xy, box, expected):
    (found,), (note,) = placed(tmp_path, (picture(tmp_path), labels("a.jpg", *xy, box=box)))
    assert (found.pose.xy[0].tolist(), found.box) == expected
    assert ("keypoints" in note) != ("boxes" in note)


def test_shares_among_pixels_are_refused_by_name(tmp_path):
    image = picture(tmp_path)
    with pytest.raises(FormatError, match="annotation 7") as caught:
        placed(
            tmp_path,
            (image, labels("a.jpg", (5, 3), (6, 4))),
            (image, labels("a.jpg", (0.5, 0.5), (0.6, 0.5))),
        )
    assert "pixels" in caught.value.next_step


@pytest.mark.parametrize("xy", [[(0.5, 0.5)], [(0, 0), (0, 0)]])
def test_one_point_in_the_corner_and_placeholders_at_0_are_no_shares(tmp_path, xy):
    item = labels("a.jpg", *xy)
    (found,), notes = placed(tmp_path, (picture(tmp_path), item))
    assert (found, notes) == (item, [])


def test_a_format_of_shares_needs_no_sign_and_no_note(tmp_path):
    (found,), notes = placed(
        tmp_path,
        (picture(tmp_path), labels("a.jpg", (0.5, 0.25), box=(0, 0, 1, 1))),
        sizes=Sizes(are_shares=True),
    )
    assert (found.pose.xy.tolist(), found.box, notes) == ([[16, 6]], Box(0, 0, 32, 24), [])


def test_labels_of_a_picture_that_is_gone_stay_as_they_are(tmp_path):
    item = labels("gone.jpg", (5, 3), (6, 4))
    assert placed(tmp_path, (Image("gone.jpg", "a" * 64, *STORED), item)) == ([item], [])


def test_no_labels_need_no_place(tmp_path):
    assert into_place([], Sizes(), tmp_path, "f.json") == ([], [])


def test_boxes_alone_are_brought_into_place_too(tmp_path):
    image = picture(tmp_path, orientation=6)
    item = labels("a.jpg", box=(1, 1, 30, 20))
    (found,), (note,) = placed(tmp_path, (image, item))
    assert found.box == Box(3, 1, 20, 30)
    assert "a.jpg" in note
