"""A round of a network that reads whole images: train it, and bring in what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from labelkit.domain.instance import Image
from labelkit.domain.prediction import Prediction, nothing_found
from labelkit.domain.selection import labelled_set
from labelkit.errors import WaitingForLabels
from labelkit.files.atomic import write_json
from labelkit.files.parquet import next_part
from labelkit.progress import Progress
from labelkit.project.predictions import iter_predictions, write_predictions
from labelkit.project.project import Project
from labelkit.project.rounds import (
    COMPLETE,
    DETECTOR_FREE,
    Round,
    RoundPlan,
    abandon_round,
    begin_round,
    finish_round,
    locked_labelled,
    next_round_number,
    rounds,
    unfinished,
)
from labelkit.store.label_store import LabelStore
from labelkit.workflows.detector_free.canvases import OBJECTS_ACROSS
from labelkit.workflows.detector_free.finding import find
from labelkit.workflows.detector_free.lessons import lessons_of
from labelkit.workflows.detector_free.networks import (
    canvas_preset,
    load_detector_free,
    trained_network,
    with_canvas,
)
from labelkit.workflows.detector_free.objects import (
    FoundObject,
    bring_in,
    found_objects,
    least_score,
)
from labelkit.workflows.detector_free.strategy import STRATEGIES
from labelkit.workflows.rounds.image_files import check_image_files
from labelkit.workflows.rounds.label_snapshot import LabelSnapshot, read_snapshot
from labelkit.workflows.rounds.run_round import measure
from labelkit.workflows.rounds.settings import (
    TrainingOptions,
    resolve,
    settings_of,
)

#: Files of a round.
MODEL, PREDICTIONS = "model.safetensors", "predictions.parquet"

#: Lower scores are not even candidates.
FLOOR = 0.01
#: Candidates that are kept of each image, for each object that it should have, and at least.
CANDIDATES, LEAST_CANDIDATES = 4, 20

ASK = (
    "Label every object of some images, a few dozen objects in all, and draw those without a box: "
    "labelkit label, or labelkit push and labelkit pull"
)


def detector_free_round(
    project: Project,
    store: LabelStore,
    snapshot: LabelSnapshot,
    progress: Progress,
    percent: float,
    options: TrainingOptions,
) -> tuple[Round, bool]:
    """The round of a network that reads whole images: an earlier one that fits, or a new one.

    Args:
        project: see `open_project`.
        store: its label store; it gets the objects that are found.
        snapshot: of its labels.
        progress: gets a line now and then.
        percent: 0 ... 100, of the instances: how many give locations.
        options: how to train.

    Returns:
        the round, and whether anything was trained or predicted for it.

    Raises:
        WaitingForLabels: if no object has keypoints.
        UsageError: if the options cannot be used.
        ImageError: if the file of an image is gone or changed.
    """
    mine = [item for item in rounds(project) if item.plan.finds_objects]
    begun = unfinished(project)
    last = begun if begun and begun.plan.finds_objects else (mine[-1] if mine else None)
    labelled = labelled_set(
        snapshot.trainable, len(snapshot.instances), percent, locked_labelled(project), project.seed
    )
    lessons = lessons_of(store, snapshot, labelled, store.head())
    if not lessons.objects_per_image:
        raise WaitingForLabels("No object has keypoints that a network could learn from.", ASK)
    earlier = settings_of(last) if last else {}
    poses = [pose for item in lessons.labelled for pose in item.poses]
    settings = resolve(options, earlier, project.skeleton, poses=poses)
    settings = with_canvas(settings, options, earlier)
    seed = options.seed
    if seed is None:
        seed = begun.plan.seed if begun else project.seed
    plan = RoundPlan(
        number=next_round_number(project),
        kind=DETECTOR_FREE,
        labelled=labelled,
        labelled_share=len(labelled) / len(snapshot.instances),
        journal_head=store.head(),
        settings={**settings, "model": options.model, "labels": lessons.version},
        seed=seed,
    )
    done = (item for item in reversed(mine) if item.status == COMPLETE)
    if same := next((item for item in done if _trains_alike(item.plan, plan)), None):
        return same, False
    if begun is not None and _trains_alike(begun.plan, plan):
        progress.line(f"Continuing round {begun.plan.number:03d}.")
        plan = begun.plan
    elif begun is not None:
        progress.line(f"Giving up round {begun.plan.number:03d} for another training.")
        abandon_round(begun.path, "another training was asked for")
        return detector_free_round(project, store, snapshot, progress, percent, options)
    return _run(project, store, plan, progress), True


def _trains_alike(one: RoundPlan, other: RoundPlan) -> bool:
    return (one.kind, one.settings, one.labelled, one.seed) == (
        other.kind,
        other.settings,
        other.labelled,
        other.seed,
    )


def _run(project: Project, store: LabelStore, plan: RoundPlan, progress: Progress) -> Round:
    """Carry out a plan, or the rest of it after an interruption."""
    settings = plan.settings
    snapshot = read_snapshot(project, store, plan.journal_head)
    lessons = lessons_of(store, snapshot, plan.labelled, plan.journal_head)
    preset = canvas_preset(settings, len(lessons.labelled) + len(lessons.others))
    check_image_files(project, store)
    path = begin_round(project, plan)
    _, training = trained_network(
        settings["model"],
        STRATEGIES["both" if lessons.others else "supervised-only"],
        project,
        settings,
        preset,
        lessons.labelled,
        lessons.others,
        plan.seed,
        path / MODEL,
        progress,
        f"Round {plan.number:03d}",
        OBJECTS_ACROSS * lessons.median_side,
    )
    images = store.images()
    most = max(LEAST_CANDIDATES, round(CANDIDATES * lessons.objects_per_image))
    candidates = {
        image.id: objects[:most]
        for image, objects in objects_in(project, path / MODEL, images, FLOOR, progress)
    }
    scores = [item.score for objects in candidates.values() for item in objects]
    least = least_score(scores, lessons.objects_per_image * len(images), FLOOR)
    found = {
        id_: [item for item in objects if item.score >= least]
        for id_, objects in candidates.items()
    }
    rows = bring_in(store, snapshot, project.skeleton, found)
    write_predictions(path / PREDICTIONS, rows.values(), project.skeleton)
    # Objects that were found in the dev set meanwhile have no answers: they change no measure.
    measures = measure(snapshot, rows, project.skeleton)
    write_json(path / "metrics.json", measures)
    return finish_round(path, {"training": training, "dev": measures, "least_score": least})


def objects_in(
    project: Project,
    model: Path,
    images: Sequence[Image],
    least: float,
    progress: Progress,
) -> Iterator[tuple[Image, list[FoundObject]]]:
    """The objects that a round's network finds in images, with the project's keypoints.

    Args:
        project: where the images are, and whose keypoints are predicted.
        model: file of the network.
        images: to read.
        least: score of the objects.
        progress: shows a bar.

    Raises:
        CheckpointError: if the network cannot be used.
        ImageError: if an image cannot be read.
    """
    network, header = load_detector_free(model, project.skeleton)
    if torch.cuda.is_available():
        network = network.cuda()
    shape = header["network"]
    columns = project.skeleton.columns_in(header["skeleton"]["keypoints"])
    size_hw = (shape["input_size"][0], shape["input_size"][1])
    found = find(network, images, project.images_root, size_hw, shape["tile"], least)
    for image, objects in progress.track(found, "Finding objects", len(images)):
        yield image, found_objects(objects, image, columns)


def found_in(
    project: Project,
    store: LabelStore,
    found: Round,
    images: Sequence[Image],
    progress: Progress,
) -> dict[str, Prediction]:
    """Bring in the objects of images that a complete round has not read.

    Args:
        project: where the images are.
        store: that gets the objects.
        found: the round.
        images: of the store.
        progress: shows a bar.

    Returns:
        Predictions of all objects of these images, by instance id.
    """
    least, snapshot = found.facts["least_score"], read_snapshot(project, store)
    objects = objects_in(project, found.path / MODEL, images, least, progress)
    return bring_in(store, snapshot, project.skeleton, {image.id: some for image, some in objects})


def find_later(project: Project, store: LabelStore, found: Round, progress: Progress) -> int:
    """Find the objects of images that came after a complete round, with its network.

    The round itself does not change: their predictions go into a file beside its own. So do
    objects that people drew since, of which the round knows nothing.

    Returns:
        how many objects came in.
    """
    skeleton, predictions = project.skeleton, found.path / PREDICTIONS
    known = {item.instance_id for item in iter_predictions(predictions, skeleton)}
    read = {id_.rpartition("-")[0] for id_ in known} | store.empty_images()
    images = [image for image in store.images() if image.id not in read]
    rows = found_in(project, store, found, images, progress) if images else {}
    later = store.instances().keys() - known - rows.keys()
    rows |= {id_: nothing_found(id_, len(skeleton)) for id_ in sorted(later)}
    if rows:
        write_predictions(next_part(predictions), rows.values(), skeleton)
    return len(rows)
