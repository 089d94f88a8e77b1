"""Building FiftyOne datasets, compared with FiftyOne's own writing and with a file for every map.

1. Instances of Leeds Sports Pose (in LABELKIT_DATA, default: ../shared/data; made-up ones without
   it), without maps: all of `labelkit review --no-app --no-maps`, compared with just
   `Dataset.add_samples` of the same samples, ready in memory.
2. Made-up instances with 14 response maps each: `labelkit review --no-app` and viewing 100 of them,
   compared with a PNG file for every map.

Both use a temporary MongoDB; the predictions and maps are made up.

    python benchmarks/review.py [--lspet 5000] [--instances 10000]
"""

from __future__ import annotations

import argparse
import atexit
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from clock import HEADER, Clock
from machine import machine

from labelkit.bridges.fiftyone.mongod import own_mongod
from labelkit.domain.instance import Box, Image, Instance
from labelkit.domain.pose import Pose
from labelkit.domain.prediction import Prediction
from labelkit.domain.skeleton import load_skeleton
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_coco
from labelkit.metrics.table import markdown
from labelkit.progress import Silent
from labelkit.project.predictions import write_predictions
from labelkit.project.project import Project, create_project
from labelkit.project.response_maps import MapReader, MapWriter
from labelkit.project.response_pictures import RESPONSE, MapPictures
from labelkit.project.rounds import RoundPlan, begin_round, finish_round
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.review_and_label.review import review

