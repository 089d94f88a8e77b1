"""Image files: read upright, checked for damage, identified by content."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
import struct
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, compress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from labelkit.domain.instance import Image
from labelkit.errors import ImageError
from labelkit.project.greys import WINDOW_FILE, WindowError, eight_bits, is_deep, window_of
from labelkit.project.project import PROJECT_FILE
from labelkit.project.video_frames import TABLE

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm")
)

_SUFFIXES = tuple(IMAGE_SUFFIXES)

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".mts")
)

#: Pixels of a JPEG above which decoding it takes longer than `tiny` needs for a crop of it.
LARGE = 4_000_000

#: What a file may hold, whatever its name. Not EPS: Pillow would run Ghostscript on it.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")

#: Those of them that browsers show.
BROWSER_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")

#: Files that a thread reads before it reports, and of which stamps are known and kept at a time.
_TOGETHER, _AT_ONCE = 16, 4096

#: A folder that changed so recently may change again within what its clock tells apart: on FAT,
#: two seconds.
_SETTLED_NS = 3 * 10**9

#: Ends a JPEG; its compressed pixels cannot hold these bytes.
_JPEG_END = b"\xff\xd9"

#: One of these is in a PNG that says how it is turned: before the pixels or behind them.
_PNG_MAY_BE_TURNED = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")

#: 200 megapixels: a small file can unpack to more than the memory of the machine.
MAX_PIXELS = 200_000_000
_pillow_limit = threading.Lock()

_MISSING = "there is no such file"

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Picture.Transpose.FLIP_LEFT_RIGHT,
    3: Picture.Transpose.ROTATE_180,
    4: Picture.Transpose.FLIP_TOP_BOTTOM,
    5: Picture.Transpose.TRANSPOSE,
    6: Picture.Transpose.ROTATE_270,
    7: Picture.Transpose.TRANSVERSE,
    8: Picture.Transpose.ROTATE_90,
}


class FileStamp(NamedTuple):
    """A file when its content was last read; with the same size and time, its content is the same.

    Attributes:
        size: in bytes.
        mtime_ns: time of the last change, nanoseconds since 1970.
        sha256: of the bytes.
        width, height: in pixels, upright.
    """

    size: int
    mtime_ns: int
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ScanProblem:
    """A file that cannot be used.

    Attributes:
        path: below the images root.
        reason: such as "truncated file".
    """

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScanReport:
    """The content of an images folder.

    Attributes:
        images: readable images, one for each content, sorted by path.
        problems: files with an image suffix that cannot be used, sorted by path.
        duplicates: (path, path of the image with the same content).
        ignored: number of other files, by suffix.
        dark: paths of images read now whose 16-bit greys hold no value above 12 bits.
    """

    images: list[Image]
    problems: list[ScanProblem]
    duplicates: list[tuple[str, str]]
    ignored: Counter[str]
    dark: list[str]


class _UnreadableError(Exception):
    """Carries only the reason; the caller knows the file."""


def open_upright(path: Path) -> Picture.Image:
    """Read an image as a browser displays it.

    EXIF orientation is applied, transparency becomes white, and deep greys become 8 bits (see
    `greys`).

    Returns:
        a fully decoded RGB image.

    Raises:
        ImageError: with the reason.
    """
    return open_shrunk(path, 1)[0]


def open_shrunk(path: Path, most: int) -> tuple[Picture.Image, int]:
    """Read an image as `open_upright` does; a large JPEG smaller, which takes half the time.

    Args:
        path: of the file.
        most: largest factor by which it may be smaller.

    Returns:
        the image and its factor, 1, 2, 4 or 8: a pixel is the mean of so many in either direction.

    Raises:
        ImageError: with the reason.
    """
    try:
        return _decode(path, most)
    except _UnreadableError as error:
        raise _unreadable(path, error) from None


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels as displayed, from the file's header; pixels are not checked.

    Raises:
        ImageError: if the header cannot be read.
    """
    try:
        with _opened(path) as picture:
            return _turned_size(picture)
    except _UnreadableError as error:
        raise _unreadable(path, error) from None


def browsers_show(path: Path) -> bool:
    """Whether a browser shows a file as `open_upright` reads it, from its header.

    True also for what cannot be read.
    """
    try:
        with _opened(path) as picture:
            return picture.format in BROWSER_FORMATS and not is_deep(picture)
    except _UnreadableError:
        return True


