"""Register images, boxes and existing labels in the label store."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.domain.annotation import Annotation, VisibilityAnswer, check_inside
from labelkit.domain.instance import Box, Image, Instance, check_box
from labelkit.domain.skeleton import BUILTIN
from labelkit.domain.text import counted, named
from labelkit.errors import (
    FormatError,
    ImageError,
    InputError,
    MissingDependencyError,
    UsageError,
)
from labelkit.progress import Progress
from labelkit.project.greys import WINDOW_FILE
from labelkit.project.images import VIDEO_SUFFIXES, ScanReport, scan_images
from labelkit.project.project import Project
from labelkit.store.conflicts import HELD, beside_what_is_known, differing
from labelkit.store.journal import (
    KEYPOINTS,
    VISIBILITY,
    Entry,
    content_version,
    keypoints_content,
    visibility_content,
)
from labelkit.store.label_store import LabelStore
from labelkit.store.objects import NewInstance
from labelkit.workflows.intake.image_finder import ImageFinder
from labelkit.workflows.intake.into_place import Sizes
from labelkit.workflows.intake.label_files import LabelFile, read_box_file
from labelkit.workflows.intake.label_matching import Handling, match_labels, refuse_missing
from labelkit.workflows.intake.label_sets import read_label_files

#: Margin around the keypoints of an object without a box, as a share of their longer extent.
KEYPOINT_MARGIN = 0.15

#: Objects of which the picture shows less than this share of the box are noted.
IN_PICTURE = 0.9

#: Values of `--boxes` that are no files. Without boxes a network finds the objects; until then each
#: image stands in for those in it.
NO_BOXES = "none"
BOX_CHOICES = ("whole-image", "detect", NO_BOXES)

#: Objects that are registered in one transaction.
_AT_ONCE = 4096

#: Width and height of such a box are at least this share of the image's long side.
LEAST_SIDE = 0.1


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
        new_images: that the project did not have before.
        open_images: of which the file is gone, or in which no object was found.
    """

    images: int
    instances: int
    new_labels: int
    known_labels: int
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    new_images: int = 0
    open_images: int = 0

    def lines(self, project: Path) -> list[str]:
        """For people.

        Args:
            project: its folder.
        """
        new = f" ({self.new_images} new)" if 0 < self.new_images < self.images else ""
        lines = [
            f"Project {project}: {counted(self.images, 'image')}{new}, "
            f"{counted(self.instances, 'instance')}, {counted(self.new_labels, 'new label')} "
            f"({self.known_labels} known before)."
        ]
        if self.skipped:
            lines.append(f"Skipped {len(self.skipped)}, as you asked: {named(self.skipped)}.")
        return [*lines, *self.notes]


