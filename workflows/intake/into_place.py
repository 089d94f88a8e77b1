"""Labels brought to their place in the picture, whatever size a file takes the picture to have.

A file may give the size in which a picture is stored though EXIF turns it, the size before the
picture was scaled, or coordinates that are shares of it. What its labels count is concluded from
where they lie. If they fit both sizes, it is not certain, and the file is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from labelkit.domain.annotation import SLACK_PX, Annotation
from labelkit.domain.geometry import Affine, after, apply_affine, scale_affine, turn_affine
from labelkit.domain.instance import Box, Image
from labelkit.domain.pose import Pose
from labelkit.domain.text import counted
from labelkit.errors import FormatError
from labelkit.project.images import exif_orientation

#: The size whose pixels labels count: the one in the file, or that of the picture as displayed.
PixelsOf = Literal["file", "picture"]

#: Pixels by which a side may differ from another that was scaled, because it was rounded.
_ROUNDING = 1

#: Share of its side by which a drawn box may exceed the picture.
_BOX_SLACK = 0.05


class Sizes(NamedTuple):
    """What a label file tells about the sizes of its images.

    Attributes:
        by_path: (width, height) by path as the file writes it; 0 for a side that is missing.
        pixels_of: "file" if the format is known to count the pixels of these sizes.
        are_shares: coordinates are shares (0..1) of width and height.
    """

    by_path: Mapping[str, tuple[int, int]] = MappingProxyType({})
    pixels_of: PixelsOf | None = None
    are_shares: bool = False

    def of(self, path: str) -> tuple[int, int]:
        """(width, height) in the file; 0 for a side that is missing."""
        return self.by_path.get(path, (0, 0))


#: Of a file that tells nothing about them.
NO_SIZES = Sizes()


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One picture as the file has it.

    Attributes:
        path: as the file writes it.
        size: width and height in the file; as stored, if the file gives none.
        shown: width and height as displayed.
        kind: of the difference between the two, see `_KINDS`.
        displayed: (2, 3) map from the pixels of `size` to those of the picture.
        fits: in which of the two all labels lie.
    """

    path: str
    size: tuple[int, int]
    shown: tuple[int, int]
    kind: str
    displayed: Affine
    fits: frozenset[PixelsOf]


#: Kinds of differences, and what is done to labels that count the pixels of the file's size.
_KINDS = {
    "turned": "turned as EXIF turns the picture",  # the file has the size as stored
    "unsized": "turned as EXIF turns the picture",  # the file has no size
    "scaled": "scaled to the picture",
    "swapped": "",  # width and height, without EXIF: it is not known which way to turn
    "other": "stretched to the picture",
    "mirrored": "turned as EXIF turns the picture",  # which does not change its size
}


def into_place(
    found: Sequence[tuple[Image, Annotation]],
    sizes: Sizes,
    images_root: Path,
    origin: str,
    chosen: PixelsOf | None = None,
    *,
    can_choose: bool = True,
) -> tuple[list[tuple[Image, Annotation]], list[str]]:
    """Annotations in upright image pixels, and notes on what was done to them.

    Args:
        found: annotations of one file as it writes them, with their images.
        sizes: what the file tells about sizes.
        images_root: the folder that image paths are below.
        origin: the file, for messages.
        chosen: by the user; None concludes it.
        can_choose: whether the command has the option, so that errors may name it.

    Raises:
        FormatError: if it is not certain what the labels count.
    """
    found, sizes, notes = _in_pixels(found, sizes, origin)
    views = _views(found, sizes, images_root)
    decided: dict[str, PixelsOf] = {"same": "picture"}
    for kind in _KINDS:
        if mine := [view for view in views.values() if view.kind == kind]:
            decision: PixelsOf | None
            if kind == "mirrored":  # a tool that ignores EXIF does so for all pictures
                alike = decided.get("turned") or decided.get("unsized")
                alone = chosen if len(decided) == 1 else None
                decision = alike or alone or "picture"
            else:
                decision = chosen or _concluded(kind, mine, sizes)
            if decision is None or (decision == "file" and not _KINDS[kind]):
                raise _uncertain(mine, origin, can_choose)
            decided[kind] = decision
            notes += _notes(kind, decision, mine, sizes, origin)
    placed = []
    for image, item in found:
        view = views[item.image_path]
        as_it_is = decided[view.kind] == "picture"
        placed.append((image, item if as_it_is else _moved(item, view.displayed)))
    return placed, notes


