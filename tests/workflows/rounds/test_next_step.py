"""The one thing to do next."""

from __future__ import annotations

from dataclasses import replace

from builders import make_project

from labelkit.domain.instance import Box
from labelkit.domain.skeleton import load_skeleton
from labelkit.project.images import scan_images
from labelkit.store.objects import NewInstance
from labelkit.store.ownership import open_store
from labelkit.workflows.rounds.image_files import ImageFiles
from labelkit.workflows.rounds.label_snapshot import read_snapshot
from labelkit.workflows.rounds.next_step import next_step


def test_people_can_start_from_a_public_network_and_others_are_not_told_so(tmp_path):
    project = make_project(tmp_path)
    with open_store(project) as store:
        images = scan_images(project.images_root).images
        store.add_images(images)
        store.add_instances([NewInstance(i, Box(1, 1, 6, 4), "given", 24.0) for i in images])
        files = ImageFiles(project, store)
        others = next_step(project, store, read_snapshot(project, store), files)
        project = replace(project, skeleton=load_skeleton("lsp14"))
        people = next_step(project, store, read_snapshot(project, store), files)
    assert "--with" not in others
    assert people.endswith("labelkit predict --with mediapipe-pose")
