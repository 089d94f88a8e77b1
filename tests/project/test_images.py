import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from builders import make_project, write_picture
from PIL import Image as Picture

from labelkit.errors import ImageError
from labelkit.project import images
from labelkit.project.images import (
    image_file,
    open_shrunk,
    open_upright,
    scan_images,
    upright_size,
)

#: A picture of 3 x 2 pixels, as it should look; and how it is stored for each EXIF orientation.
UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT, 1),
    7: np.rot90(UPRIGHT, 2).T,
    8: np.rot90(UPRIGHT, -1),
}


def grey(picture):
    """The first channel, after a check that all three are equal."""
    pixels = np.asarray(picture)
    assert picture.mode == "RGB"
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def save_rotated(path, orientation):
    exif = Picture.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    picture = Picture.fromarray(np.ascontiguousarray(STORED[orientation])).convert("RGB")
    picture.save(path, exif=exif, **lossless)


def png(width, height, data):
    """A PNG that claims a size, whatever its data."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("most", "factor", "size"), [(1, 1, (160, 201)), (3, 2, (80, 101)), (9, 8, (20, 26))]
)
def test_a_large_jpeg_can_be_read_smaller(tmp_path, monkeypatch, most, factor, size):
    monkeypatch.setattr(images, "LARGE", 30_000)
    picture = Picture.linear_gradient("L").resize((201, 160)).convert("RGB")
    exif = Picture.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
    found, by = open_shrunk(tmp_path / "a.jpg", most)
    assert (by, found.size) == (factor, size)
    averaged = open_upright(tmp_path / "a.jpg").reduce(factor)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(averaged))[1:-1, 1:-1].max() <= 3

    monkeypatch.setattr(images, "LARGE", 40_000)
    assert open_shrunk(tmp_path / "a.jpg", most)[1] == 1
    picture.save(tmp_path / "a.png")
    monkeypatch.setattr(images, "LARGE", 0)
    assert open_shrunk(tmp_path / "a.png", most)[1] == 1


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation_comes_upright(tmp_path, suffix, orientation):
    path = tmp_path / f"a{suffix}"
    save_rotated(path, orientation)
    assert grey(open_upright(path)).tolist() == UPRIGHT.tolist()
    assert upright_size(path) == (3, 2)


@pytest.mark.parametrize("orientation", STORED)
def test_a_rotated_jpeg_has_the_size_that_is_displayed(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    save_rotated(path, orientation)
    assert open_upright(path).size == upright_size(path) == (3, 2)


def test_float_pixels_that_an_earlier_version_registered_span_black_to_white(tmp_path):
    Picture.fromarray(np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)).save(tmp_path / "a.tif")
    assert grey(open_upright(tmp_path / "a.tif")).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_becomes_white(tmp_path, mode):
    transparent_black = (0,) * (len(mode) - 1) + (0,)
    picture = Picture.new(mode, (2, 1), transparent_black)
    picture.putpixel((0, 0), (0,) * (len(mode) - 1) + (255,))
    picture.save(tmp_path / "a.png")
    assert grey(open_upright(tmp_path / "a.png")).tolist() == [[0, 255]]


def test_a_transparent_colour_of_a_palette_becomes_white(tmp_path):
    picture = Picture.new("P", (2, 1), 0)
    picture.putpalette([9, 9, 9, 7, 7, 7])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=1)
    assert grey(open_upright(tmp_path / "a.png")).tolist() == [[9, 255]]


def test_cmyk_and_black_and_white_become_rgb(tmp_path):
    Picture.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.jpg")
    assert np.asarray(open_upright(tmp_path / "a.jpg")).min() >= 254
    Picture.new("1", (2, 2), 1).save(tmp_path / "b.png")
    assert grey(open_upright(tmp_path / "b.png")).tolist() == [[255, 255], [255, 255]]


def test_a_wrong_extension_does_not_matter_when_the_picture_is_fine(tmp_path):
    write_picture(tmp_path / "a.png", (5, 4)).rename(tmp_path / "a.jpg")
    assert open_upright(tmp_path / "a.jpg").size == (5, 4)


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_damaged_exif_block_does_not_spoil_the_picture(tmp_path):
    Picture.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert open_upright(tmp_path / "a.jpg").size == (4, 4)


BAD = {
    "empty.jpg": (b"", "0 bytes"),
    "text.jpg": (b"hello", "not an image format"),
    "page.png": (b"<!DOCTYPE html><p>404", "web page"),
    "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "document.jpg": (b"%PDF-1.7", "PDF"),
    "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image format"),
    "header.jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "truncated"),
    "bomb.png": (png(20_000, 10_001, b""), "200 megapixels"),
    "giant.png": (png(100_000, 100_000, b""), "200 megapixels"),
    "noise.png": (png(10, 10, b"no zlib stream"), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_name_and_reason(tmp_path, name):
    content, reason = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as caught:
        open_upright(tmp_path / name)
    assert str(tmp_path / name) in caught.value.problem
    assert reason in caught.value.problem


def test_an_image_between_pillows_limit_and_ours_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(png(20_000, 10_000, b""))
    assert upright_size(tmp_path / "a.png") == (20_000, 10_000)


def test_pillows_limit_and_the_warning_filters_stay_as_they_are(tmp_path):
    write_picture(tmp_path / "good.png")
    for name in ("bomb.png", "giant.png"):
        (tmp_path / name).write_bytes(BAD[name][0])
    script = """
