"""The one thing to do next."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from builders import make_project

from labelkit.domain.instance import Box
from labelkit.domain.skeleton import load_skeleton
from labelkit.project.images import scan_images
from labelkit.store.journal import VISIBILITY, Entry
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.next_step import by_hand, next_step


@pytest.fixture
def boxed(tmp_path):
    """A project of two pictures with a box each, and no answers."""
    project = make_project(tmp_path)
    with open_store(project) as store:
        images = scan_images(project.images_root).images
        store.add_images(images)
        store.add_instances([NewInstance(i, Box(1, 1, 6, 4), "given", 24.0) for i in images])
        yield project, store


def test_people_can_start_from_a_public_network_and_others_are_not_told_so(boxed):
    project, store = boxed
    files = ImageFiles(project, store)
    others = next_step(project, store, read_snapshot(project, store), files)
    project = replace(project, skeleton=load_skeleton("lsp14"))
    people = next_step(project, store, read_snapshot(project, store), files)
    assert "--with" not in others
    assert people.endswith("labelkit predict --with mediapipe-pose")


def test_the_way_that_people_last_used_comes_first(boxed):
    project, store = boxed
    first, *_ = store.instances()
    told = dict.fromkeys(project.skeleton.keypoints[:1], True)
    for source in ("label", "label-studio"):
        store.record([Entry(first, VISIBILITY, told, source, source, "1")])
        files = ImageFiles(project, store)
        step = next_step(project, store, read_snapshot(project, store), files)
        first_way = "labelkit label" if source == "label" else "labelkit push"
        for text in (step.removeprefix("Next: "), by_hand(store, "correct the queue")):
            assert text.startswith(first_way)
            assert set(re.findall(r"labelkit (\w+)", text)) == {"label", "push", "pull"}
