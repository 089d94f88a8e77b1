import json
import os
import re
import shutil
import struct
import zlib

import pytest
from builders import stick_skeleton, write_picture
from command_line import labelkit
from PIL import Image as Picture
from team import SIZE, assert_refused, coco


def truncated(folder):
    path = write_picture(folder / "bad.png", (64, 64), seed=7)
    path.write_bytes(path.read_bytes()[:-2000])


def wrong_suffix(folder):
    (folder / "bad.png").write_text("name,x,y\n")


def web_page(folder):
    (folder / "bad.png").write_text("<!DOCTYPE html><title>404</title>")


def empty(folder):
    (folder / "bad.png").touch()


def bomb(folder):
    """A PNG of 20,000 x 20,000 pixels in a few bytes."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    (folder / "bad.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )


def link_out(folder):
    outside = write_picture(folder.parent / "outside" / "x.png", SIZE, seed=8)
    (folder / "bad.png").symlink_to(outside)


def link_to_folder_out(folder):
    write_picture(folder.parent / "outside" / "x.png", SIZE, seed=8)
    (folder / "bad.png").symlink_to(folder.parent / "outside", target_is_directory=True)


def named_pipe(folder):
    os.mkfifo(folder / "bad.png")


BAD_IMAGES = [
    (truncated, "truncated"),
    (wrong_suffix, "not an image format"),
    (web_page, "web page"),
    (empty, "0 bytes"),
    (bomb, "200 megapixels"),
    (link_out, "link"),
    (link_to_folder_out, "link"),
    (named_pipe, "not a regular file"),
]


@pytest.mark.parametrize(("make_bad", "reason"), BAD_IMAGES)
def test_an_image_that_cannot_be_used_is_named_with_the_reason(team, make_bad, reason):
    make_bad(team.frames)
    outcome = team.bootstrap("--labeled", "0%")
    assert_refused(outcome, "1 file", "bad.png (", reason, next_step="--skip-unreadable")


@pytest.mark.parametrize(("make_bad", "reason"), BAD_IMAGES)
def test_an_image_that_cannot_be_used_is_skipped_and_counted_on_request(tmp_path, make_bad, reason):
    write_picture(tmp_path / "frames" / "0.png", SIZE)
    (tmp_path / "stick.toml").write_text(stick_skeleton().to_toml())
    make_bad(tmp_path / "frames")
    outcome = labelkit(
        "bootstrap",
        "--images",
        tmp_path / "frames",
        "--skeleton",
        tmp_path / "stick.toml",
        "--skip-unreadable",
    )
    assert outcome.code == 3
    assert "1 image, 1 instance, 0 new labels" in outcome.out
    assert re.search(r"Skipped 1\b.*: bad\.png", outcome.out)


@pytest.mark.slow
def test_a_good_image_with_the_wrong_extension_is_taken(team):
    Picture.new("RGB", SIZE, "red").save(team.folder / "x.jpg", format="PNG")
    (team.folder / "x.jpg").rename(team.frames / "x.jpg")
    outcome = team.bootstrap("--labeled", "0%", "--now", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["registered"]["images"] == 4


def test_labels_of_an_image_outside_the_folder_are_refused(team):
    write_picture(team.folder / "secret.png", SIZE, seed=9)
    labels = team.write("labels.json", coco(file_name="../secret.png"))
    assert_refused(
        team.bootstrap("--labels", labels), "labels.json", "../secret.png", next_step="--images"
    )


@pytest.mark.slow
def test_two_images_with_the_same_content_are_one_and_the_copy_is_named(team):
    shutil.copy(team.frames / "1.png", team.frames / "copy.png")
    outcome = team.bootstrap("--labeled", "0%")
    assert outcome.code == 0
    assert "3 images, 3 instances" in outcome.out
    assert "copy.png (of 1.png)" in outcome.out
    assert team.bootstrap("--labeled", "0%", "--skip-duplicates").code == 0  # the former option


@pytest.mark.slow
def test_one_error_names_everything_that_keeps_images_out_and_what_to_add(team):
    for number in range(6):
        (team.frames / f"bad{number}.png").touch()
    names = [f"bad{number}.png" for number in range(5)]
    assert_refused(
        team.bootstrap("--labeled", "0%"),
        "6 files",
        *(f"{name} (" for name in names),
        "and 1 more",
        next_step="--skip-unreadable",
    )
    outcome = team.bootstrap("--labeled", "0%", "--skip-unreadable")
    assert outcome.code == 0
    assert re.search(rf"Skipped 6\b.*: {', '.join(names)} and 1 more", outcome.out)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("others", "counts"),
    [(["a.pdf"], ["1 x .pdf"]), (["b.HEIC", "c.heic", "a.pdf"], ["2 x .heic, 1 x .pdf", "JPEG"])],
)
def test_files_of_other_kinds_are_counted(team, others, counts):
    assert " x ." not in team.bootstrap("--labeled", "0%").out
    for name in others:
        (team.frames / name).touch()
    outcome = team.bootstrap("--labeled", "0%")
    for words in counts:
        assert words in outcome.out


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_a_folder_without_images_is_refused(tmp_path, content):
    folder = tmp_path / "empty"
    folder.mkdir()
    if content:
        (folder / content).touch()
    outcome = labelkit("bootstrap", "--images", folder)
    assert_refused(outcome, str(folder), next_step=".jpg")


def test_after_a_first_try_that_failed_another_skeleton_can_be_named(tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "stick.toml").write_text(stick_skeleton().to_toml())
    assert labelkit("bootstrap", "--images", tmp_path / "frames").code == 1
    write_picture(tmp_path / "frames" / "0.png", SIZE)
    command = ("bootstrap", "--images", tmp_path / "frames", "--skeleton", tmp_path / "stick.toml")
    assert labelkit(*command).code == 3
    assert labelkit("status", "--project", tmp_path / "frames-labelkit").out.count("stick") == 1


def test_a_folder_that_is_not_there_leaves_no_project_behind(tmp_path):
    outcome = labelkit("bootstrap", "--images", tmp_path / "nowhere")
    assert_refused(outcome, str(tmp_path / "nowhere"), next_step="folder")
    assert list(tmp_path.iterdir()) == []


def test_another_image_under_the_name_of_a_labelled_one_is_refused(team):
    write_picture(team.frames / "1.png", SIZE, seed=77)
    assert_refused(team.bootstrap("--labeled", "0%"), "1.png", next_step="former file")