def register(
    project: Project,
    store: LabelStore,
    progress: Progress,
    *,
    labels: Sequence[LabelFile],
    boxes: str | None,
    skip_unreadable: bool,
    handling: Handling,
) -> Registered:
    """Scan the images and add boxes and labels.

    An object that is registered already is recognised, and gets the box and category that a label
    file now gives it. Answers stay: new ones are recorded beside them.

    Args:
        project: that gets them.
        store: its label store.
        progress: shows a bar while images are read.
        labels: read from `--labels`: one import, in which the last file counts.
        boxes: "whole-image", "detect", "none" or a COCO file; None takes those of the labels, then
            what was given before, else people are detected for human skeletons and others get whole
            images.
        skip_unreadable: leave such images out instead of stopping.
        handling: of labels that need a decision.

    Raises:
        LabelkitError: on the first item that cannot be used.
    """
    scan = _scan(project, store, progress)
    skipped = _refuse_unreadable(scan, skip_unreadable, handling.can_choose)
    removed = {image.id: image for image in store.removed_images()}
    images = [image for image in scan.images if image.id not in removed]
    new_images = store.add_images(images)
    store.forget_other_stamps(scan.images)
    store.keep_left_out_files([*skipped, *(path for path, _ in scan.duplicates)])
    copies, root = dict(scan.duplicates), project.images_root
    finder = ImageFinder([*removed.values(), *scan.images], copies, root)
    notes = [
        *_left_alone(scan.ignored),
        *_copies(scan.duplicates),
        *_dark(scan.dark, project.images_root),
    ]
    if still_there := len(scan.images) - len(images):
        notes.append(
            f"Left out {counted(still_there, 'image')} that you removed from the project. Take "
            "them back with: labelkit images restore"
        )

    entries: list[Entry] = []
    for file in labels:
        matched = match_labels(
            file.annotations,
            file.image_paths,
            file.sizes,
            file.path,
            finder,
            project.images_root,
            handling,
        )
        found = [(image, item) for image, item in matched.found if image.id not in removed]
        skipped += matched.missing
        notes += [*file.notes, *matched.notes, *_without_area(found, file.path)]
        store.keep_empty(matched.empty)
        store.forget_stand_ins(matched.empty)
        candidates = _candidates(found, file)
        notes += _cut(found, file.path)
        instances = store.add_instances(candidates)
        entries += _keypoint_entries(instances, candidates)
    notes += _labelled_twice(entries)
    open_to_boxes: set[str] = set()  # objects whose images get the boxes that are asked for
    if boxes not in (None, "whole-image", NO_BOXES):
        open_to_boxes = store.stand_ins() | store.described_by(_source(Path(boxes)))
    covered = store.images_with_objects(open_to_boxes)
    bare = [image for image in images if image.id not in covered]
    found_in = 0  # so many of those images
    if boxes not in (None, NO_BOXES) and not bare and handling.can_choose:
        notes.append("Every image already has its boxes: --boxes changes nothing.")
    if boxes in (None, NO_BOXES) and (empty := store.empty_images() & {image.id for image in bare}):
        bare = [image for image in bare if image.id not in empty]
        notes.append(
            f"{counted(len(empty), 'image')} without an object, as label files list them. If there "
            "is one, add to labelkit bootstrap: --boxes whole-image, detect or FILE"
        )
    if bare:
        try:
            boxed, more = _boxes(bare, boxes, finder, project, progress, handling)
        except MissingDependencyError as error:
            if boxes is not None or not covered:
                raise
            count = counted(len(bare), "image")
            boxed, more = [], [f"{count} without a box. {error.problem} {error.next_step}"]
        for rows in boxed:
            store.add_instances(rows)
            found_in += len({row.image.id for row in rows})
        if open_to_boxes:
            store.forget_stand_ins(bare)
        notes += more
    for file in labels:
        answers, missing = _match_answers(file, finder, store, handling)
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
        new_images,
        counts.images - len(images) + len(bare) - found_in,
    )


def register_labelled(
    project: Project, store: LabelStore, progress: Progress, labels: Path
) -> None:
    """Register labelled images, for commands without options to skip items.

    Args:
        project, store, progress: see `register`.
        labels: a label file, or a folder of them.

    Images without labels become whole-image instances, which teach nothing and are not scored.

    Raises:
        LabelkitError: on the first item that cannot be used.
    """
    report = register(
        project,
        store,
        progress,
        labels=read_label_files([labels], project.skeleton),
        boxes="whole-image",
        skip_unreadable=False,
        handling=Handling(can_choose=False),
    )
    for note in report.notes:
        progress.line(note)


def _scan(project: Project, store: LabelStore, progress: Progress) -> ScanReport:
    with progress.bar("Reading images") as step:
        return scan_images(project.images_root, store.stamps, store.keep_stamps, on_progress=step)


def _refuse_unreadable(scan: ScanReport, skip: bool, can_skip: bool) -> list[str]:
    """Files that are left out.

    Raises:
        ImageError: naming them, if the user did not ask to leave them out.
    """
    if scan.problems and not skip:
        names = named([f"{item.path} ({item.reason})" for item in scan.problems])
        raise ImageError(
            f"{counted(len(scan.problems), 'file')} cannot be used: {names}.",
            "Leave them out: add to the command --skip-unreadable"
            if can_skip
            else "Replace or remove these files.",
        )
    return [item.path for item in scan.problems]


def _left_alone(ignored: Counter[str]) -> list[str]:
    """At most one note, of files that are not images."""
    if not ignored:
        return []
    kinds = named([f"{count} x {suffix}" for suffix, count in ignored.most_common()])
    advice = "; convert HEIC to JPEG" if {".heic", ".heif"} & ignored.keys() else ""
    if VIDEO_SUFFIXES & ignored.keys():
        advice += "; take frames out of videos: labelkit frames VIDEO"
    return [f"Ignored: {kinds} (not an image format that labelkit reads{advice})."]


