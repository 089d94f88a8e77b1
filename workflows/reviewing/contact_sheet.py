"""A contact sheet: one picture of crops with true keypoints, predictions and maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pictures
from PIL import ImageDraw, ImageEnhance, ImageFont

from labelkit.domain.colours import keypoint_colours, rgb_of
from labelkit.domain.geometry import apply_affine, scale_affine
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.files.atomic import atomic_path
from labelkit.project.images import image_file, open_upright
from labelkit.project.preannotation import pre_annotation
from labelkit.project.predictions import read_predictions
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.project.response_pictures import HEATMAP, KINDS, RESPONSE
from labelkit.project.rounds import Round
from labelkit.store.ownership import open_store
from labelkit.workflows.network.crops import cut

RGB = tuple[int, int, int]

PAGE, INK, QUIET = (250, 250, 248), (28, 30, 34), (112, 116, 124)
PANEL, GAP, MARGIN = 220, 6, 28
CAPTIONS = ("image", "prediction")
CAPTIONS_WITH_TRUTH = ("true keypoints", "prediction (white: its error)")

#: Panels are drawn this much larger and then reduced, for smooth edges.
OVERSAMPLE = 2

#: Crop pixels for each cell of a map.
PIXELS_PER_CELL = 10


@dataclass(frozen=True, slots=True, eq=False)
class SheetItem:
    """One object on the sheet.

    Attributes:
        image: the crop around it, RGB.
        truth: true keypoints, in pixels of the crop; None where they are unknown.
        prediction: in pixels of the crop.
        maps: by caption, (K, h, w) not negative and stretched over the whole crop; a panel each.
    """

    image: Pictures.Image
    truth: Pose | None
    prediction: Pose
    maps: Mapping[str, NDArray[np.floating]]


def sheet_item(
    image: Pictures.Image,
    to_cells: ArrayLike,
    response: NDArray[np.floating],
    heatmaps: NDArray[np.floating],
    prediction: Pose,
    truth: Pose | None,
) -> SheetItem:
    """An object, cropped as the network saw it.

    Args:
        image: the whole image, RGB.
        to_cells: (2, 3) or six numbers, image pixels to cells of the maps.
        response, heatmaps: (K, h, w), or without elements where there are none.
        prediction, truth: in image pixels.
    """
    affine = scale_affine(to_cells, PIXELS_PER_CELL)
    named = {KINDS[RESPONSE]: response, KINDS[HEATMAP]: heatmaps}
    maps = {name: each for name, each in named.items() if each.size}
    rows, columns = next(iter(maps.values())).shape[1:]
    crop = cut(image, affine, (rows * PIXELS_PER_CELL, columns * PIXELS_PER_CELL))

    def in_crop(pose: Pose) -> Pose:
        return Pose(apply_affine(affine, pose.xy), pose.visibility, pose.score)

    true = None if truth is None else in_crop(truth)
    return SheetItem(Pictures.fromarray(crop), true, in_crop(prediction), maps)


def sheet_items(
    project: Project, found: Round, count: int, truth: Mapping[str, Pose]
) -> Iterator[SheetItem]:
    """The first instances of a round that were trained on without a location.

    Args:
        project: of the round.
        found: the round.
        count: how many.
        truth: true poses by instance id, where they are known.
    """
    predictions = read_predictions(found.path / "predictions.parquet", project.skeleton)
    with open_store(project) as store:
        instances = dict(store.instances())
        answers = store.presences(project.skeleton, found.plan.journal_head)
    chosen = [i for i in predictions if i in instances and i not in found.plan.labelled][:count]
    with MapReader(found.path / "maps" / "maps.parquet", project.skeleton) as reader:
        for id_ in chosen:
            image, maps = instances[id_].image, reader.get(id_)
            pose = pre_annotation(predictions[id_], answers.get(id_), image)
            picture = open_upright(image_file(project.images_root, image.path))
            yield sheet_item(picture, maps.crop, maps.response, maps.heatmap, pose, truth.get(id_))


def contact_sheet(
    items: Sequence[SheetItem],
    skeleton: Skeleton,
    path: Path,
    *,
    title: str,
    note: str = "",
    columns: int = 2,
) -> Path:
    """Write the sheet as PNG: a row of panels for each item, and a legend of the keypoints.

    The first panel has the true keypoints, or is the plain crop where they are unknown; then come
    the prediction and the maps.

    Args:
        items: at least one. Where only some have a kind of map, its place is empty in the others.
        skeleton: of all items.
        path: of the PNG; an existing one is replaced.
        title: the first line.
        note: a second line in grey, for example where the corrections came from.
        columns: items side by side.
    """
    colours = [rgb_of(colour) for colour in keypoint_colours(skeleton)]
    with_truth = any(item.truth is not None for item in items)
    poses = CAPTIONS_WITH_TRUTH if with_truth else CAPTIONS
    captions = list(dict.fromkeys([*poses, *(kind for item in items for kind in item.maps)]))
    columns = min(columns, len(items))
    item_width = len(captions) * (PANEL + GAP) - GAP
    width = 2 * MARGIN + columns * item_width + (columns - 1) * MARGIN
    legend = _legend(skeleton, colours, width - 2 * MARGIN)
    top = MARGIN + 34 + (24 if note else 0) + legend.height + 14
    rows = -(-len(items) // columns)
    height = top + 22 + rows * (PANEL + 3 * GAP) + MARGIN - 3 * GAP
    sheet = Pictures.new("RGB", (width, height), PAGE)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 6), title, INK, _font(22, bold=True))
    if note:
        draw.text((MARGIN, MARGIN + 28), note, QUIET, _font(14))
    sheet.paste(legend, (MARGIN, top - legend.height - 6))
    for index, item in enumerate(items):
        left = MARGIN + index % columns * (item_width + MARGIN)
        upper = top + 22 + index // columns * (PANEL + 3 * GAP)
        panels = zip((*poses, *item.maps), _panels(item, skeleton, colours), strict=True)
        shown = dict(panels)
        for x, caption in enumerate(captions):
            at = (left + x * (PANEL + GAP), upper)
            if caption in shown:
                sheet.paste(shown[caption], at)
            if index < columns:
                draw.text((at[0], at[1] - 20), caption, QUIET, _font(13))
    with atomic_path(path) as beside:
        sheet.save(beside, format="PNG")
    return path


def _panels(item: SheetItem, skeleton: Skeleton, colours: Sequence[RGB]) -> list[Pictures.Image]:
    """True keypoints, prediction and maps of one item, (PANEL, PANEL) each."""
    side = PANEL * OVERSAMPLE
    scale = side / max(item.image.size)
    size = (max(1, round(item.image.width * scale)), max(1, round(item.image.height * scale)))
    offset = ((side - size[0]) // 2, (side - size[1]) // 2)
    crop = item.image.convert("RGB").resize(size, Pictures.Resampling.BICUBIC)
    dim = ImageEnhance.Brightness(ImageEnhance.Color(crop).enhance(0.35)).enhance(0.5)

    def framed(picture: Pictures.Image) -> Pictures.Image:
        panel = Pictures.new("RGB", (side, side), (226, 227, 230))
        panel.paste(picture, offset)
        return panel

    def to_panel(pose: Pose) -> NDArray[np.float64]:
        return pose.xy * scale + offset

    true, predicted = framed(crop), framed(crop)
    heat = [framed(_heat(dim, maps, colours)) for maps in item.maps.values()]
    _draw_pose(predicted, to_panel(item.prediction), item.prediction, skeleton, colours)
    if item.truth is not None:
        both = item.truth.present & item.prediction.present
        _draw_errors(predicted, to_panel(item.truth)[both], to_panel(item.prediction)[both])
        _draw_pose(true, to_panel(item.truth), item.truth, skeleton, colours)
    return [panel.reduce(OVERSAMPLE) for panel in (true, predicted, *heat)]


def _draw_pose(
    panel: Pictures.Image,
    xy: NDArray[np.float64],
    pose: Pose,
    skeleton: Skeleton,
    colours: Sequence[RGB],
) -> None:
    """Links of mixed colour with a dark rim, and a dot on each present keypoint."""
    draw = ImageDraw.Draw(panel)
    links = [(a, b) for a, b in skeleton.links if pose.present[a] and pose.present[b]]
    for rim in (True, False):
        for a, b in links:
            mixed = tuple((p + q) // 2 for p, q in zip(colours[a], colours[b], strict=True))
            line = [tuple(xy[a]), tuple(xy[b])]
            draw.line(line, fill=(0, 0, 0) if rim else mixed, width=9 if rim else 5)
    for k in np.flatnonzero(pose.present):
        _dot(draw, xy[k], 7, colours[k], (0, 0, 0))


def _draw_errors(
    panel: Pictures.Image, true_xy: NDArray[np.float64], predicted_xy: NDArray[np.float64]
) -> None:
    """White lines from each true keypoint to its prediction."""
    draw = ImageDraw.Draw(panel)
    for true, predicted in zip(true_xy, predicted_xy, strict=True):
        ends = [tuple(true), tuple(predicted)]
        draw.line(ends, fill=(0, 0, 0), width=6)
        draw.line(ends, fill=(255, 255, 255), width=3)


def _heat(
    picture: Pictures.Image, maps: NDArray[np.floating], colours: Sequence[RGB]
) -> Pictures.Image:
    """All maps over one picture, each in its keypoint's colour and scaled to its own maximum."""
    colour = np.zeros((picture.height, picture.width, 3), np.float32)
    total = np.full((picture.height, picture.width, 1), 1e-6, np.float32)
    opacity = np.zeros_like(total)
    for k, response in enumerate(np.asarray(maps, dtype=np.float32)):
        if response.size == 0 or response.max() <= 0:
            continue
        small = Pictures.fromarray(response / response.max())
        weight = np.asarray(small.resize(picture.size, Pictures.Resampling.BICUBIC))[..., None]
        weight = np.clip(weight, 0, 1) ** 1.5
        colour += weight * np.asarray(colours[k], np.float32)
        total += weight
        np.maximum(opacity, weight, out=opacity)
    pixels = np.asarray(picture, np.float32)
    blended = pixels + 0.9 * opacity * (colour / total - pixels)
    return Pictures.fromarray(blended.round().astype(np.uint8))


