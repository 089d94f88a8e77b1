"""`labelkit review --html FILE`: what the App shows, on one page that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from labelkit.domain.colours import keypoint_colours, rgb_of
from labelkit.domain.pose import Pose
from labelkit.domain.skeleton import Skeleton
from labelkit.errors import WaitingForLabels
from labelkit.files.atomic import write_text
from labelkit.metrics.findings import ReviewItem
from labelkit.progress import Progress
from labelkit.project.images import image_file, open_upright
from labelkit.project.outputs import check_output
from labelkit.project.project import Project
from labelkit.project.response_maps import MapReader
from labelkit.project.response_pictures import RESPONSE, MapPictures
from labelkit.store.label_store import LabelStore
from labelkit.workflows.reviewing.crops import crop_frame, cut
from labelkit.workflows.reviewing.items import gather, map_file

#: The line of a page that says where it comes from.
MARK = '<meta name="generator" content="labelkit review">'
#: Instances on a page unless told; a page of them takes about 2 MB.
WORST = 50


@dataclass(frozen=True, slots=True)
class PageReport:
    """What was written.

    Attributes:
        file: the page.
        instances: on it, least sure first.
        round: that was looked into.
        size_bytes: of the file.
    """

    file: Path
    instances: int
    round: int
    size_bytes: int
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        return (
            f"Wrote the {self.instances} least sure instances of round {self.round:03d} to "
            f"{self.file} ({self.size_bytes / 1e6:.1f} MB)."
        )


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
        number: of the round to look into; None for the newest complete one.
        limit: of instances; None for `WORST`.
        overwrite: also a file that is no such page.

    Raises:
        UsageError: if there is no such round, or another file in its place.
        WaitingForLabels: if there is no round at all.
    """
    check_output(path, MARK, project, overwrite=overwrite)
    found = gather(project, store, progress, number=number)
    if found.looked_into is None:
        raise WaitingForLabels(
            "There are no predictions to review yet.",
            "What comes first is said by: labelkit status",
        )
    chosen = found.least_sure_first[: limit or WORST]
    maps = map_file(found.looked_into)
    name = found.rounds[-1]
    with ExitStack() as stack:
        reader = stack.enter_context(MapReader(maps)) if maps.is_file() else None
        pictures = MapPictures(maps, ()) if maps.is_file() else None
        cards = [
            _card(project, item, name, reader, pictures)
            for item in progress.track(chosen, "Drawing", len(chosen))
        ]
    title = f"{project.name}: round {found.looked_into.plan.number:03d}"
    write_text(path, page(title, project.skeleton, cards))
    return PageReport(path, len(cards), found.looked_into.plan.number, path.stat().st_size)