SIDE, VIEWED = 200, 100
#: The row that others are compared with.
BARE = "add_samples, samples ready in memory"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lspet", type=int, default=5000)
    parser.add_argument("--instances", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, database(Path(name) / "mongod"):
        print(machine(), "\n")
        if options.lspet:
            print(against_add_samples(Path(name) / "lspet", options.lspet), "\n", flush=True)
        if options.instances:
            print(against_files(Path(name) / "maps", options.instances))


@contextmanager
def database(folder: Path) -> Iterator[None]:
    """FiftyOne on a temporary MongoDB."""
    with own_mongod(folder) as uri:
        os.environ.update(
            FIFTYONE_DATABASE_URI=uri,
            FIFTYONE_DATABASE_NAME="benchmark",
            FIFTYONE_DATABASE_VALIDATION="false",
            FIFTYONE_DO_NOT_TRACK="true",
            FIFTYONE_SHOW_PROGRESS_BARS="false",
            FIFTYONE_LOGGING_LEVEL="ERROR",
        )
        import fiftyone as fo
        from fiftyone.core.odm import database as connection

        fo.list_datasets()  # connect before timing
        # FiftyOne cleans up when Python ends, and would wait for a database that is gone.
        atexit.unregister(connection._delete_non_persistent_datasets_if_allowed)
        yield
        connection._disconnect()


def against_add_samples(folder: Path, count: int) -> str:
    """Seconds for a review without maps, and for `add_samples` alone."""
    import fiftyone as fo

    project, store = make_project(folder, lspet_people(count) or made_up_people(count))
    clock = Clock()
    with store:
        with clock.timed("labelkit review --no-app --no-maps"):
            report = review(project, store, Silent(), with_maps=False)
        with clock.timed("the same again, nothing changed"):
            again = review(project, store, Silent(), with_maps=False)
    assert (report.added, again.unchanged) == (report.samples, report.samples)
    for step, how in (
        (BARE, {}),
        ("the same with dynamic=True, as per-point attributes need", {"dynamic": True}),
    ):
        samples = [sample.copy() for sample in fo.load_dataset(report.dataset)]
        with clock.timed(step):
            fo.Dataset().add_samples(samples, **how)
    return markdown(((f"{len(samples):,} samples", *HEADER), *clock.rows(BARE)))


def against_files(folder: Path, count: int) -> str:
    """Seconds and bytes with maps on demand, and with a file for each."""
    project, store = make_project(folder, made_up_people(count))
    maps = write_maps(project, store)
    with store:
        started = time.perf_counter()
        report = review(project, store, Silent())
        built = time.perf_counter() - started
        instances = list(store.instances().values())
    assert report.added == count
    pictures = MapPictures(maps, instances)
    chosen = np.random.default_rng(0).permutation(count)[:VIEWED]
    started = time.perf_counter()
    for index in chosen:
        for keypoint in range(len(project.skeleton)):
            pictures.get(RESPONSE, keypoint, instances[index].image.id)
    viewed = time.perf_counter() - started

    print(f"built in {built:.1f} s, viewed {VIEWED} in {viewed:.1f} s", file=sys.stderr)

    everything = folder / "files"
    everything.mkdir()
    started = time.perf_counter()
    source = MapPictures(maps, instances, cache_bytes=0)
    for instance in instances:
        for keypoint in range(len(project.skeleton)):
            name = f"{instance.image.id}-{keypoint}.png"
            (everything / name).write_bytes(source.get(RESPONSE, keypoint, instance.image.id))
    written = time.perf_counter() - started
    size = sum(file.stat().st_blocks * 512 for file in everything.iterdir())
    files = sum(1 for _ in everything.iterdir())
    rows = [
        ("labelkit review --no-app", f"{built:.1f}", "0", "0"),
        (f"viewing {VIEWED} instances, all maps", f"{viewed:.1f}", "0", "0"),
        ("writing a PNG for every map", f"{written:.1f}", f"{files:,}", f"{size / 1e6:,.0f}"),
        ("(the round's one map file)", "-", "1", f"{maps.stat().st_size / 1e6:,.0f}"),
    ]
    header = (f"{count:,} instances x {len(project.skeleton)} maps", "s", "files", "MB on disk")
    return markdown((header, *rows))


def lspet_people(count: int) -> list[tuple[Image, Box, Pose | None]]:
    """People in the training images, again and again beyond 5,000; empty without them."""
    root = Path(os.environ.get("LABELKIT_DATA", "../shared/data")) / "lspet" / "train"
    if not (root / "keypoints.json").is_file():
        print(f"{root} does not exist: using made-up instances.")
        return []
    file = read_coco(load_json(root / "keypoints.json"), "keypoints.json")
    order = [file.skeleton.index(name) for name in load_skeleton("lsp14").keypoints]
    people = []
    for number, item in enumerate(islice(cycle(file.annotations), count)):
        width, height = file.image_sizes[item.image_path]
        path = f"{number // len(file.annotations)}/{item.image_path}"
        image = Image(path, f"{number:064x}"[::-1], width, height)
        pose = Pose(item.pose.xy[order], item.pose.visibility[order], item.pose.score[order])
        people.append((image, item.box or Box(0.0, 0.0, width, height), pose))
    return people


def made_up_people(count: int) -> list[tuple[Image, Box, Pose | None]]:
    """One object an image, without labels."""
    box = Box(20.0, 20.0, 160.0, 160.0)
    return [
        (Image(f"{number:06d}.jpg", f"{number:064x}"[::-1], SIDE, SIDE), box, None)
        for number in range(count)
    ]


def make_project(
    folder: Path, people: list[tuple[Image, Box, Pose | None]]
) -> tuple[Project, LabelStore]:
    """A project whose first round has made-up predictions."""
    (folder / "images").mkdir(parents=True)
    skeleton = load_skeleton("lsp14")
    project = create_project(folder / "project", folder / "images", skeleton)
    store = LabelStore.open(project.store_url)
    store.add_images(image for image, _, _ in people)
    instances = store.add_instances(
        NewInstance(image, box, "given", box.w * box.h) for image, box, _ in people
    )
    store.record(
        Entry(i.id, KEYPOINTS, keypoints_content(skeleton, pose), "file:k.json", i.image.path, "1")
        for i, (_, _, pose) in zip(instances, people, strict=True)
        if pose is not None
    )
    plan = RoundPlan(0, "location-free", (), 0.0, store.head(), {}, 0)
    path = begin_round(project, plan)
    random = np.random.default_rng(0)
    write_predictions(
        path / "predictions.parquet",
        (predict(i, len(skeleton), random) for i in instances),
        skeleton,
    )
    finish_round(path, {})
    return project, store


def predict(instance: Instance, count: int, random: np.random.Generator) -> Prediction:
    """Random keypoints in the box."""
    box = instance.box
    xy = (box.x, box.y) + random.random((count, 2)) * (box.w, box.h)
    score = random.random(count)
    pose = Pose(xy, np.full(count, 2), score)
    return Prediction(instance.id, pose, random.random(count), float(score.mean()))


def write_maps(project: Project, store: LabelStore) -> Path:
    """Maps of the sizes of the preset `tiny`, each with one random blob."""
    path = project.rounds_root / "000" / "maps" / "maps.parquet"
    random, count = np.random.default_rng(0), len(project.skeleton)
    rows, columns = np.mgrid[:24, :24]
    with MapWriter(path, project.skeleton.keypoints) as writer:
        for id_ in store.instances():
            centre = random.random((2, count, 1, 1)) * 24
            distance = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
            response = np.exp(-distance / 8)
            writer.add(id_, (0.12, 0, 0, 0, 0.12, 0), response, response, response[:, ::2, ::2])
    with MapReader(path) as reader:
        assert len(reader) == len(store.instances())
    return path


if __name__ == "__main__":
    main()
