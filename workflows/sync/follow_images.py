"""Tasks on a server follow images that were renamed, moved, lost, or taken out of the project.

They also follow objects: a whole image that stood in for an object gives way to its boxes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from PIL import Image as Picture
from PIL import ImageDraw

from labelkit.bridges.label_studio.api import StudioApi
from labelkit.domain.instance import Image, Instance
from labelkit.domain.text import counted
from labelkit.project.project import Project
from labelkit.store.task_ledger import LedgerProject, LedgerTask, TaskLedger
from labelkit.workflows.sync.questions import image_url

#: Tasks in a request.
_CHUNK = 500

#: Long side of the picture that takes the place of one that is gone, in pixels.
_PLACEHOLDER_PX = 640


@dataclass(frozen=True, slots=True)
class Images:
    """What the tasks of a project can show.

    Attributes:
        project: of the images.
        instances: by id, also those of removed images.
        gone: ids of images that are lost or removed.
        folder: what the images folder is called below the document root of the server, see
            `image_url`.
    """

    project: Project
    instances: Mapping[str, Instance]
    gone: Collection[str]
    folder: str = ""

    def know(self, task: LedgerTask) -> bool:
        """Whether the project still has an object that a task asks about."""
        return any(id_ in self.instances for id_ in task.instances)

    def of(self, task: LedgerTask) -> Image | None:
        """The image of a task; None if the project never had it."""
        instance = self.instances.get(task.instances[0])
        return None if instance is None else instance.image

    def address(self, task: LedgerTask, base: str) -> str:
        """The address that a task has to give for its image; "" where it holds the picture."""
        image = self.of(task)
        if image is None or task.crop is not None:
            return task.url
        if image.id in self.gone:
            return placeholder(image)
        return image_url(self.project, image, base, self.folder)


def follow_images(
    images: Images,
    api: StudioApi,
    ledger: TaskLedger,
    target: LedgerProject,
    tasks: Mapping[int, LedgerTask],
    started: Collection[int],
    *,
    send_again: bool,
    dry_run: bool,
) -> tuple[dict[int, LedgerTask], list[str]]:
    """Give tasks the present address of their images.

    Untouched tasks of images or objects that are gone are deleted. A task that was started keeps
    what people did; unless it holds the picture, it shows one that says that its image is gone.

    Args:
        images: that the tasks can show.
        api: of the server.
        ledger: of the tasks.
        target: the Label Studio project.
        tasks: of the project, by id.
        started: ids of those that people have worked on.
        send_again: whether untouched tasks with a former address may be deleted, because the caller
            sends them again; it is faster than changing them one by one.
        dry_run: change nothing.

    Returns:
        the tasks that remain, and notes on what was done.
    """
    tasks = _with_addresses(api, ledger, target, tasks, dry_run)
    now = {id_: images.address(task, target.image_url) for id_, task in tasks.items()}
    without = {id_ for id_, task in tasks.items() if not images.know(task)} - set(started)
    gone = {id_ for id_, task in tasks.items() if (i := images.of(task)) and i.id in images.gone}
    useless = (gone - set(started)) | without
    stale = [id_ for id_, task in tasks.items() if task.url != now[id_] or id_ in useless]
    if not stale:
        return tasks, []
    deleted = [id_ for id_ in stale if id_ not in started and (send_again or id_ in useless)]
    changed = [id_ for id_ in stale if id_ not in set(deleted)]
    notes = [
        f"{counted(count, noun)} {what}"
        for count, noun, what in (
            (
                len(gone.intersection(deleted)),
                "untouched task",
                "of images that are gone: deleted.",
            ),
            (len(without), "untouched task", "of objects that other boxes replaced: deleted."),
            (len(gone.intersection(changed)), "started task", "of images that are gone: marked."),
            (len(set(deleted) - useless), "untouched task", "had an image at its former address."),
            (len(set(changed) - gone), "task", "with an image at its new address."),
        )
        if count
    ]
    if not dry_run:
        for start in range(0, len(deleted), _CHUNK):
            api.delete_untouched(target.project_id, deleted[start : start + _CHUNK])
        ledger.forget_tasks(target.kind, deleted)
        for id_, data in _data(api, target, set(changed)).items():
            image = images.of(tasks[id_])
            path = image.path if image else data["image_path"]
            api.change_task(id_, data={**data, "image": now[id_], "image_path": path})
            tasks[id_] = replace(tasks[id_], url=now[id_])
            ledger.keep_tasks(target.kind, [tasks[id_]])
    return {id_: task for id_, task in tasks.items() if id_ not in set(deleted)}, notes


def _with_addresses(
    api: StudioApi,
    ledger: TaskLedger,
    target: LedgerProject,
    tasks: Mapping[int, LedgerTask],
    dry_run: bool,
) -> dict[int, LedgerTask]:
    """Tasks with the addresses that they give now; earlier versions did not note them."""
    unknown = {id_ for id_, task in tasks.items() if task.crop is None and not task.url}
    found = {
        id_: replace(tasks[id_], url=str(data.get("image", "")))
        for id_, data in _data(api, target, unknown).items()
    }
    if not dry_run:
        ledger.keep_tasks(target.kind, found.values())
    return {**tasks, **found}


def _data(api: StudioApi, target: LedgerProject, ids: Collection[int]) -> dict[int, dict]:
    """The data of some tasks, as they are on the server."""
    if not ids:
        return {}
    facts = api.task_facts(target.project_id, "id,data")
    return {fact["id"]: fact["data"] for fact in facts if fact["id"] in ids}


def placeholder(image: Image) -> str:
    """A picture in the shape of an image that says that it is gone, as a `data:` URL."""
    scale = _PLACEHOLDER_PX / max(image.width, image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    picture = Picture.new("RGB", size, "lightgrey")
    text = f"{image.path}\nis no longer in the project.\nSkip this task."
    ImageDraw.Draw(picture).multiline_text((8, 8), text, fill="black")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
