"""The skeleton that a project had before its first edit.

Rounds and Label Studio tasks name their keypoints. Those that earlier versions made do not: they
have the keypoints of this one.
"""

from __future__ import annotations

from labelkit.domain.skeleton import Skeleton, load_skeleton
from labelkit.files.atomic import write_text
from labelkit.project.project import Project

FIRST_FILE = "skeleton-before-edits.toml"


def keep_first_skeleton(project: Project) -> None:
    """Write down the skeleton of a project that is about to be edited, once."""
    path = project.root / FIRST_FILE
    if not path.exists():
        write_text(path, project.skeleton.to_toml())


def first_skeleton(project: Project) -> Skeleton:
    """The skeleton before the first edit; the present one if there was no edit.

    Raises:
        SkeletonError: if its file is damaged.
    """
    path = project.root / FIRST_FILE
    return load_skeleton(path) if path.exists() else project.skeleton
