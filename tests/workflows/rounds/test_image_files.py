"""What became of a project's image files."""

from __future__ import annotations

import os

import pytest
from builders import make_project, write_picture

from labelkit.errors import ImageError
from labelkit.project.images import list_changed, scan_images
from labelkit.store.ownership import open_store
from labelkit.workflows.rounds.image_files import (
    FOLDERS_FILE,
    ImageFiles,
    check_image_files,
    lost_images,
    new_files,
)


@pytest.fixture
def opened(tmp_path):
    """A project of 0.png, 1.png, 2.png and b/3.png, all of them long there, and its store."""
    project = make_project(tmp_path, pictures=3)
    write_picture(project.images_root / "b" / "3.png", seed=3)
    for folder in (project.images_root, project.images_root / "b"):
        long_ago(folder)
    with open_store(project) as store:
        store.add_images(scan_images(project.images_root, keep=store.keep_stamps).images)
        yield project, store


def long_ago(folder, seconds=1_000_000_000):
    os.utime(folder, (seconds, seconds))


def found(opened):
    """(gone, changed, new) as the folders tell; where nothing is hidden, as every file tells."""
    files = ImageFiles(*opened)
    return [i.path for i in files.lost.gone], [i.path for i in files.lost.changed], files.new


def test_what_is_new_or_gone_is_found_again_and_again_until_it_is_settled(opened):
    root = opened[0].images_root
    assert found(opened) == ([], [], [])
    (root / "b" / "3.png").rename(root / "b" / "three.png")
    write_picture(root / "c" / "d" / "4.png", seed=4)
    for _ in range(2):
        assert found(opened) == (["b/3.png"], [], ["b/three.png", "c/d/4.png"])
        assert new_files(*opened) == ["b/three.png", "c/d/4.png"]
        for folder in (root, root / "b", root / "c", root / "c" / "d"):
            long_ago(folder, 1_100_000_000)
    (root / "b" / "three.png").rename(root / "b" / "3.png")
    (root / "c" / "d" / "4.png").unlink()
    assert found(opened) == ([], [], [])
    (root / "b" / "3.png").unlink()
    (root / "b").rmdir()
    assert found(opened) == (["b/3.png"], [], [])


def test_a_file_written_over_in_place_is_found_by_what_needs_it(opened):
    project, store = opened
    assert found(opened) == ([], [], [])
    (project.images_root / "1.png").write_bytes((project.images_root / "0.png").read_bytes())
    assert found(opened) == ([], [], [])
    assert [image.path for image in lost_images(project, store).changed] == ["1.png"]
    with pytest.raises(ImageError, match=r"1\.png"):
        check_image_files(project, store)
    long_ago(project.images_root, 1_100_000_000)
    assert found(opened) == ([], ["1.png"], [])


def test_a_stamp_of_another_image_under_this_name_does_not_hide_that_it_changed(opened):
    project, store = opened
    (project.images_root / "1.png").write_bytes((project.images_root / "0.png").read_bytes())
    scan_images(project.images_root, store.stamps, store.keep_stamps)  # killed after that
    assert [image.path for image in lost_images(project, store).changed] == ["1.png"]


def test_a_change_in_the_store_has_every_folder_looked_into(opened):
    project, store = opened
    store.remove_images([image for image in store.images() if image.path == "b/3.png"])
    (project.images_root / "b" / "3.png").unlink()
    long_ago(project.images_root / "b", 1_100_000_000)
    assert found(opened) == ([], [], [])
    store.restore_images(store.removed_images())
    assert found(opened) == (["b/3.png"], [], [])


@pytest.mark.parametrize("noted", ["", "{}", "[]", '{"state": 1, "folders": 2}', "\x00"])
def test_a_damaged_note_is_as_good_as_none(opened, noted):
    (opened[0].root / FOLDERS_FILE).write_text(noted)
    (opened[0].images_root / "b" / "3.png").unlink()
    assert found(opened) == (["b/3.png"], [], [])


def test_a_folder_that_did_not_change_is_not_listed_again(opened):
    root = opened[0].images_root
    times = list_changed(root, {}).times
    assert times == {"": 10**18, "b": 10**18}
    assert list_changed(root, times).changed == {}
    (root / "b" / "more.txt").touch()
    again = list_changed(root, times)
    assert again.changed == {"b": ["b/3.png"]}
    assert again.times == {"": 10**18, "b": 0}  # it may change within the same tick of the clock


def test_a_folder_with_a_link_or_a_project_is_always_listed(opened):
    root = opened[0].images_root
    (root / "b" / "link.png").symlink_to(root / "0.png")
    (root / "other").mkdir()
    (root / "other" / "labelkit.toml").touch()
    for folder in (root, root / "b"):
        long_ago(folder)
    assert list_changed(root, {}).times == {"": 0, "b": 0}
