"""Labelled images to score on: a set of their own that no training has seen, or the dev set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from labelkit.domain.instance import Instance
from labelkit.domain.pose import Pose
from labelkit.errors import InputError, UsageError, WaitingForLabels
from labelkit.progress import Progress
from labelkit.project.project import Project
from labelkit.store.label_store import LabelStore
from labelkit.workflows.intake.label_files import read_labels
from labelkit.workflows.intake.register import register
from labelkit.workflows.rounds.run_round import LabelSnapshot


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Instances with human keypoints that no training has seen.

    Attributes:
        project: where their images are.
        instances, truth: by instance id.
        source: for the report.
    """

    project: Project
    instances: Mapping[str, Instance]
    truth: Mapping[str, Pose]
    source: str


@contextmanager
def evaluation_set(
    project: Project,
    known: LabelSnapshot,
    progress: Progress,
    images: Path | None,
    labels: Path | None,
) -> Iterator[EvaluationSet]:
    """Labelled images that the project does not hold or, without any, its dev set.

    Raises:
        UsageError: if only one of `images` and `labels` is given.
        WaitingForLabels: if the dev set has no human keypoints yet.
        InputError: if there are no keypoints, or an image is also in the project.
    """
    if (images is None) != (labels is None):
        raise UsageError("An evaluation set wants both --images DIR and --labels FILE.")
    if images is None or labels is None:
        yield _dev_set(project, known)
        return
    with TemporaryDirectory() as folder:
        aside = replace(project, root=Path(folder), images_root=images.resolve())
        with LabelStore.open(f"sqlite:///{folder}/labels.db") as store:
            register(
                aside,
                store,
                progress,
                labels=read_labels(labels, project.skeleton),
                boxes="whole-image",  # of images without labels, which are not scored
                skip_unreadable=False,
                skip_duplicates=True,
                skip_missing=False,
                can_skip=False,
            )
            instances, truth = store.instances(), store.poses(project.skeleton)
        if not truth:
            raise InputError(
                f"{labels} holds no keypoints to score against.",
                "Give a file with keypoint locations, not one with visibility answers.",
            )
        trained_on = {
            instance.image.id: instance.image.path for instance in known.instances.values()
        }
        for instance in instances.values():
            if instance.image.id in trained_on:
                raise InputError(
                    f"{instance.image.path} is also in the project, as "
                    f"{trained_on[instance.image.id]}: a score on it would mean nothing.",
                    "Evaluate on images that the project does not hold.",
                )
        chosen = {item: instances[item] for item in truth}
        yield EvaluationSet(aside, chosen, truth, str(labels))


def _dev_set(project: Project, known: LabelSnapshot) -> EvaluationSet:
    truth = {item: pose for item, pose in known.poses.items() if item in known.dev}
    if not truth:
        raise WaitingForLabels(
            f"None of the {len(known.dev)} instances of the dev set has human keypoints.",
            "They are first in the queue: labelkit push, correct, labelkit pull.\n"
            "Or evaluate on labelled images: labelkit evaluate --images DIR --labels FILE",
        )
    instances = {item: known.instances[item] for item in truth}
    return EvaluationSet(project, instances, truth, "the dev set")
