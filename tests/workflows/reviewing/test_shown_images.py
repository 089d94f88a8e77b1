"""Images as files that a browser shows."""

from __future__ import annotations

import numpy as np
from builders import make_project, write_picture
from PIL import Image as Picture

from labelkit.project.images import open_upright, scan_images
from labelkit.workflows.reviewing.shown_images import shown_image


def test_an_image_that_browsers_show_is_its_own_file_and_another_gets_a_copy(tmp_path):
    project = make_project(tmp_path, pictures=1)
    deep = project.images_root / "deep.tif"
    Picture.fromarray(np.array([[0, 32896, 65535]], dtype=np.uint16)).save(deep)
    plain = write_picture(project.images_root / "0.png")
    first, second = scan_images(project.images_root).images
    assert shown_image(project, first) == plain
    copy = shown_image(project, second)
    assert copy.is_relative_to(project.root)
    with Picture.open(copy) as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(open_upright(deep)))
    written = copy.stat().st_mtime_ns
    assert (shown_image(project, second), copy.stat().st_mtime_ns) == (copy, written)