def _dark(paths: Sequence[str], root: Path) -> list[str]:
    """At most one note, of images that are likely darker than they should be."""
    if not paths:
        return []
    return [
        f"{counted(len(paths), 'image')} of 16-bit greys with no value above 4095, nearly black: "
        f"{named(paths)}. If 4095 is white, type: echo 0 4095 > {root / WINDOW_FILE}"
    ]


def _copies(duplicates: Sequence[tuple[str, str]]) -> list[str]:
    """At most one note, of files with the same content as an image."""
    if not duplicates:
        return []
    names = named([f"{path} (of {same})" for path, same in duplicates])
    return [f"Took each image once, without {counted(len(duplicates), 'equal file')}: {names}."]


def _without_area(found: Sequence[tuple[Image, Annotation]], path: Path) -> list[str]:
    """At most one note, of objects whose box no one drew."""
    flat = sum(item.box is not None and not item.box.has_area for _, item in found)
    if not flat:
        return []
    what = counted(flat, "object")
    return [f"The box of {what} of {path.name} has no area; the box is put around the keypoints."]


def _cut(found: Sequence[tuple[Image, Annotation]], path: Path) -> list[str]:
    """At most one note, of objects whose box was largely cut off: it may be given as corners."""
    cut = sum(
        item.box is not None
        and item.box.has_area
        and item.box.overlap(check_box(item.box, image)) < IN_PICTURE
        for image, item in found
    )
    if not cut:
        return []
    return [
        f"The box of {counted(cut, 'object')} of {path.name} reaches far out of the picture and "
        "is cut at its border. Boxes are left, top, width, height, not corners."
    ]


def _candidates(found: Sequence[tuple[Image, Annotation]], labels: LabelFile) -> list[NewInstance]:
    """Objects of annotations. Without a box, it is the whole image of an object alone in it, and
    goes around the keypoints of others and of animals that the file tells apart.
    """
    per_image = Counter(image.id for image, _ in found)
    rows = []
    for image, item in found:
        where = f"{labels.path}: annotation {item.reference}"
        if len(item.pose):
            check_inside(item.pose, (image.width, image.height), labels.skeleton.keypoints, where)
        if item.box is not None and item.box.has_area:
            box, source = _given(item.box, image, where), "given"
        elif item.box is None and per_image[image.id] == 1 and not item.individual:
            box, source = _whole(image), "whole-image"
        else:
            box, source = _around(item, image), "keypoints"
        labelled = item.pose.present.any()  # COCO writes only zeros for "not annotated"
        rows.append(
            NewInstance(
                image,
                box,
                source,
                item.area or box.w * box.h,
                item.category,
                item.individual,
                (labels.source, item.reference),
                keypoints_content(labels.skeleton, item.pose) if labelled else {},
            )
        )
    return rows


def _source(boxes: Path) -> str:
    """How the store names a file of boxes."""
    return f"file:{boxes.name}"


def _whole(image: Image) -> Box:
    return Box(0.0, 0.0, float(image.width), float(image.height))


def _given(box: Box, image: Image, where: str) -> Box:
    try:
        return check_box(box, image)
    except InputError as error:
        raise FormatError(
            f"{where}: {error.problem}", "Correct or remove the annotation."
        ) from error


def _around(item: Annotation, image: Image) -> Box:
    """A box around the keypoints, in the image; all of it if there is no keypoint."""
    extent = item.pose.extent
    if extent is None:
        return _whole(image)
    margin = KEYPOINT_MARGIN * extent.long_side
    least = LEAST_SIDE * max(image.width, image.height)
    w, h = (max(side + 2 * margin, least) for side in (extent.w, extent.h))
    x, y = extent.x + (extent.w - w) / 2, extent.y + (extent.h - h) / 2
    return check_box(Box(x, y, w, h), image)


def _keypoint_entries(
    instances: Sequence[Instance], candidates: Sequence[NewInstance]
) -> list[Entry]:
    return [
        _file_entry(instance, KEYPOINTS, item.keypoints, *item.origin)
        for instance, item in zip(instances, candidates, strict=True)
        if item.origin and item.keypoints
    ]


def _file_entry(
    instance: Instance, kind: str, content: Mapping[str, Any], source: str, reference: str
) -> Entry:
    return Entry(
        instance_id=instance.id,
        kind=kind,
        content=content,
        source=source,
        reference=reference,
        version=content_version(content),
    )


