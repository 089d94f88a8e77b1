"""How long the labelling page lets an annotator wait, in a real Chromium.

A project of made-up pictures and 17 keypoints has 10,000 objects in its queue; `labelkit label`
serves it from a process of its own. *Next object*: from Enter until the next object is drawn and
its picture decoded; one object a second, so that the page has the time to fetch ahead, and as fast
as it goes. *Followed drag*: from the end of a drag until the keypoints that followed it are drawn.
Beside the times stands that of a request for the smallest file of the page: other load on the
machine changes both.

    OMP_NUM_THREADS=1 python benchmarks/labelling_page.py [--objects 10000] [--turns 100]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from PIL import Image as Picture

from labelkit.bridges.ports import free_port
from labelkit.domain.skeleton import load_skeleton
from labelkit.metrics.table import markdown

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from labelling import BOX, SIZE_WH, Bench, Page, Process, bench_of, chromium_page, with_tree

CHROMIUM = Path("/usr/bin/chromium")
OF_AN_IMAGE = 4

#: Resolve to milliseconds.
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
NEXT = f"""async () => {{
  const drawn = {DRAWN}, before = desk.object, begun = performance.now();
  dispatchEvent(new KeyboardEvent("keydown", {{ key: "Enter", cancelable: true }}));
  while (!desk.object || desk.object === before) await drawn();
  const picture = new Image();
  picture.src = document.querySelector("#world image").getAttribute("href");
  await picture.decode();
  await drawn();
  return performance.now() - begun;
}}"""
FOLLOWED = f"""async (by) => {{
  const drawn = {DRAWN}, view = document.getElementById("view");
  const frame = view.getBoundingClientRect();
  view.setPointerCapture = () => {{}};
  const [x, y] = desk.stage.toScreen(desk.object.now.points[0]);
  const point = (kind, away) => view.dispatchEvent(new PointerEvent(kind, {{
    pointerId: 1, button: 0, clientX: frame.left + x + away, clientY: frame.top + y, bubbles: true,
  }}));
  point("pointerdown", 0);
  point("pointermove", by / 2);
  await drawn();
  const others = JSON.stringify(desk.object.now.points.slice(1)), begun = performance.now();
  point("pointerup", by);
  while (JSON.stringify(desk.object.now.points.slice(1)) === others) await drawn();
  await drawn();
  return performance.now() - begun;
}}"""
REQUEST = """async () => {
  const begun = performance.now();
  await (await fetch("/page/icon.svg")).text();
  return performance.now() - begun;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=100)
    options = parser.parse_args()
    if not CHROMIUM.is_file():
        print(f"Not run: {CHROMIUM} does not exist.")
        return
    with tempfile.TemporaryDirectory() as name:
        bench = make(Path(name), options.objects, 4 * options.turns)
        print(f"{machine()}; load {load()}; {options.objects} objects\n", flush=True)
        with Process(bench.project, free_port()) as server, chromium_page(CHROMIUM) as browser:
            page = Page(browser.new_page()).open(server.url)
            print(table(page, options.turns))
            print(f"\nload {load()}")
            assert page.errors == []


def make(folder: Path, objects: int, mapped: int) -> Bench:
    """The project; the first objects of its queue have maps."""
    rng = np.random.default_rng(0)
    (folder / "frames").mkdir()
    for number in range(objects // OF_AN_IMAGE):
        small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Picture.fromarray(small).resize(SIZE_WH)
        picture.save(folder / "frames" / f"{number:05d}.jpg")
    skeleton = load_skeleton("coco17")
    places = np.array(skeleton.layout) * [BOX.w, BOX.h] + [BOX.x, BOX.y]
    confidence = np.linspace(0.9, 0.3, len(skeleton))
    bench = bench_of(folder, skeleton, places=places, confidence=confidence, objects=OF_AN_IMAGE)
    return with_tree(bench, places, bench.ids[:mapped])


def table(page: Page, turns: int) -> str:
    """Medians and 95th percentiles in milliseconds."""

    def measured(script: str, argument: Any = None, pause_ms: int = 0) -> float:
        page.page.wait_for_timeout(pause_ms)
        return float(page.page.evaluate(script, argument))

    unhurried, followed, request = [], [], []
    for _ in range(turns):
        followed.append(measured(FOLLOWED, 60))
        request.append(measured(REQUEST))
        unhurried.append(measured(NEXT, pause_ms=1000))
    rows = [
        ("next object, one a second", unhurried),
        ("next object, as fast as it goes", [measured(NEXT) for _ in range(turns)]),
        ("followed drag", followed),
        ("smallest request", request),
    ]
    header = ("wait", "median, ms", "p95, ms")
    return markdown(
        (
            header,
            *((name, *(f"{np.percentile(ms, q):.0f}" for q in (50, 95))) for name, ms in rows),
        )
    )


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
