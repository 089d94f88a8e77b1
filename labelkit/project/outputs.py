"""Check files that a user names for a result, so that none with other content is replaced."""

from __future__ import annotations

import re
from pathlib import Path

from labelkit.errors import UsageError
from labelkit.project.project import Project


def check_output(path: Path, mark: str, project: Project | None, *, overwrite: bool) -> None:
    """Check that writing to `path` replaces neither an image nor a label file of the user's.

    Args:
        path: of the result.
        mark: regular expression that is found in every such result, and hardly elsewhere.
        project: its images folder is only read; None if the result belongs to no project.
        overwrite: also replace a file that labelkit did not write.

    Raises:
        UsageError: if it lies among the images, or is a file without the mark.
    """
    target = path.resolve()
    if project is not None and target.is_relative_to(project.images_root):
        own = project.root.is_relative_to(project.images_root)  # a project among its images
        if not (own and target.is_relative_to(project.root)):
            raise UsageError(
                f"{path} is in the images folder {project.images_root}, which is only read.",
                "Name a file outside of it.",
            )
    if path.exists() and not path.is_dir() and not overwrite and not _has(path, mark):
        raise UsageError(
            f"{path} exists, and this command did not write it.",
            "Name another file, or add: --overwrite",
        )


def _has(path: Path, mark: str) -> bool:
    try:
        return path.is_file() and bool(re.search(mark.encode(), path.read_bytes()))
    except OSError:
        return False
