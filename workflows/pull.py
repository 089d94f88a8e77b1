"""`labelkit pull --file EXPORT.json`: what people answered and corrected, into the journal."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelkit.errors import FormatError
from labelkit.formats.documents import load_json
from labelkit.formats.label_studio_export import (
    StudioAnnotation,
    StudioInstance,
    read_export,
)
from labelkit.instance import Image
from labelkit.journal import KEYPOINTS, SKIP, VISIBILITY, Entry, keypoints_content
from labelkit.predictions import read_predictions
from labelkit.project import Project
from labelkit.rounds import COMPLETE, rounds
from labelkit.store import LabelStore, NewInstance

SOURCE = "label-studio"

#: Bins of correction distances, as shares of the box's long side.
DISTANCE_BINS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class PullReport:
    """What came.

    Attributes:
        annotations: in the file.
        added, known: journal entries that are new, and that were there.
        answers, poses, skips: new ones, of each kind.
        new_instances: objects that annotators added.
        origins: keypoints by what happened to them: untouched, changed, new, removed.
        moved: changed keypoints by how far, as "<=2%" of the box's long side -> count.
        median_move_px: of the changed keypoints, in pixels; None without any.
        lead_time_s: seconds of work, as far as Label Studio says.
    """

    annotations: int
    added: int
    known: int
    answers: int
    poses: int
    skips: int
    new_instances: int
    origins: Mapping[str, int]
    moved: Mapping[str, int]
    median_move_px: float | None
    lead_time_s: float
    exit_code: int = 0

    def text(self) -> str:
        """For people."""
        lines = [
            f"{self.annotations} annotations: {self.added} new entries ({self.known} were known): "
            f"{self.poses} instances with keypoints, {self.answers} visibility answers, "
            f"{self.skips} skips, {self.new_instances} new objects."
        ]
        shown = sum(self.origins.get(k, 0) for k in ("untouched", "changed", "removed"))
        if shown:
            parts = ", ".join(f"{count} {name}" for name, count in self.origins.items())
            share = self.origins.get("untouched", 0) / shown
            lines.append(f"Keypoints: {parts}; {share:.0%} of those shown were left untouched.")
        if self.moved:
            parts = ", ".join(f"{count} {name}" for name, count in self.moved.items())
            lines.append(
                f"Corrections by distance (share of the box): {parts}; "
                f"median {self.median_move_px:.1f} px."
            )
        if self.lead_time_s:
            lines.append(f"Time at work: {self.lead_time_s / 60:.1f} min.")
        lines.append("Next: labelkit status, or labelkit retrain --labeled 10%")
        return "\n".join(lines)


def pull_file(project: Project, store: LabelStore, path: Path) -> PullReport:
    """Read a Label Studio JSON export; each version of each annotation goes in once.

    Raises:
        FormatError: if the file is no export, or is about other images; nothing is stored then.
    """
    return record_annotations(
        project, store, read_export(load_json(path), project.skeleton, str(path)), str(path)
    )


def record_annotations(
    project: Project, store: LabelStore, annotations: Sequence[StudioAnnotation], origin: str
) -> PullReport:
    """Put annotations into the journal, and say what they changed.

    Raises:
        FormatError: if an annotation is about an image that the project does not have.
    """
    images = {image.id: image for image in store.images()}
    by_path = {image.path: image for image in images.values()}
    known = store.instances()
    of_image: dict[str, list[str]] = defaultdict(list)
    for instance in known.values():
        of_image[instance.image.id].append(instance.id)
    drawn = _drawn_before(store)

    entries: list[Entry] = []
    unknown: list[tuple[StudioAnnotation, Image, StudioInstance]] = []
    for annotation in annotations:
        image = images.get(annotation.image_id) or by_path.get(annotation.image_path)
        if image is None:
            raise FormatError(
                f"{origin}: annotation {annotation.annotation_id} is about "
                f"{annotation.image_path}, which is not in the project {project.root}.",
                "Pull the export of the tasks that this project pushed.",
            )
        if annotation.skipped:
            entries += [_entry(project, annotation, item, None) for item in of_image[image.id]]
        for said in annotation.instances:
            if said.presence is None and said.pose is None:
                continue
            id_ = said.region_id if said.region_id in known else drawn.get(said.region_id)
            if id_ is None:
                unknown.append((annotation, image, said))
            else:
                entries.append(_entry(project, annotation, id_, said))
    made = store.add_instances(
        NewInstance(image, said.box, "human", said.box.w * said.box.h) for _, image, said in unknown
    )
    for (annotation, _, said), instance in zip(unknown, made, strict=True):
        entries.append(_entry(project, annotation, instance.id, said))

    before = store.head()
    report = store.record(entries)
    fresh = [recorded.entry for recorded in store.entries(after=before)]
    kinds = Counter(entry.kind for entry in fresh)
    moves = _moves(project, fresh)
    shares = np.array([share for _, share in moves])
    return PullReport(
        annotations=len(annotations),
        added=report.added,
        known=report.known,
        answers=kinds[VISIBILITY],
        poses=kinds[KEYPOINTS],
        skips=kinds[SKIP],
        new_instances=len(made),
        origins=dict(
            Counter(what for entry in fresh for what in entry.shown.get("origins", {}).values())
        ),
        moved=_histogram(shares) if moves else {},
        median_move_px=float(np.median([px for px, _ in moves])) if moves else None,
        lead_time_s=sum({e.reference: e.lead_time_s or 0.0 for e in fresh}.values()),
    )


def _drawn_before(store: LabelStore) -> dict[str, str]:
    """Instances that annotators drew, by Label Studio's id of their region."""
    return {
        recorded.entry.shown["region"]: recorded.entry.instance_id
        for recorded in store.entries()
        if "region" in recorded.entry.shown
    }