def exif_orientation(path: Path) -> int:
    """How EXIF turns the stored picture: 1 (not at all) to 8, from the file's header.

    Raises:
        ImageError: if the header cannot be read.
    """
    try:
        with _opened(path) as picture:
            if picture.format == "PNG" and "exif" not in picture.info:
                return 1  # Pillow would decode all pixels to find it behind them
            return _orientation(picture)
    except _UnreadableError as error:
        raise _unreadable(path, error) from None


def image_file(root: Path, path: str) -> Path:
    """The file of the image `path` in the images folder `root`.

    Raises:
        ImageError: if `path` is absolute, or a link or `..` leads out of the folder.
    """
    inside = PurePosixPath(path)
    resolved_root = root.resolve()
    resolved = (resolved_root / inside).resolve()
    if inside.is_absolute() or not resolved.is_relative_to(resolved_root):
        raise ImageError(
            f"{path} is not inside the images folder {root}.",
            "Give the path below that folder, without links that lead out of it.",
        )
    return resolved


def check_folder(root: Path) -> None:
    """Make sure that images can be looked for there.

    Raises:
        ImageError: if it is no folder, with a way to get one from a video.
    """
    if root.is_dir():
        return
    advice = "Give the folder with the images: labelkit bootstrap --images DIR"
    if not root.exists():
        raise ImageError(f"The folder {root} does not exist.", advice)
    suffix = root.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        raise ImageError(f"{root} is a video, not a folder of images.", frames_of(str(root)))
    if suffix in (".zip", ".tar", ".gz", ".tgz", ".7z"):
        advice = "Unpack it, and give its folder: labelkit bootstrap --images DIR"
    raise ImageError(f"{root} is not a folder.", advice)


def frames_of(video: str) -> str:
    """How to get images from a video."""
    return f"Take frames out of it: labelkit frames {shlex.quote(video)}"