import sys, warnings
from pathlib import Path
import numpy
from PIL import Image
before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
from labelkit.project.images import scan_images
assert before == (Image.MAX_IMAGE_PIXELS, warnings.filters), "changed by the import"
report = scan_images(Path(sys.argv[1]))
assert before == (Image.MAX_IMAGE_PIXELS, warnings.filters), "changed by the scan"
print(*(problem.path for problem in report.problems))
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("bomb.png giant.png\n", 0), done.stderr


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_a_truncated_file_is_refused_in_every_format(tmp_path, suffix, share):
    path = write_picture(tmp_path / f"a{suffix}", (64, 64))
    cut(path, int(path.stat().st_size * share))
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        open_upright(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ImageError, match=r"a\.jpg") as caught:
        open_upright(tmp_path / "a.jpg")
    assert "labelkit images relocate" in caught.value.next_step
    with pytest.raises(ImageError, match=f"{tmp_path} .*folder"):
        upright_size(tmp_path)


def test_a_scan_finds_pictures_in_all_folders_in_order(tmp_path):
    write_picture(tmp_path / "b.PNG", (5, 4), seed=1)
    write_picture(tmp_path / "a" / "z.jpg", (6, 3), seed=2)
    write_picture(tmp_path / ".hidden" / "h.png", seed=3)
    write_picture(tmp_path / ".h.png", seed=4)
    (tmp_path / "notes.txt").write_text("")
    seen = []
    report = scan_images(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert [(i.path, i.width, i.height) for i in report.images] == [
        ("a/z.jpg", 6, 3),
        ("b.PNG", 5, 4),
    ]
    assert report.problems == report.duplicates == []
    assert report.ignored == {".txt": 1}
    assert seen == [(2, 2)]


def test_a_scan_reports_bad_files_and_continues(tmp_path):
    write_picture(tmp_path / "good.png")
    bad = BAD.keys() - {"noise.png"}  # its checksums are right: only decoding finds that
    for name in bad:
        (tmp_path / name).write_bytes(BAD[name][0])
    report = scan_images(tmp_path)
    assert [image.path for image in report.images] == ["good.png"]
    assert [problem.path for problem in report.problems] == sorted(bad)
    assert all(BAD[p.path][1] in p.reason for p in report.problems)


def test_names_with_any_characters_are_found(tmp_path):
    names = ["<b>&\"'.png", "ümlaut 猫.png", "line\nbreak.png", "a,b;c%20?#.png"]
    for seed, name in enumerate(names):
        write_picture(tmp_path / name, seed=seed)
    assert [image.path for image in scan_images(tmp_path).images] == sorted(names)


def test_a_name_that_is_not_utf8_is_a_problem_not_a_crash(tmp_path):
    write_picture(tmp_path / "good.png")
    os.rename(tmp_path / "good.png", os.fsencode(tmp_path) + b"/bad\xff.png")
    write_picture(tmp_path / "good.png")
    (problem,) = scan_images(tmp_path).problems
    assert problem.path == "bad\\udcff.png"
    assert "UTF-8" in problem.reason


def test_links_out_of_the_folder_are_problems_and_links_inside_are_copies(tmp_path):
    root = tmp_path / "frames"
    outside = write_picture(tmp_path / "secret" / "s.png", seed=1)
    write_picture(root / "a.png", seed=2)
    (root / "out.png").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "same.png").symlink_to(root / "a.png")
    report = scan_images(root)
    assert [image.path for image in report.images] == ["a.png"]
    assert report.duplicates == [("same.png", "a.png")]
    reasons = {problem.path: problem.reason for problem in report.problems}
    assert list(reasons) == ["folder", "gone.png", "out.png"]
    assert "link" in reasons["folder"]
    assert "link" in reasons["out.png"]


