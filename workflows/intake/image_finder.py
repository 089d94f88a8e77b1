"""Which image of the project a label file means, however it writes the path."""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from labelkit.domain.instance import Image
from labelkit.errors import FormatError

#: What Label Studio puts before the name of an uploaded file.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")


#: A frame of a video, as `labelkit frames` names it: label files may leave out the seconds.
_FRAME = re.compile(r"(-f\d{6,})-\d+\.\d{3}s\.png$")


class _Match(NamedTuple):
    """The path of an image or copy, and the folders that the label file writes before it."""

    path: str
    before: tuple[str, ...]


class ImageFinder:
    """Finds the images that a label file names, with any number of folders before the name.

    Args:
        images: of the project.
        copies: path of a dropped copy -> path of the image that was kept.
        root: the folder that image paths are below.
    """

    def __init__(self, images: Iterable[Image], copies: Mapping[str, str], root: Path) -> None:
        self._root = root.resolve()
        self._found, self._copies = images, copies
        self._by_upload: dict[str, list[str]] | None = None  # made when first needed

    @cached_property
    def _images(self) -> dict[str, Image]:
        by_path = {image.path: image for image in self._found}
        return by_path | {path: by_path[kept] for path, kept in self._copies.items()}

    @cached_property
    def _by_ending(self) -> dict[str, dict[str, str]]:
        """A path by the kept path that it is a copy of, by each ending of it."""
        by_ending: dict[str, dict[str, str]] = defaultdict(dict)
        for path, image in self._images.items():
            for ending in {*_endings(path), *_endings(_FRAME.sub(r"\1", path))}:
                by_ending[ending].setdefault(image.path, path)
        return by_ending

    def find(self, paths: Iterable[str], file: Path, also: Iterable[str] = ()) -> dict[str, Image]:
        """The image of each path of one file. Paths without an image are left out.

        A path may lack the first folders of an image's path. It may also have more folders before
        it, if all paths of the file have the same ones: other folders mean other images, even
        where the file names agree. Of several images that a path fits, the one below the folder
        of the label file is meant, if that lies in the images folder.

        Args:
            paths: as the file writes them.
            file: that writes them.
            also: further paths of the file, left out where they do not fit the others.

        Raises:
            FormatError: if a path fits several images, or several paths fit one image.
        """
        inside = self.folder_of(file)
        beside = "" if inside is None else f"{inside}/"
        matches = {
            path: found for path in dict.fromkeys(paths) if (found := self._match(path, beside))
        }
        before = {found.before: path for path, found in matches.items()}
        root = min(before, key=len, default=())
        for other, path in before.items():
            if other[: len(root)] != root:
                raise FormatError(
                    f"{file} labels {before[root]} and {path}, but the images folder "
                    f"does not tell {PurePosixPath(*root)} and {PurePosixPath(*other)} apart.",
                    "Give the folder that its paths start from with --images.",
                )
        result: dict[str, Image] = {}
        written: dict[str, str] = {}
        for path, found in matches.items():
            if found.before != root:
                continue
            same = written.setdefault(found.path, path)
            if PurePosixPath(same) != PurePosixPath(path):
                raise FormatError(
                    f"{file} labels {same} and {path}, which would both be {found.path}.",
                    "Write the path below the images folder into the label file.",
                )
            result[path] = self._images[found.path]
        for path in also:
            if path not in matches:
                with contextlib.suppress(FormatError):  # without labels, it need not be clear
                    found_too = self._match(path, beside)
                    if found_too and found_too.before == root:
                        result[path] = self._images[found_too.path]
        return result

    def folder_of(self, file: Path) -> PurePosixPath | None:
        """The folder of a label file below the images folder; None if it does not lie there."""
        folder = file.resolve().parent
        if not folder.is_relative_to(self._root):
            return None
        return PurePosixPath(folder.relative_to(self._root).as_posix())

    def _match(self, path: str, beside: str) -> _Match | None:
        """What a path alone can mean: an image's path, the end of one, or more than one."""
        parts = PurePosixPath(path).parts
        whole = "/".join(parts)
        if whole in self._images:
            return _Match(whole, ())
        fitting = self._by_ending.get(whole, {})
        if len(fitting) > 1 and beside:
            near = {kept: it for kept, it in fitting.items() if it.startswith(beside)}
            fitting = near or fitting
        if len(fitting) > 1:
            first, second, *_ = fitting
            raise FormatError(
                f"{path} could mean {first} or {second}.",
                "Write the path below the images folder into the label file.",
            )
        for found in fitting.values():
            return _Match(found, ())
        for start, ending in enumerate(_endings(path)):
            if ending in self._images:
                return _Match(ending, parts[:start])
        return self._uploaded(path)

    def _uploaded(self, path: str) -> _Match | None:
        """The image that was uploaded to Label Studio under this name, which it changes."""
        name = PurePosixPath(path).name
        if not _UPLOADED.match(name):
            return None
        if self._by_upload is None:
            self._by_upload = defaultdict(list)
            for image in self._images:
                self._by_upload[_upload_name(image)].append(image)
        fitting = self._by_upload[_UPLOADED.sub("", name)]
        if len({self._images[image].id for image in fitting}) > 1:
            raise FormatError(
                f"{path} was uploaded, and could be {fitting[0]} or {fitting[1]}.",
                "Write the path below the images folder into the label file.",
            )
        return _Match(fitting[0], PurePosixPath(path).parts[:-1]) if fitting else None


def _upload_name(path: str) -> str:
    """An image's name as Django, and with it Label Studio, writes it."""
    return re.sub(r"[^-\w.]", "", PurePosixPath(path).name.strip().replace(" ", "_"))


def _endings(path: str) -> list[str]:
    """a/b/c.png -> a/b/c.png, b/c.png, c.png."""
    parts = PurePosixPath(path).parts
    return ["/".join(parts[start:]) for start in range(len(parts))]
