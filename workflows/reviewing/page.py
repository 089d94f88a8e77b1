"""`labelkit review --html FILE`: the review as one self-contained HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.domain.colours import keypoint_colours, rgb_of
from labelkit.domain.geometry import apply_affine
from labelkit.domain.pose import ABSENT, Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import WaitingForLabels
from labelkit.files.atomic import write_text
from labelkit.metrics.findings import ReviewItem
from labelkit.progress import Progress
from labelkit.project.images import image_file, open_upright
from labelkit.project.outputs import check_output
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.project.response_pictures import HEATMAP, KINDS, RESPONSE, MapPictures
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.network.crops import cut
from labelkit.workflows.reviewing.crops import crop_of
from labelkit.workflows.reviewing.items import gather, map_file, note_on_maps

#: By this line `check_output` recognises a page that may be replaced.
MARK = '<meta name="generator" content="labelkit review">'
#: Default number of instances on a page; a page of them takes about 2 MB.
WORST = 50


@dataclass(frozen=True, slots=True)
class PageReport(Report):
    """The page that was written.

    Attributes:
        file: the page.
        instances: number of instances on it, most uncertain first.
        round: whose predictions it shows.
        size_bytes: of the file.
        note: that the round has no maps, or "".
    """

    file: Path
    instances: int
    round: int
    size_bytes: int
    note: str = ""
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        return (
            f"Wrote the {self.instances} most uncertain instances of round {self.round:03d} to "
            f"{self.file} ({self.size_bytes / 1e6:.1f} MB).\n{self.note}"
        ).rstrip()


def review_html(
    project: Project,
    store: LabelStore,
    progress: Progress,
    path: Path,
    *,
    number: int | None = None,
    limit: int | None = None,
    overwrite: bool = False,
) -> PageReport:
    """Write the page.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows bars.
        path: of the page.
        number: of the round to show; None for the newest complete one.
        limit: number of instances; None for `WORST`.
        overwrite: replace a file that is not such a page, too.

    Raises:
        UsageError: if there is no such round, or `path` is another file.
        WaitingForLabels: if no round is complete.
    """
    check_output(path, MARK, project, overwrite=overwrite)
    found = gather(project, store, number=number)
    if found.round is None:
        raise WaitingForLabels(
            "There are no predictions to review yet.", "See what comes first: labelkit status"
        )
    chosen = found.most_uncertain(limit or WORST, project.skeleton)
    maps = map_file(found.round)
    name = found.fields[-1]
    with ExitStack() as stack:
        reader = stack.enter_context(MapReader(maps, project.skeleton)) if maps.is_file() else None
        pictures = MapPictures(maps, (), skeleton=project.skeleton) if maps.is_file() else None
        cards = [
            _card(project, found.items[id_], name, reader, pictures)
            for id_ in progress.track(chosen, "Drawing", len(chosen))
        ]
    title = f"{project.name}: round {found.round.plan.number:03d}"
    write_text(path, page(title, project.skeleton, cards))
    size, note = path.stat().st_size, note_on_maps(found.round)
    return PageReport(path, len(cards), found.round.plan.number, size, note)


class Line(NamedTuple):
    """A line in crop pixels; its kind is "model" or "human" for a link, else "error"."""

    kind: str
    x1: float
    y1: float
    x2: float
    y2: float


class Dot(NamedTuple):
    """A keypoint in crop pixels."""

    keypoint: int
    x: float
    y: float
    colour: str
    human: bool
    label: str


class Card(NamedTuple):
    """An instance on the page.

    Attributes:
        width, height: of the crop in pixels.
        photo: the crop, as a data URL.
        maps: by what they are called, K maps over the crop as data URLs.
        lines, dots: drawn over the crop.
        caption: lines of text.
    """

    width: int
    height: int
    photo: str
    maps: Mapping[str, Sequence[str]]
    lines: Sequence[Line]
    dots: Sequence[Dot]
    caption: Sequence[str]


def page(title: str, skeleton: Skeleton, cards: Sequence[Card]) -> str:
    """The whole document; its policy makes browsers fetch nothing."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    keypoints = list(zip(skeleton.keypoints, keypoint_colours(skeleton), strict=True))
    return templates.get_template("page.html").render(
        title=title,
        mark=MARK,
        keypoints=keypoints,
        cards=cards,
        kinds=list(dict.fromkeys(name for card in cards for name in card.maps)),
    )