def _entry(
    project: Project, annotation: StudioAnnotation, instance_id: str, said: StudioInstance | None
) -> Entry:
    """What an annotation says of one instance; None is a skip."""
    content: Mapping[str, Any] = {}
    shown: dict[str, Any] = {"model_version": annotation.model_version}
    kind = SKIP
    if said is not None:
        shown |= {"region": said.region_id, "box": list(said.box)}
        if said.presence is not None:
            kind, content = VISIBILITY, said.presence
        elif said.pose is not None:
            kind, content = KEYPOINTS, keypoints_content(project.skeleton, said.pose)
            names = zip(project.skeleton.keypoints, said.origins, strict=True)
            shown["origins"] = {name: what for name, what in names if what}
    return Entry(
        instance_id=instance_id,
        kind=kind,
        content=content,
        source=SOURCE,
        reference=annotation.annotation_id,
        version=annotation.updated_at,
        annotator=annotation.annotator,
        made_at=annotation.updated_at,
        lead_time_s=annotation.lead_time_s,
        shown=shown,
    )


def _moves(project: Project, entries: Sequence[Entry]) -> list[tuple[float, float]]:
    """(pixels, share of the box's long side) of every keypoint that was changed."""
    shown_in = {
        f"round-{item.plan.number:03d}": item.path / "predictions.parquet"
        for item in rounds(project)
        if item.status == COMPLETE
    }
    result = []
    for version, path in shown_in.items():
        chosen = [entry for entry in entries if entry.shown.get("model_version") == version]
        if not chosen:
            continue
        predictions = read_predictions(path, project.skeleton)
        for entry in chosen:
            prediction = predictions.get(entry.instance_id)
            if prediction is None:
                continue
            long_side = max(entry.shown["box"][2:]) if "box" in entry.shown else float("inf")
            for name, what in entry.shown.get("origins", {}).items():
                if what == "changed":
                    before = prediction.pose.xy[project.skeleton.index(name)]
                    x, y, _ = entry.content[name]
                    px = math.hypot(x - before[0], y - before[1])
                    result.append((px, px / long_side))
    return result


def _histogram(shares: np.ndarray) -> dict[str, int]:
    """Counts below each of `DISTANCE_BINS`, and beyond."""
    bins = np.searchsorted(DISTANCE_BINS, shares, side="left")
    names = [f"<= {edge:.0%}" for edge in DISTANCE_BINS] + [f"> {DISTANCE_BINS[-1]:.0%}"]
    counts = np.bincount(bins, minlength=len(names)).tolist()
    return {name: count for name, count in zip(names, counts, strict=True) if count}
