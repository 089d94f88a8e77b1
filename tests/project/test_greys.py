"""Deep greys: what is black and white, and what is refused because nothing says so."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from builders import write_picture
from PIL import Image as Picture

from labelkit.errors import ImageError
from labelkit.project.greys import WINDOW_FILE
from labelkit.project.images import browsers_show, open_upright, scan_images


def save(path: Path, values: list[float], dtype: type) -> Path:
    """A picture of one row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.array([values], dtype=dtype)).save(path)
    return path


def levels(path: Path) -> list[int]:
    """The first row as it is shown; every pixel is grey."""
    pixels = np.asarray(open_upright(path))
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


def twelve_bit_tiff(path: Path) -> Path:
    """Two packed pixels of 12 bits: 0 and 4095."""
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    tags.append((279, 3))
    entries = b"".join(struct.pack("<HHIHxx", tag, 3, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 12) + b"\x00\x0f\xff\0"
    path.write_bytes(head + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0")
    return path


def test_black_and_white_are_the_ends_of_the_number_format(tmp_path):
    for name in ("a.png", "a.tif", "a.pgm"):
        deep = save(tmp_path / name, [0, 257, 32896, 65535], np.uint16)
        assert levels(deep) == [0, 1, 128, 255]
    assert levels(twelve_bit_tiff(tmp_path / "b.tif")) == [0, 255]


def test_the_nearest_file_above_an_image_states_its_window(tmp_path):
    (tmp_path / WINDOW_FILE).write_text("0 4095\n")
    (tmp_path / "inverted").mkdir()
    (tmp_path / "inverted" / WINDOW_FILE).write_text("4095\n0")
    values = [0, 819, 4095, 9000]
    assert levels(save(tmp_path / "a.png", values, np.uint16)) == [0, 51, 255, 255]
    assert levels(save(tmp_path / "b" / "c" / "a.tif", values, np.uint16)) == [0, 51, 255, 255]
    assert levels(save(tmp_path / "inverted" / "a.png", values, np.uint16)) == [255, 204, 0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_numbers_without_ends_need_a_window(tmp_path, dtype):
    file = save(tmp_path / "a.tif", [-1000, 0, 3000], dtype)
    write_picture(tmp_path / "b.png")
    (problem,) = scan_images(tmp_path).problems
    assert (problem.path, WINDOW_FILE in problem.reason) == ("a.tif", True)
    (tmp_path / WINDOW_FILE).write_text("-1000 3000")
    assert [image.path for image in scan_images(tmp_path).images] == ["a.tif", "b.png"]
    assert levels(file) == [0, 64, 255]


@pytest.mark.parametrize("text", ["", "5", "1 1", "0 white", "0 1 2", "nan 1"])
def test_a_file_that_states_no_window_is_named(tmp_path, text):
    file = save(tmp_path / "a.png", [0, 1], np.uint16)
    (tmp_path / WINDOW_FILE).write_text(text)
    with pytest.raises(ImageError, match=WINDOW_FILE):
        open_upright(file)
    with pytest.raises(ImageError, match=WINDOW_FILE):
        scan_images(tmp_path)


def test_16_bits_that_hold_only_12_are_noted(tmp_path):
    save(tmp_path / "a.png", [0, 4095], np.uint16)
    save(tmp_path / "b.png", [0, 9000], np.uint16)
    save(tmp_path / "c.png", [0, 5], np.uint8)
    twelve_bit_tiff(tmp_path / "d.tif")
    assert scan_images(tmp_path).dark == ["a.png"]
    (tmp_path / WINDOW_FILE).write_text("0 4095")
    assert scan_images(tmp_path).dark == []


def test_a_tiff_of_several_pages_is_refused_and_a_preview_is_no_page(tmp_path):
    pages = [Picture.new("L", (8, 8), grey) for grey in (1, 2, 3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    preview = Picture.new("L", (4, 4))
    pages[0].save(tmp_path / "one.tif", save_all=True, append_images=[preview])
    report = scan_images(tmp_path)
    assert [image.path for image in report.images] == ["one.tif"]
    assert [(p.path, p.reason.split(",")[0]) for p in report.problems] == [("stack.tif", "3 pages")]
    assert "magick stack.tif" in report.problems[0].reason


def test_colours_of_every_kind_of_file_come_as_a_browser_shows_them(tmp_path):
    red, half = (255, 0, 0), (255, 127, 127)
    picture = Picture.new("RGB", (8, 8), red)
    picture.convert("P").save(tmp_path / "palette.png")
    picture.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    Picture.new("RGBA", (8, 8), (*red, 128)).save(tmp_path / "rgba.png")
    Picture.new("1", (8, 8), 1).save(tmp_path / "bit.png")
    expected = {"palette.png": red, "rgba.png": half, "bit.png": (255, 255, 255), "cmyk.jpg": red}
    for name, colour in expected.items():
        found = open_upright(tmp_path / name).getpixel((4, 4))
        np.testing.assert_allclose(found, colour, atol=2, err_msg=name)


def test_browsers_show_what_is_neither_tiff_nor_netpbm_nor_deep(tmp_path):
    shown = {"a.png": True, "a.jpg": True, "a.webp": True, "a.tif": False, "a.ppm": False}
    for name in shown:
        write_picture(tmp_path / name)
    save(tmp_path / "deep.png", [0, 1], np.uint16)
    shown |= {"deep.png": False, "gone.png": True}
    assert {name: browsers_show(tmp_path / name) for name in shown} == shown