def _in_pixels(
    found: Sequence[tuple[Image, Annotation]], sizes: Sizes, origin: str
) -> tuple[Sequence[tuple[Image, Annotation]], Sizes, list[str]]:
    """Shares turned into pixels of the size in the file, or of the picture if it gives none."""
    posed = [item for _, item in found if item.pose.present.sum() > 1]
    boxed = [item for _, item in found if item.box is not None and item.box.has_area]
    points = sizes.are_shares or _are_shares([item.pose.extent for item in posed], posed, origin)
    boxes = sizes.are_shares or _are_shares([item.box for item in boxed], boxed, origin)
    if not points and not boxes:
        return found, sizes, []
    result = []
    for image, item in found:
        size = sizes.of(item.image_path)
        w, h = size if all(size) else (image.width, image.height)
        moved = _moved(item, np.array([[w, 0.0, 0.0], [0.0, h, 0.0]]))
        if not points:
            moved = replace(moved, pose=item.pose)
        if not boxes:
            moved = replace(moved, box=item.box, area=item.area)
        result.append((image, moved))
    if sizes.are_shares:
        return result, sizes, []
    what = " and ".join(["keypoints"] * points + ["boxes"] * boxes)
    note = f"The {what} of {origin} are shares of the pictures, not pixels, and are taken so."
    return result, sizes._replace(are_shares=points), [note]


def _are_shares(extents: Sequence[Box | None], items: Sequence[Annotation], origin: str) -> bool:
    """Whether all lie within one pixel of the corner of their pictures, where no object fits.

    Raises:
        FormatError: if some of them do.
    """
    small = [
        item
        for extent, item in zip(extents, items, strict=True)
        if extent and min(extent.corners) >= 0 and 0 < max(extent.corners) <= 1
    ]
    if small and len(small) < len(items):
        raise FormatError(
            f"{origin}: annotation {small[0].reference} lies within one pixel of the corner, as "
            f"shares (0..1) of the picture would; most others count pixels.",
            "Write all of them in pixels.",
        )
    return bool(small)


def _views(
    found: Sequence[tuple[Image, Annotation]], sizes: Sizes, images_root: Path
) -> dict[str, _View]:
    items: dict[str, list[Annotation]] = defaultdict(list)
    images = {}
    for image, item in found:
        items[item.image_path].append(item)
        images[item.image_path] = image
    return {
        path: _view(path, mine, images[path], sizes.of(path), images_root)
        for path, mine in items.items()
    }


def _view(
    path: str, items: Sequence[Annotation], image: Image, written: tuple[int, int], root: Path
) -> _View:
    shown = image.width, image.height
    file = root / image.path
    orientation = exif_orientation(file) if file.is_file() else 1  # removed from the project
    stored = shown[::-1] if orientation >= 5 else shown
    size = (written[0] or shown[0], written[1] or shown[1]) if any(written) else stored
    kind, displayed = "other", scale_affine([1, 0, 0, 0, 1, 0], np.divide(shown, size))
    if _equal(size, shown):
        kind = "same"
        if orientation > 1 and _equal(stored, shown):
            kind, displayed = "mirrored", turn_affine(orientation, stored)
    elif orientation >= 5 and _alike(size, stored) and not _alike(size, shown):
        kind = "turned" if any(written) else "unsized"
        scaling = scale_affine([1, 0, 0, 0, 1, 0], np.divide(stored, size))
        displayed = after(turn_affine(orientation, stored), scaling)
    elif _alike(size, shown):
        kind = "scaled"
    elif _alike(size, shown[::-1]):
        kind = "swapped"
    fits: list[PixelsOf] = []
    if _all_inside(items, size):
        fits.append("file")
    if _all_inside(items, shown):
        fits.append("picture")
    return _View(path, size, shown, kind, displayed, frozenset(fits))