def test_a_copy_never_replaces_the_image_known_before(tmp_path):
    write_picture(tmp_path / "b.png", seed=1)
    stamps = {}
    first = scan_images(tmp_path, keep=stamps.update)
    write_picture(tmp_path / "a.png", seed=1)
    for _ in range(2):
        again = scan_images(tmp_path, lambda _: stamps)
        assert again.images == first.images
        assert again.duplicates == [("a.png", "b.png")]


def test_an_unchanged_file_is_not_read_again(tmp_path, monkeypatch):
    write_picture(tmp_path / "a.png", seed=1)
    write_picture(tmp_path / "b.png", seed=2)
    stamps, new, read = {}, {}, []
    first = scan_images(tmp_path, keep=stamps.update)
    original = images._opened
    monkeypatch.setattr(images, "_opened", lambda p, *it: read.append(p.name) or original(p, *it))
    write_picture(tmp_path / "b.png", seed=3)
    os.utime(tmp_path / "b.png", ns=(1, 1))
    second = scan_images(tmp_path, lambda _: stamps, new.update)
    assert read == ["b.png"]
    assert second.images[0] == first.images[0]
    assert second.images[1].sha256 != first.images[1].sha256
    assert list(new) == ["b.png"]
    assert new["b.png"].sha256 == second.images[1].sha256


def test_what_was_read_is_kept_when_a_scan_is_stopped(tmp_path, monkeypatch):
    def stop(done, total):
        if done > 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(images, "_AT_ONCE", 2)
    for seed in range(4):
        write_picture(tmp_path / f"{seed}.png", seed=seed)
    kept = {}
    with pytest.raises(KeyboardInterrupt):
        scan_images(tmp_path, keep=kept.update, on_progress=stop)
    assert sorted(kept) == ["0.png", "1.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_whole_file_is_registered_without_decoding_it_and_a_damaged_one_is_still_found(
    tmp_path, monkeypatch, suffix
):
    def decode(path, most=1):
        decoded.append(path.name)
        return original(path, most)

    decoded, original = [], images._decode
    monkeypatch.setattr(images, "_decode", decode)
    good = write_picture(tmp_path / f"good{suffix}", (64, 48)).read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(good[:-40])
    (tmp_path / f"more{suffix}").write_bytes(good + b"what follows the end")
    report = scan_images(tmp_path)
    assert [(i.path, i.width, i.height) for i in report.images] == [
        (f"good{suffix}", 64, 48),
        (f"more{suffix}", 64, 48),
    ]
    assert [problem.path for problem in report.problems] == decoded == [f"cut{suffix}"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_scan_finds_the_size_that_is_displayed(tmp_path, suffix, orientation):
    save_rotated(tmp_path / f"a{suffix}", orientation)
    (found,) = scan_images(tmp_path).images
    assert (found.width, found.height) == (3, 2)


def test_a_png_that_says_behind_its_pixels_how_it_is_turned_has_the_size_that_is_displayed(
    tmp_path,
):
    exif = Picture.Exif()
    exif[0x0112] = 6
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    late = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path = write_picture(tmp_path / "a.png", (5, 4))
    path.write_bytes(path.read_bytes()[:-12] + late + path.read_bytes()[-12:])
    (found,) = scan_images(tmp_path).images
    assert (found.width, found.height) == open_upright(path).size == (4, 5)


def test_a_folder_without_images_is_an_error_that_counts_what_is_there(tmp_path):
    with pytest.raises(ImageError, match=str(tmp_path)) as caught:
        scan_images(tmp_path)
    assert ".jpg" in caught.value.next_step
    (tmp_path / "a.heic").write_text("")
    with pytest.raises(ImageError, match=r"1 x \.heic"):
        scan_images(tmp_path)
    with pytest.raises(ImageError, match="nowhere"):
        scan_images(tmp_path / "nowhere")


def test_a_folder_of_bad_images_names_the_first(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"first of 2 is a\.png .*0 bytes"):
        scan_images(tmp_path)


def test_pictures_inside_a_project_are_not_the_users(tmp_path):
    make_project(tmp_path, pictures=1)
    write_picture(tmp_path / "frames-labelkit" / "reports" / "sheet.png", seed=9)
    assert [image.path for image in scan_images(tmp_path).images] == ["frames/0.png"]


def test_a_path_leads_to_its_file_and_never_out_of_the_folder(tmp_path):
    root = tmp_path / "frames"
    write_picture(root / "sub" / "a.png")
    (root / "out").symlink_to(tmp_path)
    assert image_file(root, "sub/a.png") == root.resolve() / "sub" / "a.png"
    assert image_file(root, "sub/../sub/a.png") == root.resolve() / "sub" / "a.png"
    for path in ("../secret.png", "sub/../../secret.png", "/etc/passwd", "out/secret.png"):
        with pytest.raises(ImageError, match=path) as caught:
            image_file(root, path)
        assert str(root) in caught.value.problem