def _dot(
    draw: ImageDraw.ImageDraw, xy: NDArray[np.float64], radius: float, fill: RGB, rim: RGB
) -> None:
    x, y = xy
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=rim, width=2)


def _legend(skeleton: Skeleton, colours: Sequence[RGB], width: int) -> Pictures.Image:
    """A dot and a name for each keypoint, on as many lines as needed."""
    font, line = _font(13), 22
    places, x, y = [], 0, 0
    for name in skeleton.keypoints:
        needed = 16 + int(font.getlength(name)) + 18
        if x and x + needed > width:
            x, y = 0, y + line
        places.append((x, y))
        x += needed
    legend = Pictures.new("RGB", (width * OVERSAMPLE, (y + line) * OVERSAMPLE), PAGE)
    draw, large = ImageDraw.Draw(legend), _font(13 * OVERSAMPLE)
    for (left, top), name, colour in zip(places, skeleton.keypoints, colours, strict=True):
        centre = np.array([left + 6.0, top + 9.0]) * OVERSAMPLE
        _dot(draw, centre, 5 * OVERSAMPLE, colour, INK)
        draw.text(((left + 16) * OVERSAMPLE, top * OVERSAMPLE), name, INK, large)
    return legend.reduce(OVERSAMPLE)


def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and covers most scripts."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
