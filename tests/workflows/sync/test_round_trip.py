"""Whatever a project holds comes back from the real Label Studio as it was sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from live_studio import ELSEWHERE, Live
from PIL import Image as Picture

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.domain.instance import Box
from labelkit.domain.pose import Pose, human_pose
from labelkit.domain.skeleton import Skeleton, make_skeleton
from labelkit.errors import FormatError, SkeletonError
from labelkit.formats.label_studio.config import correction_config
from labelkit.progress import Silent
from labelkit.project.images import scan_images
from labelkit.project.project import create_project
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.store.task_ledger import TaskLedger
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot
from labelkit.workflows.sync.follow_images import Images
from labelkit.workflows.sync.pull_server import pull_server
from labelkit.workflows.sync.push_server import Push, ServerPushReport
from labelkit.workflows.sync.questions import Questions

#: Width and height of the upright picture; the file lies on its side (EXIF orientation 6).
WIDTH, HEIGHT = 48, 64
ORIENTATION, TURNED = 0x0112, 6

HOSTILE = ('<Label value="a"/>', "&amp;'\"", "näse 鼻", "]]>", "a, b", "${x}", "<script>", "🐭")


@dataclass(frozen=True)
class Given:
    """A skeleton, and the poses and boxes of the persons in one image."""

    skeleton: Skeleton
    poses: list[Pose]
    boxes: list[Box]


@st.composite
def projects(draw: st.DrawFn) -> Given:
    letters = st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp"))
    names = st.one_of(st.sampled_from(HOSTILE), st.text(letters, min_size=1, max_size=20))
    keypoints = draw(st.lists(names, min_size=1, max_size=33, unique=True))
    try:
        skeleton = make_skeleton("any", keypoints)
        correction_config(skeleton)
    except (SkeletonError, FormatError):
        assume(False)
        raise
    border = st.sampled_from((0.0, 1.0))
    inside = st.floats(0, 1)
    place = st.tuples(st.one_of(border, inside), st.one_of(border, inside))
    poses, boxes = [], []
    for _ in range(draw(st.integers(0, 12))):
        xy = np.array([draw(place) for _ in keypoints]) * (WIDTH, HEIGHT)
        v = np.array([draw(st.integers(0, 2)) for _ in keypoints])
        poses.append(human_pose(np.where(v[:, None] > 0, xy, 0.0), v))
        left, top = draw(st.floats(0, 40)), draw(st.floats(0, 50))
        boxes.append(Box(left, top, draw(st.floats(1, 48 - left)), draw(st.floats(1, 64 - top))))
    return Given(skeleton, poses, boxes)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(projects())
def test_any_labels_come_back_as_they_were_sent(live: Live, made: Given) -> None:
    with TemporaryDirectory() as folder:
        images = Path(folder) / "im ages"
        images.mkdir()
        exif = Picture.Exif()
        exif[ORIENTATION] = TURNED
        Picture.new("RGB", (HEIGHT, WIDTH)).save(images / "ö & 1.jpg", exif=exif)
        project = create_project(Path(folder) / "p", images, made.skeleton)
        (image,) = scan_images(images).images
        assert (image.width, image.height) == (WIDTH, HEIGHT)
        with (
            LabelStore.open(project.store_url) as store,
            StudioApi(live.url, live.log_in.api_key) as api,
        ):
            store.add_images([image])
            people = store.add_instances(
                NewInstance(image, box, "given", box.w * box.h) for box in made.boxes
            )
            by_id = {person.id: person for person in people}
            poses = dict(zip(by_id, made.poses, strict=True))
            labels = LabelSnapshot(
                by_id, {}, poses, frozenset(), frozenset(), frozenset(), {*poses}
            )
            asked = Questions(
                project, "correction", "round-000", labels, {}, tuple(by_id), frozenset(), False
            )
            sent = TaskLedger(store.database, api.url)
            report = ServerPushReport(api.url, asked.kind)
            shown = Images(project, by_id, ())
            Push(api, sent, asked, report, shown).run(Silent(), base=ELSEWHERE)
            assert report.sent == bool(people)
            target = sent.project("correction")
            if not people:
                assert target is None  # there was nothing to ask
                return
            assert target is not None
            for task in api.changed_tasks(target.project_id, ""):
                (prediction,) = task["predictions"]
                regions = [{**region, "origin": "prediction"} for region in prediction["result"]]
                live.post(
                    f"/api/tasks/{task['id']}/annotations/",
                    {"result": regions, "parent_prediction": prediction["id"]},
                )
            pulled = pull_server(project, store, api, Silent())
            assert not pulled.problems
            back = store.poses(project.skeleton)
            assert back.keys() == poses.keys()
            for id_, pose in poses.items():
                assert back[id_].visibility.tolist() == pose.visibility.tolist()
                assert np.abs(back[id_].xy - pose.xy).max() < 1e-3
            assert set(pulled.origins) <= {"untouched"}
