"""`labelkit push --files`: Label Studio import files, for teams that import by hand."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from labelkit.atomic import write_json, write_text
from labelkit.formats.label_studio_config import correction_config, visibility_config
from labelkit.formats.label_studio_tasks import correction_task, visibility_task
from labelkit.instance import Image, Instance
from labelkit.preannotation import pre_annotation
from labelkit.project import Project
from labelkit.rounds import latest_complete
from labelkit.store import LabelStore
from labelkit.workflows.queueing import read_queue
from labelkit.workflows.run_round import Labels, latest_predictions, read_all

FOLDER = "label_studio"


@dataclass(frozen=True, slots=True)
class PushReport:
    """What was (or would be) written.

    Attributes:
        kind: "visibility" or "correction".
        tasks, instances: in the files.
        control: instances served without pre-annotation.
        files: labelling interface and tasks.
        images: folder of the images.
        dry_run: nothing was written.
    """

    kind: str
    tasks: int
    instances: int
    control: int
    files: tuple[Path, Path]
    images: Path
    dry_run: bool
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        if not self.tasks:
            return "The queue is empty: everything in it is labelled."
        verb = "Would write" if self.dry_run else "Wrote"
        return "\n".join(
            [
                f"{verb} {self.tasks} {self.kind} tasks with {self.instances} instances"
                + (f", {self.control} of them without pre-annotation" if self.control else "")
                + ".",
                *import_steps(self.kind, self.files, self.images),
            ]
        )


def import_steps(kind: str, files: tuple[Path, Path], images: Path) -> list[str]:
    """How to get the files into Label Studio and the labels back, for people.

    Args:
        kind: "visibility" or "correction".
        files: labelling interface and tasks.
        images: folder of the images.
    """
    work = {
        "visibility": "Tick what can be seen in each box.",
        "correction": "Correct the keypoints.",
    }[kind]
    steps = [
        "Start Label Studio so that it may serve the images:",
        f"  LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true "
        f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shlex.quote(str(images.parent))} "
        "label-studio start",
        "There:",
        f"  1. Create a project; Labeling Setup, Custom template: paste {files[0]}",
        f"  2. Settings, Cloud Storage, Add Source Storage, Local Files: {images} (Save; do not "
        "sync)",
        f"  3. Import {files[1]}",
        f"  4. {work} Then Export, JSON.",
    ]
    if kind == "correction":
        steps.append(
            "  In a project that has earlier rounds, choose this one after step 3: Settings, "
            "Annotation, Prelabeling."
        )
    return [*steps, "Then type: labelkit pull --file EXPORT.json"]


def push_files(project: Project, store: LabelStore, *, dry_run: bool) -> PushReport:
    """Write the visibility files while there is no round, and the correction queue afterwards."""
    labels, root = read_all(project, store), project.images_root
    if latest_complete(project) is None:
        files = _paths(project, "visibility")
        waiting = _without_answers(labels)
        if not dry_run:
            files = write_visibility_files(project, labels)
        pictures = len({item.image.id for item in waiting})
        return PushReport("visibility", pictures, len(waiting), 0, files, root, dry_run)
    newest, predictions = latest_predictions(project)
    queued = [item for item in read_queue(project) if item.instance_id not in labels.poses]
    control = {item.instance_id for item in queued if item.control}
    groups = _by_image(labels.instances[item.instance_id] for item in queued)
    version = f"round-{newest.plan.number:03d}"
    tasks = []
    for image, instances in groups:
        poses = [
            None
            if instance.id in control or instance.id not in predictions
            else pre_annotation(predictions[instance.id], labels.presences.get(instance.id), image)
            for instance in instances
        ]
        tasks.append(
            correction_task(
                image,
                list(zip(instances, poses, strict=True)),
                project.skeleton,
                image_url=image_url(project, image),
                model_version=version,
            )
        )
    files = _paths(project, "correction")
    if tasks and not dry_run:
        write_text(files[0], correction_config(project.skeleton))
        write_json(files[1], tasks)
    return PushReport("correction", len(tasks), len(queued), len(control), files, root, dry_run)


def write_visibility_files(project: Project, labels: Labels) -> tuple[Path, Path]:
    """Write the labelling interface and the tasks that ask which keypoints can be seen."""
    files = _paths(project, "visibility")
    tasks = [
        visibility_task(image, instances, project.skeleton, image_url(project, image))
        for image, instances in _by_image(_without_answers(labels))
    ]
    write_text(files[0], visibility_config(project.skeleton))
    write_json(files[1], tasks)
    return files


def image_url(project: Project, image: Image) -> str:
    """Where Label Studio finds an image, its document root being the folder above the images."""
    return f"/data/local-files/?d={quote(f'{project.images_root.name}/{image.path}')}"


def _paths(project: Project, kind: str) -> tuple[Path, Path]:
    folder = project.root / FOLDER
    return folder / f"{kind}_interface.xml", folder / f"{kind}_tasks.json"


def _without_answers(labels: Labels) -> list[Instance]:
    return [item for id_, item in labels.instances.items() if id_ not in labels.presences]


def _by_image(instances: Iterable[Instance]) -> list[tuple[Image, list[Instance]]]:
    """Instances grouped by image, in the order in which the images first appear."""
    groups: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[instance.image.id].append(instance)
    return [(group[0].image, group) for group in groups.values()]
