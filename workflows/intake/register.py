"""Register images, boxes and existing labels in the label store."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelkit.domain.annotation import Annotation, VisibilityAnswer, check_inside
from labelkit.domain.instance import Box, Image, Instance, check_box
from labelkit.domain.skeleton import BUILTIN, Skeleton
from labelkit.domain.text import counted, named
from labelkit.errors import FormatError, ImageError, UsageError
from labelkit.files.documents import load_json
from labelkit.formats.coco import read_boxes
from labelkit.progress import Progress
from labelkit.project.images import ScanReport, scan_images
from labelkit.project.project import Project
from labelkit.store.conflicts import HELD, beside_what_is_known
from labelkit.store.journal import (
    KEYPOINTS,
    VISIBILITY,
    Entry,
    content_version,
    keypoints_content,
    visibility_content,
)
from labelkit.store.label_store import LabelStore, NewInstance
from labelkit.workflows.intake.image_finder import ImageFinder
from labelkit.workflows.intake.label_files import LabelFile, read_label_file

#: Margin around the keypoints of an object that has no box and shares its image with others, as a
#: share of their longer extent.
KEYPOINT_MARGIN = 0.15


@dataclass(frozen=True, slots=True)
class Registered:
    """What registration found.

    Attributes:
        images, instances: in the project now.
        new_labels: entries added to the journal.
        known_labels: entries of the label file that were there before.
        skipped: names of files, and of images of annotations, that were left out at the user's
            request.
        notes: what the user should know, a sentence each.
    """

    images: int
    instances: int
    new_labels: int
    known_labels: int
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def register(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    labels: LabelFile | None,
    boxes: str | None,
    skip_unreadable: bool,
    skip_duplicates: bool,
    skip_missing: bool,
    can_skip: bool = True,
) -> Registered:
    """Scan the images and add boxes and labels. What is registered already stays as it is.

    Args:
        project: that gets them.
        store: its label store.
        progress: shows a bar while images are read.
        labels: read from `--labels`, or None.
        boxes: "whole-image", "detect" or a COCO file; None takes those of the labels, then detects
            people for human skeletons and takes whole images for others.
        skip_unreadable, skip_duplicates: leave such images out instead of stopping.
        skip_missing: leave out labels of images that do not exist.
        can_skip: whether the command has these options, so that errors may name them.

    Raises:
        LabelkitError: on the first item that cannot be used.
    """
    scan = _scan(project, store, progress)
    skipped = _refuse_or_list(scan, skip_unreadable, skip_duplicates, can_skip)
    store.add_images(scan.images)
    store.keep_stamps(scan.stamps)
    finder = ImageFinder(scan.images, dict(scan.duplicates))
    notes = _left_alone(scan.ignored)

    entries: list[Entry] = []
    if labels is not None:
        found, missing = _match(labels.annotations, finder, labels.path, skip_missing, can_skip)
        skipped += missing
        crowds = sum(item.iscrowd for _, item in found)
        if crowds:
            regions = counted(crowds, "crowd region")
            notes.append(f"Left out {regions} of {labels.path.name}: not single objects.")
        found = [(image, item) for image, item in found if not item.iscrowd]
        candidates = _candidates(found, labels.skeleton, labels.path)
        instances = store.add_instances(candidates)
        entries += _keypoint_entries(found, instances, labels)
    covered = {instance.image.id for instance in store.instances().values()}
    bare = [image for image in scan.images if image.id not in covered]
    if boxes is not None and not bare:
        notes.append("Every image already has its boxes: --boxes changes nothing.")
    if bare:
        store.add_instances(_boxes(bare, boxes, finder, project, progress))
    if labels is not None and labels.answers:
        answers, missing = _match_answers(labels, finder, store, skip_missing, can_skip)
        skipped += missing
        entries += answers
    fresh, to_record = beside_what_is_known(store, entries)
    store.record(to_record)
    if held := sum(HELD in entry.shown for entry in to_record):
        notes.append(
            f"{held} of the new labels contradict later answers, which continue to count. "
            "See both: labelkit status. Settle: labelkit pull --take theirs (the file) or ours."
        )
    counts = store.counts()
    if counts.instances == 0:
        raise FormatError(
            f"No objects in {counted(counts.images, 'image')}: none were detected or given.",
            "Take each image as one object with --boxes whole-image, or give --boxes FILE.",
        )
    return Registered(
        counts.images,
        counts.instances,
        len(fresh),
        len(entries) - len(fresh),
        tuple(skipped),
        tuple(notes),
    )


def register_labelled(
    project: Project, store: LabelStore, progress: Progress, labels: Path
) -> None:
    """Register a folder of labelled images, for commands without options to skip items.

    Images without labels become whole-image instances, which teach nothing and are not scored.

    Raises:
        LabelkitError: on the first item that cannot be used.
    """
    register(
        project,
        store,
        progress,
        labels=read_label_file(labels, project.skeleton),
        boxes="whole-image",
        skip_unreadable=False,
        skip_duplicates=True,
        skip_missing=False,
        can_skip=False,
    )


def _scan(project: Project, store: LabelStore, progress: Progress) -> ScanReport:
    with progress.bar("Reading images") as step:
        return scan_images(project.images_root, store.stamps(), on_progress=step)


def _refuse_or_list(
    scan: ScanReport, skip_unreadable: bool, skip_duplicates: bool, can_skip: bool
) -> list[str]:
    """Files that are left out.

    Raises:
        ImageError: naming all files that the user did not ask to leave out.
    """
    found, options = [], []
    if scan.problems and not skip_unreadable:
        names = named([f"{item.path} ({item.reason})" for item in scan.problems])
        found.append(f"{counted(len(scan.problems), 'file')} cannot be used: {names}")
        options.append("--skip-unreadable")
    if scan.duplicates and not skip_duplicates:
        names = named([f"{path} (of {same})" for path, same in scan.duplicates])
        many = len(scan.duplicates)
        copies = "1 is a copy of another" if many == 1 else f"{many} are copies of others"
        found.append(f"{copies}: {names}")
        options.append("--skip-duplicates")
    if found:
        raise ImageError(
            f"{'; '.join(found)}.",
            f"Leave them out: add to the command {' '.join(options)}"
            if can_skip
            else "Replace or remove these files.",
        )
    return [*(item.path for item in scan.problems), *(path for path, _ in scan.duplicates)]


def _left_alone(ignored: Counter[str]) -> list[str]:
    """At most one note, of files that are not images."""
    if not ignored:
        return []
    kinds = named([f"{count} x {suffix}" for suffix, count in ignored.most_common()])
    advice = "; convert HEIC to JPEG" if {".heic", ".heif"} & ignored.keys() else ""
    return [f"Ignored: {kinds} (not an image format that labelkit reads{advice})."]


def _match(
    annotations: Sequence[Annotation],
    finder: ImageFinder,
    path: Path,
    skip_missing: bool,
    can_skip: bool = True,
) -> tuple[list[tuple[Image, Annotation]], list[str]]:
    """Annotations with their images, and the paths of those without an image."""
    found = []
    missing: Counter[str] = Counter()
    images = finder.find((item.image_path for item in annotations), str(path))
    for item in annotations:
        image = images.get(item.image_path)
        if image is None:
            missing[item.image_path] += 1
        else:
            found.append((image, item))
    _refuse_missing(missing, path, skip_missing, bool(found), can_skip)
    return found, list(missing.elements())


def _refuse_missing(
    missing: Counter[str], path: Path, skip: bool, any_found: bool, can_skip: bool
) -> None:
    if not missing:
        return
    first = next(iter(missing))
    if not any_found:
        raise FormatError(
            f"{path} labels {first}, but none of its images is in the images folder.",
            "Give the folder that its paths start from with --images.",
        )
    if not skip:
        raise FormatError(
            f"{path} labels {first}, which is not among the images "
            f"({counted(len(missing), 'missing image')}).",
            "Import the rest: add to the command --skip-missing"
            if can_skip
            else "Add the images, or remove their labels from the file.",
        )


def _candidates(
    found: Sequence[tuple[Image, Annotation]], skeleton: Skeleton, path: Path
) -> list[NewInstance]:
    """Boxes of annotations; without one, the whole image or a box around the keypoints."""
    per_image = Counter(image.id for image, _ in found)
    rows = []
    for image, item in found:
        if len(item.pose):
            check_inside(
                item.pose,
                (image.width, image.height),
                skeleton.keypoints,
                f"{path}: annotation {item.reference}",
            )
        if item.box is not None:
            box, source = check_box(item.box, image), "given"
        elif per_image[image.id] == 1:
            box, source = _whole(image), "whole-image"
        else:
            box, source = _around(item, image), "keypoints"
        rows.append(NewInstance(image, box, source, item.area or box.w * box.h))
    return rows


def _whole(image: Image) -> Box:
    return Box(0.0, 0.0, float(image.width), float(image.height))


def _around(item: Annotation, image: Image) -> Box:
    xy = item.pose.xy[item.pose.present]
    low, high = xy.min(axis=0), xy.max(axis=0)
    margin = max(float((high - low).max()), 8.0) * KEYPOINT_MARGIN
    x, y = (low - margin).tolist()
    w, h = (high - low + 2 * margin).tolist()
    return check_box(Box(x, y, w, h), image)


def _keypoint_entries(
    found: Sequence[tuple[Image, Annotation]], instances: Sequence[Instance], labels: LabelFile
) -> list[Entry]:
    entries = []
    for (_, item), instance in zip(found, instances, strict=True):
        if item.pose.present.any():  # COCO writes only zeros for "not annotated"
            content = keypoints_content(labels.skeleton, item.pose)
            entries.append(_file_entry(instance, KEYPOINTS, content, labels, item.reference))
    return entries


def _file_entry(
    instance: Instance, kind: str, content: dict, labels: LabelFile, reference: str
) -> Entry:
    return Entry(
        instance_id=instance.id,
        kind=kind,
        content=content,
        source=f"file:{labels.path.name}",
        reference=reference,
        version=content_version(content),
    )


def _match_answers(
    labels: LabelFile, finder: ImageFinder, store: LabelStore, skip_missing: bool, can_skip: bool
) -> tuple[list[Entry], list[str]]:
    """Journal entries of visibility answers, and the paths of missing images."""
    of_image: dict[str, list[Instance]] = defaultdict(list)
    for instance in store.instances().values():
        of_image[instance.image.id].append(instance)
    missing: Counter[str] = Counter()
    entries = []
    images = finder.find((answer.image_path for answer in labels.answers), str(labels.path))
    for answer in labels.answers:
        image = images.get(answer.image_path)
        if image is None:
            missing[answer.image_path] += 1
            continue
        instance = _instance_of(answer, of_image[image.id], labels.path)
        content = visibility_content(labels.skeleton, np.asarray(answer.presence))
        reference = f"{answer.image_path}#{answer.reference}"
        entries.append(_file_entry(instance, VISIBILITY, content, labels, reference))
    _refuse_missing(missing, labels.path, skip_missing, bool(entries), can_skip)
    return entries, list(missing.elements())


def _instance_of(answer: VisibilityAnswer, instances: Sequence[Instance], path: Path) -> Instance:
    """The instance that an answer is for: by id, by ordinal, or the only one."""
    if not answer.reference and len(instances) == 1:
        return instances[0]
    for instance in instances:
        if answer.reference in (instance.id, str(instance.ordinal)):
            return instance
    known = ", ".join(instance.id for instance in instances) or "none"
    raise FormatError(
        f"{path}: {answer.image_path} has no instance {answer.reference!r}; it has: {known}.",
        "Write the id, or 0, 1, ... for the first, second box, into the column `instance`.",
    )


def _boxes(
    images: Sequence[Image],
    boxes: str | None,
    finder: ImageFinder,
    project: Project,
    progress: Progress,
) -> list[NewInstance]:
    """Boxes for images that have none."""
    choice = boxes or ("detect" if project.skeleton.name in BUILTIN else "whole-image")
    if choice == "whole-image":
        boxes_of = ((image, _whole(image)) for image in images)
        return [NewInstance(image, box, "whole-image", box.w * box.h) for image, box in boxes_of]
    if choice == "detect":
        from labelkit.workflows.intake.person_detector import detect, load_detector

        detector = load_detector(progress.line)
        found = detect(images, project.images_root, detector)
        rows = []
        for image, people in progress.track(found, "Finding boxes", len(images)):
            rows += [NewInstance(image, box, "detected", box.w * box.h) for box, _ in people]
        return rows
    path = Path(choice)
    if not path.is_file():
        raise UsageError(
            f"--boxes {choice} is not a file.",
            "Give --boxes whole-image, --boxes detect, or a COCO file of boxes.",
        )
    without = {image.id for image in images}
    matched, _ = _match(read_boxes(load_json(path), str(path)), finder, path, skip_missing=True)
    rows = []
    for image, item in matched:
        if image.id in without and item.box is not None and not item.iscrowd:
            box = check_box(item.box, image)
            rows.append(NewInstance(image, box, "given", item.area or box.w * box.h))
    return rows
