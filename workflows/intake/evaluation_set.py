"""Labelled images to score on: the dev set, or images that the project does not hold."""

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
from labelkit.workflows.intake.register import register_labelled
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Instances with human keypoints that no training has used.

    Attributes:
        project: where their images are.
        instances, truth: boxes and human keypoints by instance id.
        source: names the set in reports.
    """

    project: Project
    instances: Mapping[str, Instance]
    truth: Mapping[str, Pose]
    source: str

    @property
    def keypoints(self) -> int:
        """Number of present keypoints."""
        return sum(int(pose.present.sum()) for pose in self.truth.values())


@contextmanager
def evaluation_set(
    project: Project,
    snapshot: LabelSnapshot,
    progress: Progress,
    images: Path | None,
    labels: Path | None,
) -> Iterator[EvaluationSet]:
    """Open the evaluation set that `images` and `labels` make or, without them, the dev set.

    Raises:
        UsageError: if only one of `images` and `labels` is given.
        WaitingForLabels: if the dev set has no human keypoints yet.
        InputError: if there are no keypoints, or an image is also in the project.
    """
    if (images is None) != (labels is None):
        raise UsageError(
            "An evaluation set needs both --images DIR and --labels FILE.",
            "Give the other one too, or neither to take the dev set.",
        )
    if images is None or labels is None:
        yield _dev_set(project, snapshot)
        return
    with TemporaryDirectory() as folder:
        aside = replace(project, root=Path(folder), images_root=images.resolve())
        with LabelStore.open(f"sqlite:///{folder}/labels.db") as store:
            register_labelled(aside, store, progress, labels)
            instances, truth = dict(store.instances()), store.poses(project.skeleton)
        if not truth:
            raise InputError(
                f"{labels} holds no keypoint locations to score against.",
                "Give a file with keypoint locations: --labels FILE",
            )
        in_project = {
            instance.image.id: instance.image.path for instance in snapshot.instances.values()
        }
        for instance in instances.values():
            if instance.image.id in in_project:
                raise InputError(
                    f"{instance.image.path} is also in the project, as "
                    f"{in_project[instance.image.id]}: a score on it would mean nothing.",
                    "Evaluate on images that the project does not hold.",
                )
        chosen = {item: instances[item] for item in truth}
        yield EvaluationSet(aside, chosen, truth, str(labels))


def _dev_set(project: Project, snapshot: LabelSnapshot) -> EvaluationSet:
    truth = {item: pose for item, pose in snapshot.poses.items() if item in snapshot.dev}
    if not truth:
        raise WaitingForLabels(
            f"None of the {len(snapshot.dev)} instances of the dev set has human keypoints.",
            "They are first in the queue: labelkit push, correct, labelkit pull.\n"
            "Or evaluate on labelled images: labelkit evaluate --images DIR --labels FILE",
        )
    instances = {item: snapshot.instances[item] for item in truth}
    return EvaluationSet(project, instances, truth, "the dev set")