def _card(
    project: Project,
    item: ReviewItem,
    name: str,
    reader: MapReader | None,
    pictures: MapPictures | None,
) -> Card:
    instance, skeleton = item.instance, project.skeleton
    found = reader.get(instance.id) if reader is not None and instance.id in reader else None
    affine, size_hw = crop_of(instance, found)
    crop = cut(open_upright(image_file(project.images_root, instance.image.path)), affine, size_hw)
    stream = io.BytesIO()
    Pictures.fromarray(crop).save(stream, format="JPEG", quality=82)
    maps: dict[str, list[str]] = {}
    for kind in (HEATMAP, RESPONSE):
        if found is not None and pictures is not None and getattr(found, kind).size:
            maps[KINDS[kind]] = [
                _data_url("png", _coloured(pictures.get(kind, k, instance.id), colour))
                for k, colour in enumerate(keypoint_colours(skeleton))
            ]

    def in_crop(pose: Pose | None) -> Pose | None:
        if pose is None:
            return None
        return Pose(apply_affine(affine, pose.xy), pose.visibility, pose.score)

    shown, human = in_crop(item.shown.get(name)), in_crop(item.human)
    return Card(
        width=size_hw[1],
        height=size_hw[0],
        photo=_data_url("jpeg", stream.getvalue()),
        maps=maps,
        lines=list(_lines(skeleton, shown, human)),
        dots=list(_dots(skeleton, shown, human)),
        caption=_caption(item, skeleton),
    )


def _lines(skeleton: Skeleton, shown: Pose | None, human: Pose | None) -> Iterator[Line]:
    """Links of both poses, and what lies between them."""

    def line(kind: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> Line:
        return Line(kind, *(round(float(value), 1) for value in (*a, *b)))

    for kind, pose in (("human", human), ("model", shown)):
        if pose is not None:
            for a, b in skeleton.links:
                if pose.present[a] and pose.present[b]:
                    yield line(kind, pose.xy[a], pose.xy[b])
    if human is not None and shown is not None:
        for k in np.flatnonzero(shown.present & human.present):
            yield line("error", shown.xy[k], human.xy[k])


def _dots(skeleton: Skeleton, shown: Pose | None, human: Pose | None) -> Iterator[Dot]:
    colours = keypoint_colours(skeleton)
    for pose, is_human in ((shown, False), (human, True)):
        if pose is None:
            continue
        for k in np.flatnonzero(pose.present).tolist():
            x, y = (round(float(value), 1) for value in pose.xy[k])
            name = skeleton.keypoints[k]
            label = f"{name}, human" if is_human else f"{name} {pose.score[k]:.2f}"
            yield Dot(k, x, y, colours[k], is_human, label)


def _caption(item: ReviewItem, skeleton: Skeleton) -> list[str]:
    finding = item.finding
    gone = [] if item.human is None else np.flatnonzero(item.human.visibility == ABSENT).tolist()
    labelled = {skeleton.keypoints[k] for k in gone}
    numbers = [
        f"{name} {value:.2f}"
        for name, value in (
            ("uncertainty", finding.uncertainty),
            ("error", finding.error),
            ("OKS", finding.oks),
            ("corrected by", finding.correction),
        )
        if value is not None
    ]
    notes = [
        f"{label}: {', '.join(names)}"
        for label, names in (
            ("probably wrong", item.suspicions),
            ("swapped?", finding.swaps),
            ("map disagrees", finding.map_disagrees),
            ("present but not found", finding.not_found),
            ("found but labelled absent", [it for it in finding.answered_absent if it in labelled]),
            (
                "found but answered absent",
                [it for it in finding.answered_absent if it not in labelled],
            ),
            ("tags", item.tags),
            ("annotators", finding.work.annotators),
        )
        if names
    ]
    lines = [f"{item.instance.image.path} ({item.instance.id})", ", ".join(numbers), *notes]
    return [line for line in lines if line]


def _coloured(levels: bytes, colour: str) -> bytes:
    """A grey map as one colour, more opaque where it is brighter."""
    grey = Pictures.open(io.BytesIO(levels)).convert("L")
    result = Pictures.new("RGBA", grey.size, (*rgb_of(colour), 0))
    result.putalpha(grey)
    stream = io.BytesIO()
    result.save(stream, format="PNG")
    return stream.getvalue()


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
