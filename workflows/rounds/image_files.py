"""Whether the files of a project's images are there and unchanged, before something needs them."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

from labelkit.domain.instance import Image
from labelkit.domain.text import counted, named
from labelkit.errors import ImageError, LabelkitError
from labelkit.files.atomic import write_json
from labelkit.project.images import list_changed, listed_images
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore

#: In the project's folder: which folders of images need not be looked into, see `ImageFiles`.
FOLDERS_FILE = "folders.json"


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


def lost_images(project: Project, store: LabelStore, unchanged: Collection[str] = ()) -> LostImages:
    """Compare a project's images with their files; only those that were touched are read.

    Args:
        project: of the images.
        store: its label store.
        unchanged: folders whose files are not asked for.
    """
    root, gone, changed = str(project.images_root), set[str](), set[str]()
    for path, sha256, *stamp in store.stamped_files():
        if unchanged and folder_of(path) in unchanged:
            continue
        file = os.path.join(root, path)
        try:
            status = os.stat(file)
            if stamp not in ([status.st_size, status.st_mtime_ns], [None, None]):
                with open(file, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                if digest != sha256:
                    changed.add(path)
        except OSError:
            gone.add(path)
    images = store.images() if gone or changed else []
    return LostImages(
        tuple(image for image in images if image.path in gone),
        tuple(image for image in images if image.path in changed),
    )


class ImageFiles:
    """What became of a project's image files, as far as their folders tell.

    Asking for size and time of a million files takes seconds, so a folder that is as it was when
    nothing in it was new, gone or changed is not looked into again: `folders.json` in the project
    keeps their modification times, and may be deleted. Such a folder hides one thing, a file that
    was written over in place. Therefore what trains on images, pre-annotates or shows them asks for
    every file instead: see `check_image_files` and `lost_images`.

    Args:
        project: of the images.
        store: its label store.
    """

    def __init__(self, project: Project, store: LabelStore) -> None:
        self._project, self._store = project, store

    @property
    def lost(self) -> LostImages:
        """Images whose file is gone or changed."""
        return self._found[0]

    @property
    def new(self) -> list[str]:
        """See `new_files`."""
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[LostImages, list[str]]:
        project, store = self._project, self._store
        file, state = (
            project.root / FOLDERS_FILE,
            [str(project.images_root), store.images_version()],
        )
        before = _times(file, state)
        found = list_changed(project.images_root, before)
        unchanged = found.times.keys() - found.changed.keys()
        if before and unchanged == before.keys():
            return LostImages((), ()), []
        lost, known = lost_images(project, store, unchanged), _known(store)
        listed = chain.from_iterable(found.changed.values())
        new = sorted(path for path in listed if path not in known)
        open_ = {folder_of(path) for path in (*new, *(image.path for image in lost.all))}
        times = found.times | dict.fromkeys(open_, 0)
        if times != before:
            with suppress(LabelkitError):  # a project that only others may write to
                write_json(file, {"state": state, "folders": times})
        return lost, new


def folder_of(path: str) -> str:
    """The folder of an image's path; "" for the images folder itself."""
    return path.rpartition("/")[0]


def _times(file: Path, state: Sequence[str]) -> dict[str, int]:
    """Modification times of folders by path; empty unless noted in this state of the store."""
    try:
        noted = json.loads(file.read_bytes())
        return dict(noted["folders"]) if noted["state"] == state else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


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
    known = _known(store)
    return [path for path in listed_images(project.images_root) if path not in known]


def _known(store: LabelStore) -> set[str]:
    """Paths of files that are images of the project, were, or were left out."""
    return store.image_paths() | store.left_out_files()


def _names(images: Sequence[Image]) -> str:
    return named([image.path for image in images])
