"""A project of plain pictures, the labelling page on it, and an annotator's browser."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builders import stick_skeleton, write_picture
from mongo import missing
from numpy.typing import ArrayLike
from torch import nn

from labelkit.domain.geometry import apply_affine
from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.selection import QueueItem
from labelkit.domain.skeleton import Skeleton
from labelkit.formats.coco import skeleton_of_coco
from labelkit.models.checkpoint import save_checkpoint
from labelkit.models.reading import PoseReader
from labelkit.project.images import scan_images
from labelkit.project.predictions import write_predictions
from labelkit.project.project import Project, create_project
from labelkit.project.response_maps import MapWriter
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import Entry
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.network.crops import crop_affine
from labelkit.workflows.review_and_label.label import Labelling, label
from labelkit.workflows.rounds.queue_file import write_queue

DATA = Path(os.environ.get("LABELKIT_DATA", Path(__file__).parents[3] / "shared" / "data"))

SIZE_WH = (400, 300)
BOX = Box(100.0, 75.0, 200.0, 150.0)

MAP_SIZE = (24, 24)

#: Predicted places of the stick skeleton: nose, left paw, right paw, tail; and their confidence.
PLACES = ((200.0, 90.0), (150.0, 150.0), (250.0, 150.0), (200.0, 210.0))
CONFIDENCE = (0.9, 0.3, 0.6, 0.8)


@dataclass
class Bench:
    """A project, its store, and the ids of its objects in the order of the queue."""

    project: Project
    store: LabelStore
    ids: list[str]

    def entries(self) -> list[Entry]:
        return [recorded.entry for recorded in self.store.entries()]


def make_bench(
    folder: Path,
    pictures: int = 3,
    *,
    skeleton: Skeleton | None = None,
    predicted: bool = True,
    control: Sequence[int] = (),
    size_wh: tuple[int, int] = SIZE_WH,
    box: Box = BOX,
) -> Bench:
    """A project of one object an image, and, if predicted, a complete round with its queue."""
    skeleton = skeleton or stick_skeleton()
    for number in range(pictures):
        write_picture(folder / "frames" / f"{number}.png", size_wh, seed=number)
    return bench_of(folder, skeleton, predicted=predicted, control=control, box=box)


def bench_of(
    folder: Path,
    skeleton: Skeleton,
    *,
    predicted: bool = True,
    control: Sequence[int] = (),
    box: Box | Mapping[str, Box] = BOX,
    places: ArrayLike | Mapping[str, ArrayLike] = PLACES,
    confidence: ArrayLike = CONFIDENCE,
    objects: int = 1,
) -> Bench:
    """The same of the images in folder/frames.

    Args:
        box, places: of each object; perhaps by the paths of the images.
        objects: an image, each a pixel further to the right.
    """
    project = create_project(folder / "project", folder / "frames", skeleton, seed=7)
    store = open_store(project)
    images = scan_images(folder / "frames").images
    paths = [image.path for image in images]
    boxes = box if isinstance(box, Mapping) else dict.fromkeys(paths, box)
    xy = places if isinstance(places, Mapping) else dict.fromkeys(paths, places)
    store.add_images(images)
    new = [
        NewInstance(image, it._replace(x=it.x + step), "given", it.w * it.h)
        for image in images
        for it in [boxes[image.path]]
        for step in range(objects)
    ]
    ids = [made.id for made in store.add_instances(new)]
    if predicted:
        path = begin_round(project, RoundPlan(0, "location-free", (), 0.0, store.head(), {}, 0))
        count = len(skeleton)
        shown, present = np.full(count, 2), np.full(count, 0.9)
        rows = [
            Prediction(
                id_, Pose(np.array(xy[of.image.path]), shown, np.array(confidence)), present, 0.5
            )
            for id_, of in zip(ids, new, strict=True)
        ]
        write_predictions(path / "predictions.parquet", rows, skeleton)
        finish_round(path, {})
        write_queue(project, [QueueItem(id_, "unsure", i in control) for i, id_ in enumerate(ids)])
    return Bench(project, store, ids)


def with_tree(bench: Bench, places: ArrayLike = PLACES, ids: Sequence[str] | None = None) -> Bench:
    """Gives the round maps that say little, and a tree that keeps the shape of the pose.

    Args:
        bench: whose objects have `BOX`.
        places: of the pose.
        ids: of the objects that get maps; None for all.
    """
    skeleton, to_cells = bench.project.skeleton, crop_affine(BOX, MAP_SIZE)
    cells = torch.from_numpy(apply_affine(to_cells, np.array(places))).float()
    shifts = torch.randn(200, 1, 2, generator=torch.Generator().manual_seed(0))
    network = nn.Module()
    network.reader = PoseReader(len(skeleton), MAP_SIZE, kinematics=True, pose_prior=0.16)
    assert network.reader.tree is not None
    network.reader.tree.fit(cells + shifts, torch.ones(200, len(skeleton), dtype=torch.bool))
    header = {
        "network": {"kind": "lofr", "preset": {"lofr": {"kinematics": True}}},
        "skeleton": {"keypoints": skeleton.keypoints},
        "training": {"read_from": "heatmaps"},
    }
    path = bench.project.rounds_root / "000"
    save_checkpoint(path / "model.safetensors", network, header)
    across, down = np.meshgrid(*(np.arange(side) + 0.5 for side in MAP_SIZE))
    squared = np.stack([(across - x) ** 2 + (down - y) ** 2 for x, y in cells.tolist()])
    maps = np.exp(-squared / 400).astype(np.float32)
    (path / "maps").mkdir()
    with MapWriter(path / "maps" / "maps.parquet", skeleton.keypoints) as writer:
        for id_ in bench.ids if ids is None else ids:
            writer.add(id_, to_cells.ravel().tolist(), maps, maps, np.zeros(0))
    return bench


@contextmanager
def labelling(bench: Bench, **options: Any) -> Iterator[Labelling]:
    """The page of a bench, from a server in a thread of its own."""
    options = {"annotator": "anna", "port": 0} | options
    with label(bench.project, bench.store, **options) as ready:
        server = ready.server()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [ready.listening]})
        thread.start()
        try:
            yield ready
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


#: Imports what `labelkit label` needs, then forks a process for each line that it reads: as new as
#: one from a terminal, but there in a fifth of a second.
NURSERY = """
import os, sys
import labelkit.workflows.review_and_label.label
from labelkit.cli.app import main
for _ in sys.stdin:
    child = os.fork()
    if not child:
        main()
    print(child, flush=True)
    os.waitpid(child, 0)
