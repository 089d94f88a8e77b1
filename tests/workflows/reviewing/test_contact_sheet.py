"""The contact sheet: sizes, colours, and what is drawn where."""

import numpy as np
import pytest
from builders import make_pose, stick_skeleton
from PIL import Image as Pictures
from PIL import ImageDraw

from labelkit.domain.skeleton import make_skeleton
from labelkit.workflows.reviewing.contact_sheet import (
    CAPTIONS,
    CAPTIONS_WITH_TRUTH,
    PANEL,
    SheetItem,
    _heat,
    _panels,
    contact_sheet,
    sheet_item,
)

GREY = (90, 90, 90)


def make_item(truth=True, size=(40, 40), count=4, kinds=("response maps",)):
    xy = np.linspace(5, 35, count)[:, None].repeat(2, axis=1)
    pose = make_pose(xy)
    maps = np.zeros((count, 8, 8))
    maps[:, 2, 2] = 1.0
    named = dict.fromkeys(kinds, maps)
    return SheetItem(Pictures.new("RGB", size, GREY), pose if truth else None, pose, named)


def test_the_sheet_is_as_large_as_its_items_need(tmp_path):
    widths = {}
    for count in (1, 2, 3):
        path = contact_sheet(
            [make_item()] * count, stick_skeleton(), tmp_path / f"{count}.png", title="three"
        )
        with Pictures.open(path) as sheet:
            widths[count] = sheet.size
            assert sheet.format == "PNG"
    assert widths[2][0] == widths[3][0] > widths[1][0]
    assert widths[3][1] - widths[2][1] == PANEL + 18
    assert widths[1][1] == widths[2][1]


def test_items_without_true_keypoints_show_the_plain_crop():
    plain, _, _ = _panels(make_item(truth=False), stick_skeleton(), [GREY] * 4)
    assert plain.getcolors() == [(PANEL * PANEL, GREY)]


def test_a_tall_crop_is_centred_on_grey():
    panel, _, _ = _panels(make_item(truth=False, size=(20, 40)), stick_skeleton(), [GREY] * 4)
    assert panel.getpixel((0, PANEL // 2)) == panel.getpixel((PANEL - 1, PANEL // 2))
    assert panel.getpixel((0, PANEL // 2)) != GREY
    assert panel.getpixel((PANEL // 2, PANEL // 2)) == GREY


def test_a_map_is_drawn_in_the_colour_of_its_keypoint_where_it_is_high():
    maps = np.zeros((2, 4, 4))
    maps[0, :, :2] = 0.001
    blended = _heat(Pictures.new("RGB", (40, 40), (0, 0, 0)), maps, [(200, 0, 0), (0, 200, 0)])
    assert blended.getpixel((2, 20)) == (180, 0, 0)
    assert blended.getpixel((37, 20)) == (0, 0, 0)


def test_maps_of_a_model_without_any_leave_the_picture_alone():
    picture = Pictures.new("RGB", (10, 10), (10, 20, 30))
    assert _heat(picture, np.zeros((3, 0, 0)), [GREY] * 3).tobytes() == picture.tobytes()


def test_absent_keypoints_are_not_drawn():
    pose = make_pose([(5, 5)] * 4, visibility=[0, 0, 0, 0])
    item = SheetItem(Pictures.new("RGB", (40, 40), GREY), pose, pose, {})
    _, predicted = _panels(item, stick_skeleton(), [(255, 0, 0)] * 4)
    assert predicted.getcolors() == [(PANEL * PANEL, GREY)]


def test_names_in_any_script_and_a_single_keypoint_fit(tmp_path):
    skeleton = make_skeleton("odd", ["<b>&Nase"] + [f"Ωκτώ {k}" for k in range(30)], pairs=[])
    item = make_item(count=31)
    assert contact_sheet([item], skeleton, tmp_path / "a.png", title="x", note="y").is_file()
    single = make_skeleton("one", ["p"])
    assert contact_sheet([make_item(count=1)], single, tmp_path / "b.png", title="x").is_file()


def test_a_sheet_item_has_the_maps_that_there_are_by_name():
    image, pose = Pictures.new("RGB", (40, 40), GREY), make_pose([(5, 5)] * 4)
    maps, none = np.ones((4, 8, 8)), np.zeros((4, 0, 0))
    to_cells = (0.2, 0, 0, 0, 0.2, 0)
    both = sheet_item(image, to_cells, maps, 2 * maps, pose, None)
    assert list(both.maps) == ["response maps", "heatmaps"]
    assert both.maps["heatmaps"].max() == 2
    assert both.image.size == (80, 80)
    assert list(sheet_item(image, to_cells, maps, none, pose, None).maps) == ["response maps"]
    assert list(sheet_item(image, to_cells, none, maps, pose, None).maps) == ["heatmaps"]


KINDS = ("response maps", "heatmaps")


@pytest.mark.parametrize("kinds", [KINDS, KINDS[:1]])
@pytest.mark.parametrize("truth", [True, False])
def test_the_captions_name_what_the_panels_show(tmp_path, monkeypatch, truth, kinds):
    written = []
    plain = ImageDraw.ImageDraw.text

    def text(self, at, words, *more, **named):
        written.append(words)
        return plain(self, at, words, *more, **named)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    item = make_item(truth=truth, kinds=kinds)
    contact_sheet([item], stick_skeleton(), tmp_path / "a.png", title="x")
    panels = [*(CAPTIONS_WITH_TRUTH if truth else CAPTIONS), *kinds]
    assert written[-len(panels) :] == panels
    assert len(_panels(item, stick_skeleton(), [GREY] * 4)) == len(panels)
    assert ("true keypoints" in written) == truth


def test_items_with_different_kinds_of_maps_share_a_sheet(tmp_path):
    items = [make_item(truth=False, kinds=KINDS[:1]), make_item(truth=False, kinds=KINDS)]
    path = contact_sheet(items, stick_skeleton(), tmp_path / "a.png", title="x")
    alone = contact_sheet(items[1:], stick_skeleton(), tmp_path / "b.png", title="x")
    with Pictures.open(path) as both, Pictures.open(alone) as one:
        assert both.width > one.width
        assert both.height == one.height