def _equal(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return all(abs(a - b) <= _ROUNDING for a, b in zip(one, other, strict=True))


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether one size is the other, scaled and rounded."""
    return abs(one[0] * other[1] - one[1] * other[0]) <= _ROUNDING * max(*one, *other)


def _all_inside(items: Sequence[Annotation], size: tuple[int, int]) -> bool:
    limits = np.array(size, dtype=np.float64)
    for item in items:
        for extent, slack in ((item.pose.extent, SLACK_PX), (item.box, _BOX_SLACK * limits)):
            if extent is not None:
                corners = np.reshape(extent.corners, (2, 2))
                if (corners < -slack).any() or (corners > limits + slack).any():
                    return False
    return True


def _moved(item: Annotation, affine: Affine) -> Annotation:
    pose = Pose(apply_affine(affine, item.pose.xy), item.pose.visibility, item.pose.score)
    box, area = item.box, item.area
    if box is not None:
        ends = apply_affine(affine, np.reshape(box.corners, (2, 2)))
        box = Box(*ends.min(axis=0).tolist(), *np.ptp(ends, axis=0).tolist())
    if area is not None:
        area *= abs(float(np.linalg.det(affine[:, :2])))
    return replace(item, pose=pose, box=box, area=area)


def _concluded(kind: str, views: Sequence[_View], sizes: Sizes) -> PixelsOf | None:
    """What labels count where the size in the file is not the picture's; None if uncertain."""
    if sizes.are_shares and kind in ("scaled", "other"):
        return "file"
    if sizes.pixels_of and kind in ("turned", "scaled"):
        return sizes.pixels_of
    only = {pixels_of for view in views if len(view.fits) == 1 for pixels_of in view.fits}
    if kind == "unsized" and (not only or not all(view.fits for view in views)):
        return "picture"
    if len(only) > 1 or not all(view.fits for view in views):
        return None
    if kind in ("swapped", "other"):  # turned by hand, cut or padded: no map leads to the picture
        only.discard("file")
    return next(iter(only), None)


def _uncertain(views: Sequence[_View], origin: str, can_choose: bool) -> FormatError:
    """The refusal, with both sizes and what to do."""
    view = next((view for view in views if not view.fits), views[0])
    file = next((view for view in views if view.fits == {"file"}), None)
    picture = next((view for view in views if view.fits == {"picture"}), None)
    if not view.fits:
        why = "its labels fit neither"
    elif file and picture:
        why = f"the labels of {file.path} fit only the first, those of {picture.path} the second"
    elif file:
        why = f"the labels of {file.path} fit only the first, which has another shape"
    else:
        why = "its labels fit both, and may count the pixels of either"
    more = f", as for {counted(len(views), 'image')}" if len(views) > 1 else ""
    size, shown = _times(view.size), _times(view.shown)
    where = "as stored" if view.kind == "unsized" else "in the file"
    if not can_choose:
        advice = f"If they fit the picture as it is displayed, write {shown} into the file. If not"
        advice += ", use the picture that was labelled."
    elif not _KINDS[view.kind]:
        advice = "If they fit the picture as it is displayed, add to the command: --label-pixels "
        advice += "picture\nOtherwise turn the pictures back to how they were labelled."
    else:
        advice = f"If they count the pixels of {size}, add to the command: --label-pixels file\n"
        advice += "If they fit the picture as it is displayed, add: --label-pixels picture"
    return FormatError(
        f"{origin}: {view.path} has {size} pixels {where}, but {shown} as it is displayed{more}; "
        f"{why}.",
        advice,
    )


def _notes(
    kind: str, pixels_of: PixelsOf, views: Sequence[_View], sizes: Sizes, origin: str
) -> list[str]:
    """What was done to the labels of these pictures, unless it goes without saying."""
    if (kind == "scaled" and sizes.pixels_of) or (kind in ("scaled", "other") and sizes.are_shares):
        return []
    first = views[0]
    done = _KINDS[kind] if pixels_of == "file" else "taken to fit the picture as it is displayed"
    if kind in ("unsized", "mirrored"):
        what = f"EXIF turns {counted(len(views), 'picture')} of {origin}, such as {first.path}"
    else:
        what = (
            f"{origin} gives {counted(len(views), 'picture')} another size, such as {first.path} "
            f"{_times(first.size)} instead of {_times(first.shown)}"
        )
    return [f"{what}: the labels are {done}."]


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