def _labelled_twice(entries: Sequence[Entry]) -> list[str]:
    """At most one note, of objects whose keypoints differ between the files of one import."""
    last: dict[str, Entry] = {}
    names = []
    for entry in entries:
        before = last.get(entry.instance_id)
        if before and before.source != entry.source and differing(before, entry):
            first, second = (item.source.partition(":")[2] for item in (before, entry))
            names.append(f"{entry.instance_id} ({first}, then {second})")
        last[entry.instance_id] = entry
    if not names:
        return []
    return [
        f"{counted(len(names), 'object')} have other keypoints in another of the label files; the "
        f"last file counts: {named(names)}."
    ]


def _match_answers(
    labels: LabelFile, finder: ImageFinder, store: LabelStore, handling: Handling
) -> tuple[list[Entry], list[str]]:
    """Journal entries of visibility answers, and the paths of missing images."""
    of_image: dict[str, list[Instance]] = defaultdict(list)
    for instance in store.instances(with_removed=True).values():
        of_image[instance.image.id].append(instance)
    missing: Counter[str] = Counter()
    entries = []
    images = finder.find((answer.image_path for answer in labels.answers), labels.path)
    for answer in labels.answers:
        image = images.get(answer.image_path)
        if image is None:
            missing[answer.image_path] += 1
            continue
        instance = _instance_of(answer, of_image[image.id], labels.path)
        content = visibility_content(labels.skeleton, np.asarray(answer.presence))
        reference = f"{answer.image_path}#{answer.reference}"
        entries.append(_file_entry(instance, VISIBILITY, content, labels.source, reference))
    refuse_missing(missing, labels.path, bool(entries), handling)
    return entries, list(missing.elements())


def _instance_of(answer: VisibilityAnswer, instances: Sequence[Instance], path: Path) -> Instance:
    """The instance that an answer is for: by id, by its place in the image, or the only one."""
    if not answer.reference and len(instances) == 1:
        return instances[0]
    for place, instance in enumerate(instances):
        if answer.reference in (instance.id, str(place)):
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
    handling: Handling,
) -> tuple[Iterable[list[NewInstance]], list[str]]:
    """Boxes for images that have none, in lists with all those of some images, and notes."""
    usual = "detect" if project.skeleton.name in BUILTIN else "whole-image"
    choice = boxes or project.options.get("boxes", usual)
    if boxes is None and choice not in BOX_CHOICES:
        choice = str(project.root / choice)
    if choice in ("whole-image", NO_BOXES):
        return _whole_images(images, progress), []
    if choice == "detect":
        from labelkit.workflows.intake.person_detector import detect, load_detector

        detector = load_detector(progress.line)
        found = detect(images, project.images_root, detector)
        tracked = progress.track(found, "Finding boxes", len(images))
        return (
            [NewInstance(image, box, "detected", box.w * box.h) for box, _ in people]
            for image, people in tracked
        ), []
    path = Path(choice)
    if not path.is_file():
        raise UsageError(
            f"--boxes {choice} is not a file.",
            "Type --boxes whole-image, --boxes detect, or a COCO file of boxes.",
        )
    file = read_box_file(path)
    matched = match_labels(
        file.annotations,
        (),
        Sizes(file.image_sizes),
        path,
        finder,
        project.images_root,
        replace(handling, skip_missing=True),
    )
    without = {image.id for image in images}
    rows = [
        NewInstance(
            image,
            box,
            "given",
            item.area or box.w * box.h,
            item.category,
            origin=(_source(path), item.reference),
        )
        for image, item in matched.found
        if image.id in without and item.box is not None
        for box in [_given(item.box, image, f"{path}: annotation {item.reference}")]
    ]
    notes = [*file.notes, *matched.notes, *_cut(matched.found, path)]
    if left := len(without - {row.image.id for row in rows}):
        notes.append(
            f"{counted(left, 'image')} without a box in {path.name}: no object is known there. If "
            "there is one, add to the command: --boxes whole-image, detect or another FILE"
        )
    return [rows], notes


def _whole_images(images: Sequence[Image], progress: Progress) -> Iterator[list[NewInstance]]:
    """Each image as one object, some thousands at a time."""
    # In the order of the store's indices, which then grow at their ends.
    by_id = sorted(images, key=attrgetter("sha256"))
    with progress.bar("Taking images as objects") as step:
        for start in range(0, len(images), _AT_ONCE):
            some = by_id[start : start + _AT_ONCE]
            boxes = [(image, _whole(image)) for image in some]
            yield [NewInstance(image, box, "whole-image", box.w * box.h) for image, box in boxes]
            step(start + len(some), len(images))
