"""`labelkit images`: follow images that were deleted, renamed or moved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from labelkit.domain.instance import Image
from labelkit.domain.text import counted, named
from labelkit.errors import ImageError, UsageError
from labelkit.progress import Progress
from labelkit.project.images import FileStamp, scan_images
from labelkit.project.project import Project, change_project
from labelkit.report import Report
from labelkit.store.label_store import LabelStore
from labelkit.workflows.rounds.image_files import lost_images, new_files

LIST, REMOVE, RESTORE, RELOCATE = ACTIONS = ("list", "remove", "restore", "relocate")


@dataclass(frozen=True, slots=True)
class ImagesReport(Report):
    """The images of a project after (in a dry run: before) an action.

    Attributes:
        action: "list", "remove", "restore" or "relocate".
        folder: of the images.
        images: in the project.
        gone, changed: their paths, where the file is not there or holds another picture.
        new: paths of files that are not registered.
        removed: paths of the images that were taken out of the project.
        done: paths that the action removed or restored.
        found: how many images of the project are in the folder that "relocate" read.
        moved: (former path, path) of those that it found elsewhere in it.
        labels: instances with labels in `done`; the labels stay in the journal.
        dry_run: nothing was changed.
    """

    action: str
    folder: Path
    images: int
    gone: tuple[str, ...]
    changed: tuple[str, ...]
    new: tuple[str, ...]
    removed: tuple[str, ...]
    done: tuple[str, ...] = ()
    found: int = 0
    moved: tuple[tuple[str, str], ...] = ()
    labels: int = 0
    dry_run: bool = False
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        would = "Would have " if self.dry_run else ""
        lines = []
        if self.action == REMOVE:
            lines.append(
                f"{would}{'removed' if would else 'Removed'} {counted(len(self.done), 'image')} "
                f"from the project{_list(self.done)}. Labels of {counted(self.labels, 'object')} "
                "stay in the journal."
            )
        elif self.action == RESTORE:
            lines.append(
                f"{would}{'taken' if would else 'Took'} {counted(len(self.done), 'image')} back"
                f"{_list(self.done)}."
            )
        elif self.action == RELOCATE:
            moved = [f"{old} -> {new}" for old, new in self.moved]
            renamed = f", {len(moved)} under another path{_list(moved)}" if moved else ""
            lines.append(
                f"{would}{'found' if would else 'Found'} {counted(self.found, 'image')}{renamed}."
            )
        lines.append(f"The project has {counted(self.images, 'image')} in {self.folder}")
        for paths, state, command in (
            (self.gone, "gone", "moved: labelkit images relocate; deleted: labelkit images remove"),
            (self.changed, "changed", "labelkit images remove, then labelkit bootstrap"),
            (self.new, "new", f"labelkit bootstrap --images {self.folder}"),
            (self.removed, "removed", "take back: labelkit images restore"),
        ):
            if paths:
                lines.append(f"  {len(paths)} {state}{_list(paths)} ({command})")
        return "\n".join(lines)


def images(
    project: Project,
    store: LabelStore,
    progress: Progress,
    action: str,
    paths: Sequence[Path] = (),
    *,
    dry_run: bool = False,
) -> ImagesReport:
    """List, remove, restore or relocate images.

    Args:
        project: see `open_project`.
        store: its label store.
        progress: shows a bar while images are read.
        action: "list", "remove", "restore" or "relocate".
        paths: images or folders of images to remove or restore; none removes those that are gone or
            changed, and restores all. For "relocate" the new images folder, if it is another one.
        dry_run: change nothing.

    Raises:
        ImageError: if a path is not an image of the project, or a folder does not hold its images.
        UsageError: on another action, or paths that it does not take.
    """
    if action == LIST:
        if paths:
            raise UsageError(f"labelkit images list takes no path, such as {paths[0]}.")
        return _report(project, store, action)
    if action == REMOVE:
        chosen = _chosen(project, store.images(), paths) if paths else _lost(project, store)
        labels = _labelled(store, chosen)
        if not dry_run:
            store.remove_images(chosen)
        return _report(project, store, action, done=_paths(chosen), labels=labels, dry_run=dry_run)
    if action == RESTORE:
        chosen = store.removed_images()
        if paths:
            chosen = _chosen(project, chosen, paths)
        taken = {image.path for image in store.images()}
        for image in chosen:
            if image.path in taken:
                raise ImageError(
                    f"{image.path} is another image of the project now.",
                    "Rename its file, type labelkit images relocate, and restore again.",
                )
        if not dry_run:
            store.restore_images(chosen)
        labels = _labelled(store, chosen)
        return _report(project, store, action, done=_paths(chosen), labels=labels, dry_run=dry_run)
    if action == RELOCATE:
        if len(paths) > 1:
            raise UsageError(f"The images are in one folder, not in {len(paths)}.")
        return _relocate(project, store, progress, paths[0] if paths else None, dry_run)
    raise UsageError(f"labelkit images {action}: expected {', '.join(ACTIONS)}.")


def _relocate(
    project: Project, store: LabelStore, progress: Progress, folder: Path | None, dry_run: bool
) -> ImagesReport:
    root = (folder or project.images_root).resolve()
    if not root.is_dir():
        raise ImageError(
            f"The images folder {root} is not there.",
            "Type where it is now: labelkit images relocate FOLDER",
        )
    stamps: dict[str, FileStamp] = {}
    with progress.bar("Reading images") as step:
        scan = scan_images(root, store.stamps, stamps.update, on_progress=step)
    found = {image.id: image for image in scan.images}
    mine = store.images()
    here = [found[image.id] for image in mine if image.id in found]
    if root != project.images_root:
        before = len(mine) - len(lost_images(project, store).all)
        if len(here) <= before or not here:
            raise ImageError(
                f"{root} holds {len(here)} of the {counted(len(mine), 'image')} of the project; "
                f"{project.images_root} holds {before}.",
                "Type the folder that holds them now: labelkit images relocate FOLDER",
            )
    moved = [(i.path, found[i.id].path) for i in mine if i.id in found and i != found[i.id]]
    if not dry_run:
        project = change_project(project, images_root=root)
        known = store.images(with_removed=True)
        store.add_images(found[image.id] for image in known if image.id in found)
        store.keep_stamps(stamps)
        store.forget_other_stamps(scan.images)
        store.keep_left_out_files(
            [*(path for path, _ in scan.duplicates), *(item.path for item in scan.problems)]
        )
    return _report(project, store, RELOCATE, found=len(here), moved=tuple(moved), dry_run=dry_run)


def _lost(project: Project, store: LabelStore) -> list[Image]:
    """The images that cannot be used any more, which are not all of them."""
    lost, count = lost_images(project, store), len(store.images())
    if len(lost.gone) == count > 0:
        raise ImageError(
            f"None of the {counted(count, 'image')} of the project is in {project.images_root}.",
            "If the folder was renamed or moved: labelkit images relocate FOLDER",
        )
    return list(lost.all)


def _chosen(project: Project, known: Iterable[Image], paths: Sequence[Path]) -> list[Image]:
    """The images that paths name: a file or a folder, below the images folder or from here."""
    by_path = {image.path: image for image in known}
    chosen: dict[str, Image] = {}
    for path in paths:
        written = path.as_posix()
        from_here = path.resolve()
        if from_here.is_relative_to(project.images_root):
            written = from_here.relative_to(project.images_root).as_posix()
        matches = {
            item: image
            for item, image in by_path.items()
            if written == "." or item == written or item.startswith(f"{written}/")
        }
        if not matches:
            raise ImageError(
                f"{path} is not an image of the project.", "See them: labelkit images list --json"
            )
        chosen |= matches
    return list(chosen.values())


def _labelled(store: LabelStore, chosen: Sequence[Image]) -> int:
    """How many instances of some images have entries in the journal."""
    ids = {image.id for image in chosen}
    inside = [i.id for i in store.instances(with_removed=True).values() if i.image.id in ids]
    return len({recorded.entry.instance_id for recorded in store.history(inside)})


def _report(
    project: Project,
    store: LabelStore,
    action: str,
    done: tuple[str, ...] = (),
    found: int = 0,
    moved: tuple[tuple[str, str], ...] = (),
    labels: int = 0,
    dry_run: bool = False,
) -> ImagesReport:
    lost = lost_images(project, store)
    return ImagesReport(
        action,
        project.images_root,
        len(store.images()),
        _paths(lost.gone),
        _paths(lost.changed),
        tuple(new_files(project, store)),
        _paths(store.removed_images()),
        done,
        found,
        moved,
        labels,
        dry_run,
    )


def _paths(images: Iterable[Image]) -> tuple[str, ...]:
    return tuple(image.path for image in images)


def _list(items: Sequence[str]) -> str:
    return f": {named(items)}" if items else ""