def page(title: str, skeleton: Skeleton, cards: Sequence[str]) -> str:
    """The whole document; the browser is told to fetch nothing."""
    colours = keypoint_colours(skeleton)
    legend = "".join(
        f'<button type="button" data-k="{k}"><i style="background:{colour}"></i>'
        f"{escape(keypoint)}</button>"
        for k, (keypoint, colour) in enumerate(zip(skeleton.keypoints, colours, strict=True))
    )
    head = escape(title)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{head}</title>
{MARK}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>{_STYLE}</style></head><body>
<h1>{head}</h1>
<p>Least sure first. Filled dots: prediction; rings: human keypoints, with a line to the prediction.
Point at a keypoint, here or in a picture, to see where the model looked for it.</p>
<nav>{legend}</nav><main>
{"".join(cards)}
</main><script>{_SCRIPT}</script></body></html>
"""


def _card(
    project: Project,
    item: ReviewItem,
    name: str,
    reader: MapReader | None,
    pictures: MapPictures | None,
) -> str:
    instance, skeleton = item.instance, project.skeleton
    seen = reader.get(instance.id) if reader is not None and instance.id in reader else None
    cells = seen.response.shape[1:] if seen is not None else (0, 0)
    frame, size = crop_frame(instance, seen.crop if seen else None, (cells[0], cells[1]))
    picture = cut(open_upright(image_file(project.images_root, instance.image.path)), frame, size)
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=82)
    maps: list[str] = []
    if seen is not None and pictures is not None and seen.response.size:
        colours = keypoint_colours(skeleton)
        maps = [
            _data("png", _coloured(pictures.get(RESPONSE, k, instance.id), colour))
            for k, colour in enumerate(colours)
        ]
    layers = [f'<img class="photo" alt="" src="{_data("jpeg", stream.getvalue())}">']
    layers += [f'<img class="map" alt="" data-k="{k}" src="{src}">' for k, src in enumerate(maps)]
    drawing = "".join(_drawing(item, name, skeleton, frame, size))
    ratio = f"{size[0]} / {size[1]}"
    return (
        f'<figure><div class="crop" style="aspect-ratio:{ratio}">{"".join(layers)}'
        f'<svg viewBox="0 0 {size[0]} {size[1]}">{drawing}</svg></div>'
        f"<figcaption>{_caption(item)}</figcaption></figure>\n"
    )


def _caption(item: ReviewItem) -> str:
    finding = item.finding
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
            ("swapped?", finding.swaps),
            ("map disagrees", finding.map_disagrees),
            ("present but not found", finding.not_found),
            ("found but answered absent", finding.answered_absent),
            ("tags", item.tags),
            ("annotators", finding.work.annotators),
        )
        if names
    ]
    lines = [f"{item.instance.image.path} ({item.instance.id})", ", ".join(numbers), *notes]
    return "<br>".join(escape(line) for line in lines if line)


def _drawing(
    item: ReviewItem,
    name: str,
    skeleton: Skeleton,
    frame: Sequence[float],
    size_wh: tuple[int, int],
) -> Iterator[str]:
    affine = np.reshape(frame, (2, 3)) * np.array(size_wh)[:, None]
    colours = keypoint_colours(skeleton)

    def place(pose: Pose) -> NDArray[np.float64]:
        moved: NDArray[np.float64] = pose.xy @ affine[:, :2].T + affine[:, 2]
        return moved

    def lines(pose: Pose, xy: NDArray[np.float64], kind: str) -> Iterator[str]:
        for a, b in skeleton.links:
            if pose.present[a] and pose.present[b]:
                yield _line(xy[a], xy[b], kind)

    shown, human = item.shown.get(name), item.human
    if human is not None:
        yield from lines(human, place(human), "human")
    if shown is not None:
        xy = place(shown)
        yield from lines(shown, xy, "model")
        if human is not None:
            for k in np.flatnonzero(shown.present & human.present):
                yield _line(xy[k], place(human)[k], "error")
        for k in np.flatnonzero(shown.present):
            label = escape(f"{skeleton.keypoints[k]} {shown.score[k]:.2f}")
            yield _dot(xy[k], f'r="6" fill="{colours[k]}"', int(k), label)
    if human is not None:
        for k in np.flatnonzero(human.present):
            label = escape(f"{skeleton.keypoints[k]}, human")
            style = f'r="8" fill="none" stroke="{colours[k]}" stroke-width="3"'
            yield _dot(place(human)[k], style, int(k), label)


def _line(a: NDArray[np.float64], b: NDArray[np.float64], kind: str) -> str:
    (x1, y1), (x2, y2) = a, b
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(xy: NDArray[np.float64], style: str, keypoint: int, label: str) -> str:
    return (
        f'<circle data-k="{keypoint}" cx="{xy[0]:.1f}" cy="{xy[1]:.1f}" {style}>'
        f"<title>{label}</title></circle>"
    )


def _coloured(levels: bytes, colour: str) -> bytes:
    """A grey map as one colour that covers more where it is brighter."""
    grey = Pictures.open(io.BytesIO(levels)).convert("L")
    result = Pictures.new("RGBA", grey.size, (*rgb_of(colour), 0))
    result.putalpha(grey)
    stream = io.BytesIO()
    result.save(stream, format="PNG")
    return stream.getvalue()


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


_STYLE = """
:root{color-scheme:light dark;font:15px/1.45 system-ui,sans-serif}
body{margin:1.5rem;background:Canvas;color:CanvasText}h1{font-size:1.4rem}
nav{position:sticky;top:0;z-index:1;background:Canvas;padding:.5rem 0;display:flex;flex-wrap:wrap;
gap:.3rem}
nav button{font:inherit;font-size:.85rem;border:1px solid GrayText;border-radius:1em;padding:0 .6em;
background:none;color:inherit}nav button.on{outline:2px solid Highlight}
nav i{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.4em}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1.2rem}
figure{margin:0}.crop{position:relative;overflow:hidden;background:#777}
.crop img,.crop svg{position:absolute;inset:0;width:100%;height:100%}
.map{opacity:0;pointer-events:none}.map.on{opacity:.85}.dim .photo{filter:brightness(.55)}
line{stroke-width:2}.model{stroke:#fff;opacity:.75}.human{stroke:#000;opacity:.6}
.error{stroke:#fff;stroke-dasharray:4 3}circle{cursor:pointer}
figcaption{font-size:.82rem;overflow-wrap:anywhere}
"""

_SCRIPT = """
const all = (selector, inside) => (inside || document).querySelectorAll(selector);
function show(k, inside) {
  all("[data-k]").forEach(e => e.classList.remove("on"));
  all(".crop").forEach(e => e.classList.remove("dim"));
  if (k === null) return;
  all('.map[data-k="' + k + '"]', inside).forEach(e => {
    e.classList.add("on"); e.closest(".crop").classList.add("dim"); });
  all('nav [data-k="' + k + '"]').forEach(e => e.classList.add("on"));
}
document.addEventListener("pointerover", event => {
  const mark = event.target.closest("circle[data-k], nav [data-k]");
  show(mark ? mark.dataset.k : null, mark ? mark.closest("figure") : null);
});
document.addEventListener("focusin", event => {
  const mark = event.target.closest("nav [data-k]");
  if (mark) show(mark.dataset.k, null);
});
"""
