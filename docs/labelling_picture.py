"""The moving picture of docs/labelling.md: figures are corrected in a real Chromium.

A round is trained on generated figures, of which some are located, and a script corrects others on
the labelling page: few drags each, as the others follow. Run again, it trains nothing anew.

    python docs/labelling_picture.py [--folder scratch/film]
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from labelkit.domain.pose import UNKNOWN, VISIBLE, Pose, human_pose
from labelkit.project.following import RoundFollower
from labelkit.project.predictions import read_predictions
from labelkit.project.project import open_project
from labelkit.project.response_maps import MapReader
from labelkit.project.rounds import latest_complete
from labelkit.workflows.synthetic.figures import generate

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from actions import Trained
from labelling import Page, chromium_page, labelling
from lspet import run

Floats = NDArray[np.float64]
OUTPUT = Path(__file__).with_name("images") / "labelling.webp"
CHROMIUM = Path("/usr/bin/chromium")
#: How many are generated.
FIGURES = 160
SIZE_WH = (1040, 660)
#: A keypoint is right within this share of the box's long side.
RIGHT = 0.05
#: Figures to correct, and figures without anything wrong after them.
CORRECTED, RIGHT_ALREADY = 3, 1

#: A pointer and the last key; style attributes are set by script alone, as the page's policy says.
HANDS = """() => {
  const make = (style, parent = document.body) => {
    const made = document.createElement("div");
    Object.assign(made.style, { position: "fixed", zIndex: 9, pointerEvents: "none" }, style);
    return parent.appendChild(made);
  };
  const key = make({
    left: "20px", bottom: "18px", padding: "8px 16px", borderRadius: "8px",
    font: "600 20px system-ui", background: "#1d2326", color: "#fff", visibility: "hidden",
  });
  const pointer = make({
    width: "15px", height: "21px", background: "#fff", filter: "drop-shadow(0 0 1.5px #000)",
    clipPath: "polygon(0 0, 0 80%, 28% 62%, 48% 100%, 66% 92%, 46% 56%, 78% 52%)",
  });
  window.hands = {
    at: (x, y) => Object.assign(pointer.style, { left: `${x}px`, top: `${y}px` }),
    key: (name) => {
      key.textContent = name;
      key.style.visibility = name ? "visible" : "hidden";
    },
  };
}"""


class Figure(NamedTuple):
    """What is shown of one figure: the keypoints to drag, one after another, and where to."""

    id: str
    drags: list[tuple[int, Floats]]
    wrong: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("scratch/film"))
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    if not (options.folder / "figures").is_dir():
        generate(options.folder / "figures", FIGURES, seed=1, size=320)
    labels = options.folder / "figures" / "keypoints.json"
    run(
        *("bootstrap", "--images", str(labels.with_name("images")), "--labels", str(labels)),
        *("--project", str(options.folder / "project"), "--labeled", "15%", "--preset", "tiny"),
        *("--backbone", "tf_efficientnet_lite0", "--pretrained", "--epochs", "10"),
    )
    project = open_project(options.folder / "project")
    found = latest_complete(project)
    assert found is not None
    trained = Trained.of(project, found, FIGURES)
    figures = chosen(trained)
    with tempfile.TemporaryDirectory() as name, chromium_page(CHROMIUM) as browser:
        trained.ids = [figure.id for figure in figures]
        with labelling(trained.copy(Path(name) / "robots", control=False)) as served:
            size = dict(zip(("width", "height"), SIZE_WH, strict=True))
            context = browser.new_context(viewport=size, color_scheme="light")
            film = Film(Page(context.new_page()).open(served.url))
            for figure in figures:
                film.correct(figure)
            film.save(options.output)
    print(f"{options.output}: {len(film.frames)} frames, {options.output.stat().st_size:,} bytes")


def chosen(trained: Trained) -> list[Figure]:
    """Figures that need few drags though several keypoints are wrong, then some that need none."""
    project, path, snapshot = trained.project, trained.round.path, trained.snapshot
    predictions = read_predictions(path / "predictions.parquet", project.skeleton)
    labelled = [(snapshot.instances[id_], snapshot.poses[id_]) for id_ in trained.known]
    follower = RoundFollower(path / "model.safetensors", project.skeleton, labelled)
    figures = []
    with MapReader(path / "maps" / "maps.parquet", project.skeleton) as maps:
        for id_ in trained.ids:
            instance, right = snapshot.instances[id_], snapshot.poses[id_]
            xy = predictions[id_].pose.xy
            drags: list[tuple[int, Floats]] = []
            visibility = np.full(len(xy), UNKNOWN)
            off = distances(xy, right)
            wrong = int((off > RIGHT * instance.box.long_side).sum())
            while off.max() > RIGHT * instance.box.long_side and len(drags) < 3:
                k = int(off.argmax())
                drags.append((k, right.xy[k]))
                visibility[k] = VISIBLE
                xy = follower.follow(instance, maps.get(id_), human_pose(right.xy, visibility))
                off = distances(xy, right)
            figures.append(Figure(id_, drags, wrong))
    corrected = [it for it in figures if 0 < len(it.drags) < 3 and it.wrong > len(it.drags)]
    corrected.sort(key=lambda it: (len(it.drags) - it.wrong, it.id))
    return corrected[:CORRECTED] + [it for it in figures if not it.wrong][:RIGHT_ALREADY]


def distances(xy: Floats, right: Pose) -> Floats:
    """(K,) pixels; 0 where a keypoint is absent."""
    return np.where(right.present, np.hypot(*(xy - right.xy).T), 0.0)


class Film:
    """Frames of a session."""

    def __init__(self, page: Page) -> None:
        self.page, self.frames, self.ms = page, list[Any](), list[int]()
        self.hand = (SIZE_WH[0] * 0.4, SIZE_WH[1] * 0.8)
        page.page.evaluate(HANDS)
        page.page.mouse.move(*self.hand)
        self.point()

    def show(self, ms: int) -> None:
        content = self.page.page.screenshot()
        self.frames.append(Picture.open(io.BytesIO(content)).convert("RGB"))
        self.ms.append(ms)

    def point(self) -> None:
        self.page.page.evaluate("(xy) => hands.at(...xy)", list(self.hand))

    def move(self, to: tuple[float, float], steps: int) -> None:
        start = np.array(self.hand)
        for step in range(1, steps + 1):
            share = step / steps
            self.hand = tuple(start + (np.array(to) - start) * share * share * (3 - 2 * share))
            self.page.page.mouse.move(*self.hand)
            self.point()
            self.show(45)

    def press(self, key: str, text: str) -> None:
        self.page.page.evaluate("(name) => hands.key(name)", text)
        self.show(900)
        self.page.press(key)
        self.page.page.evaluate("() => hands.key('')")

    def correct(self, figure: Figure) -> None:
        self.page.page.wait_for_timeout(400)
        self.show(900)
        for k, place in figure.drags:
            points = self.page.ask("desk.object.now.points")
            self.move(self.page.at(points[k][:2]), 6)
            self.page.page.mouse.down()
            self.move(self.page.at(place), 8)
            self.page.page.mouse.up()
            self.page.page.wait_for_timeout(700)
            self.show(1100)
        self.press("Enter", "Enter: all are right")

    def save(self, path: Path) -> None:
        first, *others = self.frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=self.ms,
            loop=0,
            quality=60,
            method=6,
        )


if __name__ == "__main__":
    main()
