"""Keypoints made in a project of the real Label Studio that labelkit knows nothing of."""

import io
import zipfile

import httpx
import numpy as np
import pytest
from builders import write_picture
from PIL import Image as Picture

from labelkit.domain.instance import Box
from labelkit.progress import Silent
from labelkit.project.project import create_project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.label_files import read_label_file
from labelkit.workflows.intake.label_matching import Handling
from labelkit.workflows.intake.register import register

INTERFACE = """<View><Image name="img" value="$photo"/>
<RectangleLabels name="box" toName="img"><Label value="fly"/></RectangleLabels>
<KeyPointLabels name="dot" toName="img">
<Label value="head" model_index="0"/><Label value="tail" model_index="1"/></KeyPointLabels>
</View>"""

#: Stored, and displayed after EXIF has turned it.
STORED, SHOWN = (64, 48), (48, 64)


def region(id_, kind, **value):
    size = {"original_width": SHOWN[0], "original_height": SHOWN[1], "image_rotation": 0}
    control = "box" if kind == "rectanglelabels" else "dot"
    names = {"from_name": control, "to_name": "img"}
    return {"id": id_, "type": kind, "value": value, **names, **size}


def point(id_, x, y, label, **more):
    return region(id_, "keypointlabels", x=x, y=y, width=1, keypointlabels=[label]) | more


BOX = region(
    "b", "rectanglelabels", x=10, y=10, width=80, height=80, rotation=0, rectanglelabels=["fly"]
)
RESULT = [BOX, point("h", 50, 25, "head", parentID="b"), point("t", 50, 75, "tail", parentID="b")]


@pytest.fixture
def exported(live, tmp_path):
    """The folder of a photograph that EXIF turns, and what the server exports of its labels."""
    photo = write_picture(tmp_path / "frames" / "my photo.jpg", STORED, seed=5)
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.open(photo).save(photo, exif=exif)
    project = live.post("/api/projects", {"title": "flies", "label_config": INTERFACE}).json()
    headers = {"Authorization": f"Token {live.log_in.api_key}"}
    answer = httpx.post(
        f"{live.url}/api/projects/{project['id']}/import",
        headers=headers,
        files={"photo": (photo.name, photo.read_bytes(), "image/jpeg")},
        timeout=60,
    )
    assert answer.status_code < 300, answer.text
    tasks = live.get("/api/tasks/", params={"project": project["id"], "fields": "all"}).json()[
        "tasks"
    ]
    answer = live.post(f"/api/tasks/{tasks[0]['id']}/annotations/", {"result": RESULT})
    assert answer.status_code < 300, answer.text

    def export(kind):
        found = live.get(f"/api/projects/{project['id']}/export", params={"exportType": kind})
        assert found.status_code < 300, found.text[:500]
        return found.content

    return tmp_path, export


def taken(folder, labels, **handling):
    file = read_label_file(labels, None)
    project = create_project(folder / "project", folder / "frames", file.skeleton)
    with LabelStore.open(project.store_url) as store:
        report = register(
            project,
            store,
            Silent(),
            labels=[file],
            boxes=None,
            skip_unreadable=False,
            handling=Handling(**handling),
        )
        (item,) = store.instances().values()
        (pose,) = store.poses(project.skeleton).values()
    return item, pose, report


def test_its_json_export_brings_box_and_keypoints_to_where_they_were_drawn(exported):
    folder, export = exported
    path = folder / "export.json"
    path.write_bytes(export("JSON"))
    item, pose, report = taken(folder, path)
    assert item.box == pytest.approx(Box(4.8, 6.4, 38.4, 51.2))
    assert pose.xy == pytest.approx(np.array([[24, 16], [24, 48]]))
    assert item.category == "fly"
    assert report.notes == ()


def test_its_coco_export_does_too_although_it_swaps_the_size(exported):
    folder, export = exported
    with zipfile.ZipFile(io.BytesIO(export("COCO"))) as archive:
        (folder / "result.json").write_bytes(archive.read("result.json"))
    item, pose, report = taken(folder, folder / "result.json")
    assert item.box == pytest.approx(Box(4.8, 6.4, 38.4, 51.2))
    assert item.category == "fly"
    assert any("64 x 48 instead of 48 x 64" in note for note in report.notes)
    assert pose.xy == pytest.approx(np.array([[24, 16], [24, 48]]))
