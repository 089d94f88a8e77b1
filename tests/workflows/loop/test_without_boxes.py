"""The whole loop without boxes: Label Studio, FiftyOne and the labelling page."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, labelkit
from labelling import Bench, Page, chromium_page, labelling
from live_studio import Live, Synced
from mongo import chromium
from sticks import Stick, by_colour, draw_sticks, sticks_as_coco
from trained import Trained

from labelkit.bridges.fiftyone.dataset import quiet_fiftyone
from labelkit.bridges.label_studio.api import StudioApi
from labelkit.domain.instance import Instance
from labelkit.progress import Silent
from labelkit.project.project import open_project
from labelkit.project.rounds import Round, rounds
from labelkit.store.ownership import open_store
from labelkit.workflows.review_and_label.review import review

__all__ = ["by_colour"]

#: Two labelled pictures, and those that people correct: in Label Studio, and on the page.
PICTURES: dict[str, list[Stick]] = {
    "labelled.png": [(20, 20, 60, 40)],
    "pair.png": [(20, 20, 60, 40), (40, 80, 80, 100)],
    "studio.png": [(60, 20, 100, 40), (20, 80, 60, 100)],
    "page.png": [(30, 60, 70, 80)],
    "bare.png": [],
}
SIZE = 128


@pytest.fixture
def team(tmp_path: Path, by_colour: None, fiftyone_database: None) -> Iterator[Trained]:
    """A project after its first round, which found the objects of the pictures without labels."""
    for seed, (name, sticks) in enumerate(PICTURES.items()):
        draw_sticks(tmp_path / "frames" / name, sticks, SIZE, seed)
    labelled = {name: PICTURES[name] for name in ("labelled.png", "pair.png")}
    labels = sticks_as_coco(labelled, tmp_path / "labels.json", SIZE)
    given = ("--images", tmp_path / "frames", "--labels", labels, "--project", tmp_path / "project")
    network = ("--model", "single-stage", "--input-size", "128", "--no-mirror", *TINY)
    done = labelkit("bootstrap", *given, *network, "--boxes", "none")
    assert done.code == 0, done
    project = open_project(tmp_path / "project")
    fo = quiet_fiftyone()
    with open_store(project) as store:
        yield Trained(tmp_path, project, store)
    for name in fo.list_datasets():
        fo.delete_dataset(name)


def objects(team: Trained, path: str) -> list[Instance]:
    return [item for item in team.store.instances().values() if item.image.path == path]


def retrain(team: Trained) -> Round:
    done = labelkit("retrain", "--now", "--project", team.project.root)
    assert done.code == 0, done
    return rounds(team.project)[-1]


def near(value: Any, place: tuple[float, ...]) -> bool:
    return bool(np.abs(np.array(value)[: len(place)] - place).max() <= 2)


def corrected_in_studio(synced: Synced, kept: str, deleted: str) -> None:
    """Drag a point of one object, delete another, and draw a third that the network missed."""
    (task,) = (
        t for t in synced.tasks() if {kept, deleted} & set(t["data"]["labelkit"]["instances"])
    )
    assert set(task["data"]["labelkit"]["instances"]) == {kept, deleted}
    shown = task["predictions"][-1]["result"]
    mine = [r | {"origin": "prediction"} for r in shown if kept in (r["id"], r.get("parentID"))]
    regions = copy.deepcopy(mine)
    point = next(r for r in regions if r["type"] == "keypointlabels")
    point["value"] |= {"x": 50.0, "y": 25.0}
    point["origin"] = "prediction-changed"
    drawn = copy.deepcopy(mine)
    for region in drawn:
        region |= {"id": f"new-{region['id']}", "origin": "manual"}
        if "parentID" in region:
            region["parentID"] = f"new-{kept}"
        region["value"] |= {"x": 10.0 + region["value"]["x"] / 10, "y": 70.0}
    synced.submit(task, [*regions, *drawn])


def corrected_on_the_page(team: Trained, moved: str, empty: str) -> None:
    """Move a point of the object, and answer that nothing is in the bare picture."""
    ids, chosen = [moved, empty], team.folder / "chosen.txt"
    chosen.write_text("\n".join(ids))
    bench = Bench(team.project, team.store, ids)
    with (
        chromium_page(chromium()) as browser,
        labelling(bench, mode="keypoints", objects=chosen) as ready,
    ):
        page = Page(browser.new_page()).open(ready.url)
        assert page.instance == moved
        page.drag((30, 60), (34, 64))
        page.press("Enter")
        page.wait(f"desk.object && desk.object.item.instance === '{empty}'")
        page.press("Delete", "Enter")
        page.all_sent()
        assert page.errors == []


def test_people_correct_what_is_found_and_the_next_round_learns_it(
    team: Trained, live: Live
) -> None:
    kept, deleted = (item.id for item in objects(team, "studio.png"))
    (moved,) = (item.id for item in objects(team, "page.png"))
    (empty,) = (item.id for item in objects(team, "bare.png"))
    assert {kept, deleted, moved, empty} <= team.store.instances().keys()

    report = review(team.project, team.store, Silent())
    dataset = quiet_fiftyone().load_dataset(report.dataset)
    shown = {
        Path(sample.filepath).name: {one.labelkit_id for one in sample.round_000.keypoints}
        for sample in dataset
    }
    assert shown["studio.png"] == {kept, deleted}
    assert shown["page.png"] == {moved}

    with StudioApi(live.url, live.log_in.api_key) as api:
        synced = Synced(team, live, api)
        synced.push()
        corrected_in_studio(synced, kept, deleted)
        pulled = synced.pull()
    assert (pulled.new_instances, pulled.skips) == (1, 1)
    corrected_on_the_page(team, moved, empty)

    poses = team.store.poses(team.project.skeleton)
    assert near(poses[kept].xy[0], (64, 32))
    assert near(poses[moved].xy[0], (34, 64))
    assert empty in team.store.skipped()
    (drawn,) = {item.id for item in objects(team, "studio.png")} - {kept, deleted}

    last = retrain(team)
    assert last.plan.number == 1
    assert {kept, moved, drawn} <= set(last.plan.labelled)
    assert last.facts["training"]["labelled_images"] == 5
    assert {kept, deleted, moved, empty, drawn} <= team.store.instances().keys()
    assert "nothing to train" in labelkit("retrain", "--project", team.project.root).out