def scan_images(
    root: Path,
    known: Callable[[Sequence[str]], Mapping[str, FileStamp]] = lambda paths: {},
    keep: Callable[[Mapping[str, FileStamp]], None] = lambda stamps: None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScanReport:
    """Find, read and identify every image below a folder.

    Hidden files and labelkit projects are skipped. A file is read once: its header, and all its
    bytes for the hash. Decoding takes thirty times as long, so a JPEG with its end and a PNG with
    right checksums are taken to be whole; only others are decoded. What is wrong inside a whole
    JPEG is found by what decodes it.

    Args:
        root: the images folder.
        known: stamps of some files, by path, from an earlier scan; a file of the same size and time
            is not read again.
        keep: called with new stamps, some thousands at a time, before the scan is complete.
        on_progress: called with (files done, all files).

    Raises:
        ImageError: if there is no such folder, or no readable image in it.
    """
    check_folder(root)
    root = root.resolve()
    problems: list[ScanProblem] = []
    candidates: list[str] = []
    others: Counter[str] = Counter()
    video = ""
    for path, reason in _walk(root):
        if reason:
            problems.append(ScanProblem(path, reason))
        elif _is_image(path):
            candidates.append(path)
        elif PurePosixPath(path).name not in (TABLE, WINDOW_FILE):
            suffix = PurePosixPath(path).suffix.lower()
            others[suffix or "no suffix"] += 1
            if suffix in VIDEO_SUFFIXES:
                video = video or str(root / path)
    candidates.sort()

    images: list[Image] = []
    was_known = bytearray()  # whether an earlier scan found each with this content
    dark: list[str] = []
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool:
        try:
            for start in range(0, len(candidates), _AT_ONCE):
                paths = candidates[start : start + _AT_ONCE]
                before, new = known(paths), dict[str, FileStamp]()
                read = partial(_stamps, root, before)
                groups = [paths[n : n + _TOGETHER] for n in range(0, len(paths), _TOGETHER)]
                for done, results in enumerate(pool.map(read, groups), 1):
                    for path, (result, is_dark) in results:
                        if isinstance(result, str):
                            problems.append(ScanProblem(path, result))
                            continue
                        earlier = before.get(path)
                        if result != earlier:
                            new[path] = result
                        sha256 = result.sha256
                        images.append(Image(path, sha256, result.width, result.height))
                        was_known.append(earlier is not None and earlier.sha256 == sha256)
                        dark += [path] * is_dark
                    if on_progress:
                        on_progress(start + min(done * _TOGETHER, len(paths)), len(candidates))
                if new:
                    keep(new)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    problems.sort(key=lambda problem: problem.path)
    if not images:
        raise _nothing_to_read(root, problems, others, video)
    # Of each content one is an image; a copy never replaces a path that was known before.
    path_of: dict[str, str] = {}
    for image in chain(compress(images, was_known), images):
        path_of.setdefault(image.sha256, image.path)
    copies = [(it.path, path_of[it.sha256]) for it in images if path_of[it.sha256] != it.path]
    kept = [it for it in images if path_of[it.sha256] == it.path] if copies else images
    return ScanReport(kept, problems, copies, others, dark)


@dataclass(frozen=True, slots=True)
class Listing:
    """Folders of images, of which those were listed that changed since an earlier listing.

    Attributes:
        times: modification time of every folder, nanoseconds since 1970, by path; 0 if it can
            change without that, or changed too recently to tell.
        changed: paths of the files with an image's suffix, of each folder that was listed.
    """

    times: dict[str, int]
    changed: dict[str, list[str]]


def list_changed(root: Path, before: Mapping[str, int]) -> Listing:
    """List the folders below root whose modification time is another than before; "" is root.

    A folder's time changes when a file or folder in it appears, goes, or is renamed; not when a
    file is written over in place.

    Args:
        root: the images folder.
        before: `times` of an earlier listing.
    """
    inside: dict[str, list[str]] = defaultdict(list)
    for folder in before:
        if folder:
            inside[folder.rpartition("/")[0]].append(folder)
    recent = time.time_ns() - _SETTLED_NS
    root, found, pending = root.resolve(), Listing({}, {}), [""]
    while pending:
        folder = pending.pop()
        try:
            time_ns = (root / folder).stat().st_mtime_ns
        except OSError:
            continue
        if time_ns == before.get(folder):
            found.times[folder] = time_ns
            pending += inside[folder]
            continue
        content = _content(root, folder)
        paths = [path for path, reason in content.files if not reason and _is_image(path)]
        found.changed[folder] = paths
        found.times[folder] = time_ns if content.is_plain and time_ns < recent else 0
        pending += content.folders
    return found


def folder_digest(root: Path) -> str:
    """Another text after any change below a folder that name, size or time of a file tells.

    Hidden files and labelkit projects are left out; no file is opened.
    """
    root, digest = root.resolve(), hashlib.sha256()
    for path, reason in _walk(root):
        try:
            status = os.stat(f"{root}/{path}")
            stamp = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            stamp = _MISSING
        digest.update(f"{path}\0{reason}\0{stamp}\0".encode())
    return digest.hexdigest()


def listed_images(root: Path) -> list[str]:
    """Paths of the files below a folder that have an image's suffix, sorted; none is opened."""
    if not root.is_dir():
        return []
    return sorted(path for path, reason in _walk(root.resolve()) if not reason and _is_image(path))


def _is_image(path: str) -> bool:
    """Whether a visible file has an image's suffix."""
    return path.lower().endswith(_SUFFIXES)


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    """Every visible file below root: its path, and why it cannot be used, else ""."""
    pending = [""]
    while pending:
        content = _content(root, pending.pop())
        yield from content.files
        pending += content.folders


class _Content(NamedTuple):
    """What is visible in a folder.

    Attributes:
        files: path of each, and why it cannot be used, else "".
        folders: paths of those that hold no project.
        is_plain: whether none of that can change without the modification time of the folder.
    """

    files: list[tuple[str, str]]
    folders: list[str]
    is_plain: bool


def _content(root: Path, folder: str) -> _Content:
    """What is visible in a folder below root; root is ""."""
    inside, files, folders, is_plain = f"{folder}/" if folder else "", [], list[str](), True
    try:
        entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
    except OSError as error:
        return _Content([(folder or ".", _system_reason(error))], [], False)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = inside + entry.name
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = path.encode(errors="backslashreplace").decode()
            files.append((shown, "its name is not UTF-8; rename it"))
            continue
        is_link = entry.is_symlink()
        is_plain = is_plain and not is_link
        if is_link and not Path(entry).resolve().is_relative_to(root):
            files.append((path, "a link that leads out of the images folder"))
        elif entry.is_dir(follow_symlinks=False):
            if (Path(entry) / PROJECT_FILE).exists():
                is_plain = False
            else:
                folders.append(path)
        elif not entry.is_dir():
            files.append((path, ""))
    return _Content(files, folders, is_plain)


def _stamps(
    root: Path, known: Mapping[str, FileStamp], paths: Sequence[str]
) -> list[tuple[str, tuple[FileStamp | str, bool]]]:
    """Paths below root, each with its `_stamp`."""
    return [(path, _stamp(os.path.join(root, path), known.get(path))) for path in paths]


def _stamp(file: str, known: FileStamp | None) -> tuple[FileStamp | str, bool]:
    """The stamp of a file, which is read unless unchanged since `known`; or what is wrong.

    And whether it is dark, see `ScanReport`.
    """
    is_dark = False
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file", False
        if known and (status.st_size, status.st_mtime_ns) == (known.size, known.mtime_ns):
            return known, False
        path = Path(file)
        with path.open("rb") as stream, _opened(path, stream) as header:
            _refuse_what_is_ambiguous(header, path)
            is_sixteen = is_deep(header) and window_of(header, path) == (0, 65535)
            size = None if is_sixteen else _size_of_whole(header, stream)
            stream.seek(0)
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        if size is None:
            picture, _ = _decode(path)
            size = picture.size
            is_dark = is_sixteen and bool(np.asarray(picture).max() <= 16)  # of 255; 4095 of 65535
    except _UnreadableError as error:
        return str(error), False
    except OSError as error:
        return _system_reason(error), False
    return FileStamp(status.st_size, status.st_mtime_ns, sha256, *size), is_dark


def _size_of_whole(picture: Picture.Image, stream: BinaryIO) -> tuple[int, int] | None:
    """Width and height of an opened image as displayed, if its file shows that nothing is missing.

    A PNG's checksums cover every pixel. Of a JPEG only the end is looked for, which a file that was
    cut off lacks.

    Returns:
        None if it takes decoding to know.
    """
    if picture.format == "JPEG" and _JPEG_END in stream.read():  # what follows the header
        return _turned_size(picture)
    if picture.format == "PNG":
        stream.seek(0)
        content = stream.read()
        if not any(sign in content for sign in _PNG_MAY_BE_TURNED):
            with suppress(Exception):  # as for `_decode`
                picture.verify()
                return picture.size
    return None


def _refuse_what_is_ambiguous(picture: Picture.Image, path: Path) -> None:
    """Refuse an opened file that could be read in several ways; `_UnreadableError` says why."""
    try:
        if is_deep(picture) and window_of(picture, path) is None:
            raise _UnreadableError(
                f"its numbers have no known black and white; write them to {WINDOW_FILE} in its "
                "folder, such as: 0 1"
            )
    except WindowError as error:
        raise _UnreadableError(str(error)) from None
    if picture.format == "TIFF" and (pages := _pages(picture)) > 1:
        raise _UnreadableError(
            f"{pages} pages, of which one could be read; split it: magick {path.name} "
            f"{path.stem}-%03d.tif"
        )


def _pages(picture: Picture.Image) -> int:
    """The pages of a TIFF that are as large as the first; smaller ones are previews of it."""
    sizes = []
    try:
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            sizes.append(picture.size)
    except Exception as error:  # as for `_decode`
        raise _UnreadableError(_damage(error)) from None
    return sizes.count(sizes[0])


def _decode(path: Path, most: int = 1) -> tuple[Picture.Image, int]:
    """The upright RGB image, and its factor, see `open_shrunk`; `_UnreadableError` says why not."""
    with _opened(path) as picture:
        (width, height), factor = picture.size, 1
        try:
            if most > 1 and picture.format == "JPEG" and width * height > LARGE:
                picture.draft(None, (max(width // most, 1), max(height // most, 1)))
                factor = round(width / picture.width)
            picture.load()
            rgb = _rgb(picture, path)
        except WindowError as error:
            raise _UnreadableError(str(error)) from None
        except MemoryError:
            raise _UnreadableError("too large for this machine's memory") from None
        except Exception as error:  # Pillow's decoders raise whatever damaged bytes lead to
            raise _UnreadableError(_damage(error)) from None
        # load() has rotated a TIFF and removed its tag.
        turn = _UPRIGHT.get(_orientation(picture))
        return rgb if turn is None else rgb.transpose(turn), factor


def _opened(path: Path, stream: BinaryIO | None = None) -> Picture.Image:
    """The image with its header read, of an open file if given; `_UnreadableError` says why not."""
    try:
        if path.stat().st_size == 0:
            raise _UnreadableError("the file is empty, 0 bytes")
        picture = _read_header(stream or path)
    except (Picture.DecompressionBombError, Picture.DecompressionBombWarning):
        raise _UnreadableError("more than 200 megapixels") from None
    except UnidentifiedImageError:
        raise _UnreadableError(_what_it_is(path)) from None
    except OSError as error:
        raise _UnreadableError(_system_reason(error)) from None
    except _UnreadableError:
        raise
    except Exception as error:  # as above: a damaged header
        raise _UnreadableError(_damage(error)) from None
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise _UnreadableError("more than 200 megapixels")
    return picture


def _read_header(file: Path | BinaryIO) -> Picture.Image:
    try:
        return Picture.open(file, formats=FORMATS)
    except (Picture.DecompressionBombError, Picture.DecompressionBombWarning):
        # Pillow's limit is below ours, and a variable of the whole process: it must not stay ours.
        with _pillow_limit:
            limit, Picture.MAX_IMAGE_PIXELS = Picture.MAX_IMAGE_PIXELS, MAX_PIXELS
            try:
                return Picture.open(file, formats=FORMATS)
            finally:
                Picture.MAX_IMAGE_PIXELS = limit


def _turned_size(picture: Picture.Image) -> tuple[int, int]:
    """Width and height as displayed, of an opened image."""
    width, height = picture.size
    # Pillow rotates a TIFF by itself, and reports the rotated size at once.
    if picture.format != "TIFF" and _orientation(picture) >= 5:
        return height, width
    return width, height


def _orientation(picture: Picture.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or EXIF is damaged."""
    try:
        orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error, UserWarning):
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _rgb(picture: Picture.Image, path: Path) -> Picture.Image:
    if is_deep(picture):
        levels = eight_bits(picture, window_of(picture, path))
        return Picture.fromarray(levels).convert("RGB")
    if picture.has_transparency_data:
        white = Picture.new("RGBA", picture.size, "white")
        return Picture.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


def _unreadable(path: Path, error: _UnreadableError) -> ImageError:
    if str(error) == _MISSING:
        return ImageError(
            f"{path} is not there.",
            "Renamed or moved: labelkit images relocate. Deleted: labelkit images remove",
        )
    return ImageError(f"{path} is not a readable image ({error}).", "Replace or remove the file.")


def _damage(error: Exception) -> str:
    text = str(error).lower()
    if any(word in text for word in ("truncated", "unexpected end", "not enough")):
        return "truncated file"
    return f"damaged file: {error}" if str(error) else "damaged file"


def _system_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return _MISSING
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if error.strerror:
        return error.strerror.lower()
    return _damage(error)


def _what_it_is(path: Path) -> str:
    """Why Pillow does not recognise a file, from its first bytes."""
    with path.open("rb") as stream:
        head = stream.read(256).lstrip()
    if head.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")):
        return "truncated file"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer; fetch the image with: git lfs pull"
    if head[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image"
    if head.startswith(b"%PDF"):
        return "a PDF, not an image"
    return "not an image format that labelkit reads"


def _nothing_to_read(
    root: Path, problems: list[ScanProblem], others: Counter[str], video: str
) -> ImageError:
    if problems:
        first = problems[0]
        return ImageError(
            f"No image in {root} can be read; the first of {len(problems)} is {first.path} "
            f"({first.reason}).",
            "Replace the files, or give another folder with --images.",
        )
    found = ", ".join(f"{count} x {suffix}" for suffix, count in others.most_common(3))
    return ImageError(
        f"{root} holds no images" + (f" (only {found})." if found else "."),
        frames_of(video) if video else f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}.",
    )
