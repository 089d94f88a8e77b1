"""Whether the files of a project's images are there and unchanged, before something needs them."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter

from labelkit.domain.instance import Image
from labelkit.domain.text import counted, named
from labelkit.errors import ImageError
from labelkit.project.images import listed_images
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore


@dataclass(frozen=True, slots=True)
class LostImages:
    """Images of a project that cannot be shown or trained on.

    Attributes:
        gone: their file is not where it was.
        changed: their file holds another picture now.
    """

    gone: tuple[Image, ...]
    changed: tuple[Image, ...]

    @property
    def all(self) -> tuple[Image, ...]:
        """Both."""
        return (*self.gone, *self.changed)


def lost_images(project: Project, store: LabelStore) -> LostImages:
    """Compare a project's images with their files; only those that were touched are read."""
    root, gone, changed = str(project.images_root), list[Image](), list[Image]()
    for image, stamp in store.stamped_images():
        path = os.path.join(root, image.path)
        try:
            status = os.stat(path)
            if stamp not in ((status.st_size, status.st_mtime_ns), (None, None)):
                with open(path, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                if digest != image.sha256:
                    changed.append(image)
        except OSError:
            gone.append(image)
    by_path = attrgetter("path")
    return LostImages(tuple(sorted(gone, key=by_path)), tuple(sorted(changed, key=by_path)))


class ImageFiles:
    """What became of a project's image files: each question is answered once.

    Args:
        project: of the images.
        store: its label store.
    """

    def __init__(self, project: Project, store: LabelStore) -> None:
        self._project, self._store = project, store

    @cached_property
    def lost(self) -> LostImages:
        """See `lost_images`."""
        return lost_images(self._project, self._store)

    @cached_property
    def new(self) -> list[str]:
        """See `new_files`."""
        return new_files(self._project, self._store)


def check_image_files(project: Project, store: LabelStore) -> None:
    """Refuse to begin what needs every image while one is lost.

    Raises:
        ImageError: naming the images that are gone, or hold another picture now.
    """
    lost = lost_images(project, store)
    if lost.gone and not project.images_root.is_dir():
        raise ImageError(
            f"The images folder {project.images_root} is gone.",
            "If it was renamed or moved: labelkit images relocate NEW_FOLDER --project "
            f"{shlex.quote(str(project.root))}",
        )
    if lost.gone:
        raise ImageError(
            f"{counted(len(lost.gone), 'image')} of the project cannot be found: "
            f"{_names(lost.gone)}.",
            "Renamed or moved: labelkit images relocate. Deleted: labelkit images remove, which "
            "keeps their labels.",
        )
    if lost.changed:
        raise ImageError(
            f"{counted(len(lost.changed), 'image')} of the project changed since the labels were "
            f"made: {_names(lost.changed)}.",
            "Put the former files back. Or take the former images out and register the new ones: "
            "labelkit images remove, then labelkit bootstrap",
        )


def images_not_to_show(project: Project, store: LabelStore) -> frozenset[str]:
    """Ids of the images that people cannot be asked about, because their file is lost.

    Raises:
        ImageError: if that is so for all of them: then the folder is not where it was.
    """
    lost = lost_images(project, store)
    if lost.gone and len(lost.gone) == len(store.images()):
        check_image_files(project, store)
    return frozenset(image.id for image in lost.all)


def new_files(project: Project, store: LabelStore) -> list[str]:
    """Paths below the images folder that `labelkit bootstrap` would register."""
    known = store.image_paths() | store.left_out_files()
    return [path for path in listed_images(project.images_root) if path not in known]


def _names(images: Sequence[Image]) -> str:
    return named([image.path for image in images])
