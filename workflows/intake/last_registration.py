"""The last registration of a project, which is not repeated while nothing that it read changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from labelkit.files.noted import note, noted
from labelkit.project.images import folder_digest
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.register import Registered

#: In the project's folder.
REGISTERED_FILE = "registered.json"

#: Raise it with a change by which the same files are registered differently.
VERSION = 1


class LastRegistration:
    """What the last registration found: every file is asked for its size and time, none is read.

    Args:
        project: of the images; their files are asked for now.
        store: its label store.
        boxes: "whole-image", "detect" or "none", as the user chose.
        left_out: names of the kinds of items that the user leaves out.
    """

    def __init__(
        self, project: Project, store: LabelStore, boxes: str | None, left_out: Sequence[str]
    ) -> None:
        self._file, self._store = project.root / REGISTERED_FILE, store
        root = project.images_root
        self._files = [VERSION, str(root), folder_digest(root), boxes, *left_out]

    @property
    def state(self) -> list[Any]:
        """Of all that it depends on: files, choices, images and objects."""
        return [*self._files, self._store.images_version(), self._store.objects_version()]

    @property
    def result(self) -> Registered | None:
        """What it found; None if something changed since."""
        kept = noted(self._file, self.state)
        if kept is None:
            return None
        return Registered(**kept | {name: tuple(kept[name]) for name in ("skipped", "notes")})

    def keep(self, registered: Registered) -> None:
        """Keep what was found, unless the next registration has to look for something again."""
        if not registered.open_images:
            found = replace(registered, new_labels=0, known_labels=0, new_images=0)
            note(self._file, self.state, asdict(found))
