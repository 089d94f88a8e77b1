"""From nothing: faces of MediaPipe adapted, pushed, corrected on the page and learned from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from builders import write_picture
from command_line import labelkit
from labelling import Bench, Page, chromium_page, labelling, photographs
from live_studio import Live, Synced
from mongo import chromium, missing
from trained import Trained

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.bridges.mediapipe.networks import OWN
from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose
from labelkit.project.images import scan_images
from labelkit.project.predictions import read_predictions
from labelkit.project.rounds import Round, rounds
from labelkit.project.teacher import evidence
from labelkit.store.journal import KEYPOINTS, Entry, keypoints_content
from labelkit.store.objects import NewInstance

#: Of the user, where MediaPipe's environment is; the server of tests has a home of its own.
CACHE = OWN.folder.parent.parent

FACES, BLANK = 8, "blank.png"
NOSE_TIP = 30


def with_blank(bench: Bench) -> None:
    """One more picture, in which there is no face, and its object."""
    write_picture(bench.project.images_root / BLANK, (90, 90))
    images = [it for it in scan_images(bench.project.images_root).images if it.path == BLANK]
    bench.store.add_images(images)
    bench.store.add_instances(NewInstance(it, Box(0, 0, 90, 90), "given", 8100.0) for it in images)


def label(bench: Bench, poses: dict[str, Pose]) -> None:
    """What a person says of some objects."""
    bench.store.record(
        Entry(id_, KEYPOINTS, keypoints_content(bench.project.skeleton, pose), "form", id_, "1")
        for id_, pose in poses.items()
    )


def newest(bench: Bench) -> Round:
    return rounds(bench.project)[-1]


def drag_on_the_page(bench: Bench, id_: str) -> tuple[float, float]:
    """Drag the tip of a nose in a browser; where it was dragged."""
    file = newest(bench).path / "predictions.parquet"
    start = read_predictions(file, bench.project.skeleton)[id_].xy[NOSE_TIP]
    end = start + np.array([0.0, 6.0])
    chosen = bench.project.root.parent / "chosen.txt"
    chosen.write_text(f"{id_}\n", "utf-8")
    with (
        labelling(bench, mode="keypoints", objects=chosen) as served,
        chromium_page(chromium()) as browser,
    ):
        page = Page(browser.new_page()).open(served.url)
        assert page.instance == id_
        page.drag(start, end)
        page.press("Enter")
        page.all_sent()
        assert page.errors == []
    return float(end[0]), float(end[1])


def test_faces_of_mediapipe_are_adapted_corrected_and_learned_from(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    if not OWN.is_complete:
        missing("MediaPipe is not installed; type: labelkit predict --with mediapipe-face")
    bench, truth = photographs(tmp_path, "faces", FACES, predicted=False)
    poses = dict(zip(bench.ids, truth, strict=True))
    with_blank(bench)
    project, at = bench.project, ("--project", bench.project.root)

    # From nothing; again, nothing is left to predict.
    first = labelkit("predict", "--with", "mediapipe-face", *at, "--json")
    assert first.code == 0, first
    report = json.loads(first.out)
    assert (report["objects"], report["found"]) == (FACES + 1, FACES)
    assert BLANK in report["not_found"][0]
    again = labelkit("predict", "--with", "mediapipe-face", *at)
    assert f"Predicted before: {FACES + 1} of {FACES + 1}" in again.err
    assert len(rounds(project)) == 1

    # Labels adapt it; its poses are pushed, and corrected on the page.
    label(bench, {id_: poses[id_] for id_ in bench.ids[: FACES - 2]})
    adapted = labelkit("predict", "--with", "mediapipe-face", *at)
    assert adapted.code == 0, adapted
    assert newest(bench).plan.is_foreign
    assert newest(bench).plan.labelled
    with StudioApi(live.url, live.log_in.api_key) as api:
        synced = Synced(Trained(tmp_path, project, bench.store), live, api)
        synced.push()
        assert any(task["predictions"] for task in synced.tasks())
    end = drag_on_the_page(bench, bench.ids[-1])
    corrected = bench.store.poses(project.skeleton)[bench.ids[-1]]
    assert np.hypot(*(corrected.xy[NOSE_TIP] - end)) < 1

    # Both teach a network, which is read beside the poses that taught it.
    given = ("--preset", "tiny", "--backbone", "test_resnet", "--epochs", "1", "--no-pretrained")
    taught = labelkit("retrain", "--teacher", "mediapipe-face", "--now", *given, *at)
    assert taught.code == 0, taught
    made = newest(bench)
    assert not made.plan.is_foreign
    assert made.plan.labelled
    instances = list(bench.store.instances().values())
    beside = evidence(project, made.plan.settings, instances)
    assert beside is not None
    there = {
        instance.image.path
        for instance, row in zip(instances, beside, strict=True)
        if np.isfinite(row).any()
    }
    assert there == {instance.image.path for instance in instances} - {BLANK}
    found = read_predictions(made.path / "predictions.parquet", project.skeleton)
    assert found.keys() == {instance.id for instance in instances}