"""


class Process:
    """`labelkit label` in a process of its own, which can be killed at any moment."""

    def __init__(self, project: Project, port: int, *options: str) -> None:
        self._nursery = subprocess.Popen(
            [
                *(sys.executable, "-c", NURSERY, "label", "--project", str(project.root)),
                *("--port", str(port), "--as", "anna", "--json", *options),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._child: int | None = None

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._nursery.communicate()

    def start(self) -> None:
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write("\n")
        self._nursery.stdin.flush()
        lines: list[str] = []
        while "}\n" not in lines or not any(line.strip().isdigit() for line in lines):
            lines.append(self._nursery.stdout.readline())
            assert lines[-1], "labelkit label has ended"
        self._child = int(next(line for line in lines if line.strip().isdigit()))
        document = "".join(line for line in lines if not line.strip().isdigit())
        self.url: str = json.loads(document)["url"]

    def kill(self) -> None:
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
            self._child = None


class Page:
    """An annotator's browser with the labelling page; places are in pixels of the image."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, url: str) -> Page:
        self.page.goto(url)
        self.wait("!desk.fetching && desk.leftThere !== undefined")
        return self

    def wait(self, condition: str) -> None:
        self.page.wait_for_function(f"() => window.desk && ({condition})")

    def ask(self, expression: str) -> Any:
        return self.page.evaluate(f"() => {expression}")

    @property
    def instance(self) -> str | None:
        """The object on the screen."""
        return self.ask("desk.object && desk.object.item.instance")

    def all_sent(self) -> None:
        self.wait("desk.outbox.keys().length === 0")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def at(self, xy: Sequence[float]) -> tuple[float, float]:
        x, y = self.ask(f"desk.stage.toScreen({list(map(float, xy))})")
        frame = self.page.locator("#view").bounding_box()
        return frame["x"] + x, frame["y"] + y

    def click(self, xy: Sequence[float], **options: Any) -> None:
        self.page.mouse.click(*self.at(xy), **options)

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        begin, finish = self.at(start), self.at(end)
        self.page.mouse.move(*begin)
        self.page.mouse.down()
        self.page.mouse.move(*finish, steps=4)
        self.page.mouse.up()

    def button(self, name: str) -> None:
        self.page.locator(f"#tools button[data-do={name}]").click()

    def chip(self, k: int) -> None:
        self.page.locator(f"#keypoints button[data-k='{k}']").click()


def photographs(
    folder: Path,
    name: str,
    count: int,
    *,
    control: Sequence[int] = (),
    away: float = 0.0,
    predicted: bool = True,
) -> tuple[Bench, list[Pose]]:
    """A bench of photographs, perhaps predicted where people placed the keypoints; else skip.

    Args:
        folder: gets frames/ and project/.
        name: of a COCO set below LABELKIT_DATA (default: ../shared/data), such as "lspet".
        count: of photographs, the first ones.
        control: numbers of those that are asked about without a prediction.
        away: pixels by which each prediction is too far to the right.
        predicted: whether there is a round.

    Returns:
        the bench, and what people say of each of its objects.
    """
    source = DATA / name / "train"
    if not source.is_dir():
        missing(f"{source} does not exist; set LABELKIT_DATA")
    coco = json.loads((source / "keypoints.json").read_text("utf-8"))
    skeleton = skeleton_of_coco(coco, str(source))[0]
    rows = {row["image_id"]: row for row in coco["annotations"]}
    (folder / "frames").mkdir()
    boxes, poses = {}, {}
    for image in coco["images"][:count]:
        path, row = image["file_name"], rows[image["id"]]
        shutil.copy(source / "images" / path, folder / "frames" / path)
        keypoints = np.reshape(row["keypoints"], (-1, 3)).astype(float)
        boxes[path] = Box(*map(float, row["bbox"]))
        poses[path] = human_pose(keypoints[:, :2], keypoints[:, 2].astype(int))
    places = {path: pose.xy + np.array([away, 0.0]) for path, pose in poses.items()}
    confidence = np.linspace(0.9, 0.5, len(skeleton))
    bench = bench_of(
        folder,
        skeleton,
        predicted=predicted,
        control=control,
        box=boxes,
        places=places,
        confidence=confidence,
    )
    instances = bench.store.instances()
    return bench, [poses[instances[id_].image.path] for id_ in bench.ids]


@contextmanager
def chromium_page(program: Path, **options: Any) -> Iterator[Any]:
    """Chromium; yields what makes a page of a new person."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"], **options
        )
        yield browser
        browser.close()
